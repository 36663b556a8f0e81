# needs: python3
# timeout: 60
# multiprocessing: pools, queues and managers while workers write files; threads beside them.
cat > m.py <<'END'
import concurrent.futures as cf, hashlib, multiprocessing as mp, os, sys
def work(n):
    with open(f"w{n}", "w") as f: f.write(str(n) * 1000)
    os.rename(f"w{n}", f"r{n}"); return hashlib.md5(open(f"r{n}", "rb").read()).hexdigest()[:4]
def add(lock, k):
    for _ in range(50):
        with lock:
            v = int(open("counter").read()); open("counter", "w").write(str(v + 1))
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        c = mp.get_context(method)
        with c.Pool(4) as p: print(method, p.map(work, range(12)))
        open("counter", "w").write("0"); lock = c.Lock(); ps = [c.Process(target=add, args=(lock, k)) for k in range(4)]; [p.start() for p in ps]; [p.join() for p in ps]; print(open("counter").read(), [p.exitcode for p in ps])
    with cf.ThreadPoolExecutor(8) as t: print(list(t.map(work, range(20, 60))))
    print(sorted(os.listdir("."))[:3], len(os.listdir(".")))
END
TMPDIR=/dev/shm python3 m.py
