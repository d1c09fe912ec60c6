"""The checks S2.1 to S2.6: failover, redirects and exactly-once, by files of a mount and the probe tool."""

import cluster as clusters
from cluster import wait_until
from manual import Background, probe, update, wait_all_say


def test_s2_1_second_kill_stops_service_first_does_not(cluster):
    assert update(cluster, "k", 1) == 1
    first = cluster.wait_leader()
    cluster.nodes[first].kill()
    assert update(cluster, "k", 2) == 2
    second = cluster.wait_leader(first)
    cluster.nodes[second].kill()
    waiting = Background(lambda: update(cluster, "k", 3))
    waiting.join(3)
    assert waiting.is_alive()
    cluster.nodes[second].start()
    assert waiting.value(30) == 3
    cluster.nodes[first].start()
    cluster.wait_caught_up()


def test_s2_2_a_node_that_comes_back_follows(cluster):
    leader = cluster.wait_leader()
    term = cluster.state(leader)["term"]
    cluster.nodes[leader].kill()
    new = cluster.wait_leader(leader)
    for number in range(10):
        assert update(cluster, f"f{number}", 1) == 1
    cluster.nodes[leader].start()
    cluster.wait_caught_up()

    def equal():
        """The states, once they are one: small files are moved to the block servers in the background."""
        states = {n: cluster.state(n, log=100) for n in cluster.nodes}
        return states if len({s["chain_hash"] for s in states.values()}) == 1 else None

    states = wait_until("equal states", equal)
    assert states[leader]["state"] == "FOLLOWER" or cluster.leader() == leader
    assert states[new]["term"] > term
    leaders = [n for n, s in states.items() if s["state"] == "LEADER"]
    assert len(leaders) == 1


def test_s2_3_everything_is_readable_after_restarts(cluster):
    for number in range(20):
        update(cluster, f"f{number}", 1)
    for node in cluster.nodes.values():  # one by one
        node.kill()
        node.start()
        cluster.wait_caught_up()
    for node in cluster.nodes.values():  # together
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_leader()
    names = probe(cluster, "ls").stdout.split()
    assert sorted(names) == sorted(f"f{n}" for n in range(20))
    assert all(probe(cluster, "version", n).stdout == "1\n" for n in names)


def test_s2_4_followers_redirect(cluster):
    update(cluster, "f", 1)
    leader = cluster.wait_leader()
    follower = next(n for n in cluster.nodes if n != leader)
    wait_until("the follower to know its leader", lambda: cluster.state(follower)["leader"] == leader)
    done = probe(cluster, "--only", cluster.nodes[follower].address, "version", "f", check=False)
    assert done.returncode != 0 and cluster.nodes[leader].address in done.stderr
    # A client that is given only a follower's address finds the leader by itself.
    mount = clusters.Mount(cluster, "only")
    cluster.mounts["only"] = mount
    mount.start(servers=cluster.nodes[follower].address)
    assert (mount / "f").exists()


def test_s2_5_a_retry_is_applied_once(cluster):
    out = probe(cluster, "retry", "d").stdout.split()
    assert out == ["OK", "OK"], "mkdir sent twice under one number: the second answer is the first"
    before = cluster.state(cluster.wait_leader())["inodes"]
    assert probe(cluster, "retry", "e").stdout.split() == ["OK", "OK"]
    assert cluster.state(cluster.wait_leader())["inodes"] == before + 1


def test_s2_6_a_divergent_log_is_overwritten(make_cluster):
    c = make_cluster(3, ("--election", "manual"))
    wait_until("all nodes to answer", lambda: all(s["state"] != "UNREACHABLE" for s in c.node_states().values()) and len(c.node_states()) == 3)
    c.surfctl("leader", 1)
    update(c, "f0", 1)
    c.surfctl("crash", 2)
    c.surfctl("crash", 3)
    last = c.state(1)["last"]
    waiting = Background(lambda: update(c, "f1", 1))
    wait_until("an entry that only 1 has", lambda: c.state(1)["last"] > last)
    c.surfctl("crash", 1)
    for number in (2, 3):
        c.surfctl("restore", number)
    c.surfctl("leader", 3)
    assert waiting.value(30) in (1, -1), "the client retried it with the new leader"
    update(c, "f2", 1)
    c.surfctl("restore", 1)
    wait_all_say(c, 3, "equal state", lambda: len({c.state(n)["chain_hash"] for n in c.nodes}) == 1)
