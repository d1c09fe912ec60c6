"""surfctl watch: every change of the tree once, in order, with the path that it had then and the mount that made it."""

import ctypes
import json
import os
import pathlib
import signal
import struct
import subprocess
import threading
import time

import pytest

import cluster as clusters


class Watch:
    """A surfctl watch whose output goes to files."""

    def __init__(self, cluster, *arguments, wait=True, as_json=True):
        number = len(list(cluster.dir.glob("watch*.out")))
        self.out, self.err = cluster.dir / f"watch{number}.out", cluster.dir / f"watch{number}.err"
        command = [str(clusters.BIN / "surfctl"), "-m", cluster.addresses, "watch", *map(str, arguments), *(["--json"] if as_json else [])]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=cluster.env)
        if wait and "--from" not in arguments:
            clusters.wait_until("the watch to begin", lambda: "watching from" in self.err.read_text())

    def text(self):
        """What has been printed, whole lines only: the last one may be on its way."""
        text = self.out.read_text()
        return text[:text.rfind("\n") + 1]

    def lines(self):
        return [json.loads(line) for line in self.text().splitlines()]

    def changes(self):
        return [line for line in self.lines() if "index" in line]

    def wait_for(self, path, op=None, seconds=20):
        return clusters.wait_until(f"{op} {path}", lambda: [c for c in self.changes() if path in (c["path"], c.get("new_path"))
                                                            and op in (None, c["op"])], seconds)

    def stop(self, number=signal.SIGTERM):
        self.popen.send_signal(number)
        return self.popen.wait(10 * clusters.PATIENCE)


@pytest.fixture
def watch():
    made = []

    def make(*arguments, **options):
        made.append(Watch(*arguments, **options))
        return made[-1]

    yield make
    for w in made:
        if w.popen.poll() is None:
            w.popen.kill()
            w.popen.wait()


def short(changes):
    """op, path and new path, and the last part of the mount's name."""
    return [(c["op"], c["path"], c.get("new_path"), pathlib.Path(c["mount"]).name) for c in changes]


def test_every_operation(cluster, mounts, watch):
    a, b = mounts
    w = watch(cluster)
    (a / "d").mkdir()
    os.mkfifo(b / "d" / "fifo")
    os.symlink("nowhere", a / "d" / "s")
    (a / "d" / "f").write_text("hello")
    os.rename(b / "d" / "f", b / "g")
    os.link(b / "g", b / "d" / "hard")
    os.chmod(b / "g", 0o600)
    os.utime(b / "g", (1, 2))
    os.truncate(b / "g", 2)
    with open(a / "g", "ab") as f:
        f.write(b"more")
    os.setxattr(b / "g", "user.x", b"1")
    os.removexattr(b / "g", "user.x")
    (a / "x").write_text("")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(a / "x"), -100, os.fsencode(a / "d"), 2) == 0
    os.rename(a / "x", a / "e")
    os.unlink(a / "e" / "fifo")
    os.rename(b / "g", b / "e" / "hard")  # two names of one inode: nothing happens
    os.unlink(b / "e" / "s")
    os.unlink(b / "e" / "hard")
    os.rmdir(a / "e")
    with pytest.raises(FileNotFoundError):
        os.unlink(a / "nothing")
    os.unlink(a / "d")
    w.wait_for("/d", "unlink")
    assert short(w.changes()) == [
        ("mkdir", "/d", None, "a"),
        ("mknod", "/d/fifo", None, "b"),
        ("symlink", "/d/s", None, "a"),
        ("create", "/d/f", None, "a"),
        ("write", "/d/f", None, "a"),
        ("rename", "/d/f", "/g", "b"),
        ("link", "/d/hard", None, "b"),
        ("attr", "/g", None, "b"),
        ("attr", "/g", None, "b"),
        ("truncate", "/g", None, "b"),
        ("write", "/g", None, "a"),
        ("xattr", "/g", None, "b"),
        ("xattr", "/g", None, "b"),
        ("create", "/x", None, "a"),
        ("exchange", "/x", "/d", "a"),
        ("rename", "/x", "/e", "a"),
        ("unlink", "/e/fifo", None, "a"),
        ("unlink", "/e/s", None, "b"),
        ("unlink", "/e/hard", None, "b"),
        ("rmdir", "/e", None, "a"),
        ("unlink", "/d", None, "a"),
    ]
    types = {(c["op"], c["path"]): c["type"] for c in w.changes()}
    assert types["mkdir", "/d"] == "directory" and types["mknod", "/d/fifo"] == "fifo" and types["create", "/d/f"] == "file"
    assert w.stop() == 0


