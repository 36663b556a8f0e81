#!/usr/bin/env python3
"""What stands for FIFOs and sockets of a pool beside its V: not readable by others, gone with the names, gone with V; and what
becomes of descriptors in messages whose receivers cannot open them.

stand_ins.py PRELOAD MKFS
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile

preload, mkfs = sys.argv[1:]
work = tempfile.mkdtemp(prefix="pm-stand-ins-", dir="/dev/shm")
failures = []


def expect(what, got, want):
    if got != want:
        failures.append(f"{what}: got {got!r}, expected {want!r}")


def environment(shm):
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PMEMFILE_POOLS": f"{work}/mnt:{work}/pool", "LD_PRELOAD": preload,
            "PMEMFILE_SHM_DIR": shm}


def python(text, shm, **more):
    return subprocess.Popen([sys.executable, "-c", "import os, socket, sys\nos.chdir(sys.argv[1])\n" + text, f"{work}/mnt"],
                            env=environment(shm), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)


def names_dirs(shm):
    return [n for n in os.listdir(shm) if ".names-" in n]


def kinds(shm):
    return sorted(e[0] for n in names_dirs(shm) for e in os.listdir(f"{shm}/{n}"))


def say(process, word="go"):
    process.stdin.write(word + "\n")
    process.stdin.flush()


SERVER = """
s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen()
t = socket.socket(socket.AF_UNIX); t.bind("other"); t.listen()
os.mkfifo("fifo"); f = os.open("fifo", os.O_RDWR)
print("ready", flush=True); sys.stdin.readline()
os.unlink("fifo"); os.unlink("sock"); os.rename("other", "moved")
print(s.getsockname(), t.getsockname(), flush=True); sys.stdin.readline()
s.close()
"""


def names_come_and_go(shm):
    os.mkdir(shm)
    server = python(SERVER + """
u = socket.socket(socket.AF_UNIX); u.bind("third"); t.close(); os.unlink("moved"); os.unlink("third")
print("removed", flush=True); sys.stdin.readline()
v = socket.socket(socket.AF_UNIX); u.close(); v.bind("fourth"); print("bound", flush=True); sys.stdin.readline()
""", shm)
    expect("start", server.stdout.readline(), "ready\n")
    expect("kinds", kinds(shm), ["a", "a", "f", "s", "s"])
    mode = os.stat(f"{shm}/{names_dirs(shm)[0]}").st_mode & 0o7777
    expect("mode", oct(mode), oct(0o1733))
    say(server)
    expect("names", server.stdout.readline(), "sock other\n")
    expect("the FIFO is gone, the removed socket lives", kinds(shm), ["a", "a", "g", "s"])
    say(server)
    expect("removed", server.stdout.readline(), "removed\n")
    expect("cleared by the next bind; the closed went with its name", kinds(shm), ["a", "g"])
    say(server)
    expect("bound", server.stdout.readline(), "bound\n")
    expect("dead ones are cleared by the next bind", kinds(shm), ["a", "s"])
    say(server)
    server.wait()
    expect("a name of the pool stays", kinds(shm), ["a", "s"])
    # A kill makes the next one start with a new V: nothing of the old one is left.
    server = python(SERVER, shm)
    server.stdout.readline()
    server.send_signal(signal.SIGKILL)
    server.wait()
    expect("after a kill", python("print(socket.socket(socket.AF_UNIX).connect_ex('sock'))\nos.unlink('sock')\nos.unlink('fourth')",
                                  shm).communicate()[0], "111\n")
    expect("with the new V", kinds(shm), [])
    # The pool is gone: whoever makes a V in this directory clears up.
    os.rename(f"{work}/pool", f"{work}/pool2")
    subprocess.run([mkfs, f"{work}/pool", "16M"], check=True, stdout=subprocess.DEVNULL)
    os.unlink(f"{work}/pool2")
    for _ in range(2):
        python("", shm).communicate()
        for name in os.listdir(shm):
            if ".names-" not in name and not os.path.exists(f"{work}/pool"):
                os.unlink(f"{shm}/{name}")
    expect("directories", [n for n in names_dirs(shm) if os.listdir(f"{shm}/{n}")], [])


def a_long_directory(shm):
    os.mkdir(shm)
    server = python(SERVER, shm)
    expect("start", server.stdout.readline(), "ready\n")
    client = python("s = socket.socket(socket.AF_UNIX); s.connect('sock'); print(s.getpeername())", shm)
    expect("connected", client.communicate()[0], "sock\n")
    say(server)
    expect("names", server.stdout.readline(), "sock other\n")
    server.communicate("go\n")


def dead_for_strangers(shm):
    """A receiver without the library gets a descriptor with which nothing can be done, and may hand it on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    sender = python(f"""
open("f", "w").write("secret"); f = open("f", "r+")
s = socket.socket(fileno={theirs.fileno()})
for _ in range(2): socket.send_fds(s, [b"m"], [f.fileno()])
""", shm, pass_fds=[theirs.fileno()])
    sender.communicate()
    for attempt in range(2):
        _, fds, _, _ = socket.recv_fds(ours, 10, 5)
        fd = fds[0]
        for name, call in {"read": lambda: os.read(fd, 10), "write": lambda: os.write(fd, b"x"), "pread": lambda: os.pread(fd, 10, 0),
                           "pwrite": lambda: os.pwrite(fd, b"x", 0), "truncate": lambda: os.ftruncate(fd, 0),
                           "lseek": lambda: os.lseek(fd, 0, 0), "fchdir": lambda: os.fchdir(fd)}.items():
            try:
                expect(name, call(), "an error")
            except OSError:
                pass
        if attempt == 0:
            socket.send_fds(ours, [b"m"], [fd])
            receiver = python(f"s = socket.socket(fileno={theirs.fileno()})\nm, fds, _, _ = socket.recv_fds(s, 10, 5)\n"
                              "print(os.pread(fds[0], 100, 0))", shm, pass_fds=[theirs.fileno()])
            expect("handed on", receiver.communicate()[0], "b'secret'\n")
        os.close(fd)


def named_before_the_first_use(shm):
    """A bound socket that was inherited by a program which has used no pool yet has its name."""
    with socket.socket(socket.AF_UNIX) as bound:
        binder = python(f"s = socket.socket(fileno={bound.fileno()}); s.bind('early'); s.detach()", shm, pass_fds=[bound.fileno()])
        binder.communicate()
        asker = subprocess.run([sys.executable, "-c", f"import socket; print(socket.socket(fileno={bound.fileno()}).getsockname())"], cwd="/",
                               env=environment(shm), pass_fds=[bound.fileno()], stdout=subprocess.PIPE, text=True)
        expect("name", (asker.returncode, asker.stdout), (0, "early\n"))


try:
    subprocess.run([mkfs, f"{work}/pool", "16M"], check=True, stdout=subprocess.DEVNULL)
    names_come_and_go(f"{work}/shm")
    a_long_directory(f"{work}/" + "shm" * 30)
    dead_for_strangers(f"{work}/" + "shm" * 30)
    named_before_the_first_use(f"{work}/" + "shm" * 30)
finally:
    subprocess.run(["rm", "-rf", work])
if failures:
    sys.exit("\n".join(failures))
