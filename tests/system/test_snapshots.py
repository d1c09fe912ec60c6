"""Members that are behind the log, or that have lost what they had, get the state as a snapshot."""

import os
import shutil
import signal

import pytest

import cluster as clusters

SHORT_LOG = ["--log-entries", "100", "--log-size", "1"]


def make_files(directory, count, first=0):
    for i in range(first, first + count):
        (directory / f"f{i:05}").write_bytes(b"")


def compacted(c, node):
    return c.state(node)["compacted"]


def wait_equal(c):
    """All members have applied the same, with the same chain hash."""
    def equal():
        states = [c.state(n) for n in c.nodes]
        return len({(s["applied"], s["chain_hash"]) for s in states}) == 1

    clusters.wait_until("equal states", equal, 60)


def wait_back(c, number):
    """It is in its place again; the configuration alone would not do, which has its old self at first."""
    clusters.wait_until("it to be in its place again", lambda: "in its place again" in c.nodes[number].log.read_text(), 60)
    clusters.wait_until("it to vote", lambda: c.members().get(number) == "voter")


@pytest.fixture
def short(make_cluster):
    c = make_cluster(3, extra=SHORT_LOG)
    c.wait_formed()
    return c


def behind(c, a, down):
    """Goes on until what the member that is down needs next is in no log any more."""
    had = c.state(down)["applied"]
    c.nodes[down].kill()
    leader = c.wait_leader()
    made = 0

    def gone():
        nonlocal made
        make_files(a, 400, made)
        made += 400
        return compacted(c, leader) > had

    clusters.wait_until("the log to be cut", gone, 60)
    return made


def test_member_behind_the_log_gets_a_snapshot(short):
    c = short
    a = c.mount("a")
    down = next(n for n in c.nodes if n != c.wait_leader())
    made = behind(c, a.path, down)
    c.nodes[down].start()
    wait_equal(c)
    assert c.state(down)["snapshots_installed"] >= 1
    # It is worth as much as any other: it leads, and its state is the whole tree.
    clusters.wait_until("it to lead", lambda: c.surfctl("leader", down, check=False).returncode == 0)
    assert len(list(a.path.iterdir())) == made
    c.nodes[down].kill()
    c.nodes[down].start()
    wait_equal(c)


def test_crashes_while_it_is_fetched(short):
    """Killed again and again, at every moment of it; it is always the old state or the new one."""
    c = short
    a = c.mount("a")
    down = next(n for n in c.nodes if n != c.wait_leader())
    behind(c, a.path, down)
    for delay in range(0, 240, 15):
        c.nodes[down].start()
        clusters.wait_until("a moment", lambda end=clusters.time.monotonic() + delay / 1000: clusters.time.monotonic() > end)
        c.nodes[down].kill()
    c.nodes[down].start()
    wait_equal(c)


@pytest.mark.parametrize("damage", ["log", "state", "all", "directory"])
def test_lost_data_is_rebuilt(cluster, mounts, damage):
    c = cluster
    a, b = mounts
    make_files(a.path, 300)
    lost = next(n for n in c.nodes if n != c.wait_leader())
    node = c.nodes[lost]
    clusters.wait_until("identities to be known", lambda: c.state(lost)["config_index"] > 0)
    assert node.stop() == 0
    if damage == "log":
        shutil.rmtree(node.data / "log")
    elif damage == "state":
        for path in node.data.glob("meta-*/CURRENT"):
            path.unlink()
    elif damage == "all":
        for name in os.listdir(node.data):
            if name == "log" or name == "state" or name.startswith("meta-"):
                path = node.data / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        shutil.rmtree(node.data)
    if damage != "directory":
        process = clusters.Process("refused", [clusters.BIN / "surfd", "-l", "-p", node.port, "--id", lost, "--data", node.data,
                                               "--peers", c.peers], c.dir / "refused.log", env=c.env)
        assert process.popen.wait(30 * clusters.PATIENCE) == 1
        assert "rebuild" in process.tail() or "lost" in process.tail()
    make_files(a.path, 50, 1000)
    node.start("--rebuild")
    wait_back(c, lost)
    wait_equal(c)
    # And it stays one without the flag.
    assert node.stop() == 0
    node.start()
    c.wait_caught_up()
    other = next(n for n in c.nodes if n not in (lost, c.wait_leader()))
    c.surfctl("crash", other)
    (a / "with its vote").write_text("x")
    c.surfctl("restore", other)
    assert (b / "with its vote").read_text() == "x"


def test_rebuilt_again_before_it_was_back(cluster):
    """To the others it is a learner by then, or nobody; it becomes the voter that it was."""
    c = cluster
    lost = next(n for n in c.nodes if n != c.wait_leader())
    node = c.nodes[lost]
    clusters.wait_until("identities to be known", lambda: c.state(lost)["config_index"] > 0)
    node.stop()
    node.start("--rebuild")
    clusters.wait_until("it to be taken back", lambda: "taken back as a learner" in node.log.read_text())
    node.kill()
    node.start("--rebuild")
    wait_back(c, lost)


def test_rebuilt_one_ends_when_its_old_self_goes(cluster, monkeypatch, tmp_path):
    """The leader has removed its old self, and its answer is lost with the process: nobody says any more that it was a voter."""
    c = cluster
    lost = next(n for n in c.nodes if n != c.wait_leader())
    node, others = c.nodes[lost], [c.nodes[n] for n in c.nodes if n != lost]
    clusters.wait_until("identities to be known", lambda: c.state(lost)["config_index"] > 0)
    node.stop()
    starts = node.log.read_text().count(" data in ")
    control = tmp_path / "broken"
    for other in others:
        other.process.signal(signal.SIGSTOP)
    try:
        with monkeypatch.context() as m:
            m.setitem(c.env, "LD_PRELOAD", str(clusters.BIN.parent / "test-bin" / "libfail_io.so"))
            m.setitem(c.env, "SURF_FAIL_WHEN", str(control))
            node.start("--rebuild")
        clusters.wait_until("it to be ready", lambda: node.log.read_text().count(" data in ") > starts)
        control.write_text(f"{node.data}/identity")
    finally:
        for other in others:
            other.process.signal(signal.SIGCONT)
    clusters.wait_until("it to end", lambda: not node.running(), 60)
    node.start()
    wait_back(c, lost)


def test_wiped_disk_has_no_vote(cluster, mounts):
    """P4: the same id on an empty disk has promised nothing and counts for nothing until it is taken back."""
    c = cluster
    a, _ = mounts
    (a / "x").write_text("x")
    lost = next(n for n in c.nodes if n != c.wait_leader())
    node = c.nodes[lost]
    clusters.wait_until("identities to be known", lambda: c.state(lost)["config_index"] > 0)
    node.kill()
    shutil.rmtree(node.data)
    node.start()
    leader = c.wait_leader()
    clusters.wait_until("the leader to notice", lambda: "another data directory" in c.nodes[leader].log.read_text())
    clusters.wait_until("operators to be told", lambda: "NOT THE DATA IT HAD" in c.surfctl("members").stdout)
    assert [line.split()[0] for line in c.surfctl("status").stdout.splitlines() if "--rebuild" in line] == [str(lost)]
    other = next(n for n in c.nodes if n not in (lost, leader))
    c.nodes[other].kill()
    clusters.wait_until("no leader", lambda: c.state(leader)["state"] != "LEADER")
    c.nodes[other].start()
    c.wait_leader()
    assert (a / "x").read_text() == "x"
    assert node.stop() == 0
    node.start("--rebuild")
    wait_back(c, lost)
