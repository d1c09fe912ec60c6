"""Disks that are full, and power that fails: real file systems on loop devices."""

import contextlib
import fcntl
import json
import os
import re
import struct
import subprocess
import threading

import pytest

import cluster as clusters
import manifest as manifests
import web
import workload

FS_IOC_SHUTDOWN = 0x8004587D  # ext4: from now on nothing reaches the device
SHUTDOWN_NOLOGFLUSH = 2


def run(*command):
    return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Disk:
    """A file system of its own in a file."""

    def __init__(self, directory, name, mib):
        self.image, self.path = directory / f"{name}.img", directory / name
        self.path.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)
        for command in (["mkfs.ext4", "-q", "-m", "0", self.image], ["mount", "-o", "loop", self.image, self.path]):
            done = run(*command)
            if done.returncode:
                pytest.skip(f"no loop mounts here: {done.stdout.strip()}")

    def cut_power(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NOLOGFLUSH))
        finally:
            os.close(fd)

    def mount_again(self):
        assert run("umount", self.path).returncode == 0
        done = run("mount", "-o", "loop", self.image, self.path)
        assert done.returncode == 0, done.stdout

    def close(self):
        run("umount", "-l", self.path)


@pytest.fixture
def disks(tmp_path):
    with contextlib.ExitStack() as stack:
        def make(name, mib):
            disk = Disk(tmp_path, name, mib)
            stack.callback(disk.close)
            return disk

        yield make


def place(c, number, disk):
    c.nodes[number].data = disk.path / "data"
    c.unsound = "its disks are gone by then: the test checks it before"


def test_full_disk_steps_aside_and_comes_back(make_cluster, disks):
    c = make_cluster(3, extra=["--disk-reserve", "64"], start=False)
    disk = disks("small", 320)
    place(c, 2, disk)
    try:
        c.start()
        c.wait_formed()
        a = c.mount("a")
        (a / "before").write_text("x")
        ballast = disk.path / "ballast"
        free = os.statvfs(disk.path).f_bavail * os.statvfs(disk.path).f_frsize
        with open(ballast, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, free - (40 << 20))
        clusters.wait_until("node 2 to step aside", lambda: c.node_states()[2]["state"] == "SUSPENDED")
        assert re.search(r"SUSPENDED .* MiB are free in ", c.surfctl("status").stdout)
        assert "reserve of 64 MiB" in c.state(2)["suspended"]
        for i in range(50):
            (a / f"meanwhile-{i}").write_text("y")
        assert c.nodes[2].running()
        ballast.unlink()
        clusters.wait_until("node 2 to come back", lambda: c.node_states()[2]["state"] in ("FOLLOWER", "LEADER"))
        c.wait_caught_up()
        assert len(list(a.path.iterdir())) == 51
        c.check_sound()
    finally:
        for mount in c.mounts.values():
            mount.stop()
        for node in c.nodes.values():
            node.stop()


def test_a_server_without_room_is_told_and_not_counted(make_cluster, disks):
    """One of three takes no more blocks, long before it steps aside: all that tell of servers say so, and df counts what can have three copies."""
    c = make_cluster(3, extra=["--disk-reserve", "64"], start=False)
    disk = disks("small", 512)
    place(c, 2, disk)
    cluster_web = web.Web(c)

    def full():
        return {b["id"]: b["full"] for b in c.status()["block_servers"]}

    def blocks():
        return json.loads(c.surfctl("--json", "blocks").stdout)

    def walks():
        return [s["walks"] for s in blocks()["servers"]]

    def space():
        s = os.statvfs(c.mounts["a"].path)
        return s.f_bavail * s.f_frsize, s.f_bfree * s.f_frsize

    def bytes_free():
        s = os.statvfs(disk.path)
        return s.f_bavail * s.f_frsize

    try:
        cluster_web.start()
        c.wait_formed()
        a = c.mount("a")
        (a / "before").write_text("x")
        assert full() == {1: False, 2: False, 3: False} and "FULL" not in c.surfctl("status").stdout
        available, free = space()
        # Not more than the smallest of three has room for, less what it keeps.
        assert 0 < available <= (512 - 128) << 20 and available < free
        ballast = disk.path / "ballast"
        with open(ballast, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, bytes_free() - (100 << 20))
        clusters.wait_until("it to be told", lambda: full() == {1: False, 2: True, 3: False})
        assert [line.split()[0] for line in c.surfctl("status").stdout.splitlines() if "FULL" in line] == ["2"]
        assert "FULL: no blocks are taken before more than 128.0 MiB are free" in c.surfctl("blocks").stdout
        assert {b["id"]: b["full"] for b in json.loads(c.surfctl("--json", "blocks").stdout)["servers"]} == full()
        assert "FULL" in c.surfctl("state", 2).stdout and c.state(2)["blocks_full"] and c.state(2)["disk_kept"] == 128 << 20
        told = cluster_web.get(c.wait_leader(), "/metrics").text
        assert [f'surf_block_server_full{{server="{n}"}} {int(n == 2)}' in told for n in (1, 2, 3)] == [True] * 3
        assert "\nsurf_blocks_full 1\n" in cluster_web.get(2, "/metrics").text
        clusters.wait_until("df to know", lambda: space()[0] == 0)
        assert space()[1] > 0
        manifest = manifests.write_files(a.path, 20)
        clusters.wait_until("what it lacks to be told", lambda: blocks()["short_blocks"] >= 20)
        looked = clusters.wait_until("the others to have looked", lambda: walks() if blocks()["settled"] else None, 30)
        threading.Event().wait(6)  # it used to be offered them every two seconds
        assert walks() == looked
        ballast.unlink()
        clusters.wait_until("it to take blocks again", lambda: not any(full().values()))
        clusters.wait_until("df to know", lambda: 0 < space()[0] <= (512 - 128) << 20)
        c.check_sound()
        manifests.check_files(a.path, manifest)
    finally:
        for mount in c.mounts.values():
            mount.stop()
        for node in c.nodes.values():
            node.stop()


@pytest.mark.parametrize("which", ["one", "all"])
def test_power_cut(make_cluster, disks, which):
    """What was acknowledged is there after the power failed under one node, or under all at once."""
    c = make_cluster(3, extra=["--disk-reserve", "0"], start=False)
    parts = {number: disks(f"disk{number}", 400) for number in c.nodes}
    for number, disk in parts.items():
        place(c, number, disk)
    try:
        c.start()
        c.wait_formed()
        a = c.mount("a")
        writer = workload.WriteThenRead(a.path, a.path)
        writer.start()
        for _ in range(3):
            clusters.wait_until("some rounds", lambda r=writer.rounds: writer.rounds > r + 30 or writer.error, 60)
            down = list(parts) if which == "all" else [c.wait_leader()]
            for number in down:
                parts[number].cut_power()
            for number in down:
                c.nodes[number].kill()
            for number in down:
                parts[number].mount_again()
                c.nodes[number].start()
            c.wait_caught_up(60)
        writer.finish()
        assert not writer.error
        for name, digest in writer.digests.items():
            assert workload.sha256(a / name) == digest
        c.check_sound()
    finally:
        for mount in c.mounts.values():
            mount.stop()
        for node in c.nodes.values():
            node.stop()
