# needs: python3
# timeout: 60
# subprocess: in a directory, with files as standard streams, with pass_fds, new environments, a shell; vfork and fork.
python3 - <<'END'
import os, subprocess as s, sys
open("in", "w").write("line\n" * 1000); os.mkdir("d")
with open("in") as i, open("out", "w") as o: print(s.run(["sort", "-u"], stdin=i, stdout=o).returncode, open("out").read())
print(s.run(["pwd"], cwd="d", capture_output=True, text=True).stdout.strip()[-2:], s.check_output("cat in | wc -l", shell=True).strip()); f = os.open("in", os.O_RDONLY); os.lseek(f, 4990, 0)
print(s.check_output(["cat", f"/proc/self/fd/{f}"], pass_fds=[f])[:5], s.check_output(["cat"], stdin=f), os.lseek(f, 0, 1)); print(s.run(["cat", "in"], env={}, capture_output=True).returncode, s.run(["sh", "-c", f"cat <&{f}"], capture_output=True).returncode)
print(s.check_output(["head", "-c", "4"], stdin=open("in"), close_fds=False, preexec_fn=lambda: os.chdir("d"))); ps = [s.Popen(["sh", "-c", f"echo {k} > p{k}; cat p{k}"], stdout=s.PIPE) for k in range(20)]; print(sorted(int(p.communicate()[0]) for p in ps))
with open("log", "a") as log: [s.run(["sh", "-c", f"echo {k}; echo e{k} >&2"], stdout=log, stderr=s.STDOUT) for k in range(5)]; log.write("parent\n")
print(open("log").read()); open("script.py", "w").write("import sys; print(sys.argv, open('in').readline())"); print(s.check_output([sys.executable, "script.py", "a"], text=True)); open("x", "w").write("#!/bin/sh\necho $0 $1\n"); os.chmod("x", 0o755); print(s.check_output(["./x", "arg"], text=True), s.check_output([os.path.abspath("x")], cwd="/", text=True)[-4:])
pid = os.fork()
if pid == 0: os.chdir("d"); os.close(f); open("child", "w").write("c"); os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.path.exists("d/child"), os.path.exists("in"), os.lseek(f, 0, 1))
try: s.run(["./none"])
except OSError as e: print(e)
pid = os.fork()
if pid == 0: os.lseek(f, 10, 0); os._exit(0)
os.waitpid(pid, 0); print(os.lseek(f, 0, 1)); os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "echo spawned > sp"]); print(open("sp").read())
END
