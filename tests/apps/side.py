"""The two sides a case runs on: a directory of tmpfs, or a pool.

Both show the case the same path, WORK/mnt. On the pool's side a kernel
directory of that path exists as well, with a canary in it: it has to stay
hidden and untouched, so that a call which slips past the interception and
lands on the kernel's directory is noticed.
"""
import os
import pwd
import shutil
import signal
import subprocess
import time

import tree

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
CANARY = "kernel-canary"


class Result:
    def __init__(self, status, stdout, stderr, listing, problems="", timed_out=False):
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.tree = listing
        self.problems = problems
        self.timed_out = timed_out


def find_built(build, name):
    for folder, _, files in os.walk(build):
        if name in files:
            return os.path.join(os.path.abspath(folder), name)
    return None


class Environment:
    """What both sides share: the work directory and where our programs are."""

    def __init__(self, args, work):
        self.work = work
        self.mount = os.path.join(work, "mnt")
        self.keep = args.keep
        self.patch_after = args.patch_after
        self.serial = 0
        self.preload = self.mkfs = self.fsck = None
        # Cases run as other users, too, who may not reach the place where we were built.
        self.cases = os.path.join(work, "cases")
        shutil.copytree(args.cases_dir, self.cases, ignore=lambda d, n: [x for x in n if not x.endswith(".sh")])
        shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "project.sh"), work)
        if args.side in ("both", "pool"):
            built = os.path.abspath(args.preload or find_built(args.build, "libpmemfile.so") or
                                    self._missing("libpmemfile.so", args.build))
            self.preload = self._install(built, "lib", "libpmemfile.so")
            planner = find_built(args.build, "pmemfile-plan")
            if planner:
                self._install(planner, "libexec", "pmemfile-plan")
            self.mkfs = os.path.abspath(args.mkfs or find_built(args.build, "mkfs.pmemfile") or
                                        self._missing("mkfs.pmemfile", args.build))
            if args.fsck != "none":
                self.fsck = args.fsck or find_built(args.build, "fsck.pmemfile")

    def _install(self, built, folder, name):
        os.makedirs(os.path.join(self.work, folder), exist_ok=True)
        return shutil.copy(built, os.path.join(self.work, folder, name))

    @staticmethod
    def _missing(name, build):
        raise SystemExit(f"run.py: there is no {name} under {build}: build first, or say --build DIR")


def variables(case, mount):
    """A short, fixed environment: what a case sees does not depend on who runs it."""
    return {
        "PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC0", "TERM": "dumb",
        "HOME": os.path.join(mount, case.name), "USER": case.user or "tester", "SHELL": "/bin/bash",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_AUTHOR_DATE": "1600000000 +0000", "GIT_COMMITTER_DATE": "1600000000 +0000",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
    }


def kill_case(leader, home):
    """Ends every process of the session that a case was started as, and those
    that left the session (servers do) but still have the case's home; returns
    when all are gone. Looks again until it finds none: who is listed may have
    had a child meanwhile."""
    mark = f"HOME={home}\0".encode()
    deadline = time.monotonic() + 30
    found = True
    while found and time.monotonic() < deadline:
        found = False
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open(f"/proc/{name}/stat") as f:
                    state, _, _, session = f.read().rpartition(")")[2].split()[:4]
                with open(f"/proc/{name}/environ", "rb") as f:
                    ours = mark in f.read()
                if (int(session) == leader or ours) and state not in "ZX":
                    os.kill(int(name), signal.SIGKILL)
                    found = True
            except (OSError, ValueError, IndexError):
                pass
        if found:
            time.sleep(0.02)


