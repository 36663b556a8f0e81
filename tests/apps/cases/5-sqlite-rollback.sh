# needs: sqlite3
# timeout: 60
# contents-vary: *.db *.db-*
# Rollback journal in each of its modes, at full synchronisation.
for mode in DELETE TRUNCATE PERSIST MEMORY; do
  sqlite3 $mode.db "PRAGMA journal_mode=$mode; PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t(v);"
  for i in 1 2 3 4 5; do sqlite3 $mode.db "PRAGMA journal_mode=$mode; BEGIN; WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<500) INSERT INTO t(v) SELECT printf('row %d', x * 7919 % 1000) FROM n; COMMIT;" > /dev/null; done
  sqlite3 $mode.db "BEGIN; DELETE FROM t; ROLLBACK; SELECT count(*), sum(id), min(v), max(v) FROM t; UPDATE t SET v = v || '!' WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; SELECT count(*) FROM t WHERE v LIKE '%!'; PRAGMA integrity_check;"
done
sqlite3 DELETE.db "VACUUM; PRAGMA integrity_check; SELECT count(*) FROM t"; sqlite3 DELETE.db .dump | md5sum; sqlite3 DELETE.db ".backup copy.db"; sqlite3 copy.db .dump | md5sum; ls
