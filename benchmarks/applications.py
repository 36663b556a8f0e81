"""Part `applications`: whole programs, in a fresh directory on each side, by turns; wall time, and processor time beside it,
which is steadier where other programs run. Servers (redis, postgres) are no children of what is timed: wall time only.

A case is shell text: `prepare` is not timed, `run` is. Both run with the side's environment, so that what is prepared
is prepared by the same programs. `$tree`, `$tools` and `$n` are a source tree on tmpfs, this folder, and the case's number.
"""
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from targets import APPLICATION_TARGETS

LONG_SECONDS = 1.5  # cases that take longer are run three times
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Case:
    name: str
    run: str
    prepare: str = "true"
    end: str = "true"       # not timed
    n: tuple = (1, 1)       # full, quick
    needs: tuple = ()


POSTGRES = "export PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH PGHOST=$kernel/pg-$side PGDATABASE=postgres; "
AS_USER = "" if os.geteuid() != 0 else "setpriv --reuid=nobody --regid=nogroup --clear-groups "

CASES = [
    Case("sqlite, rollback", "sqlite3 d 'PRAGMA synchronous=FULL;' '.read inserts' > /dev/null",
         "sqlite3 d 'create table t(a integer primary key, b text)'; for i in $(seq $n); do echo \"insert into t values($i, 'row number $i');\"; done > inserts",
         n=(3000, 500), needs=("sqlite3",)),
    Case("sqlite, WAL", "sqlite3 d 'PRAGMA synchronous=FULL;' '.read inserts' > /dev/null",
         "sqlite3 d 'PRAGMA journal_mode=WAL; create table t(a integer primary key, b text)' > /dev/null; for i in $(seq $n); do echo \"insert into t values($i, 'row number $i');\"; done > inserts",
         n=(3000, 500), needs=("sqlite3",)),
    Case("redis, appendfsync always", "redis-benchmark -s $kernel/redis-$side -t set -n $n -c 4 -d 100 -q > /dev/null",
         "(redis-server --port 0 --unixsocket $kernel/redis-$side --dir $PWD --appendonly yes --appendfsync always --save '' > redis.log 2>&1 &) ; "
         "for i in $(seq 100); do redis-cli -s $kernel/redis-$side ping > /dev/null 2>&1 && break; sleep 0.05; done",
         "redis-cli -s $kernel/redis-$side shutdown nosave > /dev/null 2>&1; sleep 0.1", n=(30000, 3000), needs=("redis-server", "redis-benchmark")),
    Case("rocksdb, fillsync", "db_bench --benchmarks=fillsync --num=$n --db=$PWD/db > /dev/null 2>&1", n=(20000, 2000), needs=("db_bench",)),
    Case("rocksdb, readrandom", "db_bench --benchmarks=readrandom --use_existing_db=1 --num=$n --cache_size=1048576 --db=$PWD/db > /dev/null 2>&1",
         "db_bench --benchmarks=fillrandom,compact --num=$n --compression_type=none --db=$PWD/db > /dev/null 2>&1", n=(100000, 10000), needs=("db_bench",)),
    Case("postgres, pgbench", POSTGRES + "pgbench -n -c 2 -t $n > /dev/null 2>&1",
         POSTGRES + "mkdir -p $PGHOST; initdb -D data -A trust -k --no-locale > log 2>&1; pg_ctl -s -w -D data -l errors -o \"-c listen_addresses='' -c unix_socket_directories=$PGHOST\" start; "
         "pgbench -q -i -s 2 > /dev/null 2>&1", POSTGRES + "pg_ctl -s -m fast -D data stop; rm -rf $PGHOST", n=(1000, 100), needs=("/usr/lib/postgresql",)),
    Case("git status", "for i in $(seq $n); do touch r/room-0/part-0/*; git -C r status --porcelain > /dev/null; done",
         "cp -r $tree r; git init -q r; git -C r add .; git -C r commit -qm all", n=(10, 2), needs=("git",)),
    Case("git clone", "git clone -q --no-hardlinks r c", "cp -r $tree r; git init -q r; git -C r add .; git -C r commit -qm all", needs=("git",)),
    Case("git gc", "git -C r gc -q", "cp -r $tree r; git init -q r; for p in r/*; do git -C r add ${p#r/}; git -C r commit -qm $p; done", needs=("git",)),
    Case("tar extraction", "tar xf $tree.tar"),
    Case("tar creation", "tar cf t.tar r", "cp -r $tree r"),
    Case("rm -rf", "rm -rf r", "cp -r $tree r"),
    Case("cp -r", "cp -r r s", "cp -r $tree r"),
    Case("make -j", "make -s -C p -j2", ". $tools/../tests/apps/project.sh; make_project p $n", n=(60, 12), needs=("make", "cc")),
    Case("python import", "PYTHONPATH=. python3 -c 'import package'",
         "python3 $tools/tree.py package package $n; PYTHONPATH=. python3 -c 'import package'", n=(10000, 1000), needs=("python3",)),
    Case("find", "for i in $(seq $n); do find r -newer r/room-0 -size +1k > /dev/null; done", "cp -r $tree r", n=(10, 3)),
    Case("grep -r", "for i in $(seq $n); do grep -rc absent-word r > /dev/null; done; true", "cp -r $tree r", n=(5, 2)),
    Case("rsync", "rsync -a r/ s/", "cp -r $tree r", needs=("rsync",)),
    Case("shell loop", "for i in $(seq $(($n / 4))); do touch f; mv f g; cat g; rm g; done", n=(1000, 100)),
    Case("shell builtins", "for i in $(seq $n); do echo $i > f; read x < f; [ -s f ] && : >> log; done", n=(20000, 2000)),
]


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def missing(case):
    return [need for need in case.needs if not (os.path.exists(need) if need.startswith("/") else shutil.which(need))]