class Side:
    def __init__(self, env):
        self.env = env
        env.serial += 1
        self.scratch = os.path.join(env.work, f"run{env.serial}")
        os.mkdir(self.scratch)

    def extra_variables(self):
        return {}

    def run(self, case, timeout):
        environment = {**variables(case, self.env.mount), **self.extra_variables()}
        directory = os.path.join(self.env.mount, case.name)
        # The case's shell is itself a process of this side from its first step on.
        begin = f'umask 022 && mkdir "{directory}" && cd "{directory}" && '
        if case.user and os.geteuid() == 0:
            begin = f'mkdir "{directory}" && chown {case.user} "{directory}" && cd "{directory}" && umask 022 && '
        status, out, err, late = self.execute(case.name, begin + f'exec bash "{self.env.cases}/{case.name}.sh"', environment,
                                              timeout, case.user)
        problems = f"no end within {timeout:.0f} s\n" if late else ""
        # A second process, which finds only what is really there.
        list_status, listing, list_err, late = self.execute(
            case.name + ".tree", f'cd "{directory}" && {{ {tree.LIST_COMMAND}; }}', environment, 60)
        if list_status != 0 or late:
            problems += f"listing the tree failed ({list_status}): {list_err.decode(errors='replace')}\n"
        return Result(f"exit {status}\n", out.decode(errors="backslashreplace"),
                      err.decode(errors="backslashreplace"),
                      tree.comparable(listing, case.contents_vary), problems, bool(problems))

    def execute(self, name, script, environment, timeout, user=None):
        """Runs a shell script; returns (status, stdout, stderr, timed out)."""
        out_path, err_path = (os.path.join(self.scratch, name + end) for end in (".out", ".err"))
        command = ["/bin/bash", "--norc", "-c", script]
        if user and os.geteuid() == 0:
            # The directory is made by root, then the case goes on as the user.
            head, _, tail = script.partition("exec bash")
            u = pwd.getpwnam(user)
            command[-1] = (f"{head}exec setpriv --reuid={u.pw_uid} --regid={u.pw_gid} --init-groups "
                           f"bash{tail}")
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       env=environment, start_new_session=True, cwd="/")
            late = False
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                late = True
                status = "by timeout"
            kill_case(process.pid, environment.get("HOME", "none"))
            process.wait()
        with open(out_path, "rb") as f, open(err_path, "rb") as g:
            return status, f.read(), g.read(), late

    def remove(self):
        if not self.env.keep:
            shutil.rmtree(self.scratch, ignore_errors=True)


class Tmpfs(Side):
    def __init__(self, env):
        super().__init__(env)
        shutil.rmtree(env.mount, ignore_errors=True)
        os.mkdir(env.mount, 0o755)
        os.chmod(env.mount, 0o755)

    def remove(self):
        if self.env.keep:
            os.rename(self.env.mount, os.path.join(self.scratch, "tree"))
        else:
            shutil.rmtree(self.env.mount, ignore_errors=True)
        super().remove()


class Pool(Side):
    def __init__(self, env, size, report=None):
        super().__init__(env)
        self.report = report
        self.pool = os.path.join(self.scratch, "pool")
        os.makedirs(env.mount, exist_ok=True)
        with open(os.path.join(env.mount, CANARY), "w") as f:
            f.write("stays hidden\n")
        made = subprocess.run([env.mkfs, self.pool, size], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120)
        if made.returncode != 0:
            raise SystemExit(f"mkfs.pmemfile failed ({made.returncode}): {made.stderr}")
        if os.geteuid() == 0:
            os.chmod(self.pool, 0o666)  # cases that run as another user

    def extra_variables(self):
        extra = {"PMEMFILE_POOLS": f"{self.env.mount}:{self.pool}", "LD_PRELOAD": self.env.preload}
        if self.report:
            extra["PMEMFILE_REPORT"] = self.report
        if self.env.patch_after:
            extra["PMEMFILE_PATCH_AFTER"] = self.env.patch_after
        return extra

    def check(self):
        """What must hold of a pool after a case; a description of what does not."""
        problems = ""
        left = os.listdir(self.env.mount)
        if left != [CANARY]:
            problems += f"in the hidden kernel directory there is now: {sorted(set(left) - {CANARY})}\n"
        status, out, err, late = self.execute(
            "canary", f'ls -A "{self.env.mount}"', {"PATH": PATH, **self.extra_variables()}, 20)
        if status != 0 or late or CANARY.encode() in out:
            problems += f"the kernel directory is not hidden ({status}): {out!r} {err!r}\n"
        if self.env.fsck:
            done = subprocess.run([self.env.fsck, "-n", self.pool], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=300)
            if done.returncode != 0:
                problems += f"fsck.pmemfile -n says {done.returncode}:\n{done.stdout}{done.stderr}\n"
        return problems

    def remove(self):
        try:
            os.unlink(os.path.join(self.env.mount, CANARY))
        except OSError:
            pass
        shutil.rmtree(self.env.mount, ignore_errors=True)
        super().remove()
