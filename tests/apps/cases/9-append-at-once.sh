# needs: python3
# Append by many processes: every record whole, in O_APPEND order; and pipes, logger-like writers, rotation by rename.
python3 - <<'END'
import os
ps = []
for w in range(8):
    pid = os.fork()
    if pid == 0:
        f = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for i in range(300): os.write(f, f"{w} {i} {'x' * (i % 97)}\n".encode())
        os._exit(0)
    ps.append(pid)
for p in ps: os.waitpid(p, 0)
lines = open("log").read().splitlines(); print(len(lines)); seen = {}
for l in lines:
    w, i, x = l.split(" "); assert len(x) == int(i) % 97; assert seen.get(w, -1) == int(i) - 1; seen[w] = int(i)
print(sorted(seen.items())); lines.sort(); open("log", "w").write("\n".join(lines))
f = os.open("rot", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644); os.write(f, b"before\n"); os.rename("rot", "rot.1"); os.write(f, b"after\n"); g = os.open("rot", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600); os.write(g, b"new\n"); print(open("rot.1").read(), open("rot").read(), oct(os.stat("rot").st_mode))
END