def make_tree(place, files):
    tree = os.path.join(place.kernel, "tree")
    subprocess.run([sys.executable, os.path.join(HERE, "tree.py"), "source", tree, str(files)], check=True)
    subprocess.run(["tar", "cf", tree + ".tar", "-C", tree, "."], check=True)
    return tree


class Runner:
    def __init__(self, place, tree, quick):
        self.place, self.tree, self.quick = place, tree, quick

    def shell(self, side, case, script, folder):
        environment = dict(side.environment, tree=self.tree, tools=HERE, n=str(case.n[1 if self.quick else 0]), kernel=self.place.kernel, side=side.name,
                           GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="b", GIT_AUTHOR_EMAIL="b@b", GIT_COMMITTER_NAME="b", GIT_COMMITTER_EMAIL="b@b",
                           HOME=self.place.kernel, TMPDIR=self.place.kernel, LC_ALL="C.UTF-8")
        # Away from the side's directory at the end, so that the shell's own working directory is no part of it.
        start, before = time.perf_counter(), children_seconds()
        prefix = AS_USER.split() if "postgres" in case.name else []
        done = subprocess.run([*prefix, "bash", "-c", f"cd {folder} || exit 3; {script}"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=900)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"{case.name} on {side.name} ended with {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
        return seconds, children_seconds() - before

    def once(self, side, case, number):
        folder = os.path.join(side.dir, f"run{number}")
        side.run(["mkdir", "-m", "777", folder], check=True)
        try:
            self.shell(side, case, case.prepare, folder)
            return self.shell(side, case, case.run, folder)
        finally:
            try:
                self.shell(side, case, case.end, folder)
            finally:
                side.run(["rm", "-rf", folder], check=False)


def measure_case(runner, case, sides, repetitions):
    runs = {side.name: [] for side in sides}
    for number in range(repetitions):
        for side in sides[::1 if number % 2 else -1]:
            runs[side.name].append(runner.once(side, case, number))
        if number == 2 and runs["tmpfs"][0][0] > LONG_SECONDS:
            break
    row = {"name": case.name, "target": APPLICATION_TARGETS.get(case.name, 1), "ours": 0}
    for side, taken in runs.items():
        row[side] = statistics.median(wall for wall, _ in taken)
        row[f"{side}_ratio"] = statistics.median(other[0] / ours[0] for other, ours in zip(taken, runs["ours"]))
        row[f"{side}_cpu_ratio"] = statistics.median(other[1] / ours[1] for other, ours in zip(taken, runs["ours"]))
    row["met"] = row["tmpfs_ratio"] >= row["target"]
    print(f"  {case.name:28} {row['ours'] * 1000:8.0f} ms  tmpfs {row['tmpfs'] * 1000:8.0f} ms  {row['tmpfs_ratio']:6.2f}, of processor time {row['tmpfs_cpu_ratio']:6.2f}",
          flush=True)
    return row


def measure_applications(place, options):
    os.chmod(place.work, 0o777)
    os.chmod(place.kernel, 0o777)
    sides = [place.pool(size="1G"), place.tmpfs()]
    if not options.quick and (ext4 := place.ext4()):
        sides.append(ext4)
    os.chmod(sides[0].file, 0o666)
    runner = Runner(place, make_tree(place, 500 if options.quick else 3000), options.quick)
    repetitions = options.repetitions or (3 if options.quick else 5)
    rows, skipped = [], []
    for case in CASES:
        if options.only and not re.search(options.only, case.name):
            continue
        if lacking := missing(case):
            skipped.append(f"{case.name}: no {', '.join(lacking)}")
            continue
        try:
            rows.append(measure_case(runner, case, sides, repetitions))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            skipped.append(str(error))
    for line in skipped:
        print(f"bench: not measured: {line}", file=sys.stderr)
    return {"rows": rows, "skipped": skipped, "repetitions": repetitions}
