"""What the lint checks, as data. docs/architecture.md has the picture."""

# Which rooms a room's files may include. A room always may include itself.
# base <- pmem <- journal <- alloc <- inode <- dir, data <- vfs <- api <- fsck, tools;
# layout and shm stand beside pmem; intercept and preload knows no room of the
# file system below vfs.
_BELOW_JOURNAL = {"base", "pmem", "layout", "shm"}
_BELOW_INODE = _BELOW_JOURNAL | {"journal", "alloc"}
_BELOW_VFS = _BELOW_INODE | {"inode", "dir", "data"}
MAY_INCLUDE = {
    "base": set(),
    "pmem": {"base"},
    "layout": {"base"},
    "shm": {"base", "layout"},
    "journal": _BELOW_JOURNAL,
    "alloc": _BELOW_JOURNAL | {"journal"},
    "inode": _BELOW_INODE,
    "dir": _BELOW_INODE | {"inode"},
    "data": _BELOW_INODE | {"inode"},
    "vfs": _BELOW_VFS,
    "api": _BELOW_VFS | {"vfs"},
    "fsck": _BELOW_VFS | {"vfs", "api"},
    "tools": _BELOW_VFS | {"vfs", "api", "fsck"},
    "fuse": _BELOW_VFS | {"vfs", "api"},
    "intercept": {"base"},
    "preload": {"base", "vfs", "api", "intercept"},
}

# Rooms whose code runs inside other people's processes, and the undefined
# symbols their objects may have besides what the rooms define themselves.
HOOKABLE = ["base", "pmem", "layout", "shm", "journal", "alloc", "inode", "dir", "data", "vfs", "api",
            "intercept", "preload"]
LINKER_SYMBOLS = {"_GLOBAL_OFFSET_TABLE_", "_DYNAMIC", "__ehdr_start", "_end", "_etext", "__dso_handle"}
# Pure functions of libgcc, linked in statically.
COMPILER_SYMBOLS = {"__popcountdi2"}
ALLOWED_CALLS = {
    # Where the vDSO is: a table of the dynamic linker, asked once at attach.
    "base": {"getauxval"},
    # The C ABI, which is called by programs, never from a hook: errno and its text, malloc'ed results, fork.
    "api": {"__errno_location", "malloc", "free", "strerrordesc_np", "pthread_atfork", "__tls_get_addr",
            "getenv"},  # PMEMFILE_SHM_DIR: the same V as everybody
    # Data of the dynamic linker, not calls: the list of loaded objects, the end of the stack,
    # what it found out about the processor and the auxiliary vector: tables, asked at start.
    "intercept": {"_r_debug", "__libc_stack_end", "__x86_get_cpuid_feature_leaf", "getauxval", "__tls_get_addr"},
    "preload": {"__tls_get_addr"},
}

# Only src/pmem flushes, fences stores or goes around the caches.
FLUSH_ROOM = "pmem"
FLUSH_PATTERN = (r"\b(clwb|clflush(opt)?|sfence|movnt(i|q|dq|ps|pd)|_mm_(stream|clwb|clflush|sfence)\w*"
                 r"|__builtin_ia32_(clwb|clflush\w*|sfence|movnt\w*))\b")

# Libraries that are loaded into other people's processes.
LIBRARIES = ["libpmemfile.so", "libpmemfile-core.so", "libcintercept.so"]
NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2"}

SOURCE_ENDINGS = (".cc", ".h", ".S", ".c")
MAX_FILE_LINES = 800
LONG_FUNCTION_LINES = 70
README_COMMANDS = ["./quickstart", "./test"]
UNFINISHED = r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b"
