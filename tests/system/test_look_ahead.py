"""Names that are looked up one after the other come along with each other (client/meta/look_ahead.h): in fewer calls, and as new as
what was asked for by itself."""

import os
import random
import signal
import subprocess
import threading

import pytest

import cluster as clusters
import web

DIRECTORIES, FILES = 20, 100
ROUNDS = int(os.environ.get("SURF_ROUNDS", "30"))
GIT = ("git", "-c", "safe.directory=*", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "gc.auto=0", "-c", "core.preloadIndex=false")


def git(directory, *arguments):
    subprocess.run([*GIT, "-C", directory, *arguments], check=True, stdout=subprocess.DEVNULL)


# What programs do to a tree that a mount knows nothing of, and how many times fewer calls that takes, at least. The order of a directory is
# another one in each cluster, so who goes by name needs more calls in one than in another.
AT_LEAST = {"git status": 2, "stat by name": 2, "rsync there again": 2, "find in one large": 20, "find": 1, "du": 1}
PROGRAMS = {
    "git status": lambda m: subprocess.run([*GIT, "-C", m / "repo", "status", "--porcelain"], check=True, stdout=subprocess.DEVNULL),
    "stat by name": lambda m: [os.stat(m / "tree" / f"d{d}" / f"f{n}") for d in range(DIRECTORIES) for n in range(FILES)],
    "find": lambda m: subprocess.run(["find", m / "tree", "-size", "+1"], check=True, stdout=subprocess.DEVNULL),
    "du": lambda m: subprocess.run(["du", "-s", m / "tree"], check=True, stdout=subprocess.DEVNULL),
    "find in one large": lambda m: subprocess.run(["find", m / "large", "-size", "+1"], check=True, stdout=subprocess.DEVNULL),
    "rsync there again": lambda m: subprocess.run(["rsync", "-rn", "--size-only", f"{m.cluster.dir}/local/", m / "tree/"], check=True),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A cluster with trees that were made through a mount which is gone."""
    c = clusters.Cluster(tmp_path_factory.mktemp("ahead"), 1)
    try:
        c.start()
        c.wait_formed()
        m = c.mount("maker")
        local = c.dir / "local"
        for d in range(DIRECTORIES):
            for where in (local, m / "tree", m / "repo"):
                (where / f"d{d}").mkdir(parents=True)
            for n in range(FILES):
                (local / f"d{d}" / f"f{n}").write_text(str(n))
                (m / "tree" / f"d{d}" / f"f{n}").write_text(str(n))
                if n < 10:
                    (m / "repo" / f"d{d}" / f"f{n}.c").write_text(f"int number_{n};\n")
        (m / "large").mkdir()
        for n in range(3000):
            (m / "large" / f"f{n}").touch()
        git(m / "repo", "init", "-q")
        git(m / "repo", "add", ".")
        git(m / "repo", "commit", "-q", "-m", "all")
        git(m / "repo", "status")
        assert m.stop() == 0
        del c.mounts["maker"]
        yield c
    finally:
        c.close()


def calls_of(c, program, *options):
    """Calls of a mount that knows nothing yet; its counters."""
    m = c.mount("fresh", *options)
    before = m.counters()
    PROGRAMS[program](m)
    after = m.counters()
    assert m.stop() == 0
    del c.mounts["fresh"]
    print(program, *options, {name: after[name] - before[name] for name in ("requests", "calls", "ahead", "ahead_used")})
    return after["calls"] - before["calls"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_calls(tree, program):
    before, now = calls_of(tree, program, "-o", "noahead"), calls_of(tree, program)
    assert now * AT_LEAST[program] <= before


# -- as new as what was asked for


def change_all(b, d):
    """What comes along with a name of the directory, and becomes something else before it is looked up."""
    os.chmod(b / d / "f2", 0o640)
    os.unlink(b / d / "f3")
    os.rename(b / d / "f4", b / d / "g4")
    (b / d / "f5").write_text("longer")
    os.rename(b / d / "new", b / d / "f6")
    os.unlink(b / d / "f7")
    os.mkdir(b / d / "f7")
    os.link(b / d / "f8", b / d / "g8")


def is_changed(a, d):
    """The listing comes last: it tells the mount everything anew."""
    return (os.stat(a / d / "f2").st_mode & 0o777 == 0o640 and not os.path.lexists(a / d / "f3") and not os.path.lexists(a / d / "f4") and
            os.stat(a / d / "g4").st_size == 1 and os.stat(a / d / "f5").st_size == 6 and os.stat(a / d / "f6").st_size == 3 and
            os.path.isdir(a / d / "f7") and os.stat(a / d / "f8").st_nlink == 2 and os.path.samefile(a / d / "f8", a / d / "g8") and
            set(os.listdir(a / d)) == {"f0", "f1", "f2", "f5", "f6", "f7", "f8", "f9", "g4", "g8"})


def look_change_look(a, b, d):
    (b / d).mkdir()
    for f in range(10):
        (b / d / f"f{f}").write_text("x")
    (b / d / "new").write_text("new")
    os.stat(a / d / "f0"), os.stat(a / d / "f1")  # and with the second one, all others
    change_all(b, d)
    return is_changed(a, d)


@pytest.mark.parametrize("options", [(), ("-o", "noepoch"), ("-o", "inodes=1000")], ids=["default", "noepoch", "few"])
def test_the_next_call_sees_what_has_changed(make_cluster, options):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a", *options), c.mount("b", *options)
    for n in range(ROUNDS):
        assert look_change_look(a, b, f"d{n}"), f"round {n}"
    # A machine that is busy elsewhere may let a lease end: not always.
    assert a.counters()["ahead"] > ROUNDS


def test_a_mount_that_heeds_nothing_is_noticed(make_cluster, monkeypatch):
    c = make_cluster(3)
    c.wait_formed()
    b = c.mount("b")
    monkeypatch.setitem(c.env, "SURF_PLANT", "KNOWN_HEEDS_NOTHING")
    a = c.mounts["a"] = clusters.Mount(c, "a")
    a.program = clusters.BIN.parent / "test-bin" / "surffs-planted"
    a.start()
    assert not all(look_change_look(a, b, f"d{n}") for n in range(5))


def test_what_is_changed_all_the_time(make_cluster):
    """One mount changes files, and names so that the other one forgets them; that one looks all of them up, over and over."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    files = 30
    (b / "d").mkdir()
    for n in range(files):
        (b / "d" / f"f{n}").touch(0o600)
    done, stop, failures = [0] * files, threading.Event(), []

    def change():
        chosen = random.Random(1)
        while not stop.is_set():
            n = chosen.randrange(files)
            os.utime(b / "d" / f"f{n}", ns=(0, (done[n] + 1) * 1000))
            done[n] += 1
            if chosen.randrange(3) == 0:
                (b / "d" / "other").touch()
                os.unlink(b / "d" / "other")

    def look():
        chosen = random.Random(2)
        for _ in range(ROUNDS * 5):
            order = chosen.sample(range(files), files)
            for n in order:
                least = done[n] * 1000
                if (seen := os.stat(a / "d" / f"f{n}").st_mtime_ns) < least and least > 0:
                    failures.append((n, seen, least))

    changer = threading.Thread(target=change)
    changer.start()
    try:
        look()
    finally:
        stop.set()
        changer.join()
    assert not failures, failures[:5]
    counters = a.counters()
    assert counters["ahead_used"] > 0, counters


def test_nobody_waits_for_what_comes_along(make_cluster):
    """A file that is changing, of which a mount that has stopped must hear yet: its neighbours are told at once, and it when it may be."""
    c = make_cluster(1, start=False)
    page = web.Web(c)
    page.start()
    c.wait_formed()
    a, stopped, changer = c.mount("a"), c.mount("stopped"), c.mount("changer")
    (changer / "d").mkdir()
    for n in range(10):
        (changer / "d" / f"f{n}").touch(0o600)

    def changes_waiting():
        return "\nsurf_lease_changes_waiting 0\n" not in page.get(1, "/metrics").text

    for n in range(3):
        os.stat(stopped / "d" / "f5")
        assert not changes_waiting()
        stopped.process.signal(signal.SIGSTOP)
        change = threading.Thread(target=os.chmod, args=(changer / "d" / "f5", 0o640 + n))
        change.start()
        try:
            clusters.wait_until("the change to wait", changes_waiting)
            before = a.counters()["calls"]
            for name in ("f0", "f1", "f2", "f3", "f4", "f6", "f7", "f8", "f9"):
                os.stat(a / "d" / name)
            waited = not change.is_alive()
            calls = a.counters()["calls"] - before
            assert os.stat(a / "d" / "f5").st_mode & 0o777 == 0o640 + n
        finally:
            stopped.process.signal(signal.SIGCONT)
            change.join()
        assert os.stat(stopped / "d" / "f5").st_mode & 0o777 == 0o640 + n
        # On a busy machine it may have taken longer than the term of who has stopped.
        if not waited:
            assert n > 0 or calls < 9
            return
        assert a.stop() == 0
        a = c.mount("a")
    pytest.fail("all rounds have waited for the change")
