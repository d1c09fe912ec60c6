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
