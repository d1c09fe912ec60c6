"""Nodes are replaced one at a time by a newer program, in use; and an older one does nothing but say what it lacks."""

import json
import subprocess

import cluster as clusters
import web
import workload

PLANTED = clusters.BIN.parent / "test-bin" / "surfd-planted"
NEXT = {"SURF_PLANT": "LEVEL_NEXT"}


def members(c):
    return json.loads(c.surfctl("--json", "members").stdout)


def next_command(c):
    """What comes of a command that only a program of the next level knows."""
    done = subprocess.run([clusters.BIN / "surf-probe", "-m", c.addresses, "next"], capture_output=True, text=True, timeout=100 * clusters.PATIENCE)
    assert done.returncode == 0, done
    return done.stdout.strip()


def replace(c, number):
    node = c.nodes[number]
    assert node.stop() == 0
    node.program = PLANTED
    node.start()
    c.wait_caught_up()


def ends_with(c, number, program, *options):
    """The node, started with that program, ends by itself; the end of its log."""
    node = c.nodes[number]
    assert not node.running()
    process = clusters.Process(f"old{number}", [program, "-l", "-p", node.port, "--id", number, "--data", node.data, *node.extra, *options,
                                                *(["--peers", c.peers] if node.peers else [])], c.dir / f"old{number}.log", env=c.env)
    try:
        assert process.popen.wait(30 * clusters.PATIENCE) == 1
    finally:
        process.kill()
    return process.tail()


def test_one_node_at_a_time(make_cluster):
    c = make_cluster(3, start=False)
    c.env.update(NEXT)
    page = web.Web(c)
    page.start()
    c.wait_formed()
    a = c.mount("a")
    writer = workload.WriteThenRead(a.path, a.path)
    writer.start()
    try:
        before = members(c)["level"]
        for number in sorted(c.nodes, key=lambda n: n == c.wait_leader()):
            # Nothing new before the last one knows it, and everything else as ever.
            assert next_command(c) == "LEVEL"
            assert members(c)["level"] == before
            replace(c, number)
        clusters.wait_until("the level to rise", lambda: members(c)["level"] == before + 1)
        assert {m["level_max"] for m in members(c)["members"]} == {before + 1}
        assert next_command(c) == "OK"
        assert f"level {before + 1}, leader" in c.surfctl("status").stdout
        # Node 1 may hear of it a little later.
        clusters.wait_until("its status to say so", lambda: f"enabled_code_version: {before + 1}" in page.get(1, "/admin/status").text)
        assert f"self_code_version: {before + 1}" in page.get(1, "/admin/status").text
        assert f"surf_level {before + 1}" in page.get(1, "/metrics").text
    finally:
        writer.finish()

    # An older program comes back, with its data, without, and as a new member.
    leader = c.wait_leader()
    number = next(n for n in c.nodes if n != leader)
    node = c.nodes[number]
    assert node.stop() == 0
    said = ends_with(c, number, clusters.BIN / "surfd")
    assert f"of level {before + 1}" in said and f"up to level {before}: a newer surfd is needed" in said
    said = ends_with(c, number, clusters.BIN / "surfd", "--rebuild")
    assert f"knows up to level {before}, the cluster is at level {before + 1}: a newer surfd is needed" in said
    node.start()
    clusters.wait_until("it to be in its place again", lambda: "in its place again" in node.log.read_text(), 60)
    c.wait_caught_up()
    four = c.join(4)
    refused = c.surfctl("members", "add", 4, four.address, check=False)
    assert refused.returncode not in (0, 64) and "a newer surfd is needed there" in refused.stderr
    assert four.stop() == 0
    del c.nodes[4]
    # A restart of all keeps the level.
    for node in c.nodes.values():
        assert node.stop() == 0
    for node in c.nodes.values():
        node.start()
    c.wait_leader()
    assert members(c)["level"] == before + 1
    assert next_command(c) == "OK"
    assert {name: workload.sha256(a / name) for name in writer.digests} == writer.digests
    clusters.wait_until("all states to be one", lambda: len({c.state(n)["chain_hash"] for n in c.nodes}) == 1)
