#!/usr/bin/env python3
"""A guest with an emulated NVDIMM: pools on fsdax with MAP_SYNC and on devdax, real programs in them, and power cuts.

    dax.py --build DIR --kernel DIR [--seed N] [--cuts N] [--steps N] [--media ext4,devdax,...] [--keep]

The guest is Debian's kernel with an initramfs made of this machine's programs, in qemu by software emulation, without a
network. Its memory module is a file that is mapped shared, so that `kill -9` of qemu leaves every store that was executed:
a cut tests the order of instructions and recovery, not cache lines that were lost (docs/crash-testing.md).
"""

import argparse
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = """bash cat cp mv rm mkdir rmdir ls ln dd stat touch sort seq tac cmp diff sha256sum truncate fallocate sync tar awk
 mawk sed grep tail head tr wc sleep timeout env chmod find git sqlite3 python3.11 mount umount setpriv ndctl mkfs.ext4
 mkfs.xfs uname readlink true id date""".split()
# The checksum first: file systems ask for it by name.
MODULES = "crc32c_generic nfit nd_pmem dax device_dax dax_pmem ext4 xfs".split()
PYTHON_LEFT_OUT = {"test", "idlelib", "tkinter", "lib2to3", "ensurepip", "distutils", "dist-packages", "pydoc_data", "__pycache__"}
LABEL_MIB = 2  # the label area, and what its alignment wastes: the rest is a multiple of 16 MiB, as the kernel wants it
LINES_TIMEOUT = 1500  # software emulation on a busy machine is slow


def which(name):
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
    if not found:
        sys.exit(f"dax: FAILED: {name} is missing")
    return found