def test_lines_for_people(cluster, mounts, watch):
    a, _ = mounts
    w = watch(cluster, "/", as_json=False)
    (a / "with space").mkdir()
    os.rename(a / "with space", a / "b\nreak")
    clusters.wait_until("two lines", lambda: w.text().count("\n") == 2)
    first, second = w.text().splitlines()
    index, when, op, rest = first.split(maxsplit=3)
    assert int(index) > 0 and when.endswith("Z") and op == "mkdir"
    assert rest.startswith("/with space (") and rest.endswith("/a)")
    assert "/with space -> /b?reak (" in second
    assert w.stop(signal.SIGINT) == 0


def test_below_a_path(cluster, mounts, watch):
    a, b = mounts
    for name in ("in", "in/deep", "inner", "out"):
        (a / name).mkdir()
    w = watch(cluster, "//in/")
    (a / "out" / "f").write_text("")
    (a / "inner" / "f").write_text("")
    (b / "in" / "deep" / "f").write_text("")
    os.rename(a / "out" / "f", a / "in" / "f")
    os.rename(a / "in" / "deep", a / "out" / "deep")
    (a / "out" / "deep" / "unseen").write_text("")
    os.rename(a / "out" / "deep", a / "in" / "back")
    (a / "in" / "back" / "g").write_text("")
    os.chmod(b / "in", 0o700)
    os.rename(a / "in", a / "away")
    (a / "away" / "unseen").write_text("")
    os.rename(a / "away", a / "in")
    (a / "in" / "last").write_text("")
    w.wait_for("/in/last")
    assert short(w.changes()) == [
        ("create", "/in/deep/f", None, "b"),
        ("rename", "/out/f", "/in/f", "a"),
        ("rename", "/in/deep", "/out/deep", "a"),
        ("rename", "/out/deep", "/in/back", "a"),
        ("create", "/in/back/g", None, "a"),
        ("attr", "/in", None, "b"),
        ("rename", "/in", "/away", "a"),
        ("rename", "/away", "/in", "a"),
        ("create", "/in/last", None, "a"),
    ]
    deep = watch(cluster, "/in/back", "--from", 0)
    deep.wait_for("/away", seconds=20)
    clusters.wait_until("what moved it back", lambda: len(deep.changes()) >= 4)
    assert short(deep.changes()) == [
        ("rename", "/out/deep", "/in/back", "a"),
        ("create", "/in/back/g", None, "a"),
        ("rename", "/in", "/away", "a"),
        ("rename", "/away", "/in", "a"),
    ]


def test_paths_are_those_of_their_time(cluster, mounts, watch):
    a, _ = mounts
    os.makedirs(a / "1" / "2" / "3")
    (a / "1" / "2" / "3" / "f").write_text("x")
    os.rename(a / "1" / "2", a / "two")
    (a / "two" / "3" / "f").write_text("y")
    os.rename(a / "two" / "3" / "f", a / "f")
    os.rmdir(a / "two" / "3")
    os.rmdir(a / "two")
    w = watch(cluster, "--from", 0)
    w.wait_for("/two", "rmdir")
    assert [(c["op"], c["path"]) for c in w.changes()] == [
        ("mkdir", "/1"), ("mkdir", "/1/2"), ("mkdir", "/1/2/3"), ("create", "/1/2/3/f"), ("write", "/1/2/3/f"), ("rename", "/1/2"),
        ("truncate", "/two/3/f"), ("write", "/two/3/f"), ("rename", "/two/3/f"), ("rmdir", "/two/3"), ("rmdir", "/two")]


