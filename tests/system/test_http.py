"""Nodes over HTTP: keys, files, status, metrics, what operators do, and what is sent by people who can't."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import threading

import pytest
import yaml

import cluster as clusters
from web import CHANGES, JSON, Web

PATIENCE_S = 5  # GATEWAY_PATIENCE_NS


@pytest.fixture(scope="module")
def web(tmp_path_factory, request):
    """Three nodes with a mount; who breaks them mends them."""
    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3), request.session.testsfailed
    w = Web(c)
    try:
        w.start()
        c.wait_formed()
        c.mount("a")
        for number in c.nodes:
            clusters.wait_until("a session", lambda: w.get(number, "/keys").status == 200)
        yield w
    finally:
        c.close(check=request.session.testsfailed == failed_before)


@pytest.fixture
def root(web, request):
    """A directory of the test's own on the mount."""
    path = web.cluster.mounts["a"].path / re.sub(r"\W", "-", request.node.name)
    path.mkdir()
    return path


# -- keys: S3.1 to S3.6

def test_a_list_is_put_and_appended_to(web):
    assert web.post(1, "pets", "PUT", ["cat", "dog"]).status == 204
    assert web.post(1, "pets", "APPEND", "mouse").status == 204
    assert web.value(2, "pets") == ["cat", "dog", "mouse"]
    assert web.post(2, "pets", "PUT", []).status == 204
    assert web.value(3, "pets") == []


def test_append_makes_a_list(web):
    assert web.value(1, "made") == 404
    assert web.post(1, "made", "APPEND", "mouse").status == 204
    assert web.value(2, "made") == ["mouse"]


