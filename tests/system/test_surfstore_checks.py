"""The checks S0.1 to S0.13 (the metastore and its chaos calls) in terms of our commands. Leadership is by hand:
election=manual, so only `surfctl leader` makes leaders and only `surfctl heartbeat` or a change advertises them.

UpdateFile is a commit of contents with an expected version; the map of files is the tree. Log entries other than changes
of files (no-ops, sessions, registrations) are not counted, as the sources' contradictions are settled."""

import subprocess
import threading

import pytest

import cluster as clusters
from cluster import BIN, wait_until

MANUAL = ("--election", "manual")


@pytest.fixture
def make_manual(make_cluster):
    def make(count):
        c = make_cluster(count, MANUAL)
        wait_until("all nodes to answer", lambda: len([s for s in c.node_states().values() if s["state"] != "UNREACHABLE"]) == count)
        return c

    return make


def probe(c, *args, timeout=60, check=True):
    """The surf-probe tool: one operation of libsurf, without a mount."""
    done = subprocess.run([str(BIN / "surf-probe"), "-m", c.addresses, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout * clusters.PATIENCE)
    if check:
        assert done.returncode == 0, f"{args}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def update(c, name, version, **options):
    """UpdateFile(name, version): the new version, or -1."""
    return int(probe(c, "update", name, version, **options).stdout)


class Background(threading.Thread):
    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.result, self.error = call, None, None
        self.start()

    def run(self):
        try:
            self.result = self.call()
        except BaseException as e:
            self.error = e

    def value(self, seconds=20):
        self.join(seconds * clusters.PATIENCE)
        assert not self.is_alive(), "no answer"
        if self.error:
            raise self.error
        return self.result


def files(c, node):
    """Log entries of a node that change files, in words, in order: (term, text)."""
    return [(e["term"], e["text"]) for e in c.state(node, log=100)["log"] if e["text"].startswith("commit")]


def lead(c, node):
    c.surfctl("leader", node)
    c.surfctl("heartbeat", node)


def terms(c):
    return {i: (s["term"], s["state"]) for i, s in c.node_states().items()}


def test_s0_1_set_leader(make_manual):
    c = make_manual(3)
    lead(c, 1)
    wait_until("term 1", lambda: terms(c) == {1: (1, "LEADER"), 2: (1, "FOLLOWER"), 3: (1, "FOLLOWER")}, 5)
    lead(c, 3)
    wait_until("term 2", lambda: terms(c) == {1: (2, "FOLLOWER"), 2: (2, "FOLLOWER"), 3: (2, "LEADER")}, 5)


def test_s0_2_and_3_update_and_versions(make_manual):
    c = make_manual(3)
    lead(c, 1)
    assert update(c, "f", 1) == 1
    c.surfctl("heartbeat", 1)
    wait_until("the same log everywhere", lambda: len(files(c, 1)) == 1 and files(c, 1) == files(c, 2) == files(c, 3), 5)
    assert update(c, "f", 2) == 2
    assert update(c, "f", 2) == -1
    assert update(c, "f", 4) == -1
    assert probe(c, "version", "f").stdout == "2\n"


def test_s0_4_and_5_crashed_leader_and_follower_refuse(make_manual):
    c = make_manual(3)
    lead(c, 1)
    update(c, "f", 1)
    c.surfctl("crash", 1)
    before = c.state(1)["last"]
    done = probe(c, "--only", c.nodes[1].address, "update", "f", 2, check=False)
    assert done.returncode != 0 and "crashed" in done.stderr.lower()
    state = c.state(1)
    assert state["state"] == "CRASHED" and state["last"] == before
    for command in (("update", "f", 2), ("version", "f")):
        done = probe(c, "--only", c.nodes[2].address, *command, check=False)
        assert done.returncode != 0 and "not the leader" in done.stderr.lower()
    assert c.state(2)["last"] == before


def test_s0_6_and_11_a_majority_is_needed(make_manual):
    for count, down in ((3, (2, 3)), (4, (3, 4))):
        c = make_manual(count)
        lead(c, 1)
        assert update(c, "f", 1) == 1
        for number in down:
            c.surfctl("crash", number)
        waiting = Background(lambda c=c: update(c, "f", 2))
        waiting.join(5)
        assert waiting.is_alive(), "no reply without a majority"
        for number in down:
            c.surfctl("restore", number)
        c.surfctl("heartbeat", 1)
        assert waiting.value(5) == 2
        c.surfctl("heartbeat", 1)
        wait_until("applied everywhere", lambda c=c: len({s["applied"] for s in c.node_states().values()}) == 1, 5)
        assert all(len(files(c, n)) == 2 for n in c.nodes)


def test_s0_7_uncommitted_entries_of_an_old_leader_go(make_manual):
    c = make_manual(3)
    lead(c, 1)
    update(c, "f0", 1)
    c.surfctl("crash", 2)
    c.surfctl("crash", 3)
    last = c.state(1)["last"]
    lost = [Background(lambda n=n: update(c, n, 1, check=False)) for n in ("f1", "f2")]
    wait_until("uncommitted entries in the log of 1", lambda: c.state(1)["last"] >= last + 2 and c.state(1)["commit"] < last + 2, 10)
    c.surfctl("crash", 1)
    c.surfctl("restore", 2)
    c.surfctl("restore", 3)
    lead(c, 2)
    assert update(c, "f3", 1) == 1
    c.surfctl("restore", 1)
    c.surfctl("heartbeat", 2)
    wait_until("the same log everywhere", lambda: files(c, 1) == files(c, 2) == files(c, 3), 10)

    def same_state():
        c.surfctl("heartbeat", 2)  # carries what is committed
        return c.state(1)["chain_hash"] == c.state(2)["chain_hash"] == c.state(3)["chain_hash"]

    wait_until("the same state everywhere", same_state, 10)
    assert lost
    assert "f3" in probe(c, "ls").stdout.split()


def test_s0_8_logs_converge(make_manual):
    c = make_manual(3)
    lead(c, 1)
    c.surfctl("crash", 3)
    assert update(c, "f1", 1) == 1
    c.surfctl("crash", 1)
    c.surfctl("restore", 3)
    lead(c, 2)
    assert update(c, "f2", 1) == 1
    c.surfctl("restore", 1)
    c.surfctl("heartbeat", 2)
    wait_until("identical logs", lambda: files(c, 1) == files(c, 2) == files(c, 3) and len(files(c, 1)) == 2, 10)
    assert [t for t, _ in files(c, 1)] == [1, 2]


def test_s0_9_and_10_partition_and_concurrent_updates(make_manual):
    c = make_manual(5)
    lead(c, 1)
    for number in (3, 4, 5):
        c.surfctl("unreachable", number, 1, 2)
    for number in (1, 2):
        c.surfctl("unreachable", number, 3, 4, 5)
    last = c.state(1)["commit"]
    blocked = Background(lambda: probe(c, "--only", c.nodes[1].address, "update", "f", 1, check=False, timeout=60))
    blocked.join(5)
    assert blocked.is_alive() and c.state(1)["commit"] == last
    lead(c, 3)
    c.surfctl("heal")
    c.surfctl("heartbeat", 3)
    wait_until("one log", lambda: len({s["last"] for s in c.node_states().values()}) == 1, 10)
    assert all(not files(c, n) for n in c.nodes)
    both = [Background(lambda n=n: update(c, n, 1)) for n in ("g", "h")]
    assert [b.value() for b in both] == [1, 1]
    c.surfctl("heartbeat", 3)
    wait_until("both once, everywhere", lambda: all(len(files(c, n)) == 2 for n in c.nodes), 10)


def test_s0_12_a_follower_catches_up(make_manual):
    c = make_manual(3)
    lead(c, 1)
    c.surfctl("crash", 3)
    for number in range(3):
        assert update(c, f"f{number}", 1) == 1
    c.surfctl("restore", 3)

    def caught_up():
        # Heartbeats are messages: one may be lost while the connection to the restored node is being made again.
        c.surfctl("heartbeat", 1)
        return files(c, 3) == files(c, 1) and c.state(3)["applied"] == c.state(1)["applied"]

    wait_until("full catch-up", caught_up, 10)


def test_s0_13_a_stale_leader_steps_down(make_manual):
    c = make_manual(3)
    lead(c, 1)
    c.surfctl("unreachable", 1, 2, 3)
    c.surfctl("unreachable", 2, 1)
    c.surfctl("unreachable", 3, 1)
    lead(c, 2)
    assert terms(c)[1] == (1, "LEADER") and terms(c)[2] == (2, "LEADER")
    c.surfctl("heal")
    c.surfctl("heartbeat", 1)
    wait_until("one leader", lambda: terms(c) == {1: (2, "FOLLOWER"), 2: (2, "LEADER"), 3: (2, "FOLLOWER")}, 10)
