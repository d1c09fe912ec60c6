"""What one mount has been told is what every mount sees: names, attributes and contents, with all caches on."""

import os
import pathlib
import signal
import sys
import threading
import time

import pytest

import cluster as clusters
import histories
import netns

CLIENT = pathlib.Path(__file__).with_name("mount_client.py")
PYTHON = "/usr/bin/python3"
TERM_SECONDS = 2
ROUNDS = int(os.environ.get("SURF_ROUNDS", "400"))
SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "5"))
pytestmark = pytest.mark.timeout(300 + 3 * SECONDS)

# -- one call returns, the next one on the other mount looks


def exists(path):
    try:
        os.lstat(path)
        return True
    except FileNotFoundError:
        return False


def look_at(a, b, n):
    """One change on a, and what b must see when it returns, in listings too. False: it was wrong."""
    return change_and_look(a, b, n) and sorted(os.listdir(b.path)) == sorted(os.listdir(a.path))


def change_and_look(a, b, n):
    one, other = f"f{n % 40}", f"g{n % 40}"
    kind = n % 7
    if kind == 0:
        (a / one).write_text(str(n))
        return (b / one).read_text() == str(n)
    if kind == 1:
        (a / one).unlink(missing_ok=True)
        return not exists(b / one)
    if kind == 2:
        (a / one).write_text("x")
        there = exists(b / one)
        os.rename(a / one, a / other)
        return there and not exists(b / one) and exists(b / other)
    if kind == 3:
        with open(a / other, "a") as f:
            f.write("line\n")
        return os.stat(b / other).st_size == os.stat(a / other).st_size and (b / other).read_text().endswith("line\n")
    if kind == 4:
        (a / other).write_text("y")
        os.chmod(a / other, 0o600 + n % 64)
        return os.stat(b / other).st_mode & 0o777 == 0o600 + n % 64
    if kind == 5:
        os.makedirs(a / f"d{n}" / "e")
        seen = sorted(os.listdir(b / f"d{n}")) == ["e"]
        os.rmdir(a / f"d{n}" / "e")
        return seen and os.listdir(b / f"d{n}") == [] and os.stat(b / f"d{n}").st_nlink == 2
    with open(a / other, "w") as f:
        f.truncate(n)
    return os.stat(b / other).st_size == n


@pytest.mark.parametrize("options", [(), ("-o", "noepoch"), ("-o", "reads=any"), ("-o", "inodes=1000")], ids=["default", "noepoch", "reads=any", "few"])
def test_the_next_call_sees_it(make_cluster, options):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a", *options), c.mount("b", *options)
    wrong = [n for n in range(ROUNDS) if not (look_at(a, b, n) if n % 2 else look_at(b, a, n))]
    assert not wrong, f"{len(wrong)} of {ROUNDS} looks saw an old state, the first in round {wrong[0]}"


def test_a_mount_that_heeds_nothing_is_noticed(make_cluster, monkeypatch):
    """What the test above could not be without: a build that acknowledges a notice and believes on fails it."""
    c = make_cluster(3)
    c.wait_formed()
    monkeypatch.setitem(c.env, "SURF_PLANT", "KNOWN_HEEDS_NOTHING")
    mounts = [c.mounts.setdefault(name, clusters.Mount(c, name)) for name in ("a", "b")]
    for mount in mounts:
        mount.program = clusters.BIN.parent / "test-bin" / "surffs-planted"
        mount.start()
    assert any(not look_at(*mounts, n) for n in range(100))


def test_what_is_cached_costs_no_request(make_cluster):
    """And goes on being right: the kernel asks the mount, and the mount asks nobody, for as long as nobody changes anything."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    for n in range(50):
        (a / f"f{n}").write_text("x" * n)

    def walk(mount):
        return [os.stat(mount / f"f{n}").st_size for n in range(50)] + [exists(mount / f"none{n}") for n in range(50)]

    def both():
        assert walk(b) == walk(a) == [n for n in range(50)] + [False] * 50

    def known():
        both()
        return c.answered_while_stopped(both)

    before = c.state(c.wait_leader())["commit"]
    clusters.wait_until("all to be answered from what is known", known, 60)
    both()
    assert c.state(c.wait_leader())["commit"] >= before


# -- mounts and nodes that stop


def test_a_stopped_mount_is_not_believed(make_cluster):
    """A mount that is stopped holds a change up for its term, and then nobody; when it goes on, it and its kernel believe nothing."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    (a / "f").write_text("old")
    (a / "gone").write_text("old")
    assert (b / "f").read_text() == "old" and exists(b / "gone") and not exists(b / "new")
    b.process.signal(signal.SIGSTOP)
    begun = time.monotonic()
    (a / "f").write_text("newer")
    (a / "gone").unlink()
    (a / "new").write_text("new")
    took = time.monotonic() - begun
    b.process.signal(signal.SIGCONT)
    assert (b / "f").read_text() == "newer" and not exists(b / "gone") and exists(b / "new")
    assert took < 2 * TERM_SECONDS * clusters.PATIENCE
    begun = time.monotonic()
    for n in range(20):
        (a / "f").write_text(str(n))
        assert (b / "f").read_text() == str(n)
    assert time.monotonic() - begun < 2 * clusters.PATIENCE


