"""`surfctl chaos`: nodes fail at random while clients have every answer judged; whoever installs SurfFS can try it."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import cluster as clusters
from cluster import BIN, PATIENCE, wait_until

SURFCTL = BIN / "surfctl"


def chaos(*args, program=SURFCTL, env=None, before=()):
    done = subprocess.run([str(program), "--json", *before, "chaos", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=env, timeout=120 * PATIENCE)
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def leftovers(directory):
    """Processes that still have something to do with it."""
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory).encode() in p.read_bytes():
                found.append(p.parent.name)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("nodes, seed", [(3, 11), (5, 12)])
def test_a_cluster_of_its_own(tmp_path, nodes, seed):
    done, events = chaos("--seconds", int(6 * PATIENCE), "--seed", seed, "--nodes", nodes, "--dir", tmp_path)
    verdict = events[-1]
    assert done.returncode == 0 and verdict["verdict"] == "right" and verdict["violations"] == 0, done.stdout
    assert sum(verdict["faults"].values()) >= 2 and verdict["reads"] > 100 and verdict["writes"] > 100
    assert list(tmp_path.iterdir()) == [] and leftovers(tmp_path) == []


def test_a_seed_is_a_plan(tmp_path):
    plans = []
    for _ in range(2):
        _, events = chaos("--seconds", int(4 * PATIENCE), "--seed", 5, "--dir", tmp_path)
        plans.append([e["event"] for e in events if "event" in e and e["event"].startswith("node") and "/" not in e["event"]][:2])
    assert plans[0] == plans[1] and plans[0]


def test_a_fault_is_found(tmp_path):
    """Nodes that forget a reply too early do a change twice: it must not say that all is right. What is to be looked at is kept."""
    (tmp_path / "bin").mkdir()
    shutil.copy(SURFCTL, tmp_path / "bin" / "surfctl")
    os.symlink(BIN.parent / "test-bin" / "surfd-planted", tmp_path / "bin" / "surfd")
    # A reply has to be lost at the wrong moment, which no seed can promise: real processes don't keep step.
    for seed in range(3, 8):
        done, events = chaos("--seconds", 30, "--seed", seed, "--clients", 16, "--dir", tmp_path, program=tmp_path / "bin" / "surfctl",
                             env=dict(os.environ, SURF_PLANT="META_WINDOW_OFF_BY_ONE"))
        if done.returncode:
            break
    assert done.returncode == 1 and events[-1]["verdict"] == "wrong" and events[-1]["why"], done.stdout
    assert [p for p in tmp_path.iterdir() if p.name.startswith("surf-chaos")] and leftovers(tmp_path) == []


def test_ended_by_hand(tmp_path):
    popen = subprocess.Popen([str(SURFCTL), "chaos", "--dir", str(tmp_path), "--seconds", "600"], stdout=subprocess.PIPE, text=True)
    lines = []
    while not any("at work" in line for line in lines):
        lines.append(popen.stdout.readline())
    popen.send_signal(signal.SIGINT)
    rest = popen.communicate(timeout=60 * PATIENCE)[0]
    assert popen.returncode == 0 and "right: 3 nodes" in rest
    assert list(tmp_path.iterdir()) == [] and leftovers(tmp_path) == []


def test_the_cluster_of_somebody(cluster):
    m = cluster.mount("m")
    (m.path / "mine").write_text("before")
    done, events = chaos("--seconds", 5, "--seed", 2, "--this-cluster", before=("-m", cluster.addresses))
    assert done.returncode == 0 and events[-1]["verdict"] == "right", done.stdout
    assert events[-1]["faults"]["kills"] == events[-1]["faults"]["stops"] == 0
    wait_until("all nodes", lambda: {s["state"] for s in cluster.node_states().values()} == {"LEADER", "FOLLOWER"})
    assert json.loads(cluster.surfctl("--json", "kv", "list", "surfctl-chaos/").stdout) == []
    assert (m.path / "mine").read_text() == "before"
    assert all(cluster.state(n)["unreachable"] == [] for n in (1, 2, 3))


@pytest.mark.parametrize("args, words", [
    (("--seconds", "0"), "from 1 to"), (("--seconds", "-1"), "from 1 to"), (("--seed", "x"), "from 0"), (("--nodes", "1"), "from 2 to 7"),
    (("--nodes", "8"), "from 2 to 7"), (("--clients",), "from 1 to"), (("--for", "ever"), "--for")])
def test_bad_arguments(args, words):
    done = subprocess.run([str(SURFCTL), "chaos", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 64 and words in done.stderr


def test_a_directory_that_is_not_there(tmp_path):
    done = subprocess.run([str(SURFCTL), "chaos", "--dir", str(tmp_path / "absent")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "absent" in done.stderr


def test_a_cluster_that_is_not_there():
    address = f"127.0.0.1:{clusters.free_ports(1)[0]}"
    done = subprocess.run([str(SURFCTL), "-m", address, "chaos", "--this-cluster"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and address in done.stderr
