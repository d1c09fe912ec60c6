"""The text protocol of each node (surfd --text-port): BEHAVIOURS.md, S4.1 to S4.9, and what else may come through a socket."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import threading
import time

import pytest

import cluster as clusters
from cluster import wait_until


class Connection:
    """One connection; what is read is whole lines and whole values."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout * clusters.PATIENCE)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """Without its end; b"" when the connection is closed."""
        line = self.file.readline()
        assert line == b"" or line.endswith(b"\r\n"), line
        return line[:-2]

    def ask(self, text, value=None):
        self.send(text.encode() + b"\r\n" + (value + b"\r\n" if value is not None else b""))
        return self.line().decode()

    def value(self, text):
        """The words of its answer, and the value."""
        words = self.ask(text).split()
        assert words[0] == "VALUE", words
        data = self.file.read(int(words[-1]))
        assert self.file.read(2) == b"\r\n"
        return words[1:], data


class Text:
    """A cluster whose nodes speak text; questions go to whoever leads."""

    def __init__(self, cluster):
        self.cluster = cluster
        for node in cluster.nodes.values():
            node.text_port = clusters.free_ports(1)[0]
            node.extra += ["--text-port", node.text_port]

    def connect(self, node):
        return Connection(self.cluster.nodes[node].text_port)

    def leader(self):
        return self.connect(self.cluster.wait_leader())

    def ask(self, text, value=None):
        """Goes where it is sent, and again while the cluster can't answer; what is not known to have failed must be known by its answer."""
        node = next(n for n, one in self.cluster.nodes.items() if one.running())

        def answered():
            nonlocal node
            try:
                with self.connect(node) as c:
                    answer = c.ask(text, value)
                    if answer.startswith("VALUE"):
                        size = int(answer.split()[-1])
                        return answer, c.file.read(size + 2)[:size]
            except OSError:
                answer = ""
            if answer.startswith("REDIRECT "):
                node = int(answer.split()[1])
            elif answer in ("", "ERR_INTERNAL"):
                alive = [n for n, one in self.cluster.nodes.items() if one.running()]
                node = alive[(alive.index(node) + 1) % len(alive)] if node in alive else alive[0]
            else:
                return answer
            return None

        return wait_until(f"an answer to {text}", answered, 30)


def started(directory, count=3, extra=()):
    text = Text(clusters.Cluster(directory, count, extra))
    try:
        text.cluster.start()
        text.cluster.wait_formed()
    except BaseException:
        text.cluster.close()
        raise
    return text


@pytest.fixture(scope="module")
def text(tmp_path_factory, request):
    """Three nodes for the whole module, whose tests keep to keys of their own."""
    text, failed_before = None, request.session.testsfailed
    try:
        text = started(tmp_path_factory.mktemp("text"))
        yield text
    finally:
        if text:
            text.cluster.close(check=request.session.testsfailed == failed_before)


@pytest.fixture
def own(tmp_path, request):
    """own(count): a cluster of one's own."""
    made, failed_before = [], request.session.testsfailed

    def make(count):
        made.append(started(tmp_path / f"text{len(made)}", count))
        return made[-1]

    yield make
    for one in made:
        one.cluster.close(check=request.session.testsfailed == failed_before)


@pytest.fixture
def leader(text):
    with text.leader() as c:
        yield c


@pytest.fixture
def key(request):
    return "".join(ch if ch.isalnum() else "-" for ch in request.node.name)[:100]


def version_of(answer):
    words = answer.split()
    assert words[0] == "OK" and len(words) == 2, answer
    return int(words[1])


# ---- the numbered checks

