#!/usr/bin/env python3
"""Checks what a machine can check: see rules.py for what, and README.md.

    lint.py [--root DIR] [--build DIR]   exit 1 and one line per violation
    lint.py --selftest                   planted violations must be found
"""
import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rules  # noqa: E402


class Tree:
    """The files of a source tree: those git knows or would add, else all but builds."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.files = self._from_git() or self._from_disk()

    def _from_git(self):
        if not os.path.exists(os.path.join(self.root, ".git")):
            return []
        done = subprocess.run(["git", "-c", "safe.directory=*", "-C", self.root, "ls-files", "-co", "--exclude-standard"],
                              capture_output=True, text=True)
        return sorted(f for f in done.stdout.split("\n") if f and os.path.isfile(os.path.join(self.root, f)))

    def _from_disk(self):
        found = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [d for d in folders if not d.startswith((".git", "build", "install"))]
            found += [os.path.relpath(os.path.join(folder, f), self.root) for f in files]
        return sorted(found)

    def text(self, path):
        with open(os.path.join(self.root, path), errors="replace") as f:
            return f.read()

    def sources(self, under):
        return [f for f in self.files if f.startswith(under) and f.endswith(rules.SOURCE_ENDINGS)]


def room_of(path):
    return path.split("/")[1]


def check_layering(tree):
    for path in tree.sources("src/"):
        room = room_of(path)
        if room not in rules.MAY_INCLUDE:
            yield f"{path}: the room `{room}` is not in tests/lint/rules.py"
            continue
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            match = re.match(r'\s*#\s*include\s*"([a-z_0-9]+)/', line)
            other = match and match.group(1)
            if other in rules.MAY_INCLUDE and other != room and other not in rules.MAY_INCLUDE[room]:
                yield f"{path}:{number}: {room} must not know {other}"


def without_comments(text):
    """The text with comments blanked, line numbers kept."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def check_flush_instructions(tree):
    pattern = re.compile(rules.FLUSH_PATTERN)
    for path in tree.sources("src/"):
        if room_of(path) == rules.FLUSH_ROOM:
            continue
        for number, line in enumerate(without_comments(tree.text(path)).split("\n"), 1):
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: `{match.group()}` outside src/{rules.FLUSH_ROOM}"


def check_sizes(tree):
    for path in tree.sources("src/") + tree.sources("include/") + tree.sources("tests/") + tree.sources("benchmarks/"):
        count = tree.text(path).count("\n")
        if count > rules.MAX_FILE_LINES:
            yield f"{path}: {count} lines, more than {rules.MAX_FILE_LINES}"


def long_functions(tree):
    """Warnings only: a function is what stands between a `{` line and a `}` in column 0."""
    for path in tree.sources("src/"):
        start = None
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            if start is None and re.match(r"[A-Za-z].*\)[^;]*\{$|  .*\) .*\{$", line) and not line.startswith("namespace"):
                start = number if line[0] != " " else None
            elif line.startswith("}"):
                if start and number - start > rules.LONG_FUNCTION_LINES:
                    yield f"{path}:{start}: a function of {number - start} lines"
                start = None


def check_links(tree):
    for path in tree.files:
        if not path.endswith(".md"):
            continue
        text = re.sub(r"```.*?```|`[^`\n]*`", "", tree.text(path), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                continue
            file = os.path.normpath(os.path.join(tree.root, os.path.dirname(path), target.split("#")[0]))
            if not os.path.exists(file):
                yield f"{path}: dead link {target}"


def check_readme(tree):
    if "README.md" not in tree.files:
        yield "README.md: missing"
        return
    commands = [line for block in re.findall(r"```sh\n(.*?)```", tree.text("README.md"), re.S)
                for line in block.split("\n") if line.strip()]
    if commands != rules.README_COMMANDS:
        yield f"README.md: its commands are {commands}, not {rules.README_COMMANDS}"
    for room in sorted({room_of(f) for f in tree.sources("src/")}):
        if f"src/{room}/README.md" not in tree.files:
            yield f"src/{room}: the room has no README.md"


def check_unfinished(tree):
    pattern = re.compile(rules.UNFINISHED)
    for path in tree.files:
        if path.endswith((".png", ".svg", ".img", ".gz")) or path.startswith("tests/lint/"):
            continue
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            if pattern.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()[:80]}"


