"""Garbage: blocks that no file names any more go, their space comes back, and nothing that a file names is ever missing, whoever is
killed or stopped meanwhile."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import cluster as clusters
from cluster import PATIENCE, wait_until

KIB, MIB = 1024, 1024 * 1024
PUTS = 24  # written chunks, of which a mount keeps at most 16 to itself: the others are on a majority of the servers
QUICK = ["--collect-interval", "1", "--repair-delay", "5", "--repair-interval", "5", "--stray-age", "1", "--repair-rate", "0", "--scrub-rate", "0"]


def servers(c):
    """By id, as far as the leader has heard from them."""
    done = c.surfctl("--json", "blocks", check=False)
    return {s["id"]: s for s in json.loads(done.stdout)["servers"] if s["reporting"]} if done.returncode == 0 else {}


def gc(c):
    """What a collection told that all servers took part in; it is refused while nobody leads."""
    def told():
        done = c.surfctl("--json", "gc", check=False, timeout=120)
        view = json.loads(done.stdout) if done.returncode == 0 else {"servers": []}
        return view if len(view["servers"]) == len(c.nodes) and all(s["up"] for s in view["servers"]) else None

    return wait_until("a collection", told, 60)


def blocks_left(c):
    """How many blocks each server has met when it looked for garbage last, less what it removed then: none may be waiting."""
    return {i: s["collect_blocks"] for i, s in servers(c).items()}


def used_bytes(c):
    """On the disks, for blocks."""
    paths = [str(n.data / "blocks") for n in c.nodes.values()]
    return sum(int(line.split()[0]) for line in subprocess.run(["du", "-s", "--block-size=1", *paths], stdout=subprocess.PIPE, text=True,
                                                               check=False).stdout.splitlines())


def wait_empty(c, seconds=60):
    """Until a collection has met no block on any server."""
    def empty():
        gc(c)
        left = blocks_left(c)
        return len(left) == len(c.nodes) and not any(left.values())

    wait_until("no block to be left", empty, seconds)


def write_file(path, data):
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_space_comes_back(make_cluster):
    c = make_cluster(3, QUICK)
    c.wait_formed()
    m = c.mount("m")
    for i in range(6):
        write_file(m / f"f{i}", random.Random(i).randbytes(16 * MIB))
    kept = digest(m / "f0")
    assert used_bytes(c) > 3 * 6 * 16 * MIB
    for i in range(1, 6):
        os.unlink(m / f"f{i}")
    wait_until("the space", lambda: used_bytes(c) < 3 * 30 * MIB, 60)
    assert digest(m / "f0") == kept
    os.unlink(m / "f0")
    wait_empty(c)


def test_the_interval_alone_is_enough(make_cluster):
    """Nobody asks for it: files are removed, and blocks of a mount that died before it committed them."""
    c = make_cluster(3, [*QUICK, "--repair-interval", "3", "--session-timeout", "3"])
    c.wait_formed()
    m, other = c.mount("m"), c.mount("other")
    write_file(m / "f", random.randbytes(3 * MIB))
    f = os.open(other / "never", os.O_WRONLY | os.O_CREAT, 0o644)
    data = memoryview(random.randbytes(PUTS * MIB))
    while data:
        data = data[os.write(f, data):]
    other.process.kill()
    with contextlib.suppress(OSError):
        os.close(f)
    other.stop()
    os.unlink(m / "f")
    wait_until("nothing to be left", lambda: (lambda all_: len(all_) == 3 and all(
        s["collect_blocks"] == 0 and s["collect_waiting"] == 0 and s["collected_blocks"] > 3 for s in all_.values()))(servers(c)), 60)


def test_an_idle_cluster_writes_nothing(make_cluster):
    c = make_cluster(3, QUICK)
    c.wait_formed()
    m = c.mount("m")
    write_file(m / "f", b"x" * MIB)
    write_file(m / "g", b"y" * MIB)
    os.unlink(m / "g")
    def all_of(condition):
        there = servers(c)
        return len(there) == 3 and all(map(condition, there.values()))

    wait_until("it to be collected", lambda: all_of(lambda s: s["collected_blocks"] == 1), 60)
    wait_until("all to be done", lambda: all_of(lambda s: s["collect_waiting"] == 0 and not s["collecting"]))
    leader = c.wait_leader()
    last = [-1]

    def at_rest():
        time.sleep(2.5)  # several intervals: nothing can be awaited, since nothing is to happen
        before, last[0] = last[0], c.state(leader, 1)["last"]
        return before == last[0]

    wait_until("the log to be at rest", at_rest, 30)


def test_gc_reports(make_cluster):
    c = make_cluster(3, ["--collect-interval", "3600"])
    c.wait_formed()
    m = c.mount("m")
    write_file(m / "kept", random.randbytes(5 * MIB))
    write_file(m / "gone", random.randbytes(20 * MIB))
    os.unlink(m / "gone")
    wait_until("its contents to be reaped", lambda: all(s["removed"] == 20 for s in gc(c)["servers"]) or sum(
        s["collected_blocks"] for s in servers(c).values()) == 60)
    view = gc(c)
    assert [s["id"] for s in view["servers"]] == [1, 2, 3]
    for s in view["servers"]:
        assert s["up"] and s["blocks"] == 5 and s["removed"] == 0 and s["waiting"] == 0 and s["epoch"] <= view["epoch"], s
    text = c.surfctl("gc").stdout
    assert text.count("5 blocks looked at") == 3, text
    assert "removed (20.0 MiB)" in c.surfctl("blocks").stdout
    for wrong in (["gc", "now"], ["gc", "--all"]):
        assert c.surfctl(*wrong, check=False).returncode == 64


WRITE_AND_SYNC_LATER = """
import os, sys
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
data = open(sys.argv[1], "rb").read()
while data:
    data = data[os.write(f, data):]
