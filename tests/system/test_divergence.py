"""A member whose state differs from the others' must not serve it."""

import cluster as clusters
import workload

PLANTED = clusters.BIN.parent / "test-bin" / "surfd-planted"


def test_a_state_that_differs_is_noticed(make_cluster, monkeypatch):
    """P12: one member runs a build whose commands are not deterministic. It goes out of service, says so, stays so with the right
    build, and comes back when it is rebuilt; the others go on."""
    c = make_cluster(3)
    c.wait_formed()
    a = c.mount("a")
    digests = {}
    leader = c.wait_leader()
    number = next(n for n in c.nodes if n != leader)
    node = c.nodes[number]

    def write(count):
        for _ in range(count):
            name = f"f{len(digests)}"
            (a / name).write_bytes(name.encode() * 100)
            digests[name] = workload.sha256(a / name)

    write(20)
    assert node.stop() == 0
    node.program = PLANTED
    monkeypatch.setitem(c.env, "SURF_PLANT", "META_NONDETERMINISTIC")
    node.start()
    monkeypatch.delitem(c.env, "SURF_PLANT")

    def noticed():
        write(25)  # one command in 250 is planted
        return not node.running()

    clusters.wait_until("the node to be told that its state differs", noticed, 30)
    assert node.process.popen.returncode == 1
    assert "differs" in node.process.tail()
    # Whoever led then, which may be another one by now.
    assert any(f"the state of member {number} differs" in c.nodes[n].process.tail(1000) for n in c.nodes if n != number)
    write(20)
    # With the right build its state is as wrong as before.
    node.program = clusters.BIN / "surfd"
    process = clusters.Process("again", [node.program, "-l", "-p", node.port, "--id", number, "--data", node.data, "--peers", c.peers],
                               c.dir / "again.log", env=c.env)
    assert process.popen.wait(30 * clusters.PATIENCE) != 0
    assert "rebuild" in process.tail()
    node.start("--rebuild")
    clusters.wait_until("it to be in its place again", lambda: "in its place again" in node.log.read_text(), 60)
    c.wait_caught_up()
    write(5)
    assert {n: workload.sha256(a / n) for n in digests} == digests
    clusters.wait_until("all states to be one", lambda: len({c.state(n)["chain_hash"] for n in c.nodes}) == 1)
