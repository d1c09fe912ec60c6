"""Members of the metastore come and go while it is in use."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal

import cluster as clusters
import manifest as manifests
import workload

FLAGS = ["-s", "both"]


def grow(c, number):
    node = c.join(number)
    c.surfctl("members", "add", number, node.address)
    c.surfctl("members", "promote", number)
    return node


def test_one_grows_to_five_and_shrinks_back(make_cluster, capsys):
    c = make_cluster(1)
    c.wait_formed()
    a = c.mount("a")
    writer = workload.WriteThenRead(a.path, a.path)
    writer.start()
    stalls = {}
    try:
        for number in (2, 3, 4, 5):
            writer.longest = 0.0
            grow(c, number)
            clusters.wait_until("writing to go on", lambda r=writer.rounds: writer.rounds > r + 20 or writer.error, 30)
            stalls[f"+{number}"] = round(writer.longest, 2)
        assert c.members() == {n: "voter" for n in (1, 2, 3, 4, 5)}
        c.wait_caught_up()
        # The leader goes first, whoever it is.
        for left in (4, 3, 2, 1):
            leader = c.wait_leader()
            writer.longest = 0.0
            c.surfctl("members", "remove", leader)
            clusters.wait_until("writing to go on", lambda r=writer.rounds: writer.rounds > r + 20 or writer.error, 30)
            stalls[f"-{leader}"] = round(writer.longest, 2)
            clusters.wait_until("the change to be over", lambda: leader not in c.members())
            assert len(c.members()) == left
    finally:
        longest = writer.finish()
    with capsys.disabled():
        print(f"\n  longest stall of a writer with each change, in s: {stalls}")
    assert longest < 2 * clusters.PATIENCE
    for name, digest in writer.digests.items():
        assert workload.sha256(a / name) == digest


def test_peers_alone_add_nobody(make_cluster):
    """Who only writes more members into --peers is told, by the old node and by the new one, and loses nothing."""
    c = make_cluster(1)
    c.wait_formed()
    new = clusters.Node(c, 2, clusters.free_ports(1)[0], ["-s", "meta"], peers=False)
    peers = f"1={c.nodes[1].address},2={new.address}"
    c.nodes[1].stop()
    c.nodes[1].start("--peers", peers)
    new.start("--peers", peers)
    try:
        clusters.wait_until("the new node to be told", lambda: "never one of them" in new.log.read_text())
        assert "peers names node 2, which is no member" in c.nodes[1].log.read_text()
        assert c.members() == {1: "voter"} and c.wait_leader() == 1
    finally:
        new.stop()


def test_who_waits_to_be_taken_in_is_no_block_server(cluster):
    """A new node that knows the members, and is connected to the leader, gets no copies before it is one of them."""
    leader = cluster.wait_leader()
    node = cluster.join(4, "--peers", cluster.peers)

    def registered():
        return {b["id"] for b in cluster.status()["block_servers"]}

    def connected():
        """By sockets: nothing else tells of a node that is no member."""
        descriptors, sockets = pathlib.Path(f"/proc/{node.process.pid}/fd"), set()
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                sockets.add(os.readlink(descriptor))
        to = f"0100007F:{cluster.nodes[leader].port:04X}"
        with open("/proc/net/tcp") as f:
            return any(line[2] == to and line[3] == "01" and f"socket:[{line[9]}]" in sockets for line in map(str.split, f))

    clusters.wait_until("it to be connected to the leader", connected)
    for _ in range(20):  # what it says of itself comes at once, before these
        cluster.surfctl("kv", "put", "k", "v")
    assert registered() == {1, 2, 3}
    cluster.surfctl("members", "add", 4, node.address)
    cluster.surfctl("members", "promote", 4)
    clusters.wait_until("it to be registered", lambda: registered() == {1, 2, 3, 4})
    entries = [e["text"] for e in cluster.state(leader, log=100)["log"]]
    assert next(i for i, e in enumerate(entries) if e.startswith("config") and "4" in e) < \
        next(i for i, e in enumerate(entries) if "block" in e and ":%d" % node.port in e), entries


def test_refusals_say_why(cluster):
    def refused(*args):
        done = cluster.surfctl("--timeout", 2 * clusters.PATIENCE, "members", *args, check=False)
        assert done.returncode not in (0, 64), done
        return done.stderr

    before = cluster.members()  # and no change is under way, which would be the reason
    assert "exists" in refused("add", 2, "127.0.0.1:1")
    assert "is that of member 3" in refused("add", 9, cluster.nodes[3].address)
    assert "no member 7" in refused("promote", 7)
    assert "already" in refused("promote", 1)
    assert "no member 7" in refused("remove", 7)
    # With one of three dead the other one is needed.
    leader = cluster.wait_leader()
    dead, other = [n for n in cluster.nodes if n != leader]
    cluster.nodes[dead].kill()
    clusters.wait_until("the leader to notice", lambda: not {m["id"]: m["active"] for m in json.loads(
        cluster.surfctl("--json", "members").stdout)["members"]}[dead])
    assert "no majority" in refused("remove", other)
    assert cluster.members() == before
    assert cluster.surfctl("members", "add", 5, check=False).returncode == 64
    assert cluster.surfctl("members", "grow", 5, check=False).returncode == 64
    assert cluster.surfctl("members", "add", "x", "127.0.0.1:1", check=False).returncode == 64
    assert cluster.surfctl("members", "add", 5, "nowhere", check=False).returncode == 64
    cluster.nodes[dead].start()


def test_one_change_at_a_time(cluster):
    four = cluster.join(4)
    leader = cluster.wait_leader()
    cluster.surfctl("members", "add", 4, four.address)
    # No majority: the change is proposed and stays so, and a second one is refused.
    others = [n for n in (1, 2, 3) if n != leader]
    for n in others:
        cluster.nodes[n].process.signal(signal.SIGSTOP)
    try:
        first = cluster.surfctl("--timeout", "1", "members", "remove", 4, check=False)
        assert first.returncode != 0
    finally:
        for n in others:
            cluster.nodes[n].process.signal(signal.SIGCONT)
    clusters.wait_until("one outcome or the other", lambda: cluster.members() in ({1: "voter", 2: "voter", 3: "voter"}, {
        1: "voter", 2: "voter", 3: "voter", 4: "learner"}))


def test_who_changes_while_another_change_is_under_way_waits(cluster):
    """A refusal that passes within a round trip is nobody's to see: several ask at once, and all get what they ask for."""
    addresses = {number: f"127.0.0.1:{port}" for number, port in zip((4, 5, 6), clusters.free_ports(3), strict=True)}
    for _ in range(5):
        for change in ("add", "remove"):
            asked = [["members", change, number, *([address] if change == "add" else [])] for number, address in addresses.items()]
            with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
                list(pool.map(lambda words: cluster.surfctl(*words), asked))
    assert set(cluster.members()) == {1, 2, 3}


