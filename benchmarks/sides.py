"""Where programs are measured: in a pool, on tmpfs, on ext4. Fresh for each use, on the same memory."""
import os
import shutil
import subprocess
import sys
import tempfile


def find_built(build, name):
    for folder, folders, files in os.walk(build):
        folders[:] = [f for f in folders if f != "CMakeFiles"]
        if name in files:
            return os.path.join(os.path.abspath(folder), name)
    sys.exit(f"bench: there is no {name} under {build}")


class Side:
    """`dir` is where a program works, `environment` what it is started with."""

    def __init__(self, name, work):
        self.name = name
        self.work = work
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMEMFILE_", "LD_"))}
        self.dir = os.path.join(work, name)

    def make(self):
        os.mkdir(self.dir)

    def remove(self):
        subprocess.run(["rm", "-rf", self.dir], check=False)

    def run(self, command, **options):
        return subprocess.run(command, env=self.environment, **options)


class Pool(Side):
    """A pool on tmpfs, seen at a mount point that does not exist outside."""

    def __init__(self, name, work, build, size="1G", sparse=False, force_flush=False, preload=None):
        super().__init__(name, work)
        self.mkfs = find_built(build, "mkfs.pmemfile")
        self.tool = find_built(build, "pmemfile")
        self.size, self.sparse = size, sparse
        self.file = os.path.join(work, f"{name}.pool")
        self.preload = preload or find_built(build, "libpmemfile.so")
        self.environment.update(PMEMFILE_POOLS=f"{self.dir}:{self.file}", LD_PRELOAD=self.preload, PMEMFILE_SHM_DIR=os.path.join(work, "shm"))
        if force_flush:
            self.environment["PMEMFILE_FORCE_FLUSH"] = "1"

    def make(self):
        subprocess.run([self.mkfs, "--quiet", *(["--sparse"] if self.sparse else []), self.file, self.size], check=True,
                       stdout=subprocess.DEVNULL)

    def remove(self):
        if os.path.exists(self.file):
            os.unlink(self.file)


class Ext4(Side):
    """ext4 on a loop device over a file of tmpfs, so that the medium is the same memory. Root only."""

    def __init__(self, name, work, size="3G"):
        super().__init__(name, work)
        self.image = os.path.join(work, "ext4.img")
        self.size = size

    def make(self):
        os.mkdir(self.dir)
        subprocess.run(["truncate", "-s", self.size, self.image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-i", "2048", self.image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.dir], check=True, capture_output=True)
        os.rmdir(os.path.join(self.dir, "lost+found"))

    def remove(self):
        if os.path.ismount(self.dir):
            subprocess.run(["umount", self.dir], check=False)
        if os.path.exists(self.image):
            os.unlink(self.image)
        if os.path.isdir(self.dir):
            os.rmdir(self.dir)


class Workplace:
    """A directory of tmpfs with the sides in it; gone at the end, whatever happens."""

    def __init__(self, options):
        self.options = options
        self.work = tempfile.mkdtemp(prefix="pmb-", dir="/dev/shm")
        self.kernel = os.path.join(self.work, "kernel")
        os.mkdir(self.kernel)
        os.mkdir(os.path.join(self.work, "shm"))  # for the volatile segments, which stay when their last user goes
        os.chmod(os.path.join(self.work, "shm"), 0o1777)
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for side in self.made:
            side.remove()
        shutil.rmtree(self.work, ignore_errors=True)

    def _make(self, side):
        self.made.append(side)
        side.make()
        return side

    def pool(self, name="ours", **how):
        return self._make(Pool(name, self.work, self.options.build, preload=self.options.preload, **how))

    def tmpfs(self, name="tmpfs"):
        return self._make(Side(name, self.work))

    def ext4(self):
        """None where loop devices cannot be mounted."""
        if self.options.no_ext4 or os.geteuid() != 0:
            return None
        side = Ext4("ext4", self.work)
        try:
            return self._make(side)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"bench: no ext4 column: {getattr(error, 'stderr', b'') or error}", file=sys.stderr)
            side.remove()
            self.made.remove(side)
            return None

    def discard(self, side):
        side.remove()
        self.made.remove(side)


class Server:
    """A measuring program on one side, which obeys commands (operations.cc, scaling.cc)."""

    def __init__(self, side, program, *arguments):
        self.side = side
        self.process = subprocess.Popen([program, side.dir, *arguments], env=side.environment, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: the program on {self.side.name} ended with {self.process.wait()} after `{line}`")
        return answer.strip()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
