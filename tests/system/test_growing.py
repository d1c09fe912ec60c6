"""Who reads a file that another mount goes on writing finds all that had been synced before the read began: up to its end, and at once. The
kernel drops answers that are overtaken by an invalidation, and would read by what it believed before (fusefs/invalidate.h)."""

import os
import pathlib
import subprocess

import pytest

import cluster as clusters
from test_coherence import PYTHON
from test_counters import KINDS, Counter, wrong

CLIENT = pathlib.Path(__file__).with_name("tail_client.py")
SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "4"))
ROUNDS = 6
pytestmark = pytest.mark.timeout(300 + 3 * SECONDS)


def tail(c, kind, path, shared):
    return subprocess.Popen([PYTHON, CLIENT, kind, path, shared, str(SECONDS)], stdout=subprocess.PIPE, text=True)


def test_the_end_is_seen(make_cluster):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    (a / "log").write_bytes(b"")
    shared = c.dir / "synced"
    shared.write_bytes(bytes(8))
    programs = [tail(c, "write", a / "log", shared), tail(c, "read", b / "log", shared)]
    try:
        said = [p.communicate(timeout=60 * clusters.PATIENCE + SECONDS)[0].splitlines() for p in programs]
    finally:
        for p in programs:
            p.kill()
            p.wait()
    lines, reads = (int(s[-1].split()[0]) for s in said)
    assert lines > 0 and reads > 0
    assert len(said[1]) == 1, f"{len(said[1]) - 1} of {reads} reads, {lines} lines: " + "; ".join(said[1][:5])


def test_what_is_mapped_is_seen(make_cluster):
    """Nobody asks for attributes then, so the mount has to drop the pages by itself, also while somebody reads the file all the time."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    (a / "f").write_bytes(b"%8d" % 0)
    shared = c.dir / "synced"
    shared.write_bytes(bytes(8))
    program = ("import mmap, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nm = mmap.mmap(fd, 8, prot=mmap.PROT_READ)\n"
               "for line in sys.stdin:\n    while m[:8] != b'%8d' % int(line):\n        os.pread(fd, 8, 0) if sys.argv[2] == 'reads' else None\n"
               "    print('seen', flush=True)\n")
    for how in ("maps", "reads"):
        p = subprocess.Popen([PYTHON, "-c", program, b / "f", how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            for n in range(1, 6):
                with open(a / "f", "r+b") as f:
                    f.write(b"%8d" % n)
                p.stdin.write(f"{n}\n")
                p.stdin.flush()
                assert p.stdout.readline() == "seen\n"
        finally:
            p.kill()
            p.wait()


def test_the_first_under_a_lock(make_cluster):
    """A file that was empty a moment ago: its first writers add to what was synced under the lock before, as all later ones."""
    c = make_cluster(3)
    c.wait_formed()
    mounts = [c.mount(name) for name in "abc"]
    for n in range(ROUNDS):
        for kind in KINDS:
            (mounts[0] / f"{kind}{n}").write_bytes(b"")
        counters = [Counter(c, kind, f"{kind}{n}", mounts, n) for kind in KINDS]
        try:
            for counter in counters:
                counter.wait_for(10, 60)
        finally:
            for counter in counters:
                counter.stop()
        for counter in counters:
            there = int((mounts[0] / f"{counter.kind}{n}").read_bytes())
            assert not wrong(counter.additions(), there), f"round {n}, {counter.kind}: {wrong(counter.additions(), there)}"
            for file in counter.files:
                file.unlink()