def test_goes_on_where_it_was(cluster, mounts, watch):
    a, _ = mounts
    first = watch(cluster)
    for i in range(5):
        (a / f"{i}").mkdir()
    first.wait_for("/4")
    seen = first.changes()
    first.stop()
    for i in range(5, 10):
        (a / f"{i}").mkdir()
    second = watch(cluster, "--from", seen[2]["index"])
    second.wait_for("/9")
    assert [c["path"] for c in second.changes()] == [f"/{i}" for i in range(3, 10)]
    assert not any("missed_upto" in line for line in second.lines())


def test_says_what_was_missed(make_cluster, watch):
    c = make_cluster(1)
    c.wait_formed()
    a = c.mount("a")
    (a / "before").mkdir()
    as_text = watch(c, as_json=False)
    watching = watch(c)
    assert c.nodes[1].stop() == 0  # what it has applied is in its state, and its memory is gone
    c.nodes[1].start()
    (a / "after").mkdir()
    w = watch(c, "--from", 1)
    w.wait_for("/after")
    missed = w.lines()[0]["missed_upto"]
    assert missed >= 1 and [ch["path"] for ch in w.changes()] == ["/after"] and w.changes()[0]["index"] > missed
    text = watch(c, "--from", 1, as_json=False)
    clusters.wait_until("the words", lambda: f"changes up to {missed} were missed" in text.err.read_text())
    watching.wait_for("/after")
    clusters.wait_until("the change", lambda: "/after" in as_text.text())
    assert all(x.stop() == 0 for x in (w, text, watching, as_text))


def test_failover_loses_and_doubles_nothing(cluster, mounts, watch):
    """Two mounts make files while leaders are killed and come back; watches that began before, and one from the beginning, agree."""
    watches = [watch(cluster), watch(cluster, "/b")]
    for m in mounts:
        (m / m.name).mkdir()
    made, over = {m.name: 0 for m in mounts}, threading.Event()

    def make(m):
        while not over.is_set():
            path = m / m.name / str(made[m.name])
            path.touch()
            if made[m.name] % 3 == 0:
                os.rename(path, m / m.name / f"{made[m.name]}.moved")
            made[m.name] += 1

    threads = [threading.Thread(target=make, args=(m,)) for m in mounts]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            leader = cluster.wait_leader()
            goal = {name: count + 50 for name, count in made.items()}
            clusters.wait_until("files", lambda: all(made[n] >= goal[n] for n in made))
            cluster.nodes[leader].kill()
            cluster.wait_leader(leader)
            cluster.nodes[leader].start()
            cluster.wait_caught_up()
    finally:
        over.set()
        for t in threads:
            t.join(60 * clusters.PATIENCE)
    mounts[0].path.joinpath("b", "end").mkdir()
    for w in watches:
        w.wait_for("/b/end", seconds=30)
        indexes = [c["index"] for c in w.changes()]
        assert indexes == sorted(set(indexes)) and not any("missed_upto" in line for line in w.lines())
    for name in made:
        w = watches[0]
        assert [c["path"] for c in w.changes() if c["op"] == "create" and c["path"].startswith(f"/{name}/")] == \
            [f"/{name}/{i}" for i in range(made[name])]
        assert len([c for c in w.changes() if c["op"] == "rename" and c["path"].startswith(f"/{name}/")]) == (made[name] + 2) // 3
    assert watches[1].changes() == [c for c in watches[0].changes() if (c["path"] + "/").startswith("/b/")]
    print({"made": made})
    assert all(w.stop() == 0 for w in watches)


