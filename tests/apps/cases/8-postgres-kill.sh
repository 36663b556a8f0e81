# needs: setpriv
# user: postgres
# timeout: 240
# pool: 1G
# nightly
# contents-vary: *
# PostgreSQL under pgbench, killed by kill -9 and recovered, three times; balances stay consistent, checksums hold.
exec 2> errors
export PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH" PGHOST=$PWD/s PGDATA=$PWD/data PGPORT=54329 PGDATABASE=postgres
start() { rm -f "$PGHOST"/.s*; pg_ctl -s -w -t 100 -l log -o "-c listen_addresses='' -c unix_socket_directories=$PGHOST -c fsync=on" start > /dev/null || { echo "did not start"; tail -20 log; }; }
mkdir -m 700 "$PGHOST"; initdb -A trust -k --no-locale > /dev/null; start; pgbench -q -i -s 2 > /dev/null 2>&1; for round in 1 2 3; do pgbench -n -c 4 -T 60 > /dev/null 2>&1 & b=$!; for i in $(seq 300); do [ "$(psql -At -c 'select count(*) > 300 * '$round' from pgbench_history')" = t ] && break; sleep 0.1; done; kill -9 $(head -1 data/postmaster.pid); wait $b; sleep 1; for i in $(seq 100); do pgrep -u "$(id -u)" -f "$PWD/data" > /dev/null || break; sleep 0.1; done; rm -f data/postmaster.pid; start; psql -At -c "select count(*) > 300 * $round, sum(delta) = (select sum(abalance) from pgbench_accounts), sum(delta) = (select sum(bbalance) from pgbench_branches), sum(delta) = (select sum(tbalance) from pgbench_tellers) from pgbench_history"; done; pg_ctl -s -m fast stop; pg_checksums -c -D data | grep -i 'bad checksums'; rm -rf data log errors; rm -rf "$PGHOST"
