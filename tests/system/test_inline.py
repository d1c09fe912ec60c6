"""Small contents that come with their commit: what fsync has promised is there whoever is killed afterwards, and it ends on the
block servers."""

import os
import random
import signal
import subprocess
import sys

import pytest

from cluster import wait_until
from manifest import check_files, write_files
from test_blocks import QUICK, wait_copies

KIB = 1024
SLOTS = 64
SLOT_BYTES = 4 * KIB

# Writes numbered pages to random slots of a file, each with fsync; says which ones are done.
WRITER = f"""
import os, random, sys
source = random.Random(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
number = 0
while True:
    number += 1
    slot = source.randrange({SLOTS})
    os.pwrite(fd, number.to_bytes(8, "big") * ({SLOT_BYTES} // 8), slot * {SLOT_BYTES})
    os.fsync(fd)
    print(slot, number, flush=True)
"""


def test_files_outlive_their_mount_and_the_leader(make_cluster):
    """kill -9 of the mount in the moment when the last file is synced, and of the leader: another mount has all of them, at once,
    and moves them to the block servers."""
    c = make_cluster(3, [*QUICK, "--scrub-rate", "0"])
    c.wait_formed()
    a = c.mount("a")
    (a / "d").mkdir()
    manifest = write_files(a / "d", 60, 3000)
    a.process.signal(signal.SIGKILL)
    leader = c.wait_leader()
    c.nodes[leader].kill()
    b = c.mount("b")
    check_files(b / "d", manifest)
    c.nodes[leader].start()
    wait_copies(c, 3 * len(manifest), seconds=90)
    check_files(b / "d", manifest)
    check_files(c.mount("fresh") / "d", manifest)


@pytest.mark.parametrize("victim", ["mount", "leader", "follower"])
def test_synced_pages_are_never_lost(make_cluster, victim):
    c = make_cluster(3)
    c.wait_formed()
    b = c.mount("b")
    acknowledged, newest = {}, {}
    for seed in range(3):
        a = c.mount(f"a{seed}")
        name = f"pages{seed}"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(a / name), str(seed)], stdout=subprocess.PIPE, text=True)
        lines = random.Random(seed).randrange(50, 150)
        for _ in range(lines):
            slot, number = map(int, writer.stdout.readline().split())
            acknowledged[name, slot] = number
        node = None
        if victim == "mount":
            a.process.signal(signal.SIGKILL)
        else:
            leader = c.wait_leader()
            node = c.nodes[leader if victim == "leader" else next(i for i in c.nodes if i != leader)]
            node.kill()
            for _ in range(20):  # it goes on with the others
                slot, number = map(int, writer.stdout.readline().split())
                acknowledged[name, slot] = number
        writer.kill()
        for line in writer.stdout.read().splitlines():
            if len(line.split()) == 2:
                slot, number = map(int, line.split())
                acknowledged[name, slot] = number
        writer.wait()
        if node:
            node.start()
        data = (b / name).read_bytes()
        for slot in range(SLOTS):
            page = data[slot * SLOT_BYTES:(slot + 1) * SLOT_BYTES]
            if page:
                assert page == page[:8] * (SLOT_BYTES // 8), f"{name}: page {slot} is torn"
                newest[name, slot] = int.from_bytes(page[:8], "big")
        for (file, slot), number in acknowledged.items():
            if file == name:
                assert newest[file, slot] >= number, f"{file}: page {slot} has lost write {number}"


def test_they_leave_the_metadata(make_cluster):
    """While files are written and removed, and behind it, nothing piles up; a copy of a small file shares its block."""
    c = make_cluster(3, [*QUICK, "--scrub-rate", "0"])
    c.wait_formed()
    a = c.mount("a")
    (a / "d").mkdir()
    manifest = write_files(a / "d", 100, 2000)
    subprocess.run(["cp", "--reflink=auto", a / "d/f0", a / "d/copy"], check=True)
    manifest["copy"] = manifest["f0"]
    wait_copies(c, 3 * 100, seconds=60)
    b = c.mount("b", "-o", "noinline")
    check_files(b / "d", manifest)
    for name in manifest:
        os.unlink(a / "d" / name)
    wait_until("the directory to be empty on the other mount", lambda: os.listdir(b / "d") == [])
