"""flock and fcntl locks between processes of one mount and of two: they exclude, wait in order, end with who held them, and carry contents."""

import errno
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import pytest

import cluster as clusters
import sqlite_writers

CLIENT = pathlib.Path(__file__).with_name("lock_client.py")


class Locker:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, str(CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def tell(self, *command):
        self.process.stdin.write(json.dumps([str(c) if isinstance(c, pathlib.Path) else c for c in command]) + "\n")
        self.process.stdin.flush()

    def answered(self, seconds=0):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def answer(self, seconds=30):
        assert self.answered(seconds * clusters.PATIENCE), "no answer"
        return json.loads(self.process.stdout.readline())

    def ask(self, *command, seconds=30):
        self.tell(*command)
        return self.answer(seconds)

    def do(self, *command, seconds=30):
        status, value = self.ask(*command, seconds=seconds)
        assert status == "ok", (command, status)
        return value

    def status(self, *command, seconds=30):
        return self.ask(*command, seconds=seconds)[0]

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def lockers():
    made = []

    def make(count):
        made.extend(Locker() for _ in range(count))
        return made[-count:]

    yield make
    for locker in made:
        locker.kill()


@pytest.fixture
def two(make_cluster):
    c = make_cluster(3)
    c.wait_formed()
    return c, c.mount("a"), c.mount("b")


def held(cluster):
    """[held, waited for] over all sessions; None while nobody leads who could say it."""
    sessions = cluster.status().get("sessions")
    return None if sessions is None else [sum(s["locks"] for s in sessions), sum(s["waits"] for s in sessions)]


def wait_held(cluster, locks, waits, seconds=20):
    clusters.wait_until(f"{locks} locks and {waits} waiting", lambda: held(cluster) == [locks, waits], seconds)


def test_exclusion_and_ranges(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    p.do("lock", f, "w", 10, 10)
    assert q.status("lock", g, "w", 0, 0) == "EAGAIN"
    assert q.status("lock", g, "r", 19, 1) == "EAGAIN"
    q.do("lock", g, "w", 20, 0)
    q.do("lock", g, "w", 0, 10)
    assert q.do("get", g, "r", 0, 0) == ["w", 10, 10, 0]
    assert p.do("get", f, "r", 0, 0) == ["w", 0, 10, 0]
    p.do("lock", f, "u", 12, 4)  # splits
    q.do("lock", g, "w", 12, 4)
    assert q.status("lock", g, "w", 11, 1) == "EAGAIN"
    p.do("lock", f, "r", 10, 2)  # down
    q.do("lock", g, "r", 10, 2)
    assert p.status("lock", f, "w", 10, 2) == "EAGAIN"
    p.do("lock", f, "u")
    q.do("lock", g, "w", 0, 0)
    q.do("lock", g, "u")
    wait_held(c, 0, 0)
    q.do("flock", g, "w")  # the two kinds don't know each other
    p.do("lock", f, "w")
    assert p.status("flock", f, "r") == "EAGAIN"
    q.do("flock", g, "r")
    p.do("flock", f, "r")
    assert p.status("flock", f, "w") == "EAGAIN"
    assert q.status("lock", g, "w", (1 << 63) - 1, 1) == "EAGAIN"


def test_two_processes_of_one_mount(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", a / "f")
    p.do("lock", f, "w", 5, 5)
    assert q.do("get", g, "w", 0, 0) == ["w", 5, 5, p.process.pid]
    q.tell("wait", g, "w")
    wait_held(c, 1, 1)
    assert not q.answered()
    p.do("lock", f, "u")
    assert q.answer() == ["ok", None]


@pytest.mark.parametrize("where", ["one", "other"])
@pytest.mark.parametrize("flock", [False, True], ids=["fcntl", "flock"])
def test_a_counter(two, lockers, flock, where):
    c, a, b = two
    (a / "n").write_text("0")
    four = lockers(4)
    for i, p in enumerate(four):
        p.tell("count", (b if i % 2 and where == "other" else a) / "n", 100, flock)
    for p in four:
        assert p.answer(120) == ["ok", None]
    assert (a / "n").read_text() == (b / "n").read_text() == "400"
    wait_held(c, 0, 0)


def test_waiting_in_order(two, lockers):
    c, a, b = two
    first, *others = lockers(4)
    fd = first.do("open", a / "f")
    first.do("lock", fd, "w")
    for i, p in enumerate(others):
        g = p.do("open", (b if i % 2 else a) / "f")
        p.tell("wait", g, "w")
        wait_held(c, 1, i + 1)
    first.do("lock", fd, "u")
    for i, p in enumerate(others):
        assert p.answer() == ["ok", None]
        assert not any(o.answered() for o in others[i + 1:])
        p.do("close", g)


def test_a_signal_ends_the_waiting(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    p.do("lock", f, "w")
    p.do("flock", f, "w")
    for _ in range(5):
        begun = time.monotonic()
        assert q.ask("wait", g, "w", 0, 0, 0.05)[0] == "EINTR"
        assert q.ask("flock", g, "w", True, 0.05)[0] == "EINTR"
        assert time.monotonic() - begun < 5 * clusters.PATIENCE
    wait_held(c, 2, 0)
    p.do("close", f)
    q.do("wait", g, "w")
    q.do("flock", g, "w", True)
    wait_held(c, 2, 0)


def test_a_waiter_that_is_killed(two, lockers):
    c, a, b = two
    p, q, r = lockers(3)
    f, g, h = p.do("open", a / "f"), q.do("open", b / "f"), r.do("open", b / "f")
    p.do("lock", f, "w")
    q.tell("wait", g, "w")
    wait_held(c, 1, 1)
    r.tell("wait", h, "w")
    wait_held(c, 1, 2)
    q.kill()
    wait_held(c, 1, 1)
    p.kill()
    assert r.answer() == ["ok", None]
    wait_held(c, 1, 0)


def test_deadlock(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    p.do("lock", f, "w", 0, 1)
    q.do("lock", g, "w", 1, 1)
    p.tell("wait", f, "w", 1, 1)
    wait_held(c, 2, 1)
    assert q.status("wait", g, "w", 0, 1) == errno.errorcode[errno.EDEADLK]
    q.do("lock", g, "u")
    assert p.answer() == ["ok", None]


def test_closing(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    g = q.do("open", b / "f")
    f, again = p.do("open", a / "f"), p.do("open", a / "f")
    p.do("lock", f, "w")
    p.do("flock", f, "w")
    assert [q.status("lock", g, "w"), q.status("flock", g, "w")] == ["EAGAIN", "EAGAIN"]
    p.do("close", again)  # any descriptor of the file
    q.do("lock", g, "w")
    assert q.status("flock", g, "w") == "EAGAIN"
    copy = p.do("dup", f)
    p.do("close", f)
    assert q.status("flock", g, "w") == "EAGAIN"  # the description is open still
    p.do("close", copy)
    clusters.wait_until("the flock to go", lambda: q.status("flock", g, "w") == "ok")
    q.do("close", g)
    wait_held(c, 0, 0)


def test_through_a_handle_for_reading(two, lockers):
    c, a, b = two
    (a / "f").write_text("x")
    p, q = lockers(2)
    f, g = p.do("open", a / "f", "r"), q.do("open", b / "f")
    p.do("lock", f, "r")
    assert q.status("lock", g, "w") == "EAGAIN"
    p.do("close", f)
    clusters.wait_until("the lock to go", lambda: q.status("lock", g, "w") == "ok")


def test_locks_of_descriptions(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, other, g = p.do("open", a / "f"), p.do("open", a / "f"), q.do("open", b / "f")
    p.do("ofd", f, "w", 0, 10)
    assert p.status("ofd", other, "w", 0, 10) == "EAGAIN"
    assert q.status("lock", g, "w", 0, 1) == "EAGAIN"
    p.do("close", other)
    assert q.status("lock", g, "w", 0, 1) == "EAGAIN"
    p.do("close", f)
    clusters.wait_until("the lock to go", lambda: q.status("lock", g, "w", 0, 1) == "ok")


def test_contents_under_locks(two, lockers):
    """Without closing or syncing: who gets the lock reads what was written under it before."""
    c, a, b = two
    (a / "f").write_text("000")
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    for i in range(1, 50):
        who, fd = (p, f) if i % 2 else (q, g)
        who.do("wait", fd, "w")
        assert who.do("read", fd, 0, 3) == f"{i - 1:03}"
        who.do("write", fd, 0, f"{i:03}")
        who.do("lock", fd, "u")


def test_a_mount_that_is_killed(make_cluster, lockers):
    c = make_cluster(3, extra=("--session-timeout", "2"))
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    p.do("lock", f, "w")
    p.do("flock", f, "w")
    q.tell("wait", g, "w")
    wait_held(c, 2, 1)
    a.process.kill()
    assert q.answer(30) == ["ok", None]
    q.do("flock", g, "w", True)


def test_a_mount_that_is_unmounted(two, lockers):
    c, a, b = two
    p, q = lockers(2)
    f, g = p.do("open", a / "f"), q.do("open", b / "f")
    p.do("lock", f, "w")
    q.tell("wait", g, "w")
    wait_held(c, 1, 1)
    subprocess.run(["umount", "-l", str(a.path)], check=True)
    p.kill()
    assert q.answer(30) == ["ok", None]


def test_a_mount_that_sleeps_too_long(make_cluster, lockers):
    """Its locks go to others; what it had not committed is refused, and so is all I/O of who held the lock."""
    c = make_cluster(3, extra=("--session-timeout", "3"))
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    (a / "f").write_text("before")
    (a / "plain").write_text("before")
    p, q = lockers(2)
    f, plain = p.do("open", a / "f"), p.do("open", a / "plain")
    p.do("wait", f, "w")
    p.do("write", plain, 0, "a late")
    p.do("write", f, 0, "a late")
    a.process.signal(signal.SIGSTOP)  # before anybody looks at the file, which would have it committed
    g = q.do("open", b / "f")
    q.tell("wait", g, "w")  # on a slow machine the session may be over by then
    assert q.answer(30) == ["ok", None]
    q.do("write", g, 0, "theirs")
    q.do("fsync", g)
    a.process.signal(signal.SIGCONT)
    clusters.wait_until("the loss to be known", lambda: p.status("read", f, 0, 6) == "EIO")
    assert p.status("fsync", f) == "EIO"
    assert p.status("write", f, 0, "a late") == "EIO"
    assert p.status("fsync", plain) == "EIO"
    assert p.status("lock", f, "w", 0, 1) == "EIO"
    p.ask("close", f)
    f = p.do("open", a / "f")
    assert p.do("read", f, 0, 6) == "theirs"
    assert p.status("lock", f, "w") == "EAGAIN"
    q.do("close", g)
    p.do("wait", f, "w")
    p.do("write", plain, 0, "anew!!")
    p.do("fsync", plain)
    assert (b / "plain").read_text() == "anew!!" and (b / "f").read_text() == "theirs"


def test_failover(two, lockers):
    c, a, b = two
    p, q, r = lockers(3)
    f, g, h = p.do("open", a / "f"), q.do("open", b / "f"), r.do("open", b / "f")
    for _ in range(3):
        p.do("wait", f, "w")
        q.tell("wait", g, "w")
        wait_held(c, 1, 1)
        leader = c.wait_leader()
        c.nodes[leader].kill()
        assert r.status("lock", h, "w") == "EAGAIN"
        assert not q.answered()
        p.do("lock", f, "u")
        assert q.answer() == ["ok", None]
        assert r.status("lock", h, "w") == "EAGAIN"
        q.do("lock", g, "u")
        c.nodes[leader].start()
        c.wait_caught_up()
    wait_held(c, 0, 0)


def test_sqlite_from_two_mounts(two):
    c, a, b = two
    sqlite_writers.insert(a, b, 60, 240 * clusters.PATIENCE)
    sqlite_writers.check(b, 60)