def test_s4_1_the_life_of_a_key(leader, key):
    assert leader.ask(f"get {key}") == "ERR_NOT_FOUND"
    version = version_of(leader.ask(f"set {key} 0 5", b"first"))
    assert leader.ask(f"set {key} 0 6", b"second") == "ERR_VERSION"
    assert leader.value(f"get {key}") == (["5"], b"first")
    assert leader.ask(f"cas {key} 0 {version + 1} 5", b"wrong") == "ERR_VERSION"
    assert leader.ask(f"cas {key} 0 0 5", b"wrong") == "ERR_VERSION"
    assert version_of(leader.ask(f"cas {key} 100 {version} 5", b"third")) == version + 1
    assert leader.value(f"getm {key}") == ([str(version + 1), "100", "5"], b"third")
    assert leader.ask(f"delete {key}") == "DELETED"
    assert leader.ask(f"delete {key}") == "ERR_NOT_FOUND"
    assert leader.ask(f"cas {key} 0 {version} 1", b"x") == "ERR_NOT_FOUND"
    assert leader.ask(f"cas {key} 0 0 1", b"x") == "ERR_NOT_FOUND"
    assert leader.ask(f"getm {key}") == "ERR_NOT_FOUND"
    assert version_of(leader.ask(f"set {key} 0 1", b"x")) > version + 1


def test_s4_2_values_of_any_bytes(leader, key):
    for n, value in enumerate([b"\r\n", b"\0", b"a\r\nget b\r\nc", bytes(range(256)) * 400, b"x"]):
        version_of(leader.ask(f"set {key}{n} 0 {len(value)}", value))
        assert leader.value(f"get {key}{n}") == ([str(len(value))], value)
    # What is announced may count its line end: it is part of the value then.
    leader.send(f"set {key}with 0 7\r\nvalue\r\nget {key}with\r\n\r\n\r\nset {key}without 0 5\r\nvalue\r\nget {key}without\r\n".encode())
    version_of(leader.line().decode())
    assert leader.line() == b"VALUE 7" and leader.file.read(9) == b"value\r\n\r\n"
    version_of(leader.line().decode())
    assert leader.line() == b"VALUE 5" and leader.file.read(7) == b"value\r\n"


@pytest.mark.parametrize("line", [
    "djsbkv", "set k 10 a100", "getm b x", "set k 0 0", "cas k 0 1 0", "get", "get ", "get  k", " get k", "get k ", "GET k", "set k 0",
    "set k 0 3 noreply", "cas k 0 3", "cas k 0 -1 3x", "delete", "delete a b", "set k 99999999999 x", "get " + "k" * 1100, "\0", "\xff\xfe",
    "set k 0 +3", "set k -1 8\r\nget k\r\n\r", "set k 1.5 3\r\nabc", "cas k 0 x 3\r\nabc", "set " + "k" * 1100 + " 0 3\r\nabc"])
def test_s4_3_what_is_no_command(leader, key, line):
    leader.send(line.encode("latin-1") + b"\r\n")
    assert leader.line() == b"ERR_CMD_ERR"
    assert version_of(leader.ask(f"set {key} 0 2", b"ok"))
    assert leader.value(f"get {key}") == (["2"], b"ok")


def test_s4_4_keys_expire(text, key):
    with text.leader() as c:
        for seconds in (2, 4, 8, 16, 32):  # until it is enough for the commands before it is over
            begun = time.monotonic()
            version_of(c.ask(f"set {key} {seconds} 1", b"x"))
            version = version_of(c.ask(f"set {key}kept {seconds} 1", b"x"))
            told = c.ask(f"getm {key}").split()
            if told[0] == "VALUE":
                assert c.file.read(3) == b"x\r\n" and told[2] == str(seconds)
                if c.ask(f"cas {key}kept 0 {version} 4", b"kept").startswith("OK "):
                    break
            assert time.monotonic() - begun >= seconds - 0.1
            for name in (key, key + "kept"):
                c.ask(f"delete {name}")
        wait_until("it to expire", lambda: c.ask(f"getm {key}").startswith("ERR") or not c.file.read(3), 40)
        assert time.monotonic() - begun >= seconds - 0.1
        assert c.ask(f"get {key}") == "ERR_NOT_FOUND"
        assert c.value(f"get {key}kept")[1] == b"kept"
    # The same for whoever leads next.
    old = text.cluster.wait_leader()
    new = next(n for n in text.cluster.nodes if n != old)
    wait_until("another one to lead", lambda: text.cluster.surfctl("leader", new, check=False).returncode == 0)
    assert text.ask(f"get {key}") == "ERR_NOT_FOUND"
    assert text.ask(f"get {key}kept") == ("VALUE 4", b"kept")
    version_of(text.ask(f"set {key} 0 5", b"again"))