def test_who_has_left_the_metastore_serves_blocks_on(cluster, mounts):
    """Which block servers there are, and who leads, it does not learn from its own state any more."""
    a, b = mounts
    manifest = manifests.write_files(a.path, 40)
    leader = cluster.wait_leader()
    first, *others = [n for n in (1, 2, 3) if n != leader] + [leader]
    cluster.surfctl("members", "remove", first)
    for number in (4, 5):
        grow(cluster, number)

    def all_report():
        done = cluster.surfctl("--json", "blocks", check=False)
        return done.returncode == 0 and [s["id"] for s in json.loads(done.stdout)["servers"] if s["reporting"]] == [1, 2, 3, 4, 5]

    clusters.wait_until("all block servers to be heard", all_report)
    for number in others:  # of its own configuration
        cluster.surfctl("members", "remove", number)
    clusters.wait_until("the metastore to be others", lambda: cluster.members() == {4: "voter", 5: "voter"})
    clusters.wait_until("all block servers to be heard again", all_report)
    done = cluster.surfctl("-t", 30 * clusters.PATIENCE, "fsck", "--wait", 30 * clusters.PATIENCE, check=False, timeout=100)
    assert done.returncode == 0, done.stdout
    manifests.check_files(b.path, manifest)


def test_a_node_moves_to_another_address(cluster, mounts):
    a, b = mounts
    leader = cluster.wait_leader()
    moving = next(n for n in cluster.nodes if n != leader)
    node = cluster.nodes[moving]
    (a / "before").write_text("1")
    node.stop()
    node.port, node.peers = clusters.free_ports(1)[0], False
    node.address = f"127.0.0.1:{node.port}"
    refused = cluster.surfctl("members", "move", moving, cluster.nodes[leader].address, check=False)
    assert refused.returncode != 0 and "is that of member" in refused.stderr
    cluster.surfctl("members", "move", moving, node.address)
    (a / "meanwhile").write_text("2")
    node.start()
    cluster.wait_caught_up()
    assert cluster.members() == {n: "voter" for n in cluster.nodes}
    # It counts for the majority again, and mounts find it there.
    cluster.nodes[leader].kill()
    (b / "after").write_text("3")
    assert {p.name: p.read_text() for p in b.path.iterdir()} == {"before": "1", "meanwhile": "2", "after": "3"}