@pytest.mark.parametrize("key", ["a/b/c", "a b", "ä/ö", "%2F", "..", "\x00\x01", "x" * 1024])
def test_keys_are_any_bytes(web, key):
    for value in ([key], ["ü", "\x00", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")], ["x" * 100000]):
        assert web.post(1, key, "PUT", value).status == 204
        assert web.value(2, key) == value
    assert any(k["key"] == key for k in web.get(3, "/keys").json()["keys"])


def test_a_slash_is_a_slash_however_it_is_written(web):
    web.post(1, "one/two", "PUT", ["x"])
    assert web.get(2, "/keys/one/two").json() == web.get(2, "/keys/one%2ftwo").json() == ["x"]


@pytest.mark.parametrize("body, text", [
    (b"{", "request is not valid"), (b"", "request is not valid"), (b"[]", "request is not valid"), (b"{}{}", "request is not valid"),
    (b'{"type":"PUT","value":["\xff"]}', "request is not valid"), (b'{"type":"PUT","type":"PUT","value":[]}', "request is not valid"),
    (b"[" * 50000, "request is not valid"), (b"{}", "type is not correct"), (b'{"type":"GET","value":[]}', "type is not correct"),
    (b'{"type":1,"value":[]}', "type is not correct"), (b'{"type":"PUT"}', "value is not valid"), (b'{"type":"PUT","value":"s"}', "value is not valid"),
    (b'{"type":"PUT","value":[1]}', "value is not valid"), (b'{"type":"PUT","value":[["a"]]}', "value is not valid"),
    (b'{"type":"PUT","value":null}', "value is not valid"), (b'{"type":"APPEND","value":["s"]}', "value is not valid"),
    (b'{"type":"APPEND","value":7}', "value is not valid")])
def test_requests_that_make_no_sense(web, body, text):
    answer = web.ask(1, "POST", "/keys/refused", body, JSON)
    assert answer.status == 400 and text in answer.text and answer.headers["Content-Type"].startswith("text/plain")
    assert web.value(1, "refused") == 404


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON", "application/x-www-form-urlencoded"])
def test_the_content_type_is_exact(web, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = web.ask(1, "POST", "/keys/refused", b'{"type":"PUT","value":[]}', headers)
    assert answer.status == 400 and answer.text == "The request is not valid\n"


def test_what_another_way_has_stored(web):
    web.cluster.surfctl("kv", "put", "bytes", "plain")
    answer = web.get(1, "/keys/bytes")
    assert answer.status == 400 and "not a list of strings" in answer.text
    assert web.post(1, "bytes", "APPEND", "x").status == 400
    assert web.post(1, "bytes", "PUT", ["now a list"]).status == 204


def test_sizes_beyond_the_limits(web):
    assert web.post(1, "x" * 1025, "PUT", []).status == 400
    assert web.ask(1, "GET", "/keys/" + "x" * 1025).status == 400
    assert web.post(1, "large", "PUT", ["x" * (1 << 20)]).status == 413
    assert web.post(1, "large", "PUT", ["x" * ((1 << 20) - 4)]).status == 204
    assert web.post(1, "large", "APPEND", "").status == 413
    assert web.post(1, "large", "PUT", ["x" * (2 << 20)]).status == 413
    assert web.post(1, "large", "PUT", [""] * 70000).status == 413
    assert web.value(2, "large") == ["x" * ((1 << 20) - 4)]
    assert web.ask(1, "DELETE", "/keys/large").status == 204


def test_keys_are_listed_and_deleted(web):
    for i in range(5):
        web.post(1, f"list/{i}", "PUT", [])
    names = [k["key"] for k in web.get(2, "/keys?prefix=list%2F").json()["keys"]]
    assert names == [f"list/{i}" for i in range(5)]
    assert [k["key"] for k in web.get(2, "/keys?prefix=list/&after=list/2").json()["keys"]] == names[3:]
    assert web.get(2, "/keys?after=%zz").status == 400
    for name in names:
        assert web.ask(3, "DELETE", "/keys/" + name).status == 204
        assert web.ask(3, "DELETE", "/keys/" + name).status == 404
    assert web.get(1, "/keys?prefix=list/").json() == {"keys": [], "next": None}


def test_conditions_on_versions(web):
    assert web.post(1, "cond", "PUT", ["1"], If_None_Match="*").status == 204
    assert web.post(1, "cond", "PUT", ["2"], If_None_Match="*").status == 412
    tag = web.get(2, "/keys/cond").headers["ETag"]
    changed = web.post(3, "cond", "PUT", ["3"], If_Match=tag)
    assert changed.status == 204 and changed.headers["ETag"] != tag
    assert web.post(3, "cond", "PUT", ["4"], If_Match=tag).status == 412
    assert web.post(3, "cond", "PUT", ["4"], If_Match="no tag").status == 412
    assert web.ask(1, "DELETE", "/keys/cond", headers={"If-Match": tag}).status == 412
    assert web.value(1, "cond") == ["3"]
    assert web.ask(1, "DELETE", "/keys/cond", headers={"If-Match": changed.headers["ETag"]}).status == 204


def test_one_put_is_one_entry_everywhere_and_a_get_is_none(web):
    web.cluster.wait_leader()

    def differences(act, entries):
        """Of the statuses, once all have the same log; what the cluster does by itself may come between, so there are several tries."""
        for _ in range(20):
            web.cluster.wait_caught_up()
            before = web.statuses()
            act()
            clusters.wait_until("the others to hear of it", lambda: len({s["last_applied"] for s in web.statuses().values()}) == 1)
            web.cluster.wait_caught_up()
            after = web.statuses()
            found = [{k: int(s[k]) - int(before[n][k]) for k in s if s[k] != before[n].get(k) and k != "uptime"} for n, s in after.items()]
            if all(f.get("log_len", 0) == entries for f in found):
                return found
        raise AssertionError(found)

    for found in differences(lambda: web.post(2, "counted", "PUT", ["x"]), 1):
        follower = {"log_len": 1, "last_applied": 1, "commit_idx": 1, "leader_commit_idx": 1}
        assert {k: found[k] for k in follower} == follower and set(found.values()) == {1}
        assert len(found) in (4, 8)  # the leader's next and match of two partners
    assert differences(lambda: [web.value(n, "counted") for n in (1, 2, 3)], 0) == [{}, {}, {}]


def test_the_leader_is_killed_and_comes_back(web):
    assert web.post(1, "kept", "PUT", ["old"]).status == 204
    leader = web.cluster.wait_leader()
    other = leader % 3 + 1
    term = int(web.status(other)["raft_term"])
    web.cluster.nodes[leader].kill()
    clusters.wait_until("another leader", lambda: web.post(other, "kept", "PUT", ["new"]).status == 204)

    def known():
        statuses = web.statuses()
        return all(int(s["raft_term"]) > term for s in statuses.values()) and sorted(s["state"] for s in statuses.values()) == ["0", "2"] \
            and all(s[f"partner_node_status_server_{leader}"] == "0" for s in statuses.values())

    clusters.wait_until("both to know that it is down, and who leads", known)
    web.start(leader)
    clusters.wait_until("the newer value there", lambda: web.value(leader, "kept") == ["new"])


def test_without_a_quorum_nothing_is_acknowledged_and_nothing_hangs(web):
    """503: it was not done, and never is. 504: it may have been, since a leader that loses its majority has it in its log."""
    assert web.post(1, "majority", "PUT", ["before"]).status == 204
    for number in (2, 3):
        web.cluster.nodes[number].kill()
    try:
        clusters.wait_until("no quorum to be known", lambda: web.status(1)["has_quorum"] == "False")
        answers, reads = {}, []

        def put(key):
            answers[key] = web.post(1, key, "PUT", ["lost or not"])

        def start(keys):
            started = [threading.Thread(target=put, args=(key,)) for key in keys]
            for thread in started:
                thread.start()
            return started

        threads = [threading.Thread(target=lambda path: reads.append(web.get(1, path).status), args=(path,)) for path in ("/keys/majority", "/files/")]
        for thread in threads:
            thread.start()
        threads += start(f"at once {n}" for n in range(25))
        assert web.get(1, "/healthz").status == 503  # not behind those that wait
        clusters.wait_until("no leader to be known", lambda: web.status(1)["leader"] == "None")
        threads += start(f"then {n}" for n in range(25))
        assert web.get(1, "/admin/cluster").json()["quorum"] is False
        for thread in threads:
            thread.join(20 * PATIENCE_S * clusters.PATIENCE)
        assert len(answers) == 50
        for key, answer in answers.items():
            assert answer.status in (503, 504), answer
            assert ("not known" if answer.status == 504 else "was not done, and won't be") in answer.text
            assert (answer.headers["Retry-After"] == "1") == (answer.status == 503)
        assert all(answers[f"then {n}"].status == 503 for n in range(25))
        assert reads == [503, 503]
    finally:
        web.start(2, 3)
    clusters.wait_until("answers again", lambda: web.post(1, "majority", "PUT", ["after"]).status == 204)
    assert [web.value(n, "majority") for n in (1, 2, 3)] == [["after"]] * 3
    for key, answer in answers.items():
        value = web.value(2, key)
        assert value == 404 or (answer.status == 504 and value == ["lost or not"]), (key, answer, value)
    clusters.wait_until("all to know of a quorum", lambda: all(web.status(n)["has_quorum"] == "True" for n in (1, 2, 3)))


def test_five_nodes_in_two_parts(make_cluster):
    """S3.7 and S3.8: whichever side has the majority serves, and afterwards there is one truth."""
    c = make_cluster(5, start=False)
    w = Web(c)
    w.start()
    leader = c.wait_leader()
    clusters.wait_until("a first value", lambda: w.post(leader, "k", "PUT", ["1"]).status == 204)

    def split(by, small, large):
        assert w.change(by, "/admin/partition", json.dumps({"groups": [small, large]})).status == 204

    others = [n for n in c.nodes if n != leader]
    split(leader, [leader, others[0]], others[1:])
    clusters.wait_until("the minority to know", lambda: w.status(leader)["leader"] == "None", 30)
    assert w.status(leader)["has_quorum"] == "False"  # as said with the same breath
    clusters.wait_until("a leader of the majority", lambda: w.post(others[1], "k", "PUT", ["2"]).status == 204)
    assert w.change(leader, "/admin/heal").json() == {"not_reached": []}
    clusters.wait_until("one leader", lambda: len({s["leader"] for s in w.statuses().values()} - {"None"}) == 1
                        and sorted(s["state"] for s in w.statuses().values()) == ["0"] * 4 + ["2"])
    clusters.wait_until("the same everywhere", lambda: [w.value(n, "k") for n in c.nodes] == [["2"]] * 5)

    def goes_on_leading():
        leader = c.wait_leader()
        others = [n for n in c.nodes if n != leader]
        term = w.status(leader)["raft_term"]
        split(leader, others[2:], [leader, *others[:2]])
        assert w.post(leader, "k", "PUT", ["3"]).status == 204
        still = (w.status(leader)["state"], w.status(leader)["raft_term"]) == ("2", term)
        assert w.change(leader, "/admin/heal").status == 200
        return still

    assert clusters.when_not_busy(goes_on_leading)
    clusters.wait_until("the same everywhere", lambda: [w.value(n, "k") for n in c.nodes] == [["3"]] * 5)


def test_a_block_server_is_asked(make_cluster):
    """It is no member of the metastore, and finds who is."""
    c = make_cluster(3, start=False)
    c.nodes[11] = clusters.Node(c, 11, clusters.free_ports(1)[0], ["-s", "block"])
    w = Web(c)
    w.start()
    c.wait_formed()
    assert w.post(11, "k", "PUT", ["x"]).status == 204 and w.value(1, "k") == ["x"]
    assert w.get(11, "/healthz").status == w.get(11, "/files/").status == 200
    assert w.change(11, "/admin/nodes/11/crash").status == 204
    assert w.get(11, "/keys/k").status == w.get(11, "/healthz").status == 503
    assert [n["state"] for n in w.get(11, "/admin/cluster").json()["nodes"] if n["id"] == 11] == ["CRASHED"]


# -- files

def test_files_are_read_as_they_are(web, root):
    data = os.urandom((3 << 20) + 123)
    (root / "big").write_bytes(data)
    at = f"/files/{root.name}/big"
    answer = web.get(2, at)
    assert answer.status == 200 and answer.body == data and answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    head = web.ask(2, "HEAD", at)
    assert head.status == 200 and head.headers["Content-Length"] == str(len(data)) and head.headers["ETag"] == answer.headers["ETag"]
    for asked, begin, end in (("0-0", 0, 1), ("100-199", 100, 200), ("1048570-1048580", 1048570, 1048581), (f"{len(data) - 5}-", len(data) - 5, len(data)),
                              ("-7", len(data) - 7, len(data)), ("5-99999999999", 5, len(data))):
        part = web.get(3, at, Range=f"bytes={asked}")
        assert part.status == 206 and part.body == data[begin:end] and part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(data)}"
    assert web.get(3, at, Range=f"bytes={len(data)}-").status == 416
    for asked in ("bytes=5-1", "bytes=x-", "lines=1-2", "bytes=0-1,4-5", "bytes=-"):
        assert web.get(3, at, Range=asked).status == 200
    assert web.get(3, at, If_None_Match=answer.headers["ETag"]).status == 304
    assert web.get(3, at, Range="bytes=0-9", If_Range=answer.headers["ETag"]).status == 206
    (root / "big").write_bytes(b"new")
    changed = web.get(3, at, If_None_Match=answer.headers["ETag"], Range="bytes=0-9", If_Range=answer.headers["ETag"])
    assert (changed.status, changed.body) == (200, b"new")
    (root / "empty").touch()
    assert web.get(1, f"/files/{root.name}/empty").body == b""
    assert web.get(1, f"/files/{root.name}/none").status == 404


def test_directories_are_listed(web, root):
    for name in ("<b>&\"x", "ä", "a b", "café.txt"):
        (root / name).write_text(name)
    (root / "sub").mkdir()
    os.symlink("sub", root / "link")
    at = f"/files/{root.name}/"
    entries = {e["name"]: e for e in web.get(1, at).json()["entries"]}
    assert entries.keys() == {"<b>&\"x", "ä", "a b", "café.txt", "sub", "link"}
    assert entries["sub"]["type"] == "directory" and entries["link"]["type"] == "symlink" and entries["ä"]["size"] == 2
    for e in entries.values():
        if e["type"] == "file":
            assert web.get(2, at + e["link"]).text == e["name"]
    page = web.get(2, at, Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert page.headers["Content-Type"].startswith("text/html") and "&lt;b&gt;&amp;&quot;x" in page.text and "<b>" not in page.text
    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert web.get(1, at[:-1]).status == 301 and web.get(1, at[:-1]).headers["Location"] == at
    assert web.get(1, at + "a%20b/").status == 404
    for i in range(1200):
        (root / "sub" / f"f{i}").touch()
    names, after = [], ""
    while after is not None:
        page = web.get(3, f"{at}sub/?after={after}" if after else f"{at}sub/").json()
        names += [e["name"] for e in page["entries"]]
        after = page["next"]
    assert len(names) == len(set(names)) == 1200
    assert web.get(1, f"{at}sub/?after=x").status == 400


def test_versions_and_blocks(web, root):
    (root / "f").write_bytes(os.urandom(2 << 20))
    first = web.get(1, f"/files/{root.name}/f?blocks").json()
    assert [b["offset"] for b in first["blocks"]] == [0, 1 << 20] and first["next"] is None
    with open(root / "f", "r+b") as f:
        f.write(b"changed")
    second = web.get(1, f"/files/{root.name}/f?blocks").json()
    assert second["version"] > first["version"] and second["blocks"] != first["blocks"]


def test_links_stay_inside(web, root):
    (root / "d").mkdir()
    (root / "d" / "f").write_text("inside")
    links = {"good": "d/f", "round": f"d/../../{root.name}/d/f", "loop": "loop", "absolute": f"/{root.name}/d/f", "out": "../../../etc/passwd",
             "gone": "none"}
    for name, target in links.items():
        os.symlink(target, root / name)
    at = f"/files/{root.name}/"
    assert web.get(1, at + "good").text == web.get(1, at + "round").text == "inside"
    assert [web.get(1, at + name).status for name in ("loop", "absolute", "out", "gone")] == [403, 403, 403, 404]
    assert web.get(1, "/files/../etc/passwd").status == 403
    assert web.get(1, "/files/%2e%2e/%2e%2e/etc/passwd").status == 403
    assert web.get(1, at + "d%2ff").text == "inside"
    assert web.get(1, at + "d/f%00x").status in (400, 404)
    os.mkfifo(root / "fifo")
    assert web.get(1, at + "fifo").status == 403


def test_only_what_everybody_may_read(web, root):
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o640)
    (root / "closed").mkdir(mode=0o700)
    (root / "closed" / "f").write_text("x")
    at = f"/files/{root.name}/"
    assert [web.get(1, at + name).status for name in ("secret", "closed/", "closed/f")] == [403, 403, 403]


def test_a_file_that_changes_is_never_sent_mixed(web, root):
    size, path = 24 << 20, root / "f"
    path.write_bytes(b"a" * size)
    with web.connect(1) as s:
        s.sendall(f"GET /files/{root.name}/f HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = s.recv(4096)
        path.write_bytes(b"b" * size)
        try:
            while part := s.recv(1 << 20):
                got += part
                if len(got) >= size + 200:
                    break
        except ConnectionError:
            pass
    body = got.split(b"\r\n\r\n", 1)[1]
    assert set(body) <= {ord("a")} and len(body) < size


# -- what operators do, and who may

def test_crash_and_restore(web):
    leader = web.cluster.wait_leader()
    other = leader % 3 + 1
    assert web.change(other, f"/admin/nodes/{leader}/crash").status == 204
    assert web.get(leader, "/keys/pets").status == 503 and web.get(leader, "/healthz").status == 503
    assert web.status(leader)["has_quorum"] == "False"
    assert web.cluster.wait_leader(leader) != leader
    clusters.wait_until("the others to serve", lambda: web.get(other, "/keys").status == 200)
    assert web.change(leader, f"/admin/nodes/{leader}/restore").status == 204
    clusters.wait_until("it to serve again", lambda: web.get(leader, "/keys").status == 200)
    clusters.wait_until("its leadership", lambda: web.change(other, f"/admin/nodes/{leader}/leader").status == 204)
    assert web.cluster.wait_leader() == leader
    assert web.change(1, "/admin/nodes/9/crash").status == 404
    assert web.change(1, "/admin/nodes/x/crash").status == web.change(1, "/admin/nodes/1/explode").status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"groups":[[1]]}', b'{"groups":[[1],[1]]}', b'{"groups":[[1],["2"]]}', b'{"groups":[[1],[77]]}',
                                  b'{"groups":[[],[1]]}', b'{"groups":{"0":[1],"1":[2]}}'])