def test_s4_5_one_of_fifty_wins(text, key):
    with text.leader() as c:
        version = version_of(c.ask(f"set {key} 0 1", b"x"))
    leader = text.cluster.wait_leader()
    answers, ready = [], threading.Barrier(50)

    def run(n):
        with text.connect(leader) as c:
            ready.wait(30 * clusters.PATIENCE)
            answers.append(c.ask(f"cas {key} 0 {version} 2", b"%02d" % n))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["ERR_VERSION"] * 49 + [f"OK {version + 1}"]


def test_s4_6_followers_say_who_leads(text, key):
    leader = text.cluster.wait_leader()
    wait_until("all to know who leads", lambda: all(text.cluster.state(node)["leader"] == leader for node in text.cluster.nodes))
    for node in text.cluster.nodes:
        with text.connect(node) as c:
            for line, value in ((f"get {key}", None), (f"set {key} 0 1", b"x"), (f"delete {key}", None)):
                answer = c.ask(line, value)
                assert answer.startswith("REDIRECT ") == (node != leader)
                if node != leader:
                    assert answer == f"REDIRECT {leader}"
            assert c.ask("nonsense") == "ERR_CMD_ERR"


def test_s4_7_a_leader_is_killed(own):
    text = own(5)
    cluster = text.cluster
    old = cluster.wait_leader()
    others = [n for n in cluster.nodes if n != old]
    for node in others[2:]:
        cluster.nodes[node].kill()
    version = version_of(text.ask("set k 0 5", b"value"))
    cluster.nodes[old].kill()
    cluster.nodes[old].start()
    cluster.nodes[others[2]].start()
    begun = time.monotonic()
    answer, value = text.ask("getm k")
    assert time.monotonic() - begun < 2 * clusters.PATIENCE
    assert (answer, value) == (f"VALUE {version} 0 5", b"value")


def test_s4_8_two_leaders_are_killed(own):
    text = own(3)
    for n in range(20):
        version_of(text.ask(f"set k{n} 0 2", b"%02d" % n))
    for _ in range(2):
        old = text.cluster.wait_leader()
        text.cluster.nodes[old].kill()
        text.cluster.wait_leader(old)
        text.cluster.nodes[old].start()
        text.cluster.wait_caught_up()
    for n in range(20):
        assert text.ask(f"get k{n}") == ("VALUE 2", b"%02d" % n)


def test_s4_9_without_a_majority(own):
    text = own(5)
    cluster = text.cluster
    version_of(text.ask("set k 0 1", b"x"))
    leader = cluster.wait_leader()
    left = [leader, next(n for n in cluster.nodes if n != leader)]
    with text.connect(left[0]) as a, text.connect(left[1]) as b:
        for node in cluster.nodes:
            if node not in left:
                cluster.nodes[node].kill()
        wait_until("the leader to step down", lambda: cluster.leader() is None, 30)
        a.send(b"set new 0 1\r\nx\r\n")
        answers = []  # it may take a moment until a follower knows that there is no leader any more
        wait_until("the follower to give up", lambda: answers.append(b.ask("set new 0 1", b"x")) or not answers[-1].startswith("REDIRECT"), 30)
        assert answers[-1] == "ERR_INTERNAL" == a.line().decode()


# ---- pipelines, and connections of all kinds

