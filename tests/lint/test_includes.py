"""Who may include whom (ARCHITECTURE.md): the tree reads left to right, and nothing points back."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> what its files may include: folders, or single headers.
ALLOWED = {
    "base": [],
    "raft": ["base"],
    "rpc": ["base"],
    "meta": ["base"],
    "blockstore": ["base"],
    "raftlog": ["base", "raft/raft.h"],
    "durability": ["base", "raft/raft.h", "raftlog"],
    "snapshot": ["base", "raftlog", "raft/raft.h"],
    "trace": ["base", "rpc", "meta/types.h"],
    "proto": ["base", "raft/raft.h", "meta/types.h", "replica/message.h", "durability/quorum.h"],
    "replica": ["base", "raft", "raftlog", "snapshot", "durability", "meta", "proto"],
    "daemon": ["base", "raft", "raftlog", "snapshot", "rpc", "meta", "blockstore", "proto", "replica",
               "gateway/gateway.h", "trace"],
    "gateway": ["base", "rpc", "proto", "client", "meta/types.h"],
    "client": ["base", "rpc", "trace", "proto", "meta/types.h", "blockstore/placement.h", "durability/quorum.h"],
    "fusefs": ["base", "rpc", "trace", "proto", "client", "meta/types.h", "meta/acl.h"],
    "sync": ["base", "rpc", "client", "meta/types.h"],
    "admin": ["base", "rpc", "trace", "proto", "client", "sync", "meta/types.h", "blockstore/placement.h"],
}

# The pure folders: no I/O, clock, thread, randomness or foreign library but the one that holds the state.
PURE_ALLOWED_SYSTEM = {
    "raft": {"stdbool.h", "stddef.h", "stdint.h", "string.h", "stdio.h", "inttypes.h", "stdlib.h", "limits.h", "stdarg.h"},
    "meta": {"stdbool.h", "stddef.h", "stdint.h", "string.h", "stdio.h", "inttypes.h", "stdlib.h", "limits.h", "stdarg.h",
             "sys/stat.h", "rocksdb/c.h"},
}
PURE_FORBIDDEN_OURS = {"base/clock.h"}
PURE_FORBIDDEN_CALLS = re.compile(r"\b(errno|pthread_\w+|clock_gettime|time|rand|random|random_bytes|getrandom)\b\s*[(;=)]")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in (".c", ".h"))


def ours(path):
    return path.split("/")[0] in ALLOWED


def test_every_folder_is_known():
    built = re.findall(r"surf_add_folders\(([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    names = {n for group in built for n in group.split()} - {"tests", "bench"}
    assert names == set(ALLOWED)


def test_includes_follow_the_rule():
    wrong = []
    for folder, allowed in ALLOWED.items():
        for source in sources(folder):
            for kind, path in INCLUDE.findall(source.read_text()):
                if kind == "<" or path.endswith(".pb-c.h"):
                    continue
                first = path.split("/")[0]
                if first != folder and first not in allowed and path not in allowed:
                    wrong.append(f"{source.relative_to(ROOT)} includes {path}")
    assert not wrong, "\n".join(wrong)


def test_includes_are_written_from_the_root():
    wrong = [f"{s.relative_to(ROOT)} includes {path}" for f in ALLOWED for s in sources(f)
             for kind, path in INCLUDE.findall(s.read_text())
             if kind == '"' and not path.endswith(".pb-c.h") and not ours(path)]
    assert not wrong, "\n".join(wrong)


def test_protobuf_stays_in_proto():
    wrong = [str(s.relative_to(ROOT)) for f in ALLOWED if f != "proto" for s in sources(f)
             if re.search(r"protobuf-c/|\.pb-c\.h", s.read_text())]
    assert not wrong, "\n".join(wrong)


def test_fuse_stays_in_fusefs():
    wrong = [str(s.relative_to(ROOT)) for f in ALLOWED if f != "fusefs" for s in sources(f)
             if re.search(r"#\s*include\s+<fuse", s.read_text())]
    assert not wrong, "\n".join(wrong)


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return re.sub(r'"(\\.|[^"\\])*"', '""', text)


def test_pure_folders_are_pure():
    wrong = []
    for folder, system in PURE_ALLOWED_SYSTEM.items():
        for source in sources(folder):
            text = source.read_text()
            for kind, path in INCLUDE.findall(text):
                if (kind == "<" and path not in system) or path in PURE_FORBIDDEN_OURS:
                    wrong.append(f"{source.relative_to(ROOT)} includes {path}")
            for number, line in enumerate(without_comments(text).split("\n"), 1):
                if PURE_FORBIDDEN_CALLS.search(line):
                    wrong.append(f"{source.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)