def test_partitions_that_make_no_sense(web, body):
    assert web.change(1, "/admin/partition", body).status == 400


def test_a_partition_with_a_node_that_is_gone_changes_nothing(web):
    leader = web.cluster.wait_leader()
    other, gone = (n for n in (1, 2, 3) if n != leader)
    web.cluster.nodes[gone].kill()
    try:
        for groups in ([[leader], [other, gone]], [[other, gone], [leader]]):
            answer = web.change(leader, "/admin/partition", json.dumps({"groups": groups}))
            assert answer.status == 503 and "was not done, and won't be" in answer.text
            for n in (leader, other):
                assert web.cluster.state(n)["unreachable"] == []
            assert f"node {gone}: " in answer.text
    finally:
        web.change(leader, "/admin/heal")
        web.start(gone)
    clusters.wait_until("all to follow", lambda: all(web.status(n)["has_quorum"] == "True" for n in (1, 2, 3)))


def test_pages_of_others_may_not(web):
    host = f"127.0.0.1:{web.ports[1]}"

    def crash(**headers):
        return web.ask(1, "POST", "/admin/nodes/9/crash", headers={name.replace("_", "-"): value for name, value in headers.items()}).status

    assert crash() == 403
    assert crash(**CHANGES) == 404  # there is no node 9, but asking was all right
    assert crash(**CHANGES, Origin=f"http://{host}") == 404
    assert crash(**CHANGES, Origin="http://evil.example") == crash(**CHANGES, Origin="null") == crash(**CHANGES, Sec_Fetch_Site="cross-site") == 403
    assert crash(**CHANGES, Origin=f"http:in: http://{host}") == crash(**CHANGES, Origin=f"ftp://{host}") == 403
    assert web.ask(1, "POST", "/keys/x", b'{"type":"PUT","value":[]}', {**JSON, "Origin": "http://evil.example"}).status == 403
    assert web.ask(1, "DELETE", "/keys/pets", headers={"Origin": "http://evil.example"}).status == 403
    assert web.ask(1, "OPTIONS", "/keys/pets").status == 405
    for name in ("evil.example", "127.0.0.1.evil.example", "[::1", "a" * 300, "localhost:x"):
        assert web.get(1, "/admin/status", Host=name).status == 421, name
    for name in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "192.0.2.1"):
        assert web.get(1, "/admin/status", Host=name).status == 200, name


