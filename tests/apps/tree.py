"""The listing of a tree that a case leaves, made comparable.

The listing is made on each side by the same programs (find, sha256sum), as an
ordinary process of that side. What may differ between a pool and tmpfs is
this list and nothing else, the same for all tests that compare:

  * the order of readdir            -> the listing is sorted
  * inode numbers and st_dev        -> not printed
  * the size of a directory         -> not printed
  * st_blocks                       -> not printed

and times of the present, which differ between any two runs: a time stamp
later than the start of the tests is printed as `now`.
"""
import fnmatch
import time

# NUL-separated: names may hold anything else.
LIST_COMMAND = (
    r"""find . -mindepth 0 -printf '%y %m %n %U:%G %T@ %s\t%P\t%l\0' && printf 'SUMS\0' && """
    r"""find . -type f -print0 | xargs -0 -r sha256sum -z --""")

START = time.time() - 86400


def _show(name):
    return name.decode("utf-8", "backslashreplace").encode("unicode_escape").decode()


def comparable(raw, contents_vary):
    """The text to compare, from what LIST_COMMAND printed."""
    entries, _, sums = raw.partition(b"SUMS\0")
    digest = {}
    for item in sums.split(b"\0"):
        if item:
            value, _, name = item.partition(b"  ")
            digest[name[2:] if name.startswith(b"./") else name] = value.decode()[:16]
    lines = []
    for entry in entries.split(b"\0"):
        if not entry:
            continue
        attributes, name, target = entry.split(b"\t", 2)
        kind, mode, links, owner, mtime, size = attributes.decode().split()
        if float(mtime) > START:
            mtime = "now"
        shown = _show(name) or "."
        vary = any(fnmatch.fnmatch(shown, glob) for glob in contents_vary)
        if kind == "d":
            size = "-"
        elif vary:
            size = "varies"
        line = f"{shown} {kind} {mode} links={links} {owner} {mtime} size={size}"
        if target:
            line += f" -> {_show(target)}"
        if kind == "f":
            line += " " + ("varies" if vary else digest.get(name, "UNREADABLE"))
        lines.append(line)
    return "\n".join(sorted(lines)) + "\n"
