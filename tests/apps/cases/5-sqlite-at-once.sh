# needs: sqlite3
# timeout: 60
# contents-vary: *.db *.db-*
# Two writing processes and a reader at once, in both journal modes: nothing lost, nothing seen half.
for mode in DELETE WAL; do
  sqlite3 $mode.db "PRAGMA journal_mode=$mode; CREATE TABLE t(w INTEGER, n INTEGER); CREATE TABLE total(s INTEGER); INSERT INTO total VALUES(0);"
  for w in 1 2; do (for n in $(seq 40); do echo "BEGIN IMMEDIATE; INSERT INTO t VALUES($w, $n); UPDATE total SET s = s + $n; COMMIT;"; done | sqlite3 -cmd '.timeout 30000' $mode.db) & done
  (for i in $(seq 30); do sqlite3 -cmd '.timeout 30000' $mode.db "SELECT (SELECT coalesce(sum(n), 0) FROM t) - (SELECT s FROM total);"; done | sort | uniq -c | tr -s ' ') & wait
  sqlite3 $mode.db "SELECT w, count(*), sum(n) FROM t GROUP BY w; SELECT s FROM total; PRAGMA integrity_check;"
done