def test_a_reader_that_has_it_open_sees_new_data(make_cluster, capsys):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    waits = []
    with open(a / "log", "wb", buffering=0) as writer:
        writer.write(b"0" * 10)
        with open(b / "log", "rb", buffering=0) as reader:
            for n in range(1, 30):
                writer.write(b"%d" % (n % 10) * 10)
                begun = time.monotonic()
                clusters.wait_until("the reader to see it", lambda n=n: os.pread(reader.fileno(), 10, n * 10) == b"%d" % (n % 10) * 10, 10)
                waits.append(time.monotonic() - begun)
    waits = sorted(waits[3:])  # the first looks tell the writer that somebody looks
    with capsys.disabled():
        print(f"\n  an open reader waits for what was written: p50 {waits[len(waits) // 2] * 1000:.0f} ms, max {waits[-1] * 1000:.0f} ms")
    assert waits[len(waits) // 2] < 0.2 * clusters.PATIENCE


def test_crossed_changes_never_hang(make_cluster):
    """Renames, creates and removals in the same two directories from two mounts at once."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    for name in ("left", "right"):
        os.mkdir(a / name)
    rounds, stop, errors = {}, threading.Event(), []

    def cross(mount, mine, source, target):
        rounds[mine] = 0
        while not stop.is_set():
            try:
                path, other = f"{mount.path}/{source}/{mine}", f"{mount.path}/{target}/{mine}"
                os.mkdir(path) if rounds[mine] % 2 else open(path, "x").close()
                os.rename(path, other)
                os.listdir(f"{mount.path}/{source}")
                os.rename(f"{mount.path}/{target}/{mine}", path)
                os.rmdir(path) if rounds[mine] % 2 else os.unlink(path)
                try:
                    os.rename(f"{mount.path}/{source}/shared", f"{mount.path}/{target}/shared")
                except FileNotFoundError:
                    open(f"{mount.path}/{source}/shared", "w").close()
                rounds[mine] += 1
            except OSError as e:
                errors.append(f"{mine}: {e!r}")
                return

    ways = [(a, "a1", "left", "right"), (a, "a2", "right", "left"), (b, "b1", "left", "right"), (b, "b2", "right", "left")]
    threads = [threading.Thread(target=cross, args=way, daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    before = dict(rounds)
    while time.monotonic() < end and not errors:
        clusters.wait_until("all four to get on", lambda b=before: errors or all(rounds.get(w[1], 0) > b.get(w[1], 0) for w in ways), 15)
        before = dict(rounds)
        stop.wait(0.2)  # between two looks
    stop.set()
    for thread in threads:
        thread.join(20 * clusters.PATIENCE)
        assert not thread.is_alive(), f"a call hangs; rounds {rounds}"
    assert not errors, errors
    assert {p.name for p in (a / "left").iterdir()} | {p.name for p in (a / "right").iterdir()} <= {"shared"}


# -- histories of system calls on mounts, under faults


class MountClients(histories.Clients):
    """As histories.Clients, but through mounts: `machines` are mounts."""

    def start(self, machine, addresses=None):
        self.numbers += 1
        name = f"c{self.numbers}"
        file = self.cluster.dir / f"{self.model}-{name}.txt"
        self.files.append(file)
        looks = 80 if self.numbers % 2 == 0 else 40
        process = clusters.Process(f"client-{name}", [PYTHON, CLIENT, machine.path, file, name, self.numbers, self.seed, 2, 4, looks],
                                   self.cluster.dir / f"client-{name}.log", env=self.cluster.env)
        self.running[name] = process, machine
        return name


def mount_there(cluster, machine):
    mount = clusters.Mount(cluster, f"m{machine}")
    cluster.mounts[mount.name] = mount
    mount.start(prefix=cluster.net.inside(machine))
    return mount


def kill_leader(cluster, mounts, rng):
    node = cluster.nodes[cluster.leader() or 1]
    node.kill()
    time.sleep(rng.uniform(0.3, 1.5))  # how long the fault lasts is what is tested
    node.start()


def pause_leader(cluster, mounts, rng):
    process = cluster.nodes[cluster.leader() or 1].process
    process.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.5, 3))
    process.signal(signal.SIGCONT)


def pause_mount(cluster, mounts, rng):
    process = rng.choice(mounts).process
    process.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 1.5 * TERM_SECONDS))
    process.signal(signal.SIGCONT)


def cut_leader(cluster, mounts, rng):
    """From the other nodes, but not from the mounts, in one direction or both."""
    leader = cluster.leader() or 1
    for other in cluster.nodes:
        if other != leader:
            cluster.net.cut(*rng.choice([(leader, other), (other, leader)]), one_way=rng.random() < 0.5)
    time.sleep(rng.uniform(0.5, 3))
    cluster.net.heal()


def cut_mount(cluster, mounts, rng):
    machine = rng.choice(range(len(cluster.nodes) + 1, len(cluster.nodes) + 1 + len(mounts)))
    cluster.net.isolate(machine)
    time.sleep(rng.uniform(0.2, 1.5 * TERM_SECONDS))
    cluster.net.heal()


FAULTS = [kill_leader, pause_leader, pause_mount, cut_leader, cut_mount]
NAMESPACES = netns.why_not()


@pytest.mark.skipif(NAMESPACES is not None, reason=NAMESPACES or "")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_histories_through_mounts(tmp_path, request, capsys, fault):
    seed, rng = histories.seeded(request)

    def say(text):
        with capsys.disabled():
            print(f"\n{text} ({fault.__name__})", end="")

    with netns.cluster(tmp_path / "cluster", 3, 6, ["--session-timeout", 20]) as cluster:
        cluster.wait_formed()
        mounts = [mount_there(cluster, machine) for machine in (4, 5, 6)]
        clients = MountClients(cluster, "names", [*mounts, mounts[0]], seed)
        try:
            clients.wait_for(100)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                fault(cluster, mounts, rng)
                clients.wait_for(50, 60)
            cluster.wait_leader()
            clients.wait_for(100)
            clients.check(300, say)
        finally:
            clients.kill()
