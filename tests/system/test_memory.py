"""Memory of a node: what a busy time took is given back when it is over."""

import os
import pathlib

from cluster import wait_until

MIB = 1024 * 1024
QUIET_MIB = 48


def rss_mib(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def test_memory_is_given_back(cluster):
    a = cluster.mount("a")
    for i in range(96):
        (a / f"f{i}").write_bytes(os.urandom(1 * MIB))
    os.sync()
    b = cluster.mount("b")
    for i in range(96):
        assert len((b / f"f{i}").read_bytes()) == MIB
    nodes = [n.process.pid for n in cluster.nodes.values()]
    wait_until("the nodes to be small again", lambda: all(rss_mib(pid) < QUIET_MIB for pid in nodes), 60)
