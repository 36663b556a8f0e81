# needs: sqlite3
# timeout: 60
# contents-vary: *.db *.db-*
# The shell of sqlite3: import, export, attach, read-only, temporary tables, errors.
seq 2000 | awk '{ print $1 "," $1 * $1 ",name " $1 }' > in.csv; sqlite3 a.db "CREATE TABLE t(a INTEGER,b INTEGER,c TEXT);" ".mode csv" ".import in.csv t"; sqlite3 a.db "SELECT count(*), sum(b) FROM t"; sqlite3 -csv a.db "SELECT a,b,c FROM t" | tr -d '\r' | sed 's/"//g' | cmp - in.csv && echo round trip
sqlite3 b.db "ATTACH 'a.db' AS a; CREATE TABLE u AS SELECT * FROM a.t WHERE a % 2; SELECT count(*) FROM u; DETACH a;"; sqlite3 a.db ".output out.txt" "SELECT max(c) FROM t"; cat out.txt; sqlite3 -readonly a.db "DELETE FROM t" 2>&1; chmod 444 a.db; sqlite3 "file:a.db?mode=ro" "SELECT count(*) FROM t"; sqlite3 a.db "CREATE TEMP TABLE x AS SELECT * FROM t; SELECT count(*) FROM x"
sqlite3 b.db "PRAGMA temp_store=FILE; PRAGMA cache_size=10; SELECT count(*) FROM (SELECT DISTINCT u.c || v.c FROM u, u AS v WHERE v.a < 20)"; sqlite3 none/x.db "SELECT 1 FROM sqlite_master" 2>&1; echo "not a database, only a text that is long enough" > bad.db; sqlite3 bad.db "SELECT * FROM sqlite_master" 2>&1; echo $?; sqlite3 a.db .schema; sqlite3 b.db ".dump u" | sqlite3 c.db; sqlite3 c.db "SELECT count(*) FROM u"
