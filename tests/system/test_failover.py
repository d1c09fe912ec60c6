"""A node goes, crashed or killed, the leader or another: nothing fails, nothing is lost."""

import os
import signal
import subprocess

import pytest

import cluster as clusters
import workload


@pytest.mark.parametrize("how", ["crash", "kill"])
def test_every_node_in_turn(cluster, mounts, how, capsys):
    a, b = mounts
    (a / "w").mkdir()
    clusters.wait_until("the directory on b", (b / "w").is_dir, 5)
    writer = workload.WriteThenRead(a / "w", b / "w")
    writer.start()
    stalls = []
    try:
        order = list(cluster.nodes) + [0]  # 0: whoever leads then, so that a leader is always among them
        for number in order:
            leader = cluster.wait_leader()
            node = cluster.nodes[number or leader]
            clusters.wait_until("some rounds before", lambda r=writer.rounds: writer.rounds > r + 5 or writer.error, 30)
            writer.longest = 0.0
            before = writer.rounds
            if how == "crash":
                cluster.surfctl("crash", node.id)
            else:
                node.kill()
            clusters.wait_until("writing to go on", lambda: writer.rounds > before + 20 or writer.error, 60)
            stalls.append((node.id, node.id == leader, round(writer.longest, 2)))
            if how == "crash":
                cluster.surfctl("restore", node.id)
            else:
                node.start()
            cluster.wait_caught_up()
    finally:
        longest = writer.finish()
    with capsys.disabled():
        print(f"\n  {how}: (node, was leader, longest stall in s): {stalls}")
    assert longest < 10 * clusters.PATIENCE
    for name, digest in writer.digests.items():
        assert workload.sha256(b / "w" / name) == digest


def test_two_of_three_down(cluster, mounts):
    a, b = mounts
    writer = workload.WriteThenRead(a.path, b.path)
    writer.start()
    clusters.wait_until("some files", lambda: writer.rounds > 5 or writer.error)
    leader = cluster.wait_leader()
    down = [n for n in cluster.nodes if n != leader][:1] + [leader]
    for number in down:
        cluster.surfctl("crash", number)

    # ls waits, and an interrupt ends it.
    ls = subprocess.Popen(["ls", str(b.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        ls.wait(3)
    ls.send_signal(signal.SIGINT)
    ls.wait(10 * clusters.PATIENCE)

    # Administration answers, and says so.
    states = cluster.node_states()
    assert states[down[0]]["state"] == states[down[1]]["state"] == "CRASHED"
    assert cluster.leader() is None

    for number in down:
        cluster.surfctl("restore", number)
    before = writer.rounds
    clusters.wait_until("writing to go on", lambda: writer.rounds > before + 5 or writer.error, 60)
    writer.finish()
    for name, digest in writer.digests.items():
        assert workload.sha256(b / name) == digest
    cluster.wait_caught_up()


def test_all_killed_while_copying(make_cluster, capsys):
    rounds = int(os.environ.get("SURF_KILL_ROUNDS", "20" if clusters.PATIENCE == 1 else "6"))
    cluster = make_cluster(3)
    cluster.wait_formed()
    acknowledged = 0
    for number in range(rounds):
        mount = cluster.mount("a")
        writers = [workload.AckedWriter(mount.path, f"r{number}w{w}", size) for w, size in enumerate((3000, 60000, 2_500_000))]
        for w in writers:
            w.start()
        clusters.wait_until("files to be acknowledged", lambda: all(len(w.acked) >= 2 for w in writers), 60)
        for node in cluster.nodes.values():
            node.kill()
        # The writers hang in their mount now, as they should; it goes the hard way, with its unacknowledged data.
        mount.process.kill()
        subprocess.run(["fusermount3", "-u", "-z", mount.path], check=True)
        for w in writers:
            w.finish()
        for node in cluster.nodes.values():
            node.start()
        cluster.wait_leader()
        other = cluster.mount("b")
        for w in writers:
            w.check(other.path)
            acknowledged += len(w.acked)
        assert other.stop() == 0
    with capsys.disabled():
        print(f"\n  {rounds} rounds, {acknowledged} files acknowledged, none lost")


def test_open_files_live_through_a_failover(cluster, mounts):
    a, b = mounts
    with open(a / "f", "wb", buffering=0) as f:
        f.write(b"before ")
        cluster.surfctl("crash", cluster.wait_leader())
        f.write(b"after")
        os.fsync(f.fileno())
    assert (b / "f").read_bytes() == b"before after"


def test_a_block_copy_that_is_missing_or_corrupt_is_read_from_another(cluster, mounts):
    """A node that was down while files were written lacks their blocks; readers find the other copies."""
    a, b = mounts
    absent = 1
    cluster.nodes[absent].kill()
    contents = {}
    for number in range(20):
        contents[f"f{number}"] = os.urandom(100_000)
        (a / f"f{number}").write_bytes(contents[f"f{number}"])
    cluster.nodes[absent].start()
    cluster.wait_caught_up()
    # Reads may not come from a cache: a mount that has never seen the files. All three are up, one lacks every block.
    c = cluster.mount("c")
    for name, data in contents.items():
        assert (c / name).read_bytes() == data
    cluster.surfctl("crash", absent)
    d = cluster.mount("d")
    for name, data in contents.items():
        assert (d / name).read_bytes() == data
    cluster.surfctl("restore", absent)


def test_what_is_written_while_a_cluster_forms_survives_a_node(make_cluster):
    """Block servers register one after the other: data written right after the first leader must still get its replicas."""
    for _ in range(3):
        c = make_cluster(3)
        leader = c.wait_leader()
        a = c.mount("a")
        (a / "f").write_bytes(b"early")
        c.surfctl("crash", leader)
        b = c.mount("b")
        assert (b / "f").read_bytes() == b"early"
