"""A disk that fails under a running node: it goes out of service at once and for good, says why, and nothing acknowledged is lost."""

import pytest

import cluster as clusters
import workload

SHORT_LOG = ["--log-entries", "1000"]  # so that the state is flushed often
LIBRARY = clusters.BIN.parent / "test-bin" / "libfail_io.so"


@pytest.mark.parametrize("victim", ["leader", "follower"])
# Of the state's directory only the tables: Debian's RocksDB is built with assertions, and one of them ends the process when its
# own log of events can't be written.
@pytest.mark.parametrize("where", ["/log/", "/meta-1/0"])
def test_writes_fail(make_cluster, monkeypatch, tmp_path, where, victim):
    c = make_cluster(3, extra=SHORT_LOG)
    broken = tmp_path / "broken"
    monkeypatch.setitem(c.env, "LD_PRELOAD", str(LIBRARY))
    for number, node in c.nodes.items():
        node.stop()
        monkeypatch.setitem(c.env, "SURF_FAIL_WHEN", f"{broken}{number}")
        node.start()
    for name in ("LD_PRELOAD", "SURF_FAIL_WHEN"):
        monkeypatch.delitem(c.env, name)
    c.wait_formed()
    a = c.mount("a")
    writer = workload.WriteThenRead(a.path, a.path)
    writer.start()
    try:
        leader = c.wait_leader()
        number = leader if victim == "leader" else next(n for n in c.nodes if n != leader)
        node = c.nodes[number]
        clusters.wait_until("some files", lambda: writer.rounds > 20 or writer.error)
        (tmp_path / f"broken{number}").write_text(f"{node.data}{where}")
        clusters.wait_until("the node to end", lambda: not node.running(), 60)
        assert node.process.popen.returncode == 1
        assert "can't be" in node.process.tail() and "nput/output" in node.process.tail(), node.process.tail()
        clusters.wait_until("writing to go on", lambda r=writer.rounds: writer.rounds > r + 20 or writer.error, 30)
        (tmp_path / f"broken{number}").unlink()
        node.stop()
        node.start()
        c.wait_caught_up(60)
        clusters.wait_until("writing to go on", lambda r=writer.rounds: writer.rounds > r + 20 or writer.error, 30)
    finally:
        writer.finish()
    for name, digest in writer.digests.items():
        assert workload.sha256(a / name) == digest


def start_with_failing_writes(c, node, monkeypatch, control):
    """Once the file `control` exists, what it names fails (tests/tools/fail_io)."""
    with monkeypatch.context() as m:
        m.setitem(c.env, "LD_PRELOAD", str(LIBRARY))
        m.setitem(c.env, "SURF_FAIL_WHEN", str(control))
        node.start()


def test_a_disk_that_fails_while_the_leader_stops(make_cluster, monkeypatch, tmp_path):
    """It hands over first, and has to write down the next leader's term."""
    c = make_cluster(3)
    c.wait_formed()
    number = c.wait_leader()
    node, control = c.nodes[number], tmp_path / "broken"
    node.kill()
    start_with_failing_writes(c, node, monkeypatch, control)
    clusters.wait_until("it to lead", lambda: c.surfctl("leader", number, check=False).returncode == 0)
    clusters.wait_until("all to be there", lambda: all(s.get("state") in ("LEADER", "FOLLOWER") for s in c.node_states().values()))
    control.write_text(f"{node.data}/log/")
    assert node.stop() in (0, 1), node.process.tail()
    control.unlink()
    node.start()
    c.wait_caught_up(60)


def test_a_state_that_came_and_does_not_open(make_cluster, monkeypatch, tmp_path):
    """It says so, also to who asks meanwhile, and ends."""
    c = make_cluster(3, extra=["--log-entries", "100", "--log-size", "1"])
    c.wait_formed()
    a = c.mount("a")
    number = next(n for n in c.nodes if n != c.wait_leader())
    node, control = c.nodes[number], tmp_path / "broken"
    had = c.state(number)["applied"]
    node.kill()
    leader, made = c.wait_leader(), 0

    def gone():
        nonlocal made
        for made in range(made + 1, made + 400):
            (a.path / f"f{made}").write_bytes(b"")
        return c.state(leader)["compacted"] > had

    clusters.wait_until("the log to be cut", gone, 60)
    control.write_text("/meta-2/MANIFEST")
    start_with_failing_writes(c, node, monkeypatch, control)
    answers = set()

    def ended():
        answers.add(c.surfctl("state", number, check=False).returncode)
        return not node.running()

    clusters.wait_until("the node to end", ended, 60)
    assert node.process.popen.returncode == 1, node.process.tail()
    assert "a snapshot can't be installed" in node.process.tail()
    control.unlink()
    node.start()
    c.wait_caught_up(60)
