# needs: python3
# timeout: 30
# sqlite3, dbm, shelve, pickle, csv, zipfile, tarfile, gzip, logging handlers: the library on files.
python3 - <<'END'
import csv, dbm.dumb, gzip, io, json, logging, logging.handlers, os, pickle, shelve, sqlite3, tarfile, zipfile, configparser, glob, pathlib, fileinput, linecache, mailbox, filecmp
c = sqlite3.connect("a.db"); c.execute("pragma journal_mode=wal"); c.execute("create table t(a, b)"); c.executemany("insert into t values(?, ?)", ((i, str(i)) for i in range(1000))); c.commit(); d = sqlite3.connect("a.db"); print(d.execute("select count(*), sum(a) from t").fetchone()); c.close(); d.close(); os.unlink("a.db")
with dbm.dumb.open("db", "n") as k: k["a"] = "1"; k["b"] = "2"
with dbm.dumb.open("db") as k: print(sorted(k.keys()))
s = shelve.Shelf(dbm.dumb.open("sh")); s["x"] = [1, 2]; s.close(); print(shelve.Shelf(dbm.dumb.open("sh"))["x"]); pickle.dump({"k": range(5)}, open("p", "wb")); print(pickle.load(open("p", "rb")))
with open("c.csv", "w", newline="") as f: csv.writer(f).writerows([[i, i * i] for i in range(100)])
print(sum(int(r[1]) for r in csv.reader(open("c.csv")))); z = zipfile.ZipFile("z.zip", "w"); z.writestr(zipfile.ZipInfo("in/a"), "zip" * 1000); z.close(); print(zipfile.ZipFile("z.zip").testzip()); g = gzip.GzipFile("g.gz", "wb", mtime=0); g.write(b"gz" * 9999); g.close(); print(len(gzip.open("g.gz").read()))
t = tarfile.open("t.tar", "w"); t.add("c.csv", filter=lambda i: (setattr(i, "mtime", 5), i)[1]); t.close(); print(tarfile.open("t.tar").getnames()); h = logging.handlers.RotatingFileHandler("l.log", maxBytes=200, backupCount=3); lg = logging.getLogger(); lg.addHandler(h); [lg.error("message %d", i) for i in range(60)]; h.close(); print(sorted(glob.glob("l.log*")), open("l.log").read().split()[-1])
P = pathlib.Path("q/r/s"); P.mkdir(parents=True); (P / "f").write_text("text"); (P / "g").symlink_to("f"); (P / "h").hardlink_to(P / "f"); print(sorted(str(x) for x in pathlib.Path("q").rglob("*")), (P / "g").resolve().name, (P / "f").samefile(P / "h"), (P / "f").stat().st_nlink)
with fileinput.input("c.csv", inplace=True, backup=".bak") as fi:
    for line in fi: print(line.strip().upper() + ";")
print(open("c.csv").readline().strip(), filecmp.cmp("c.csv", "c.csv.bak", shallow=False)); m = mailbox.Maildir("md"); m.add("From: a\n\nbody"); print(len(m)); [os.unlink(os.path.join(b, x)) for b, _, fs in os.walk("md") for x in fs]; b = mailbox.mbox("mb"); b.lock(); b.unlock(); print(len(b)); print(linecache.getline("c.csv", 3).strip()); f = open("enc", "w", encoding="utf-16"); f.write("é" * 10); f.close(); print(os.path.getsize("enc"))
END
