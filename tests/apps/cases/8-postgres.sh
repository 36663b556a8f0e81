# needs: setpriv
# user: postgres
# timeout: 240
# pool: 1G
# nightly
# contents-vary: *
# PostgreSQL: initdb, tables, indexes, vacuum, clean stop and start, dump and restore.
exec 2> errors
export PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH" PGHOST=$PWD/s PGDATA=$PWD/data PGPORT=54329 PGDATABASE=postgres
start() { rm -f "$PGHOST"/.s*; pg_ctl -s -w -t 100 -l log -o "-c listen_addresses='' -c unix_socket_directories=$PGHOST -c fsync=on" start > /dev/null || { echo "did not start"; tail -20 log; }; }
mkdir -m 700 "$PGHOST"; initdb -A trust -k --no-locale -E UTF8 > /dev/null; echo $?; start; psql -qAt <<'END'
create table t(id int primary key, v text); insert into t select i, md5(i::text) from generate_series(1, 50000) i; create index on t(v); analyze t; delete from t where id % 3 = 0; vacuum full t; select count(*), md5(string_agg(v, '' order by id)) from t;
begin; update t set v = 'x'; rollback; select count(*) from t where v = 'x'; copy (select * from t order by id limit 5) to stdout;
END
pg_dump > dump.sql; createdb copy; psql -q copy < dump.sql > /dev/null; psql -At copy -c 'select count(*), sum(id) from t'; checkpoint=$(psql -At -c checkpoint); echo $checkpoint; pg_ctl -s -m fast stop; echo $?; start; psql -At -c 'select count(*), sum(id) from t'; pg_ctl -s -m fast stop; pg_checksums -c -D data | grep -i 'bad checksums'; rm -rf data dump.sql log errors; rmdir "$PGHOST"