def test_pipelining(leader, key):
    count = 300
    leader.send(b"".join(f"set {key}{n} 0 4\r\n{n:04}\r\nget {key}{n}\r\nbad\r\n".encode() for n in range(count)))
    for n in range(count):
        version_of(leader.line().decode())
        assert leader.line() == b"VALUE 4" and leader.file.read(6) == b"%04d\r\n" % n
        assert leader.line() == b"ERR_CMD_ERR"


def test_byte_by_byte(leader, key):
    for byte in f"set {key} 0 6\r\na\r\nb\r\n\r\nget {key}\r\n".encode():
        leader.send(bytes([byte]))
    version_of(leader.line().decode())
    assert leader.line() == b"VALUE 6" and leader.file.read(8) == b"a\r\nb\r\n\r\n"


def test_large_values(leader, key):
    limit = 1 << 20
    value = os.urandom(limit)
    version_of(leader.ask(f"set {key} 0 {limit}", value))
    assert leader.value(f"get {key}")[1] == value
    # One byte more is refused at once, and skipped.
    assert leader.ask(f"set {key}more 0 {limit + 1}", value + b"!") == "ERR_CMD_ERR"
    assert leader.ask(f"get {key}more") == "ERR_NOT_FOUND"
    leader.send(b"set k 0 4000000000\r\n")
    assert leader.line() == b"ERR_CMD_ERR"
    assert leader.line() == b""  # so much is not skipped


def test_a_line_that_does_not_end(text):
    with text.leader() as c:
        with contextlib.suppress(OSError):
            for _ in range(100):
                c.send(b"x" * 10000)
        with contextlib.suppress(OSError):
            assert c.line() in (b"ERR_CMD_ERR", b"")
            assert c.line() == b""


def test_half_closed(text, key):
    with text.leader() as c:
        c.send(f"set {key} 0 2\r\nab\r\nget {key}\r\nget".encode())
        c.socket.shutdown(socket.SHUT_WR)
        version_of(c.line().decode())
        assert c.line() == b"VALUE 2" and c.file.read(4) == b"ab\r\n"
        assert c.line() == b""


def test_who_leaves_in_the_middle(text, key):
    for n in range(50):
        with text.leader() as c:
            c.send(f"set {key}{n} 0 100000\r\n".encode() + b"x" * (n * 2000))
        with text.leader() as c:
            c.send(f"set {key}whole 0 3\r\nabc\r\n".encode() + b"get x\r\n" * 100)
    with text.leader() as c:
        assert c.value(f"get {key}whole")[1] == b"abc"
        assert c.ask(f"get {key}49") == "ERR_NOT_FOUND"


def test_who_does_not_read(text, key):
    """Answers that nobody takes hold up nobody else, and are not piled up."""
    with text.leader() as c, text.leader() as other:
        version_of(c.ask(f"set {key} 0 100000", b"v" * 100000))
        c.send(f"get {key}\r\n".encode() * 300)
        assert other.value(f"get {key}")[1] == b"v" * 100000
        before = resident(text)
        for _ in range(50):
            other.value(f"get {key}")
        assert "release" not in str(clusters.BIN) or resident(text) - before < 30 << 20
        for _ in range(300):
            assert c.line() == b"VALUE 100000" and c.file.read(100002) == b"v" * 100000 + b"\r\n"


def resident(text):
    pid = text.cluster.nodes[text.cluster.wait_leader()].process.pid
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def test_ten_thousand_idle_connections(text, key):
    count = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 500:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500 if hard == resource.RLIM_INFINITY else min(hard, count + 500), hard))
    leader = text.cluster.wait_leader()
    port, connections = text.cluster.nodes[leader].text_port, []
    before = resident(text)
    try:
        for _ in range(count):
            connections.append(socket.create_connection(("127.0.0.1", port), 20 * clusters.PATIENCE))
        with text.connect(leader) as c:
            version_of(c.ask(f"set {key} 0 1", b"x"))
        taken = resident(text) - before
        assert "release" not in str(clusters.BIN) or taken < count * 4096, f"{taken / count:.0f} bytes for each"
        for one in connections[::1000]:
            one.sendall(f"get {key}\r\n".encode())
        for one in connections[::1000]:
            assert one.makefile("rb").readline() == b"VALUE 1\r\n"
    finally:
        for one in connections:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with text.connect(leader) as c:
        assert c.value(f"get {key}")[1] == b"x"


