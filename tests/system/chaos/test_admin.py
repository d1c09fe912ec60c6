"""What operators do to nodes, by surfctl, which asks by RPC: for any node, in both election modes; and what is refused, with a reason."""

import json
import os

import pytest

import cluster as clusters
from cluster import wait_until
from manual import same_tables, table, versions


def answer(c, *args, code=0):
    """The JSON of a command that ends with this code."""
    done = c.surfctl("--json", *args, check=False)
    assert done.returncode == code, f"{args}: {done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def refused(c, *args, code, word, says):
    told = answer(c, *args, code=code)
    assert told["code"] == word and says in told["error"], told


@pytest.fixture(scope="module", params=["manual", "auto"])
def run(request, tmp_path_factory):
    """A cluster in this mode, one for all tests here, which leave it whole. Node 4 is a block server only."""
    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp(request.param), 3, ("--election", request.param)), request.session.testsfailed
    try:
        c.start()
        c.wait_answering()
        answer(c, "leader", 1)
        node = c.nodes[4] = clusters.Node(c, 4, clusters.free_ports(1)[0], ["-s", "block"])
        node.start()

        def known():
            c.surfctl("heartbeat", c.wait_leader(), check=False)
            return c.node_states().get(4, {}).get("state") == "BLOCK"

        wait_until("the block server to be registered", known)
        yield c
    finally:
        c.close(check=request.session.testsfailed == failed_before)


def test_any_node_leads_and_sends_heartbeats(run):
    for number in (2, 3, 1):
        assert answer(run, "leader", number) == {"done": f"node {number} leads"}
        assert run.wait_leader() == number
        assert "round of heartbeats" in answer(run, "heartbeat", number)["done"]
    refused(run, "heartbeat", 2, code=2, word="NOT_LEADER", says="node 2: this node is not the leader")


def test_any_node_is_crashed_and_restored(run):
    for number in (1, 2, 4):
        answer(run, "crash", number)
        assert "already" in answer(run, "crash", number)["done"]
        state = answer(run, "state", number)
        assert state["crashed"] and state["state"] == "CRASHED"
        if number != 4:
            assert answer(run, "state", number, "--files")["files_next"] is None
        for command in ("leader", "heartbeat"):
            refused(run, command, number, code=2, word="CRASHED", says=f"node {number}: node is crashed")
        answer(run, "restore", number)
        answer(run, "restore", number)
        assert answer(run, "state", number)["state"] == ("BLOCK" if number == 4 else "FOLLOWER")
        if number == 1:
            answer(run, "leader", 3)
    answer(run, "leader", 1)


def test_unreachable_is_one_way_adds_up_and_is_cleared(run):
    def ignored(number):
        return answer(run, "state", number)["unreachable"]

    answer(run, "unreachable", 2, 3)
    assert ignored(2) == [3] and ignored(3) == []
    assert "1, 3;" in answer(run, "unreachable", 2, 1, 3, 1)["done"]
    assert sorted(ignored(2)) == [1, 3]
    answer(run, "unreachable", 2)
    assert ignored(2) == []
    # A node that is crashed can be told, too; its restoration clears it.
    answer(run, "crash", 3)
    answer(run, "unreachable", 3, 1)
    assert ignored(3) == [1]
    answer(run, "restore", 3)
    assert ignored(3) == []
    answer(run, "partition", "1,2/3", "--one-way")
    assert sorted(ignored(3)) == [1, 2] and ignored(1) == ignored(2) == []
    answer(run, "heal")
    answer(run, "isolate", 3)
    assert [sorted(ignored(n)) for n in (1, 2, 3)] == [[3], [3], [1, 2]]
    assert answer(run, "heal")["done"] == "3 nodes hear everybody"
    answer(run, "leader", 1)


@pytest.mark.parametrize("command", ["state", "log", "crash", "restore", "leader", "heartbeat", "isolate", "unreachable"])
def test_nodes_that_are_none(run, command):
    refused(run, command, 9, code=1, word="NO_NODE", says="no node 9; there are: 1, 2, 3, 4")
    for text in ("0", "1x", ""):
        refused(run, command, text, code=64, word="USAGE", says="not a node id")
    refused(run, command, code=64, word="USAGE", says=command)


def test_what_a_block_server_has_not(run):
    for args in (("leader", 4), ("heartbeat", 4), ("unreachable", 4, 1), ("isolate", 4), ("partition", "1/4"), ("unreachable", 1, 4), ("state", 4, "--files")):
        refused(run, *args, code=1, word="NO_METHOD", says="no metastore")
    assert all(answer(run, "state", n)["unreachable"] == [] for n in (1, 2, 3))


def test_partitions_that_are_none(run):
    for text, says in (("1", "two groups"), ("1/2/3", "two groups"), ("1,2/2", "node 2 is on both sides"), ("/1", "not a node id"), ("1/", "not a node id")):
        refused(run, "partition", text, code=64, word="USAGE", says=says)
    refused(run, "partition", "1/9", code=1, word="NO_NODE", says="no node 9")
    refused(run, "unreachable", 1, 1, code=1, word="NO_NODE", says="1 is not another member")