class Image:
    """The initramfs: a directory, then a cpio archive."""

    def __init__(self, root, build, kernel):
        self.root, self.build, self.kernel = root, build, kernel
        for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "proc", "sys", "dev", "tmp", "mnt/pfiles", "etc"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (root / "etc/passwd").write_text("root:x:0:0::/tmp:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n")
        (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        self.seen = set()

    def add(self, path):
        """A file under its own name, with the symlinks on the way."""
        path = Path(path)
        # /bin and /lib are links into /usr on both sides.
        inside = self.root / re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", str(path)).lstrip("/")
        if str(path) in self.seen:
            return
        self.seen.add(str(path))
        inside.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target = os.readlink(path)
            if not inside.is_symlink():
                inside.symlink_to(target)
            self.add(os.path.normpath(path.parent / target))
        elif not inside.exists():
            shutil.copy2(path, inside)

    def add_libraries_of(self, files):
        seen = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout
        for library in sorted(set(re.findall(r"(/\S+\.so\S*) \(0x", seen))):
            if not library.startswith(str(self.root)):
                self.add(library)

    def add_programs(self):
        programs = [which(name) for name in PROGRAMS]
        for program in programs:
            self.add(program)
        (self.root / "usr/bin/python3").symlink_to("python3.11")
        (self.root / "usr/bin/sh").symlink_to("bash")
        self.add(which("busybox"))
        shutil.copytree("/usr/lib/python3.11", self.root / "usr/lib/python3.11", symlinks=True,
                        ignore=lambda _, names: [n for n in names if n in PYTHON_LEFT_OUT or n.startswith("config-")])
        (self.root / "usr/lib/git-core").mkdir(parents=True)
        (self.root / "usr/lib/git-core/git").symlink_to("../../bin/git")
        installed = subprocess.run(["cmake", "--install", str(self.build), "--strip", "--prefix", str(self.root / "usr")],
                                   capture_output=True, text=True)
        if installed.returncode != 0:
            sys.exit(f"dax: FAILED: cmake --install: {installed.stderr}")
        for extra in ("usr/include", "usr/share"):
            shutil.rmtree(self.root / extra, ignore_errors=True)
        for archive in (self.root / "usr").rglob("lib*.a"):
            archive.unlink()
        ours = [self.root / "usr/bin" / name for name in ("mkfs.pmemfile", "fsck.pmemfile", "pmemfile")]
        ours += (self.root / "usr/libexec").glob("pmemfile-*")
        self.add_libraries_of(programs + ours + list((self.root / "usr/lib/python3.11/lib-dynload").glob("*.so")))
        for name in ("guest.sh", "programs.sh", "workload.py", "init"):
            shutil.copy(HERE / name, self.root / name)
        os.chmod(self.root / "init", 0o755)

    def add_modules(self):
        tree = next(path for path in (self.kernel / "lib/modules", self.kernel / "usr/lib/modules") if path.is_dir())
        tree = next(tree.iterdir())
        files = {path.name.split(".ko")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
        order = []

        def add(name):
            if name not in files:  # built into this kernel
                return
            fields = subprocess.run([which("modinfo"), "-F", "depends", str(files[name])], capture_output=True, text=True).stdout
            for needed in fields.replace("\n", ",").split(","):
                if needed and needed.replace("-", "_") not in order:
                    add(needed.replace("-", "_"))
            if name not in order:
                order.append(name)

        for name in MODULES:
            add(name)
        for needed in ("crc32c_generic", "nfit", "nd_pmem", "device_dax", "ext4", "xfs"):
            if needed not in order:
                sys.exit(f"dax: FAILED: no module {needed} in {tree}")
        (self.root / "modules").mkdir()
        for name in order:
            shutil.copy(files[name], self.root / "modules" / files[name].name)
        (self.root / "modules.order").write_text("".join(f"/modules/{files[name].name}\n" for name in order))

    def pack(self, archive):
        with open(archive, "wb") as out:
            names = subprocess.run(["find", ".", "-print0"], cwd=self.root, capture_output=True, check=True).stdout
            subprocess.run(["cpio", "--null", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=self.root, input=names, stdout=out, check=True)


class Guest:
    def __init__(self, work, kernel, archive, cpu="max"):
        self.work, self.archive, self.cpu = work, archive, cpu
        self.kernel = next((kernel / "boot").glob("vmlinuz-*"))
        self.console = work / "console.log"
        self.process, self.buffer = None, b""

    def boot(self, module, arguments):
        self.buffer = b""
        self.console.write_bytes(b"")
        bytes_ = module.stat().st_size
        self.process = subprocess.Popen(
            [which("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-net", "none",
             # The guest's clock counts instructions: on a busy machine it would have no time for anything but its ticks. That is for one
             # processor only: a second one would not come up.
             "-icount", "shift=1,sleep=off", "-machine", "pc,accel=tcg,nvdimm=on", "-cpu", self.cpu, "-smp", "1", "-m", "1G,slots=2,maxmem=4G", "-no-reboot",
             "-object", f"memory-backend-file,id=module,share=on,mem-path={module},size={bytes_},align=2M",
             "-device", "nvdimm,id=nvdimm0,memdev=module,label-size=128K",
             "-kernel", str(self.kernel), "-initrd", str(self.archive),
             "-append", f"console=ttyS0 loglevel=4 panic=-1 no_timer_check random.trust_cpu=on pm={arguments}",
             "-serial", f"file:{self.console}", "-serial", "stdio"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def line(self, deadline):
        """The next line of the guest, or None when it is silent until the deadline or gone."""
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").strip("\r\0 ")

    def console_end(self):
        return "\n".join(["the guest's console ends with:"] + self.console.read_text(errors="replace").splitlines()[-25:])

    def cut(self):
        self.process.kill()
        self.process.wait()
        rest = []
        while more := os.read(self.process.stdout.fileno(), 65536):  # what it had said
            self.buffer += more
        while b"\n" in self.buffer:
            rest.append(self.line(0))
        self.process.stdout.close()
        return rest


class Run:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.failures, self.passed = [], 0

    def say(self, text):
        print(text, flush=True)

    def hear(self, medium, line):
        if line.startswith("OK "):
            self.passed += 1
            self.say(f"  {medium}: {line[3:]}")
        elif line.startswith("FAIL"):
            self.failures.append(f"{medium}: {line[5:]}")
            self.say(f"  {medium}: {line}")

    def lost(self, medium, guest):
        self.failures.append(f"{medium}: the guest went silent")
        self.say(guest.console_end())
        guest.cut()

    def whole(self, guest, medium, module, arguments):
        """A boot that ends by itself."""
        start, failures = time.monotonic(), len(self.failures)
        guest.boot(module, arguments)
        while (line := guest.line(time.monotonic() + LINES_TIMEOUT)) is not None:
            if line == "END":
                try:
                    guest.process.wait(60)
                except subprocess.TimeoutExpired:
                    pass
                guest.cut()
                if len(self.failures) != failures:
                    self.say(guest.console_end())
                self.say(f"  {medium}: {arguments.split()[0]} took {time.monotonic() - start:.0f} s")
                return True
            self.hear(medium, line)
        self.lost(medium, guest)
        return False

    def work_and_cut(self, guest, medium, module, rng, round_, before):
        """Boots, checks the last round, works, and loses its power; gives the reports of each worker, or None."""
        workers = 3
        checks = f"{before[0]} {','.join(map(str, before[1]))}" if before else "none 0"
        guest.boot(module, f"work {medium} {round_} {self.options.seed} {workers} {checks}")
        counts, deadline = [0] * workers, time.monotonic() + LINES_TIMEOUT

        def count(line):
            words = line.split()
            if len(words) == 3 and words[0] == "R" and words[2].isdigit():
                counts[int(words[1])] = int(words[2])
            else:
                self.hear(medium, line)

        while (line := guest.line(deadline)) not in ("GO", None, "END"):
            self.hear(medium, line)
        if line != "GO":
            self.lost(medium, guest)
            return None
        # A number of steps, so that the cut falls into work however slow the machine is; then a moment, so that it falls between two reports.
        wanted = rng.randint(1, self.options.steps)
        while sum(counts) < wanted:
            if (line := guest.line(deadline)) is None:
                self.lost(medium, guest)
                return None
            count(line)
        time.sleep(rng.uniform(0, 0.05))
        if guest.process.poll() is not None:
            self.lost(medium, guest)
            return None
        for line in guest.cut():
            count(line)
        self.say(f"  {medium}: round {round_}: power cut after {counts} steps")
        return counts

    def medium(self, guest, medium):
        self.say(f"== {medium}")
        module = self.work / f"module-{medium}"
        with open(module, "wb") as f:
            f.truncate((self.options.module_mib + LABEL_MIB) << 20)
        failures = len(self.failures)
        self.whole(guest, medium, module, f"make {medium} 64M")
        if len(self.failures) == failures:
            self.whole(guest, medium, module, f"programs {medium}")
        if len(self.failures) != failures and not self.options.go_on:
            return
        rng = random.Random(f"{self.options.seed} {medium}")
        before = None
        for round_ in range(self.options.cuts):
            counts = self.work_and_cut(guest, medium, module, rng, round_, before)
            if counts is None:
                return
            before = (round_, counts)
        if before:
            self.whole(guest, medium, module, f"work {medium} end {self.options.seed} 0 {before[0]} {','.join(map(str, before[1]))}")
        if not self.options.keep:
            module.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--kernel", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--cuts", type=int, default=5, help="power cuts for each medium")
    parser.add_argument("--steps", type=int, default=1000, help="most reported steps before a cut")
    parser.add_argument("--media", default="ext4,xfs,devdax,devdax4k")
    parser.add_argument("--module-mib", type=int, default=384)
    parser.add_argument("--cpu", default="max")
    parser.add_argument("--go-on", action="store_true", help="cut the power also after a failure")
    parser.add_argument("--keep", action="store_true", help="leave the memory modules and the initramfs")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=options.build / "dax"))
    image = Image(work / "root", options.build, options.kernel)
    image.add_programs()
    image.add_modules()
    image.pack(work / "initramfs")
    run = Run(options, work)
    guest = Guest(work, options.kernel, work / "initramfs", options.cpu)
    try:
        for medium in options.media.split(","):
            run.medium(guest, medium)
    finally:
        if guest.process and guest.process.poll() is None:
            guest.process.kill()
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    for failure in run.failures:
        print(f"FAILED: {failure}")
    print(f"dax: {run.passed} checks passed, {len(run.failures)} failed, seed {options.seed}")
    return 1 if run.failures or run.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