print("written", flush=True)
sys.stdin.read()
os.fsync(f)
"""


def test_a_stopped_mount_goes_on_with_old_epochs(make_cluster):
    """What it has put is garbage by all signs when it wakes; it puts it again before it is committed."""
    c = make_cluster(3, [*QUICK, "--session-timeout", "120"])
    c.wait_formed()
    m, other = c.mount("m"), c.mount("other")
    data = random.randbytes(PUTS * MIB + 1234)
    (c.dir / "data").write_bytes(data)
    # A process of its own: closing a file of a stopped mount waits, and each program that is started here begins with that.
    writer = subprocess.Popen([sys.executable, "-c", WRITE_AND_SYNC_LATER, c.dir / "data", m / "f"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"written\n"
    m.process.signal(signal.SIGSTOP)
    wait_until("its blocks to be taken for garbage", lambda: gc(c) and sum(
        s["collected_blocks"] for s in servers(c).values()) >= 2 * (PUTS - 16), 60)
    m.process.signal(signal.SIGCONT)
    writer.communicate(b"sync", timeout=60 * PATIENCE)
    assert writer.returncode == 0
    assert digest(other / "f") == hashlib.sha256(data).hexdigest()
    for _ in range(3):
        gc(c)
    assert "put again" in m.log.read_text()
    assert digest(c.mount("fresh") / "f") == hashlib.sha256(data).hexdigest()


class Churn(threading.Thread):
    """Files of one mount that are made, overwritten, renamed over, truncated, copied and removed; what was synced is in `synced`."""

    def __init__(self, directory, seed):
        super().__init__(daemon=True)
        self.directory, self.random = directory, random.Random(seed)
        self.synced, self.over, self.failure, self.rounds = {}, threading.Event(), None, 0

    def step(self):
        r, names = self.random, [f"f{i}" for i in range(8)]
        name, other = r.sample(names, 2)
        path, kind = self.directory / name, r.randrange(6)
        self.synced.pop(name, None)
        if kind <= 1:
            data = r.choice([r.randbytes(r.randrange(1, 200 * KIB)), r.randbytes(1) * (3 * MIB), r.randbytes(2 * MIB + 77)])
            temporary = self.directory / "new"
            write_file(temporary, data)
            os.rename(temporary, path)
            self.synced[name] = hashlib.sha256(data).hexdigest()
        elif kind == 2 and path.exists():
            os.unlink(path)
        elif kind == 3 and path.exists():
            size = r.randrange(path.stat().st_size + 1)
            os.truncate(path, size)
        elif kind == 4 and path.exists() and path.stat().st_size > 10:
            with open(path, "r+b") as f:
                f.seek(r.randrange(path.stat().st_size))
                f.write(r.randbytes(5000))
                f.flush()
                os.fsync(f.fileno())
            self.synced[name] = digest(path)
        elif kind == 5 and (self.directory / other).exists():
            with open(self.directory / other, "rb") as source, open(path, "wb") as to:
                os.copy_file_range(source.fileno(), to.fileno(), 8 * MIB)
                os.fsync(to.fileno())
            self.synced[name] = digest(path)
            os.unlink(self.directory / other)
            self.synced.pop(other, None)

    def run(self):
        try:
            while not self.over.is_set():
                self.step()
                self.rounds += 1
        except BaseException as e:  # the test tells it
            self.failure = e


def test_churn_while_servers_die(make_cluster):
    c = make_cluster(3, QUICK)
    c.wait_formed()
    mounts = [c.mount("a"), c.mount("b")]
    churns = []
    for i, mount in enumerate(mounts):
        (mounts[0] / f"d{i}").mkdir()
        churns.append(Churn(mount / f"d{i}", os.environ.get("SURF_SEED", "1") + str(i)))
    for churn in churns:
        churn.start()
    choose = random.Random(7)
    for _ in range(6):
        before = [churn.rounds for churn in churns]
        victim = c.nodes[choose.choice([1, 2, 3, c.wait_leader()])]
        wait_until("some churn", lambda: all(churn.rounds >= b + 15 or churn.failure for churn, b in zip(churns, before)), 60)
        victim.kill()
        victim.start()
        c.wait_caught_up()
    for churn in churns:
        churn.over.set()
    for churn in churns:
        churn.join(60 * PATIENCE)
        assert not churn.is_alive()
        if churn.failure:
            raise churn.failure
    for _ in range(2):
        gc(c)
    fresh = c.mount("fresh")
    for i, churn in enumerate(churns):
        for name, expected in churn.synced.items():
            assert digest(fresh / f"d{i}" / name) == expected, (i, name)
        for path in (fresh / f"d{i}").iterdir():
            path.read_bytes()  # what was not synced has some bytes, all of which are there
    assert sum(s["collected_blocks"] for s in servers(c).values()) > 0
    subprocess.run(["rm", "-rf", *[str(fresh / f"d{i}") for i in range(2)]], check=True, timeout=60 * PATIENCE)
    wait_empty(c)


def test_servers_without_a_metastore_of_their_own(make_cluster):
    """They hear of epochs from the leader, and ask its members for names."""
    c = make_cluster(1, QUICK)
    for i in (2, 3):
        port = clusters.free_ports(1)[0]
        node = c.nodes[i] = clusters.Node(c, i, port, [*QUICK, "--role", "block", "--peers", f"1={c.nodes[1].address}"], peers=False)
        node.start()
    c.wait_formed()
    m = c.mount("m")
    write_file(m / "kept", random.randbytes(2 * MIB))
    write_file(m / "gone", random.randbytes(7 * MIB))
    os.unlink(m / "gone")
    wait_until("it to be gone", lambda: [s["collected_blocks"] for s in servers(c).values()] == [7, 7, 7], 60)
    gc(c)
    view = gc(c)  # meets what is left
    assert [(s["id"], s["blocks"], s["waiting"]) for s in view["servers"]] == [(1, 2, 0), (2, 2, 0), (3, 2, 0)], view
    os.unlink(m / "kept")
    wait_empty(c)
