# needs: redis-server redis-cli
# timeout: 60
# nightly
# contents-vary: *.aof *.rdb *.manifest *.log
# redis with appendfsync always: what was acknowledged is there after kill -9, restart, rewrite and snapshot.
start() { redis-server --port 0 --unixsocket "$SOCK" --dir "$PWD" --appendonly yes --appendfsync always --save '' --logfile redis.log --daemonize no > /dev/null 2>&1 & pid=$!; for i in $(seq 200); do redis-cli -s "$SOCK" ping 2> /dev/null | grep -q PONG && return; sleep 0.05; done; echo "did not start"; tail -5 redis.log; }
SOCK=$PWD/redis.sock; r() { redis-cli -s "$SOCK" "$@"; }
exec 2> /dev/null
start; for round in 1 2 3; do for i in $(seq 200); do echo "SET k$round.$i v$i"; echo "INCR n"; echo "RPUSH list $i"; done | r > acks; grep -c OK acks; kill -9 $pid; wait $pid; start; r get n; r llen list; r get k$round.200; done
r bgrewriteaof > /dev/null; for i in $(seq 100); do r info persistence | grep -q 'aof_rewrite_in_progress:0' && break; sleep 0.05; done; r dbsize; r bgsave > /dev/null; for i in $(seq 100); do [ -s dump.rdb ] && break; sleep 0.05; done; redis-check-rdb dump.rdb | tail -1 | grep -o 'RDB looks OK.*'; r shutdown; wait; start; r get n; r dbsize; r debug digest | wc -c; r shutdown nosave; wait; ls; rm -f acks redis.log
