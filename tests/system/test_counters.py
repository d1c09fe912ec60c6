"""Numbers in files that clients on three mounts add to under locks, while the cluster and the mounts suffer: no addition that was synced under
its lock is lost or doubled. A mount that loses its session loses its locks: who held one gets EIO, and what it wrote then counts for nobody."""

import os
import pathlib
import signal
import time

import pytest

import cluster as clusters
import histories
import netns
from test_coherence import PYTHON, SECONDS, cut_mount, kill_leader, mount_there, pause_mount

CLIENT = pathlib.Path(__file__).with_name("counter_client.py")
SESSION_SECONDS = 3
KINDS = ("flock", "fcntl")


def lose_mount(cluster, mounts, rng):
    """It is paused for longer than its session lasts."""
    process = rng.choice(mounts).process
    process.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 1.5) * (SESSION_SECONDS + 1))  # how long the fault lasts is what is tested
    process.signal(signal.SIGCONT)


class Counter:
    def __init__(self, cluster, kind, path, mounts, seed):
        """path: of the number's file, below the mounts; it is there."""
        self.kind, self.name = kind, f"counter-{kind}"
        self.files, self.clients = [], []
        for number, mount in enumerate(mounts):
            file = cluster.dir / f"{self.name}-{number}.txt"
            self.files.append(file)
            self.clients.append(clusters.Process(f"{self.name}-{number}", [PYTHON, CLIENT, mount / path, file, kind, str(seed + number)],
                                                 cluster.dir / f"{self.name}-{number}.log", env=cluster.env))

    def additions(self):
        """[(number, began, was synced)] of all clients."""
        found = []
        for file in self.files:
            for line in file.read_text().splitlines(keepends=True) if file.exists() else []:
                if not line.startswith("#") and line.endswith("\n"):  # the last one may be on its way
                    begun, ended, number = map(int, line.split())
                    found.append((number, begun, ended))
        return sorted(found)

    def wait_for(self, more, seconds):
        """As many additions more of somebody."""
        goal = len(self.additions()) + more
        clusters.wait_until(f"{more} additions under {self.kind}", lambda: self.running() and len(self.additions()) >= goal, seconds)

    def running(self):
        for client in self.clients:
            assert client.running(), f"{client.name} has ended:\n{client.tail()}"
        return True

    def stop(self):
        for client in self.clients:
            client.kill()

    def failures(self):
        return sum(line.startswith("#") for file in self.files for line in file.read_text().splitlines())



def wrong(additions, there):
    """What is not as it must be: no number comes twice, each is higher than those that had been synced before it was begun, and `there` is
    no lower than any. None if all is well."""
    last_begun, before = 0, 0
    for number, begun, ended in additions:
        if number == before:
            return f"{number} was written twice"
        if ended < last_begun:
            return f"{number} had been synced before a lower number was begun"
        last_begun, before = max(last_begun, begun), number
    return f"{there} is there, {before} was synced" if there < before else None


def test_what_is_lost_without_a_common_lock_is_found(make_cluster):
    """flock and fcntl don't exclude each other."""
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    (a / "f").write_bytes(b"")
    counters = [Counter(c, kind, "f", [mount], 1) for kind, mount in zip(KINDS, (a, b))]
    try:
        clusters.wait_until("a lost addition", lambda: wrong(sorted(counters[0].additions() + counters[1].additions()), 1 << 60), 60)
    finally:
        for counter in counters:
            counter.stop()


NAMESPACES = netns.why_not()
pytestmark = pytest.mark.timeout(300 + 3 * SECONDS)


@pytest.mark.skipif(NAMESPACES is not None, reason=NAMESPACES or "")
@pytest.mark.parametrize("fault", [kill_leader, pause_mount, cut_mount, lose_mount], ids=lambda f: f.__name__)
def test_no_locked_addition_is_lost(tmp_path, request, capsys, fault):
    seed, rng = histories.seeded(request)
    with netns.cluster(tmp_path / "cluster", 3, 6, ["--session-timeout", SESSION_SECONDS]) as cluster:
        cluster.wait_formed()
        mounts = [mount_there(cluster, machine) for machine in (4, 5, 6)]
        for kind in KINDS:
            (mounts[0] / kind).write_bytes(b"")
        counters = [Counter(cluster, kind, kind, mounts, seed) for kind in KINDS]
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                fault(cluster, mounts, rng)
                for counter in counters:
                    counter.wait_for(5, 60)
            cluster.wait_leader()
            for counter in counters:
                counter.wait_for(20, 60)
        finally:
            for counter in counters:
                counter.stop()
        for counter in counters:
            additions, there = counter.additions(), int((mounts[0] / counter.kind).read_bytes())
            assert not wrong(additions, there), f"{counter.kind}, seed {seed}: {wrong(additions, there)}"
            with capsys.disabled():
                print(f"\n  {fault.__name__}, seed {seed}: {len(additions)} additions under {counter.kind}, {there} in the file, "
                      f"{counter.failures()} calls failed", end="")
