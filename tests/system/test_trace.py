"""Traces with vector clocks: S1.7 and S1.8, and what happens in them when nodes die."""

import json
import re
import subprocess

import pytest

from cluster import BIN, PATIENCE, wait_until

HEADER = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)"
EVENT = re.compile(r"(\S*) ({.*})\n(.*)\n")


def merge(*files, check=True):
    done = subprocess.run([str(BIN / "surfctl"), "trace", "merge", *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def parse(text):
    """ShiViz's reading of it: [(host, clock, id, tag, body)]."""
    assert text.startswith(HEADER + "\n\n")
    events, at = [], len(HEADER) + 2
    while at < len(text):
        found = EVENT.match(text, at)
        assert found, text[at:at + 200]
        id, tag, body = found[3].split(" ", 2)
        events.append((found[1], json.loads(found[2]), int(id), tag, json.loads(body)))
        at = found.end()
    return events


def dominates(late, early):
    return all(late.get(host, 0) >= count for host, count in early.items()) and late != early


@pytest.fixture
def traced(make_cluster, tmp_path):
    """A cluster whose nodes write traces, and a function that gives all that has happened."""
    c = make_cluster(3, start=False)
    for n in c.nodes.values():
        n.extra += ["--trace", tmp_path / f"node{n.id}.json"]
        n.start()
    c.wait_formed()
    c.traces = tmp_path
    return c


def surfctl(c, name, *args):
    return c.surfctl("--trace", c.traces / f"{name}.json", *args)


def events(c):
    return parse(merge(*sorted(c.traces.glob("*.json"))).stdout)


def check(all_events):
    """S1.7: each host counts 1, 2, 3 ..., knows itself, and never forgets."""
    last = {}
    for host, clock, _, _, _ in all_events:
        before = last.get(host, {})
        assert clock[host] == before.get(host, 0) + 1
        assert not before or dominates(clock, before)
        last[host] = clock
    return last


def test_s1_7_and_8_puts_and_gets(traced):
    for i in range(5):
        surfctl(traced, f"put{i}", "kv", "put", f"k{i}", f"v{i}")
        surfctl(traced, f"get{i}", "kv", "get", f"k{i}")
    found = events(traced)
    hosts = check(found)
    assert {"node1", "node2", "node3"} < set(hosts)
    for i in range(5):
        of_key = [(tag, clock, id) for _, clock, id, tag, body in found if body.get("key") == f"k{i}"]
        tags = [tag for tag, _, _ in of_key]
        assert tags.count("Put") == tags.count("PutResultRecvd") == tags.count("PutCommitted") == 1
        clocks = {tag: clock for tag, clock, _ in of_key}
        for early, late in (("Put", "PutRecvd"), ("PutRecvd", "PutCommitted"), ("PutCommitted", "PutResultRecvd"), ("Get", "GetRecvd"),
                            ("GetRecvd", "GetResultRecvd"), ("PutResultRecvd", "GetRecvd")):
            assert dominates(clocks[late], clocks[early]), (early, late)
        assert len({id for tag, _, id in of_key if tag.startswith("Put")}) == 1
    # Messages between members: each answer knows what was asked.
    asked = [clock for _, clock, _, tag, _ in found if tag == "AppendEntriesRequestSent"]
    heard = [clock for _, clock, _, tag, _ in found if tag == "AppendEntriesRequestRecvd"]
    assert heard and all(any(dominates(h, a) for a in asked) for h in heard[:50])


def test_a_node_that_is_killed_goes_on_with_its_trace(traced):
    leader = traced.wait_leader()
    surfctl(traced, "before", "kv", "put", "k", "1")
    traced.nodes[leader].kill()
    with open(traced.traces / f"node{leader}.json", "a") as f:
        f.write('{"TracerIdentity":"no')  # cut off in the middle of a line
    surfctl(traced, "meanwhile", "kv", "put", "k", "2")
    traced.nodes[leader].start()
    wait_until("all three", lambda: {s["state"] for s in traced.node_states().values()} == {"LEADER", "FOLLOWER"})
    found = events(traced)
    check(found)
    became = [(host, clock) for host, clock, _, tag, _ in found if tag == "BecameLeader"]
    assert len(became) >= 2 and len([1 for h, _, _, tag, _ in found if h == f"node{leader}" and tag == "ServerStart"]) == 2
    put = next(clock for _, clock, _, tag, body in found if tag == "PutCommitted" and body.get("key") == "k" and any(
        dominates(clock, late) for _, late in became[1:]))
    assert put


def test_a_mount_is_traced(traced):
    m = traced.mount("m", "-o", f"trace={traced.traces / 'mount.json'}")
    (m.path / "f").write_text("x")
    m.stop()
    found = events(traced)
    check(found)
    host = next(h for h in {e[0] for e in found} if h.startswith("surffs-"))
    sent = [e for e in found if e[0] == host and e[3] == "Change"]
    assert sent
    for _, clock, id, _, _ in sent:
        assert any(e[2] == id and e[3] == "ChangeCommitted" and dominates(e[1], clock) for e in found)


def test_traced_and_untraced_programs_understand_each_other(make_cluster, tmp_path):
    c = make_cluster(3)
    c.wait_formed()
    c.nodes[2].stop()
    c.nodes[2].start("--trace", tmp_path / "node2.json")
    c.wait_formed()
    c.surfctl("--trace", tmp_path / "ctl.json", "kv", "put", "k", "v")
    assert c.surfctl("kv", "get", "k").stdout == "v\n"
    check(parse(merge(tmp_path / "node2.json", tmp_path / "ctl.json").stdout))


LINE = '{"TracerIdentity":"a","TraceID":1,"Tag":"T","Body":{},"VectorClock":{"a":%d}}\n'


@pytest.mark.parametrize("text, words", [
    ("nonsense\n", ":1:"), ("{}\n", "TracerIdentity"), (LINE % 1 + LINE % 3, "event 3 where 2"), (LINE % 2, "event 2 where 1"),
    (LINE.replace("%d", '"x"'), "no number"), (LINE.replace('"a":%d', '"b":1'), "own host"), (LINE.replace('{"a":%d}', "{}"), "no object")])
def test_what_is_no_trace_is_refused(tmp_path, text, words):
    (tmp_path / "t.json").write_text(text)
    done = merge(tmp_path / "t.json", check=False)
    assert done.returncode == 1 and words in done.stderr and done.stdout == ""


def test_files_that_cannot_be_read_or_written(tmp_path):
    assert "absent" in merge(tmp_path / "absent", check=False).stderr
    (tmp_path / "other").write_text("something else\n")
    before = (tmp_path / "other").read_text()
    for path in (tmp_path / "no" / "t.json", tmp_path / "other"):
        done = subprocess.run([str(BIN / "surfd"), "-l", "--data", str(tmp_path / "d"), "--trace", str(path)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=20 * PATIENCE)
        assert done.returncode != 0 and path.name in done.stderr
    assert (tmp_path / "other").read_text() == before


def test_the_log_is_printed(cluster):
    cluster.surfctl("kv", "put", "k12", "val12")
    leader = cluster.wait_leader()
    lines = cluster.surfctl("log", leader).stdout.splitlines()
    assert all(re.fullmatch(r"(\d+)\. Term=\d+, Index=\1, Entry=.+", line) for line in lines)
    assert lines[0].endswith("Entry=No-Op") and any("k12" in line for line in lines)
    assert len(cluster.surfctl("log", leader, "--last", 2).stdout.splitlines()) == 2
    for bad in ("0", "101", "-1", "x"):
        assert cluster.surfctl("log", leader, "--last", bad, check=False).returncode == 64
