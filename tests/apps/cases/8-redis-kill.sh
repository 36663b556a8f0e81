# needs: redis-server redis-cli
# timeout: 60
# nightly
# contents-vary: *.aof *.rdb *.manifest *.log
# redis killed while clients write: every acknowledged increment is there, at most one more.
exec 2> /dev/null; SOCK=$PWD/redis.sock; r() { redis-cli -s "$SOCK" "$@"; }
start() { redis-server --port 0 --unixsocket "$SOCK" --dir "$PWD" --appendonly yes --appendfsync always --save '' --logfile redis.log --aof-load-truncated yes > /dev/null 2>&1 & pid=$!; for i in $(seq 200); do r ping | grep -q PONG && return; sleep 0.05; done; echo "did not start"; }
start; last=0; for round in 1 2 3 4 5; do : > acks; (yes "INCR n" | head -n 20000 | r >> acks) & for i in $(seq 400); do [ "$(wc -l < acks)" -gt 300 ] && break; sleep 0.01; done; kill -9 $pid; wait; acked=$(grep -E '^[0-9]+$' acks | tail -1); start; n=$(r get n); [ "$n" -ge "$acked" ] && [ "$n" -gt "$last" ] && echo "round $round kept all"; last=$n; done; r shutdown nosave; wait; rm -rf ./*
