"""Fills a file system to four fifths and churns it: age.py DIR [FRACTION]. Works on any; the same files every time."""
import os
import random
import sys


class Ager:
    def __init__(self, root, fraction):
        self.root, self.fraction, self.draw = root, fraction, random.Random(8)
        self.files, self.number = [], 0
        self.bytes = os.urandom(1 << 20)

    def used(self):
        space = os.statvfs(self.root)
        return 1 - space.f_bfree / space.f_blocks

    def fill(self):
        while self.used() < self.fraction:
            for _ in range(50):
                folder = os.path.join(self.root, f"old{self.number % 40}")
                os.makedirs(folder, exist_ok=True)
                path = os.path.join(folder, f"f{self.number}")
                with open(path, "wb") as f:
                    f.write(self.bytes[:min(1 << 20, int(self.draw.lognormvariate(9.5, 1.5)))])
                self.files.append(path)
                self.number += 1

    def thin(self):
        self.draw.shuffle(self.files)
        keep = len(self.files) * 2 // 3
        for path in self.files[keep:]:
            os.unlink(path)
        del self.files[keep:]


if __name__ == "__main__":
    ager = Ager(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.8)
    for _ in range(4):
        ager.fill()
        ager.thin()
    ager.fill()
