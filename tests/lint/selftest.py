"""Each check of the lint finds the violation planted for it, and passes without it."""
import os
import subprocess
import tempfile

import lint

GOOD_README = "# x\n```sh\n./quickstart\n```\n```sh\n./test\n```\n[ok](docs/a.md)\n"
CLEAN = {
    "README.md": GOOD_README, "docs/a.md": "a", "src/base/README.md": "b", "src/dir/README.md": "d",
    "src/pmem/README.md": "p", "src/base/b.cc": "int b;\n", "src/dir/d.cc": '#include "inode/inode.h"\n',
    "src/pmem/p.cc": 'asm("clwb (%rax)");\n',
}
# name of the check, file, its content, what the report has to name
PLANTED = [
    ("check_layering", "src/base/b.cc", '#include "vfs/vfs.h"\n', "base must not know vfs"),
    ("check_layering", "src/dir/d.cc", '#  include "data/data.h"\n', "dir must not know data"),
    ("check_layering", "src/newroom/n.cc", "", "newroom"),
    ("check_flush_instructions", "src/dir/d.cc", 'asm("clwb %0" : : "m"(x));', "clwb"),
    ("check_flush_instructions", "src/dir/d.cc", "_mm_stream_si64(p, v);", "_mm_stream_si64"),
    ("check_sizes", "src/dir/d.cc", "\n" * 801, "801 lines"),
    ("check_links", "docs/a.md", "[gone](b.md)", "dead link b.md"),
    ("check_links", "docs/a.md", "[gone](../nothing/b.md#part)", "dead link"),
    ("check_readme", "README.md", GOOD_README + "```sh\nmake\n```\n", "its commands are"),
    ("check_readme", "README.md", "# x\n", "its commands are"),
    ("check_readme", "src/alloc/a.cc", "", "no README.md"),
    ("check_unfinished", "src/dir/d.cc", "// TO" "DO: more\n", "unfinished"),
    ("check_unfinished", "docs/a.md", "FIX" "ME\n", "unfinished"),
]


def write(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as f:
            f.write(text)


def compile_library(root, name, code, *flags):
    write(root, {name + ".c": code})
    path = os.path.join(root, name)
    subprocess.run(["gcc", "-fPIC", "-o", path, path + ".c", *flags], check=True)
    return path


def main():
    failures = []

    def expect(what, found, problems):
        if not found:
            failures.append(what)
            print(f"FAILED: {what}: {problems}")

    with tempfile.TemporaryDirectory() as work:
        clean = os.path.join(work, "clean")
        write(clean, CLEAN)
        for check in lint.SOURCE_CHECKS:
            problems = list(check(lint.Tree(clean)))
            expect(f"{check.__name__} passes a clean tree", not problems, problems)
        for number, (name, path, text, report) in enumerate(PLANTED):
            root = os.path.join(work, f"planted{number}")
            write(root, {**CLEAN, path: text})
            problems = list(getattr(lint, name)(lint.Tree(root)))
            expect(f"{name} finds {report!r}", any(report in p for p in problems), problems)
        long = "int f() {\n" + "  x;\n" * 80 + "}\n"
        write(clean, {"src/dir/d.cc": long})
        expect("long_functions warns", list(lint.long_functions(lint.Tree(clean))), "")

        good = compile_library(work, "good.so", "int listed(void) { return 1; }", "-shared")
        expect("a good library needs libc only", not list(lint.check_needed(good)), list(lint.check_needed(good)))
        expect("its exports are right", not list(lint.check_exports(good, {"listed"})), "")
        expect("a missing export is found", list(lint.check_exports(good, {"listed", "more"})), "")
        bad = compile_library(work, "bad.so", "#include <math.h>\nint listed(double* x) { *x = cos(*x); return 1; } int extra;",
                              "-shared", "-fno-builtin", "-Wl,--no-as-needed", "-lm")
        expect("a needed library is found", any("libm" in p for p in lint.check_needed(bad)), "")
        expect("an export too many is found", any("extra" in p for p in lint.check_exports(bad, {"listed"})), "")
        one = compile_library(work, "one.o", "void two(void); void one(void) { two(); }", "-c")
        two = compile_library(work, "two.o", "void two(void) { }", "-c")
        three = compile_library(work, "three.o", "void* malloc(unsigned long); void* three(void) { return malloc(3); }", "-c")
        expect("calls among rooms pass", not list(lint.check_calls({"dir": [one], "base": [two]})), "")
        expect("a call of libc is found", any("malloc" in p for p in lint.check_calls({"dir": [one, two, three]})), "")
        expect("also while rooms are missing", list(lint.check_calls({"dir": [one, three]}, lint.libc_symbols())), "")
        expect("but not a room's call", not list(lint.check_calls({"dir": [one]}, lint.libc_symbols())), "")
        expect("unless it is allowed", not list(lint.check_calls({"api": [two, three]})), "")
    print("ok" if not failures else f"{len(failures)} failures")
    return 1 if failures else 0