def test_waits_for_a_leader(cluster, mounts, watch):
    a, _ = mounts
    w = watch(cluster)
    down = [n for n in cluster.nodes.values() if n.id != cluster.leader()]
    for n in down:
        n.kill()
    clusters.wait_until("it to say so", lambda: "waiting for a leader" in w.err.read_text(), 30)
    for n in down:
        n.start()
    (a / "d").mkdir()
    w.wait_for("/d")
    assert w.stop() == 0


def test_many_watch(cluster, mounts, watch):
    a, b = mounts
    watches = [watch(cluster, "--from", 0) for _ in range(40)]
    for i in range(100):
        (a / f"a{i}").mkdir()
        (b / f"b{i}").mkdir()
    for w in watches:
        w.wait_for("/b99", seconds=40)
        assert len(w.changes()) == 200
        assert w.changes() == watches[0].changes()


def test_nothing_is_told_that_a_mount_may_still_not_see(cluster, mounts, watch):
    """A mount that is stopped believes what it knows until its term is over; so long who made the change waits, and who watches too."""
    a, b = mounts
    (a / "f").write_text("")
    os.chmod(a / "f", 0o600)
    w = watch(cluster)

    def is_waited_for(mode):
        """Whether all wait for a second at least: of a term that is renewed three times more is left, unless b was too busy to renew it."""
        seen = len(w.changes())
        os.stat(b / "f")
        b.process.signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            thread = threading.Thread(target=os.chmod, args=(a / "f", mode))
            thread.start()
            clusters.wait_until("the change to be told", lambda: len(w.changes()) > seen)
            took = time.monotonic() - begin
            thread.join(10 * clusters.PATIENCE)
            assert not thread.is_alive()
        finally:
            b.process.signal(signal.SIGCONT)
        assert os.stat(b / "f").st_mode & 0o777 == mode
        return took > 0.8

    assert any(is_waited_for(mode) for mode in (0o644, 0o640, 0o600, 0o644, 0o640))


@pytest.mark.parametrize("arguments, complaint", [
    (("relative",), "relative"), (("/a/../b",), "/a/../b"), (("--from", "x"), "--from x"), (("--from",), "--from"), (("/a", "/b"), "/b"),
    (("--what",), "--what")])
def test_refuses(arguments, complaint):
    done = subprocess.run([clusters.BIN / "surfctl", "watch", *arguments], capture_output=True, text=True, timeout=20 * clusters.PATIENCE)
    assert done.returncode == 64 and complaint in done.stderr


IN_ATTRIB, IN_CREATE, IN_DELETE, IN_CLOSE_WRITE = 0x4, 0x100, 0x200, 0x8


def inotify_events(fd):
    """(mask, name) of what has come."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    events = []
    while data:
        _, mask, _, size = struct.unpack_from("iIII", data)
        events.append((mask, data[16:16 + size].rstrip(b"\0").decode()))
        data = data[16 + size:]
    return events


def test_inotify_sees_this_mount_only(cluster, mounts, watch):
    """As the manual says: the kernel tells of what its own programs do; of other mounts' changes surfctl watch does."""
    a, b = mounts
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    try:
        assert libc.inotify_add_watch(fd, os.fsencode(a.path), IN_ATTRIB | IN_CREATE | IN_DELETE | IN_CLOSE_WRITE) >= 0
        w = watch(cluster)
        (a / "mine").write_text("x")
        assert [(m, n) for m, n in inotify_events(fd)] == [(IN_CREATE, "mine"), (IN_CLOSE_WRITE, "mine")]
        (b / "theirs").write_text("x")
        os.unlink(b / "mine")
        assert os.listdir(a.path) == ["theirs"]
        w.wait_for("/mine", "unlink")
        assert [name for mask, name in inotify_events(fd) if mask & (IN_CREATE | IN_CLOSE_WRITE)] == []
    finally:
        os.close(fd)
