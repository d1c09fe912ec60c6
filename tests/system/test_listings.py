"""The kernel's own copies of listings (fusefs/listings.h): as new as everything else that a mount is told, whatever handle is read
and whatever other mounts do to the directory, its times included."""

import os
import pathlib
import signal
import threading

import pytest

import cluster as clusters

MODES = [(), ("-o", "noepoch"), ("-o", "reads=any"), ("-o", "inodes=1000")]
MODE_NAMES = ["default", "noepoch", "reads=any", "few"]
ROUNDS = int(os.environ.get("SURF_ROUNDS", "300"))
SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "5"))


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def mounts(make_cluster, request):
    c = make_cluster(3)
    c.wait_formed()
    return c, c.mount("a", *request.param), c.mount("b", *request.param)


def reads(mount):
    """What the process has read so far: with one read(2) for each request of the kernel."""
    for line in pathlib.Path(f"/proc/{mount.process.pid}/io").read_text().splitlines():
        if line.startswith("syscr:"):
            return int(line.split()[1])
    return 0


def names(directory):
    """Of a path or of a descriptor, which is listed from the start; each once."""
    listed = os.listdir(directory)
    assert len(listed) == len(set(listed))
    return set(listed)


def test_a_handle_that_was_opened_before_is_listed_anew(mounts):
    _, a, b = mounts
    os.mkdir(a / "d")
    there = set()
    held = os.open(b / "d", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for n in range(ROUNDS):
            name, new = f"f{n % 20}", f"n{n}"
            if name in there:
                os.rename(a / "d" / name, a / "d" / new)
                there = there - {name} | {new}
            elif n % 5 == 4:
                gone = there.pop()
                os.unlink(a / "d" / gone)
            else:
                open(a / "d" / name, "x").close()
                there.add(name)
            assert names(held) == there, f"round {n}"
            assert names(b / "d") == there, f"round {n}"
            assert names(held) == there, f"round {n}"  # and what is read again
    finally:
        os.close(held)


@pytest.mark.parametrize("holds", [True, False], ids=["handle", "path"])
def test_a_time_that_was_set_back_hides_nothing(mounts, holds):
    """As archivers and rsync do it: the directory gets the mtime that it had when it was listed."""
    _, a, b = mounts
    os.mkdir(a / "d")
    open(a / "d" / "first", "x").close()
    there = {"first"}
    listed = os.open(b / "d", os.O_RDONLY | os.O_DIRECTORY) if holds else b / "d"
    try:
        for n in range(30):
            assert names(listed) == there and names(listed) == there
            was = os.stat(b / "d")
            open(a / "d" / f"f{n}", "x").close()
            os.utime(a / "d", ns=(was.st_atime_ns, was.st_mtime_ns))
            there.add(f"f{n}")
            assert os.stat(b / "d").st_mtime_ns == was.st_mtime_ns
            assert names(listed) == there, f"round {n}"
    finally:
        if holds:
            os.close(listed)


def test_a_listing_that_was_begun_goes_on(mounts):
    """Entries that stay are seen exactly once by who has stopped in the middle, when its kernel has copied the directory meanwhile."""
    _, a, b = mounts
    os.mkdir(a / "d")
    kept = {f"kept{n}" for n in range(1500)}
    for name in kept | {f"gone{n}" for n in range(300)}:
        open(a / "d" / name, "x").close()
    for _ in range(3):
        with os.scandir(b / "d") as entries:
            seen = [next(entries).name for _ in range(40)]
            names(b / "d")
            for n in range(0, 300, 7):
                (a / "d" / f"gone{n}").unlink(missing_ok=True)
            names(b / "d")
            seen += [entry.name for entry in entries]
        assert len(seen) == len(set(seen)) and kept <= set(seen)
        assert names(b / "d") == names(a / "d")


def test_a_stopped_mount_lists_what_is_there(mounts):
    c, a, b = mounts
    os.mkdir(a / "d")
    open(a / "d" / "old", "x").close()
    held = os.open(b / "d", os.O_RDONLY | os.O_DIRECTORY)
    try:
        old = "old"
        for new in ("new", "newer", "newest"):
            assert names(held) == names(b / "d") == {old}
            was = os.stat(b / "d")
            b.process.signal(signal.SIGSTOP)
            open(a / "d" / new, "x").close()
            os.unlink(a / "d" / old)
            os.utime(a / "d", ns=(was.st_atime_ns, was.st_mtime_ns))
            b.process.signal(signal.SIGCONT)
            assert names(held) == {new}, "the handle that was open"
            assert names(b / "d") == {new}
            old = new
    finally:
        os.close(held)


def test_many_list_while_it_changes(mounts):
    """What was there before a listing began, and still is when it ends, is in it; what was gone before is not."""
    _, a, b = mounts
    os.mkdir(a / "d")
    made, gone, stop, wrong = [0], [-1], threading.Event(), []

    def change():
        n = 0
        while not stop.is_set():
            open(a / "d" / str(n), "x").close()
            made[0] = n + 1
            if n >= 60:
                os.unlink(a / "d" / str(n - 60))
                gone[0] = n - 60
            n += 1

    def look(directory):
        while not stop.is_set():
            first, last = gone[0], made[0]
            seen = {int(name) for name in names(directory)}
            missing = set(range(gone[0] + 2, last)) - seen
            old = {n for n in seen if n <= first}
            if missing or old:
                wrong.append((missing, old))
                stop.set()

    held = [os.open(b / "d", os.O_RDONLY | os.O_DIRECTORY) for _ in range(2)]
    threads = [threading.Thread(target=change)] + [threading.Thread(target=look, args=(d,)) for d in (b / "d", b / "d", *held)]
    for thread in threads:
        thread.start()
    stop.wait(SECONDS / 2)  # as long as nothing is wrong
    stop.set()
    for thread in threads:
        thread.join(30 * clusters.PATIENCE)
        assert not thread.is_alive()
    for fd in held:
        os.close(fd)
    assert not wrong, wrong


def test_a_copy_is_used(make_cluster):
    """Neither mount nor metastore is asked for entries."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    os.mkdir(a / "d")
    for n in range(1000):
        open(a / "d" / f"f{n}", "x").close()

    def cheap():
        """Besides opendir, releasedir and now and then a look at the directory's attributes, there is what keeps the lease, as often as
        it takes us to list it; and on a busy machine it may end."""
        names(b / "d")
        names(b / "d")
        before = reads(b)
        for _ in range(20):
            names(b / "d")
        return reads(b) - before < 20 * 6

    clusters.wait_until("twenty listings that cost next to nothing", cheap)
