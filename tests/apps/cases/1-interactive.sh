# needs: bash python3
# timeout: 40
# An interactive shell on a terminal: job control, interrupt, completion, cd - and pushd, history, process substitution.
cat > drive.py <<'P'
import os, pty, re, select, sys, time
pid, master = pty.fork()
if pid == 0:
    os.environ.update(PS1="", PS2="", TERM="dumb", HISTFILE=os.getcwd() + "/history", INPUTRC="/dev/null")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def wait(pattern):
    global seen
    end = time.time() + 10
    while time.time() < end:
        found = re.search(pattern, seen)
        if found:
            seen = seen[found.end():]
            return found.group(0).decode().strip()
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
    sys.exit(f"no {pattern} in {seen}")
def send(text): os.write(master, text.encode())
def ask(line, pattern):
    send(line + "\n")
    print(wait(pattern))
ask("set +o history; bind 'set enable-bracketed-paste off'; PS1=; echo re''ady", rb"ready")
ask("mkdir -p one/deep two; echo ma''de", rb"made")
ask("cd one/de\t && pwd | sed 's,.*/one,ONE,'", rb"ONE/deep")
ask("cd ../../two; cd - > /dev/null; basename $PWD | tr a-z A-Z", rb"DEEP")
ask("pushd ../../two > /dev/null; popd > /dev/null; cd ../..; ls -d o* | tr a-z A-Z", rb"ONE")
send("sleep 20\n"); time.sleep(0.5); send("\x1a")
print(wait(rb"Stopped"))
ask("bg > /dev/null; jobs -r | grep -c sleep | tr 1 A", rb"\nA")
send("fg\n"); time.sleep(0.5); send("\x03")
ask("echo status=$?", rb"status=130")
send("cat > typed\n"); time.sleep(0.3); send("first\nsecond\n\x04")
ask("wc -l < typed | tr 2 B", rb"\nB")
ask("diff <(echo a) <(echo b) | tr '<>' 'LR' | tr '\\n' ' '; echo", rb"L a --- R b")
ask("set -o history; echo o''n", rb"\non")
ask(": remembered; echo don''e", rb"done")
ask("history -w; grep -c '^: remem' history | tr 1 C", rb"\nC")
ask("trap 'echo by''e' EXIT; exit 3", rb"bye")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
P
python3 drive.py; echo $?; rm -f drive.py history
cat typed; ls
