# needs: sqlite3 pkill
# timeout: 60
# contents-vary: *.db *.db-*
# kill -9 of a writer in the middle; the next one recovers, integrity_check is ok and no transaction is half.
# The shell names pids of what was killed: not for comparing.
exec 2> /dev/null
for mode in DELETE WAL PERSIST; do
  sqlite3 $mode.db "PRAGMA journal_mode=$mode; CREATE TABLE t(n INTEGER); CREATE TABLE u(n INTEGER);"
  for round in 1 2 3 4; do
    rm -f progress # that of the round before says nothing
    (while :; do echo "BEGIN; INSERT INTO t VALUES(1); INSERT INTO u SELECT 1 FROM t LIMIT 1; UPDATE t SET n = n + 1; COMMIT; SELECT 'done';"; done 2> /dev/null | exec sqlite3 -cmd '.timeout 5000' -cmd "PRAGMA journal_mode=$mode" $mode.db > progress) & p=$!
    for i in $(seq 300); do [ "$(wc -l < progress)" -gt 20 ] && break; sleep 0.01; done; for i in $(seq 500); do pkill -9 -P $p -x sqlite3 && break; sleep 0.01; done; wait $p 2> /dev/null
    sqlite3 -cmd '.timeout 5000' $mode.db "PRAGMA integrity_check; SELECT (SELECT count(*) FROM t) = (SELECT count(*) FROM u), (SELECT count(*) FROM t) >= 19;"
  done
done; rm -f progress ./*-journal ./*-wal ./*-shm
