"""Makes the trees that programs are measured on, the same ones everywhere.

    tree.py source DIR FILES    C-like text files of 200 bytes to 64 KiB, in directories of twenty-five
    tree.py package DIR FILES   a python package of small modules, importing them all
"""
import os
import random
import sys

WORDS = "static const struct inode return error offset block table count while break lookup commit flush write read".split()


def source(root, files):
    draw = random.Random(4)
    lines = [" ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 10))) + f" /* {n} */;\n" for n in range(2000)]
    for number in range(files):
        folder = os.path.join(root, f"room-{number // 200}", f"part-{number // 25}")
        os.makedirs(folder, exist_ok=True)
        size = min(64 << 10, int(draw.lognormvariate(8.5, 1)) + 200)
        with open(os.path.join(folder, f"file{number}.c"), "w") as f:
            while f.tell() < size:
                f.writelines(draw.sample(lines, 25))


def package(root, files):
    os.makedirs(root)
    for number in range(files):
        if number % 100 == 0:
            folder = os.path.join(root, f"p{number // 100}")
            os.mkdir(folder)
            with open(os.path.join(folder, "__init__.py"), "w") as f:
                f.write("".join(f"from . import m{n}\n" for n in range(number, min(number + 100, files))))
        with open(os.path.join(folder, f"m{number}.py"), "w") as f:
            f.write(f"NUMBER = {number}\n\n\ndef double():\n    return 2 * NUMBER\n")
    with open(os.path.join(root, "__init__.py"), "w") as f:
        f.write("".join(f"from . import p{n}\n" for n in range((files + 99) // 100)))


if __name__ == "__main__":
    {"source": source, "package": package}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
