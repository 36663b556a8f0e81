"""One case: a shell script and what its opening comments say about it.

    # needs: git sqlite3      programs it runs (missing ones are an error)
    # timeout: 60             seconds on each side (default 30)
    # exit: 3                 the exit status it ends with (default 0)
    # user: postgres          run as that user when started by root
    # pool: 512M              size of the pool (default 256M)
    # contents-vary: GLOB     files whose size and contents depend on time or pid
    # nightly                 not in the ordinary run
"""
import shutil

from side import PATH


class Case:
    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.needs = []
        self.timeout = 30.0
        self.exit = 0
        self.user = None
        self.pool_size = "256M"
        self.contents_vary = []
        self.nightly = False
        with open(path) as f:
            for line in f:
                if not line.startswith("#"):
                    break
                self._header(line[1:].strip())

    def _header(self, line):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if line == "nightly":
            self.nightly = True
        elif not colon:
            return
        elif key == "needs":
            self.needs += value.split()
        elif key == "timeout":
            self.timeout = float(value)
        elif key == "exit":
            self.exit = int(value)
        elif key == "user":
            self.user = value
        elif key == "pool":
            self.pool_size = value
        elif key == "contents-vary":
            self.contents_vary += value.split()

    def missing_programs(self):
        return [n for n in self.needs if not shutil.which(n, path=PATH)]