def test_files_that_are_asked_for_wrongly(run):
    for args, says in ((("--limit", "0"), "from 1 to 100000"), (("--limit", "x"), "from 1 to"), (("--limit",), "from 1 to"), (("--after",), "--after"),
                       (("--log", "101"), "from 0 to 100"), (("--flies",), "--flies")):
        refused(run, "state", 1, "--files", *args, code=64, word="USAGE", says=says)
    refused(run, "state", 1, "--files", "/absent", code=1, word="NOENT", says="no such path")
    refused(run, "state", 1, "--files", "/", "--after", "%zz", code=1, word="INVAL", says="%zz")
    refused(run, "state", 1, "--files", "/", "--after", "elsewhere", code=1, word="INVAL", says="not below the path")


def test_a_node_that_is_down(run):
    run.nodes[3].kill()
    for args in (("state", 3), ("log", 3), ("crash", 3), ("restore", 3), ("leader", 3), ("heartbeat", 3), ("unreachable", 3, 1), ("isolate", 3),
                 ("partition", "1,2/3")):
        refused(run, *args, code=1, word="UNREACHABLE", says="node 3: ")
    assert all(answer(run, "state", n)["unreachable"] == [] for n in (1, 2))
    answer(run, "unreachable", 1, 3)
    assert answer(run, "heal")["done"] == "2 nodes hear everybody; not reached: 3"
    run.nodes[3].start()
    wait_until("node 3 to be back", lambda: run.node_states()[3]["state"] == "FOLLOWER")


# -- the file table

def paged(c, node, *args, limit):
    found, after = [], ()
    while True:
        told = answer(c, "state", node, "--files", *args, "--limit", limit, *after)
        found += [f["path"] for f in told["files"]]
        assert len(told["files"]) <= limit
        if told["files_next"] is None:
            return found
        after = ("--after", told["files_next"])


def test_the_file_table_of_any_node(cluster):
    m = cluster.mount("m")
    names = ["plain", "with space", "with'quote", "100%", "ü"]
    for directory in ("", "d/", "d/e/"):
        (m.path / directory).mkdir(exist_ok=True)
        for name in names:
            (m / f"{directory}{name}").write_bytes(os.urandom(100))
    with open(os.fsencode(m.path) + b"/not \xff utf-8", "wb") as f:
        f.write(b"x")
    os.symlink("plain", m / "link")
    (m / "d/big").write_bytes(os.urandom(3 << 20))
    cluster.wait_caught_up()
    leader = cluster.wait_leader()
    whole = answer(cluster, "state", leader, "--files")
    by_path = {f["path"]: f for f in whole["files"]}
    assert len(by_path) == 3 * len(names) + 2 + 3 and whole["files_left_out"] == 0
    assert by_path["/link"]["type"] == "symlink" and by_path["/d"]["type"] == "directory"
    big = by_path["/d/big"]
    assert big["size"] == 3 << 20 and big["extents"] == len(big["blocks"]) == 3 and len(set(big["blocks"])) == 3
    # Every node says the same, in pages of any size, also when it is crashed and without a quorum.
    for limit in (1, 4, 100):
        assert sorted(paged(cluster, leader, limit=limit)) == sorted(by_path)
    assert sorted(paged(cluster, leader, "/d/", limit=3)) == sorted(p for p in by_path if p.startswith("/d/"))
    assert paged(cluster, leader, "d/e/plain", limit=3) == ["/d/e/plain"]
    assert same_tables(cluster)
    behind, *others = [n for n in cluster.nodes if n != leader]
    cluster.surfctl("crash", behind)
    before = table(cluster, behind)
    (m / "later").write_bytes(b"later")
    assert "later" in table(cluster, leader) and table(cluster, behind) == before
    wait_until("the other one to have heard that it is committed", lambda: "later" in table(cluster, others[0]))
    cluster.surfctl("crash", others[0])
    assert "later" in table(cluster, leader) and table(cluster, others[0]) == table(cluster, leader)
    for number in (behind, *others):
        cluster.surfctl("restore", number)
    wait_until("all nodes to have it", lambda: same_tables(cluster) and versions(cluster, 1)["later"] > 0)
    text = cluster.surfctl("state", 1, "--files", "/d", "--log", 0).stdout
    assert "/d/big" in text and big["blocks"][0][:12] in text
    # The table and nothing else, and of an error nothing else either.
    lines = text.splitlines()
    assert lines[0].startswith("mode ") and lines[-1].startswith("as of entry ") and all("/d" in line for line in lines[1:-1])
    wrong = cluster.surfctl("state", 1, "--files", "/absent", check=False)
    assert wrong.returncode == 1 and wrong.stdout == "" and wrong.stderr.count("\n") == 1 and "no such path" in wrong.stderr
    assert cluster.surfctl("state", 1).stdout.startswith("node 1 at ")