def test_more_connections_than_descriptors(tmp_path):
    """They don't take from the node what it needs for itself."""
    wrapper = tmp_path / "surfd"
    wrapper.write_text(f'#!/bin/sh\nulimit -n 600\nexec {clusters.BIN / "surfd"} "$@"\n')
    wrapper.chmod(0o755)
    text = Text(clusters.Cluster(tmp_path / "few", 1))
    node = text.cluster.nodes[1]
    node.program = wrapper
    text.cluster.start()
    connections = []
    try:
        text.cluster.wait_formed()
        connections = [socket.create_connection(("127.0.0.1", node.text_port), 20 * clusters.PATIENCE) for _ in range(700)]
        for one in connections[300:]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
        connections[0].sendall(b"set k 0 1\r\nx\r\n")
        assert connections[0].recv(3) == b"OK "
        mount = text.cluster.mount("a")
        (mount / "f").write_text("the node serves")
        assert (mount / "f").read_text() == "the node serves"
    finally:
        for one in connections:
            one.close()
        text.cluster.close(check=True)


def test_a_crashed_node_says_nothing(own):
    text = own(3)
    old = text.cluster.wait_leader()
    version_of(text.ask("set k 0 1", b"x"))
    with text.connect(old) as c:
        text.cluster.surfctl("crash", old)
        with contextlib.suppress(OSError):
            assert c.ask("get k") == ""
    with contextlib.suppress(OSError):
        with text.connect(old) as c:
            assert c.line() == b""
    new = text.cluster.wait_leader(old)
    with text.connect(new) as c:
        assert c.value("get k")[1] == b"x"
    text.cluster.surfctl("restore", old)
    wait_until("the restored one to tell who leads", lambda: text.ask("get k") == ("VALUE 1", b"x"))


def test_a_list_is_no_value_here(text, key):
    text.cluster.surfctl("kv", "append", key, "element")
    with text.leader() as c:
        assert c.ask(f"get {key}") == "ERR_INTERNAL"
        assert c.ask(f"set {key} 0 1", b"x") == "ERR_VERSION"
        assert c.ask(f"delete {key}") == "DELETED"


def test_the_same_keys_elsewhere(text, key):
    with text.leader() as c:
        version_of(c.ask(f"set {key} 0 5", b"value"))
    assert json.loads(text.cluster.surfctl("--json", "kv", "get", key).stdout)["value"] == "value"


@pytest.mark.parametrize("options, says", [(("--text-port", "x"), "x"), (("--text-port", "70000"), "70000"), (("--text-address", "nowhere"), "nowhere"),
                                           (("--text-port", "1234", "--text-address", "192.0.2.1"), "loopback")])
def test_usage(tmp_path, options, says):
    done = subprocess.run([clusters.BIN / "surfd", "-l", "-p", str(clusters.free_ports(1)[0]), "--id", "1", "--data", tmp_path / "d", *options], capture_output=True, text=True,
                          timeout=30 * clusters.PATIENCE)
    assert done.returncode == 64 and says in done.stderr, done


def test_a_port_in_use(tmp_path, text):
    port = next(iter(text.cluster.nodes.values())).text_port
    done = subprocess.run([clusters.BIN / "surfd", "-l", "-p", str(clusters.free_ports(1)[0]), "--id", "1", "--data", tmp_path / "d", "--text-port",
                           str(port)], capture_output=True, text=True, timeout=30 * clusters.PATIENCE)
    assert done.returncode == 1 and "text-port" in done.stderr, done