def find_built(build, name):
    for folder, folders, files in os.walk(build):
        folders[:] = [d for d in folders if d not in ("CMakeFiles", "_deps")]
        if name in files:
            return os.path.join(folder, name)
    return None


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exported_symbols(library):
    names = set()
    for line in output_of("nm", "-D", "--defined-only", library).split("\n"):
        parts = line.split()
        if len(parts) == 3 and parts[1] not in "Aa":
            names.add(parts[2].split("@")[0])
    return names


def check_needed(library):
    for needed in re.findall(r"\(NEEDED\).*\[(.*?)\]", output_of("readelf", "-d", library)):
        if needed not in rules.NEEDED:
            yield f"{os.path.basename(library)}: needs {needed}"


def check_exports(library, listed):
    """`listed`: the names it has to export; it exports no other."""
    exported = exported_symbols(library)
    for name in sorted(exported - listed):
        yield f"{os.path.basename(library)}: exports {name}, which is not in tests/lint/exports"
    for name in sorted(listed - exported):
        yield f"{os.path.basename(library)}: does not export {name}"


def listed_exports(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exports", name + ".txt")
    with open(path) as f:
        return {line.strip() for line in f if line.strip() and not line.startswith("#")}


def room_objects(build, room):
    folder = os.path.join(build, "src", room, "CMakeFiles", f"pmemfile_{room}.dir")
    return [os.path.join(d, f) for d, _, files in os.walk(folder) for f in files if f.endswith(".o")]


def libc_symbols():
    """What libc exports: none of it may be called from a hook."""
    library = output_of("gcc", "-print-file-name=libc.so.6").strip()
    return exported_symbols(library)


def check_calls(objects_of, banned=None):
    """objects_of: room -> object files. What hookable rooms leave undefined must be their own; while some rooms
    are not built, at least nothing out of `banned`."""
    defined, undefined = rules.LINKER_SYMBOLS | rules.COMPILER_SYMBOLS, []
    for room, objects in objects_of.items():
        for path in objects:
            for line in output_of("nm", "-P", path).split("\n"):
                parts = line.split()
                if len(parts) >= 2 and parts[1] in "Uw":
                    undefined.append((room, os.path.basename(path), parts[0]))
                elif len(parts) >= 2:
                    defined.add(parts[0])
    for room, path, name in sorted(set(undefined)):
        if banned is not None and name not in banned:
            continue
        if name not in defined and name not in rules.ALLOWED_CALLS.get(room, ()):
            yield f"src/{room}: {path} calls {name}, which is not ours: banned in hookable code"


SOURCE_CHECKS = [check_layering, check_flush_instructions, check_sizes, check_links, check_readme, check_unfinished]


def lint(root, build):
    tree = Tree(root)
    problems = [p for check in SOURCE_CHECKS for p in check(tree)]
    warnings = list(long_functions(tree))
    if build:
        for name in rules.LIBRARIES:
            library = find_built(build, name)
            if library:
                problems += check_needed(library)
                problems += check_exports(library, listed_exports(name))
        # A room that is not a target of this build, yet, has no objects.
        present = {room: room_objects(build, room) for room in rules.HOOKABLE}
        if all(present[room] or not os.path.exists(os.path.join(root, "src", room)) for room in rules.HOOKABLE):
            problems += check_calls(present)
        else:
            warnings.append(f"not all rooms are built in {build}: calls checked against libc's symbols only")
            problems += check_calls(present, libc_symbols())
    return problems, warnings


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--root", default=os.path.join(here, "..", ".."))
    p.add_argument("--build")
    p.add_argument("--selftest", action="store_true")
    args = p.parse_args()
    if args.selftest:
        import selftest
        return selftest.main()
    problems, warnings = lint(args.root, args.build)
    for warning in warnings:
        print(f"warning: {warning}")
    for problem in problems:
        print(problem)
    print(f"{len(problems)} violations, {len(warnings)} warnings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