def test_removed_node_does_not_disturb(cluster, mounts):
    """P3: a node that was removed while it was away comes back and asks for votes."""
    a, _ = mounts
    leader = cluster.wait_leader()
    gone = next(n for n in cluster.nodes if n != leader)
    cluster.nodes[gone].kill()
    cluster.surfctl("members", "remove", gone)

    def comes_back():
        """What it costs: the term and the leader from before and those from afterwards are the same if it is nothing."""
        leader = cluster.wait_leader()
        term = cluster.state(leader)["term"]
        cluster.nodes[gone].start()
        clusters.wait_until("it to be told", lambda: cluster.node_states().get(gone, {}).get("state") == "REMOVED")
        (a / "still").write_text("serving")
        now = cluster.wait_leader()
        undisturbed = (leader, term) == (now, cluster.state(now)["term"])
        if not undisturbed:
            cluster.nodes[gone].kill()
        return undisturbed

    assert clusters.when_not_busy(comes_back)


def test_clients_follow_members(make_cluster):
    """A mount that was told of one node goes on when that one has left."""
    c = make_cluster(1)
    c.wait_formed()
    a = c.mount("a")
    (a / "one").write_text("1")
    for number in (2, 3, 4):
        grow(c, number)
    clusters.wait_until("blocks to have their servers", lambda: sum(b["reporting"] for b in c.status()["block_servers"]) == 4)
    c.surfctl("members", "remove", 1)
    clusters.wait_until("the change to be over", lambda: c.members() == {2: "voter", 3: "voter", 4: "voter"})
    (a / "two").write_text("2")
    clusters.wait_until("the mount to know the others", lambda: "learned of" in a.log.read_text())
    for _ in range(3):
        leader = c.wait_leader()
        c.surfctl("leader", next(n for n in c.members() if n != leader), check=False)
    (a / "three").write_text("3")
    assert [(a / n).read_text() for n in ("one", "two", "three")] == ["1", "2", "3"]


def test_follower_answers_reads_of_its_own(cluster, mounts):
    """Isolated nodes answer nothing that might be old."""
    a, _ = mounts
    (a / "x").write_text("x")
    leader = cluster.wait_leader()
    cluster.surfctl("isolate", leader)
    new = cluster.wait_leader(leader)
    (a / "y").write_text("y")
    assert new != leader
    cluster.surfctl("heal")
    cluster.wait_caught_up()
    assert sorted(p.name for p in a.path.iterdir()) == ["x", "y"]


def test_partition_command(make_cluster):
    c = make_cluster(5)
    c.wait_formed()
    a = c.mount("a")
    leader = c.wait_leader()
    rest = [n for n in c.nodes if n != leader]
    minority = [leader, rest[0]]
    majority = rest[1:]
    groups = ",".join(map(str, minority)) + "/" + ",".join(map(str, majority))
    c.surfctl("partition", groups)
    new = c.wait_leader(leader)
    assert new in majority
    (a / "during").write_text("x")
    c.surfctl("heal")
    c.wait_caught_up()
    # One way: a leader that is not heard is replaced, and nothing breaks.
    leader = c.wait_leader()
    rest = [n for n in c.nodes if n != leader]
    c.surfctl("partition", f"{leader}/" + ",".join(map(str, rest)), "--one-way")
    c.wait_leader(leader)
    (a / "one-way").write_text("x")
    c.surfctl("heal")
    c.wait_caught_up()
    for bad in ("1,2", "1,2/2,3", "1/", "1/99", "1/2/3"):
        assert c.surfctl("partition", bad, check=False).returncode != 0
