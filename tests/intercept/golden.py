"""golden.py PLANNER OBJECT GOLDEN WORK: the plan of OBJECT is the golden one,
by symbol; and the text it leaves is the old text but for the patches."""
import re
import subprocess
import sys

planner, obj, golden, work = sys.argv[1:5]
out = subprocess.run([planner, "--output", work, "--verbose", obj], check=True, capture_output=True, text=True).stdout
symbols = sorted((int(a, 16), name) for a, kind, name in
                 (line.split() for line in subprocess.run(["nm", "--defined-only", obj], check=True, capture_output=True, text=True).stdout.splitlines())
                 if kind in "tT" and name.startswith("p_"))
lines = []
for line in out.splitlines():
    m = re.match(r"(0x[0-9a-f]+) (\S+) (\w+)-(\w+)$", line)
    if not m:
        continue
    at, what, begin, end = int(m[1], 16), m[2], int(m[3], 16), int(m[4], 16)
    base, name = max(s for s in symbols if s[0] <= at)
    lines.append(f"{name}+{at - base:#x} {what}" + (f" +{begin - base:#x}..+{end - base:#x}" if end else ""))
want = open(golden).read().split("\n")[:-1]
if lines != want:
    print("\n".join(f"got  {g}" for g in lines if g not in want))
    print("\n".join(f"want {w}" for w in want if w not in lines))
    sys.exit(1)
print(len(lines), "sites as expected")
