# needs: sqlite3
# timeout: 60
# contents-vary: *.db *.db-*
# WAL: checkpoint, readers beside a writer, mmap, vacuum, back to the rollback journal.
sqlite3 w.db "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA mmap_size=100000000; CREATE TABLE t(a INTEGER, b BLOB);"
for i in $(seq 20); do sqlite3 w.db "INSERT INTO t VALUES($i, zeroblob($i * 1000)); SELECT count(*) FROM t;" | tail -1; done | tail -1
sqlite3 w.db "PRAGMA mmap_size=100000000; SELECT sum(length(b)) FROM t; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check;"; ls
(echo "BEGIN; SELECT count(*) FROM t;"; : > ready; while [ ! -e go ]; do sleep 0.02; done; echo "SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t;") | sqlite3 w.db > reader & for i in $(seq 200); do [ -s reader ] && break; sleep 0.02; done
sqlite3 w.db "INSERT INTO t VALUES(99, 'x'); SELECT count(*) FROM t;"; : > go; wait; cat reader; sqlite3 w.db "VACUUM; PRAGMA journal_mode=DELETE; SELECT count(*), sum(a) FROM t;"; ls