def test_starts_that_are_refused(tmp_path):
    def refused(*options):
        done = subprocess.run([clusters.BIN / "surfd", "-l", "-p", str(clusters.free_ports(1)[0]), "--data", tmp_path / "d", *map(str, options)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert done.returncode != 0
        return done.stdout

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "can't listen for HTTP on 127.0.0.1 port" in refused("--http-port", taken.getsockname()[1])
    assert "loopback" in refused("--http-port", 1234, "--http-address", "0.0.0.0")
    for option, value in (("port", "x"), ("port", 65536), ("address", "example.org"), ("files", "some"), ("names", "a,,b"), ("names", "a:1")):
        assert str(value) in refused(f"--http-{option}", value)


def test_metrics(web):
    web.cluster.wait_formed()  # a new leader has yet to hear from the block servers
    leader = web.cluster.wait_leader()
    web.post(1, "measured", "PUT", ["x"])
    before = web.metrics(leader)
    for _ in range(10):
        web.post(leader, "measured", "PUT", ["x"])
    after = web.metrics(leader)
    assert after["surf_raft_role"] == 2 and after["surf_raft_leader"] == leader and after["surf_answers"] == 1
    assert after['surf_http_requests_total{route="keys",status="2xx"}'] == before['surf_http_requests_total{route="keys",status="2xx"}'] + 10
    assert after['surf_requests_total{method="META_CALL"}'] >= before['surf_requests_total{method="META_CALL"}'] + 10
    assert after["surf_raft_commit_index"] >= before["surf_raft_commit_index"] + 10
    assert after['surf_block_server_reporting{server="1"}'] == 1 and 'surf_blocks_under_replicated{server="1"}' in after
    for name in ("surf_repair_eta_seconds", "surf_scrub_eta_seconds"):
        assert after[f'{name}{{server="1"}}'] >= 0
    for name in ("surf_repair_done_percent", "surf_scrub_done_percent"):
        assert 0 <= after[f'{name}{{server="1"}}'] <= 100
    for name in ("surf_repair_limit_bytes_per_second", "surf_scrub_limit_bytes_per_second"):
        assert after[f'{name}{{server="1"}}'] > 1 << 20
    assert after["surf_lease_holders"] >= 1 and after["process_resident_memory_bytes"] > 1 << 20
    text = web.get(leader, "/metrics").text
    names = re.findall(r"^# TYPE (\w+) (?:gauge|counter|histogram)$", text, re.M)
    assert len(names) == len(set(names)) == text.count("# HELP")


def test_events(web):
    with web.connect(1) as s, web.connect(1) as gone:
        gone.sendall(b"GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        gone.recv(10)
        gone.close()
        s.sendall(b"GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        lines = s.makefile("rb")
        pictures = []
        while len(pictures) < 3:
            line = lines.readline()
            if line.startswith(b"data: "):
                pictures.append(json.loads(line[6:]))
    assert all(len(p["nodes"]) == 3 and p["self"] == 1 and "events" in p for p in pictures)


# -- what nobody should send

@pytest.mark.parametrize("raw, status", [
    (b"\r\n\r\n\r\n", None), (b"GET\r\n\r\n", None), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100)), None),
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", None), (b"GET /admin/status HTTP/1.1\r\n\r\n", 400),
    (b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(20000)) + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100000 + b"\r\n\r\n", 431),
    (b"POST /keys/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"POST /keys/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /keys/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551616\r\n\r\n", 413),
    (b"POST /keys/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405), (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /keys/%00%ff%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400), (b"GET /files/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)],
    ids=lambda v: repr(v[:24]) if isinstance(v, bytes) else str(v))
def test_requests_that_are_none(web, raw, status):
    if status is None:  # whatever comes, and when: nobody else hears of it
        with web.connect(1) as s:
            s.sendall(raw)
            assert web.get(1, "/healthz").status == 200
        return
    try:
        answer = web.say(1, raw)
    except ConnectionError:  # it was closed while we were still sending, and what it said is lost
        assert len(raw) > 65536
    else:
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert web.get(1, "/healthz").status == 200


def test_a_body_in_pieces_and_several_requests_on_one_connection(web):
    body = b'{"type":"PUT","value":["in pieces"]}'
    with web.connect(1) as s:
        s.sendall(b"POST /keys/pieces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in body:
            s.sendall(b"1\r\n%c\r\n" % byte)
        s.sendall(b"0\r\n\r\n" + b"GET /keys/pieces HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        got = b""
        while got.count(b'["in pieces"]') < 3:
            part = s.recv(65536)
            assert part, got
            got += part
    assert got.startswith(b"HTTP/1.1 204 ") and got.count(b"HTTP/1.1 200 ") == 3


def test_an_answer_for_who_has_stopped_sending(web):
    with web.connect(1) as s:
        s.sendall(b"GET /keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_many_connections_that_say_nothing(web):
    """They are put up with, up to a limit, and the others are served meanwhile."""
    idle = [web.connect(1) for _ in range(600)]
    try:
        for s in idle[::2]:
            s.sendall(b"GET /keys/pets HTTP/1.1\r\nHost: loc")
        assert web.get(1, "/healthz").status == 200
        assert web.metrics(1)["surf_http_connections"] >= 600
        assert web.post(1, "busy", "PUT", ["x"]).status == 204
    finally:
        for s in idle:
            s.close()
    clusters.wait_until("them to be forgotten", lambda: web.metrics(1)["surf_http_connections"] < 20)


@pytest.fixture
def few_descriptors(make_cluster, tmp_path):
    """A node that may have 256."""
    c = make_cluster(1, start=False)
    few = tmp_path / "surfd-few"
    few.write_text(f'#!/bin/sh\nexec prlimit --nofile=256:256 {clusters.BIN}/surfd "$@"\n')
    few.chmod(0o755)
    c.nodes[1].program = few
    w = Web(c)
    w.start()
    c.wait_leader()
    return w


def test_nobody_takes_all_descriptors(few_descriptors):
    """Whoever connects to the node itself gets an eighth of them at most, and the gateway, members and surfctl go on."""
    w, paths = few_descriptors, ("/healthz", "/admin/cluster", "/admin/status", "/metrics")
    node, asking = w.cluster.nodes[1], [(http.client.HTTPConnection("127.0.0.1", w.ports[1], timeout=60 * clusters.PATIENCE), p) for p in paths]
    for connection, _ in asking:
        connection.connect()
    host, port = node.address.rsplit(":", 1)
    held = [socket.create_connection((host, int(port)), 20 * clusters.PATIENCE) for _ in range(300)]
    try:
        assert len(os.listdir(f"/proc/{node.process.pid}/fd")) < 192
        for connection, path in asking:
            connection.request("GET", path)
            assert connection.getresponse().status == 200
        w.cluster.surfctl("status")
        assert len(os.listdir(f"/proc/{node.process.pid}/fd")) < 192
    finally:
        for one in [*held, *(connection for connection, _ in asking)]:
            one.close()
    clusters.wait_until("room", lambda: w.get(1, "/healthz").status == 200)


def test_more_connections_than_there_may_be(few_descriptors):
    """As many as a quarter of the descriptors; the next ones are told so, and the node has its descriptors for itself."""
    w, c = few_descriptors, few_descriptors.cluster
    held = [w.connect(1) for _ in range(70)]
    try:
        clusters.wait_until("them to be too many", lambda: w.get(1, "/healthz").status == 503)
        told = w.get(1, "/healthz")
        assert "more than 64 connections" in told.text and told.headers["Connection"].lower() == "close"
        c.surfctl("kv", "put", "k", "v")  # the node goes on
    finally:
        for s in held:
            s.close()
    clusters.wait_until("room", lambda: w.get(1, "/healthz").status == 200)


def test_many_at_a_time(web):
    errors = []

    def work(worker):
        try:
            for i in range(20):
                assert web.post(worker % 3 + 1, "shared", "APPEND", f"{worker}.{i}").status == 204
        except Exception as e:
            errors.append(e)

    web.post(1, "shared", "PUT", [])
    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors[0]
    assert sorted(web.value(2, "shared")) == sorted(f"{w}.{i}" for w in range(16) for i in range(20))


# -- the description

def fits(value, schema, document):
    """Just enough of JSON Schema."""
    if "$ref" in schema:
        node = document
        for part in schema["$ref"][2:].split("/"):
            node = node[part]
        return fits(value, node, document)
    if "oneOf" in schema:
        return any(fits(value, s, document) for s in schema["oneOf"])
    if value is None:
        return schema.get("nullable", False)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in schema and (not isinstance(value, kinds[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool))):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return all(name in value for name in schema.get("required", ())) and all(fits(value[n], s, document) for n, s in properties.items() if n in value)
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {}), document) for item in value)
    return value in schema.get("enum", [value])


def test_the_description_is_true(web):
    """Every call that docs/openapi.yaml describes is made as in its examples, and answers in one of the ways that it says."""
    text = web.get(1, "/openapi.yaml").text
    assert text == (clusters.ROOT / "docs" / "openapi.yaml").read_text()
    document = yaml.safe_load(text)
    web.post(1, "pets", "PUT", ["cat"])
    for path, item in document["paths"].items():
        for method, call in item.items():
            if method == "parameters" or path == "/admin/events":
                continue
            url, headers, body = path, {}, None
            for p in item.get("parameters", []) + call.get("parameters", []):
                if p["in"] == "path":
                    url = url.replace("{%s}" % p["name"], str(p["example"]))
                elif p["in"] == "header" and p.get("required"):
                    headers[p["name"]] = p["example"]
            if "requestBody" in call:
                body = json.dumps(call["requestBody"]["content"]["application/json"]["example"])
                headers.update(JSON)
            answer = web.ask(1, method.upper(), url, body, headers)
            assert str(answer.status) in call["responses"], (method, url, answer)
            response = call["responses"][str(answer.status)]
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].split("/")[-1]]
            content = response.get("content")
            assert bool(content) == bool(answer.body), (method, url, answer)
            if content:
                kind = answer.headers["Content-Type"].split(";")[0]
                assert kind in content, (method, url, kind)
                if "schema" in content[kind]:
                    assert fits(answer.json(), content[kind]["schema"], document), (method, url, answer.json())


def test_everything_is_described():
    paths = yaml.safe_load((clusters.ROOT / "docs" / "openapi.yaml").read_text())["paths"]
    routes = re.findall(r'\.path = "([^"]*)"(?:,\s*\.below = (true))?', (clusters.ROOT / "gateway" / "http_route.c").read_text())
    assert len(routes) >= 10
    for path, below in routes:
        assert (path or "/") in paths or (below and any(p.startswith(path + "/") for p in paths)), path
    for path in paths:
        assert any(path == (r or "/") or (below and path.startswith(r + "/")) for r, below in routes), path
