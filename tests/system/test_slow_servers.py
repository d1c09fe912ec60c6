"""One block server of three that is stopped, slow (10 KiB/s both ways) or full: writes and reads notice it for seconds, not longer.
When a majority is full writes fail with ENOSPC, and what was written stays."""

import errno
import json
import os
import signal
import threading
import time

import pytest

import cluster as clusters
import netns
from cluster import PATIENCE, wait_until
from test_disks import disks, place  # noqa: F401

KIB, MIB = 1024, 1024 * 1024
SECONDS = 10       # that the fault lasts
FIRST_SECONDS = 6  # within which it may be noticed
LATE_LIMIT_S = 1.0  # nothing takes longer from then on
FILES = 300

REASON = netns.why_not()


def on_machine(c, name, machine):
    mount = c.mounts[name] = clusters.Mount(c, name)
    mount.start(prefix=c.net.inside(machine))
    return mount


def write_synced(path, size):
    with open(path, "wb") as f:
        f.write(os.urandom(size))
        f.flush()
        os.fsync(f.fileno())


@pytest.mark.skipif(REASON is not None, reason=REASON or "")
@pytest.mark.parametrize("fault", ["stopped", "slow"])
def test_one_sick_server_is_gone_round(tmp_path, fault):
    with netns.cluster(tmp_path / "cluster", 3, 4) as c:
        a = on_machine(c, "a", 4)
        (a / "d").mkdir()
        for i in range(FILES):
            (a / f"d/read{i}").write_bytes(os.urandom(256 * KIB))
        os.sync()
        b = on_machine(c, "b", 4)  # it has read none of them
        leader = c.wait_leader()
        victim = next(i for i in c.nodes if i != leader)
        work = {"read": lambda i: (b / f"d/read{i}").read_bytes(), "large": lambda i: write_synced(a / f"d/large{i}", 256 * KIB),
                "small": lambda i: write_synced(a / f"d/small{i}", 2 * KIB)}
        took = {kind: [] for kind in work}
        failures = []
        begun = time.monotonic()

        def run(kind):
            try:
                for i in range(FILES):
                    at = time.monotonic()
                    if at - begun > SECONDS * PATIENCE:
                        break
                    work[kind](i)
                    took[kind].append((at - begun, time.monotonic() - at))
                    time.sleep(0.05 * PATIENCE)  # so that there is something to do all the time
            except Exception as e:  # in a thread: told by the test below
                failures.append(e)

        try:
            if fault == "slow":
                c.net.slow(victim, 10)
            else:
                c.nodes[victim].process.signal(signal.SIGSTOP)
            threads = [threading.Thread(target=run, args=(kind,)) for kind in work]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            c.nodes[victim].process.signal(signal.SIGCONT)
            c.net.unslow(victim)
        assert not failures
        for kind, times in took.items():
            late = [seconds for at, seconds in times if at > FIRST_SECONDS * PATIENCE]
            assert len(late) > 10, f"{kind}: {len(late)} of {len(times)}"
            assert max(late) < LATE_LIMIT_S * PATIENCE, f"{kind}: {[t for t in times if t[1] > 0.5]}"


@pytest.mark.skipif(REASON is not None, reason=REASON or "")
def test_copies_of_this_machine_are_read(tmp_path):
    with netns.cluster(tmp_path / "cluster", 3) as c:
        a = on_machine(c, "a", 2)
        for i in range(FILES // 5):
            write_synced(a / f"read{i}", 256 * KIB)
        wait_until("the third copies", lambda: all(s["blocks"] >= FILES // 5 for s in json.loads(c.surfctl("--json", "blocks").stdout)["servers"]))
        reader = on_machine(c, "reader", 1)
        before = c.net.received(1)
        for i in range(FILES // 5):
            (reader / f"read{i}").read_bytes()
        received = c.net.received(1) - before
        assert received < FILES // 5 * 256 * KIB / 2, "most of it came from the node on the same machine"


def fill(disk, but_mib):
    """So much stays free."""
    state = os.statvfs(disk.path)
    with open(disk.path / "ballast", "wb") as f:
        os.posix_fallocate(f.fileno(), 0, state.f_bavail * state.f_frsize - (but_mib << 20))


def fills(c, number):
    return "no more blocks are taken" in c.nodes[number].log.read_text(errors="replace")


def test_full_servers(make_cluster, disks):  # noqa: F811
    c = make_cluster(3, extra=["--disk-reserve", "64"], start=False)
    two = {number: disks(f"disk{number}", 500) for number in (2, 3)}
    for number, disk in two.items():
        place(c, number, disk)
    try:
        c.start()
        c.wait_formed()
        a = c.mount("a")
        before = {f"before{i}": os.urandom(1 * MIB) for i in range(10)}
        for name, data in before.items():
            (a / name).write_bytes(data)
        os.sync()
        fill(two[2], 100)
        wait_until("one to be full", lambda: fills(c, 2))
        begun = time.monotonic()
        for i in range(10):
            write_synced(a / f"one{i}", 1 * MIB)
        assert time.monotonic() - begun < 10 * PATIENCE

        fill(two[3], 100)
        wait_until("another one to be full", lambda: fills(c, 3))
        with pytest.raises(OSError) as refused:
            write_synced(a / "two", 1 * MIB)
        assert refused.value.errno == errno.ENOSPC
        b = c.mount("b")
        for name, data in before.items():
            assert (b / name).read_bytes() == data
        for i in range(10):
            assert (b / f"one{i}").stat().st_size == 1 * MIB
        os.unlink(a / "one0")  # names can still be changed
        os.rename(a / "one1", a / "renamed")

        (two[3].path / "ballast").unlink()

        def accepted():
            try:
                write_synced(a / "three", 1 * MIB)
                return True
            except OSError as e:
                assert e.errno == errno.ENOSPC
                return False

        wait_until("blocks to be taken again", accepted)
        assert len((b / "three").read_bytes()) == 1 * MIB
    finally:
        for mount in c.mounts.values():
            mount.stop()
        for node in c.nodes.values():
            node.stop()


def test_what_is_not_committed_is_bounded(cluster):
    """While no server takes anything, a program can write as much as -o dirty= says, and then waits."""
    m = cluster.mount("m", "-o", "dirty=4")
    data = os.urandom(32 * MIB)
    fd = os.open(m / "f", os.O_WRONLY | os.O_CREAT, 0o644)

    def write():
        for at in range(0, len(data), MIB):
            os.write(fd, data[at:at + MIB])

    writer = threading.Thread(target=write)
    try:
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGSTOP)
        writer.start()
        # Who exceeds it commits at once, so it is never more than one write.
        wait_until("the limit", lambda: m.counters()["dirty_bytes"] > 4 * MIB)
        assert m.counters()["dirty_bytes"] <= 5 * MIB and writer.is_alive()
    finally:
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGCONT)
        writer.join()
        os.close(fd)
    assert (cluster.mount("other") / "f").read_bytes() == data
