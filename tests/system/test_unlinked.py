"""A file that is unlinked while it is open, on whichever mount, lives until the last of them closes it; then its space is given back."""

import mmap
import os
import shutil
import signal
import subprocess

import pytest

import cluster as clusters

BIG = os.urandom(3 << 20)


def inodes(mount):
    s = os.statvfs(mount.path)
    return s.f_files - s.f_ffree


def given_back(mount, count, seconds=20):
    clusters.wait_until(f"{count} inodes to be left", lambda: inodes(mount) == count, seconds)


@pytest.fixture
def two(make_cluster):
    c = make_cluster(3)
    c.wait_formed()
    return c, c.mount("a"), c.mount("b")


@pytest.mark.parametrize("options", [(), ("-o", "noepoch"), ("-o", "reads=any")], ids=["default", "noepoch", "reads=any"])
def test_unlinked_there_and_open_here(make_cluster, options):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a", *options), c.mount("b", *options)
    left = inodes(a)
    (a / "f").write_bytes(BIG)
    with open(b / "f", "r+b", buffering=0) as mine:
        (a / "f").unlink()
        assert not (b / "f").exists() and not (a / "f").exists()
        (a / "f").write_text("another one")
        os.unlink(a / "f")
        assert os.fstat(mine.fileno()).st_nlink == 0
        assert os.pread(mine.fileno(), len(BIG), 0) == BIG
        os.pwrite(mine.fileno(), b"new", 5)
        os.fsync(mine.fileno())
        os.pwrite(mine.fileno(), b"end", len(BIG))
        assert os.fstat(mine.fileno()).st_size == len(BIG) + 3
        assert os.pread(mine.fileno(), 10, 0) == BIG[:5] + b"new" + BIG[8:10]
        with open(f"/proc/self/fd/{mine.fileno()}", "rb") as again:  # who has it open may open it again
            assert again.read(5) == BIG[:5]
        given_back(a, left + 1)
    given_back(a, left)


def test_replaced_there_and_open_here(two):
    c, a, b = two
    left = inodes(a)
    (a / "f").write_text("old")
    with open(b / "f") as mine, open(a / "f") as theirs:
        (a / "new").write_text("new")
        os.rename(a / "new", a / "f")
        assert mine.read() == "old" and theirs.read() == "old"
        assert (b / "f").read_text() == "new"
        given_back(b, left + 2)
    given_back(b, left + 1)


def test_a_program_that_is_replaced_goes_on(two):
    """An upgrade on one mount while it runs from another: the old pages stay what they were."""
    c, a, b = two
    shutil.copy("/bin/sleep", a / "tool")
    running = subprocess.Popen([b / "tool", "600"])
    try:
        clusters.wait_until("it to run", lambda: os.path.samefile(f"/proc/{running.pid}/exe", b / "tool"), 10)
        shutil.copy("/bin/true", a / "tool.new")
        os.rename(a / "tool.new", a / "tool")
        subprocess.run([b / "tool"], check=True, timeout=20 * clusters.PATIENCE)
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def test_mapped_memory_outlives_the_name(two):
    c, a, b = two
    left = inodes(a)
    (a / "f").write_bytes(BIG)
    with open(b / "f", "rb") as f:
        mapped = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    os.unlink(a / "f")
    assert mapped[:] == BIG
    given_back(a, left + 1)
    mapped.close()
    given_back(a, left)


def test_through_changes_of_leaders(two):
    """The new leader does not know who has it open: it asks."""
    c, a, b = two
    left = inodes(a)
    (a / "f").write_bytes(BIG)
    (a / "g").write_bytes(BIG)
    with open(b / "f", "rb") as mine:
        os.unlink(a / "f")
        for _ in range(2):
            node = c.nodes[c.wait_leader()]
            node.kill()
            c.wait_leader(node.id)
            assert os.pread(mine.fileno(), len(BIG), 0) == BIG
            os.unlink(a / "g")
            given_back(a, left + 1)
            (a / "g").write_bytes(BIG)
            node.start()
            c.wait_caught_up()
    os.unlink(a / "g")
    given_back(a, left)


def test_a_mount_that_is_stopped_is_waited_for_and_one_that_is_dead_is_not(make_cluster):
    c = make_cluster(3, ["--session-timeout", "8"])
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    left = inodes(a)
    (a / "f").write_bytes(BIG)
    with open(b / "f", "rb") as mine:
        b.process.signal(signal.SIGSTOP)
        try:
            os.unlink(a / "f")
        finally:
            b.process.signal(signal.SIGCONT)
        assert os.pread(mine.fileno(), len(BIG), 0) == BIG
        given_back(a, left + 1)
        b.process.kill()
    given_back(a, left, 30)


def test_many_at_once(two):
    """Removed by one mount while the other has every tenth open: the rest goes meanwhile."""
    c, a, b = two
    left = inodes(a)
    os.mkdir(a / "d")
    for n in range(1000):
        (a / "d" / str(n)).write_text(str(n))
    held = [open(b / "d" / str(n)) for n in range(0, 1000, 10)]
    shutil.rmtree(a / "d")
    given_back(a, left + 100)
    assert [f.read() for f in held] == [str(n) for n in range(0, 1000, 10)]
    for f in held:
        f.close()
    given_back(a, left)
