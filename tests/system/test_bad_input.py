"""Every input has a bad form: a clear message with the value, exit code not 0, nothing changed."""

import os
import random
import shutil
import socket
import struct
import subprocess
import time

import pytest

import cluster as clusters
from cluster import BIN


def refused(command, *words, code=None, seconds=30, **options):
    """Runs it; it must fail, say all the words, and not crash."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=seconds * clusters.PATIENCE, **options)
    assert done.returncode > 0, f"exit code {done.returncode}: {done.stdout}"
    if code is not None:
        assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}"
    for word in words:
        assert str(word) in done.stdout, f"{word!r} is not in: {done.stdout}"
    return done.stdout


@pytest.mark.parametrize("program", ["surfd", "surffs", "surfctl"])
def test_unknown_flag(program):
    refused([BIN / program, "--no-such-flag"], "no-such-flag", code=64)


@pytest.mark.parametrize("program", ["surfd", "surffs", "surfctl"])
def test_help_and_version(program):
    for flag in ("--help", "--version"):
        done = subprocess.run([str(BIN / program), flag], stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0 and program in done.stdout


@pytest.mark.parametrize("flags, words", [
    (["-p", "0x1"], ["0x1"]), (["-p", "99999"], ["99999"]), (["-p", ""], []), (["-s", "both!"], ["both!"]), (["--id", "-1"], ["-1"]),
    (["--id", "x"], ["x"]), (["--peers", "1=localhost"], ["localhost"]), (["--peers", "1=127.0.0.1:1,1=127.0.0.1:2"], ["1"]),
    (["--peers", "2=127.0.0.1:9001"], ["1"]), (["-s", "meta", "nonsense"], ["nonsense"]), (["--election", "maybe"], ["maybe"]),
    (["--config", "/no/such/file"], ["/no/such/file"]),
])
def test_surfd_flags(tmp_path, flags, words):
    refused([BIN / "surfd", "-l", "--data", tmp_path / "data", *flags], *words)
    assert not (tmp_path / "data").exists(), "a refused start leaves nothing behind"


@pytest.mark.parametrize("text, words", [
    ("port: seven\n", ["port", "seven"]), ("prot: 1\n", ["prot"]), ("port: [1, 2]\n", ["port"]), ("{", []), ("id: 1\nid: 2\n", ["id"]),
    ("\x00", []),
])
def test_surfd_config_file(tmp_path, text, words):
    config = tmp_path / "surfd.yaml"
    config.write_text(text)
    refused([BIN / "surfd", "--data", tmp_path / "data", "--config", config], config, *words)


def test_surfd_refuses_the_network_without_tls(tmp_path):
    refused([BIN / "surfd", "-p", clusters.free_ports(1)[0], "--data", tmp_path / "data", "--advertise", "192.0.2.1:8080"], "insecure")


def test_port_in_use(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        refused([BIN / "surfd", "-l", "-p", port, "--data", tmp_path / "data"], port, "use")


def test_silent_connections_keep_nobody_out(make_cluster):
    """Many more than there may be, all the time: surfctl, other nodes and mounts get through, and the log stays short."""
    c = make_cluster(3, extra=["--connections", "32"])
    c.wait_formed()
    held = []

    def more(node):
        held.append(socket.create_connection(("127.0.0.1", node.port), 20 * clusters.PATIENCE))

    try:
        for _ in range(100):
            for node in c.nodes.values():
                more(node)
        mount = c.mount("a")
        for number in range(20):
            (mount / f"f{number}").write_bytes(os.urandom(20_000))
            for node in c.nodes.values():
                more(node)
        # The leader's connections come anew, too.
        c.nodes[c.wait_leader()].kill()
        c.wait_leader()
        (mount / "after").write_text("x")
        c.bring_back()
        for node in c.nodes.values():
            said = [line for line in node.log.read_text().splitlines() if "connection" in line and " WARN " in line]
            assert 0 < len(said) < 30, said
    finally:
        for s in held:
            s.close()


def test_data_directory_of_another_node(make_cluster):
    c = make_cluster(3)
    c.wait_leader()
    for node in c.nodes.values():
        assert node.stop() == 0
    port = clusters.free_ports(1)[0]
    out = refused([BIN / "surfd", "-l", "-p", c.nodes[1].port, "--id", 1, "--data", c.nodes[2].data, "--peers", c.peers], c.nodes[2].data)
    assert "2" in out
    # And one that a running node holds.
    c.nodes[1].start()
    refused([BIN / "surfd", "-l", "-p", port, "--id", 1, "--data", c.nodes[1].data], c.nodes[1].data)
    for number in (2, 3):
        c.nodes[number].start()
    c.wait_caught_up()


def stopped_single(make_cluster):
    c = make_cluster(1)
    c.wait_leader()
    mount = c.mount("a")
    for number in range(30):
        (mount / f"f{number}").write_bytes(os.urandom(20_000))
    assert mount.stop() == 0
    assert c.nodes[1].stop() == 0
    return c


def test_damaged_data_directory(make_cluster, capsys):
    """Each file of a stopped node, truncated to half and with a byte flipped: it starts with everything there, or refuses
    with the file's name; it never crashes, and never serves less than was acknowledged."""
    c = stopped_single(make_cluster)
    node = c.nodes[1]
    whole = c.dir / "whole"
    shutil.move(node.data, whole)
    random.seed(7)
    files = sorted(p for p in whole.rglob("*") if p.is_file() and p.stat().st_size > 0 and p.name not in ("LOCK", "LOG") and
                   not p.name.startswith(("LOG.old", "OPTIONS")))
    assert len(files) > 5
    outcomes = {"refused": 0, "started": 0}
    for path in files:
        for damage in ("truncated", "flipped"):
            shutil.copytree(whole, node.data)
            target = node.data / path.relative_to(whole)
            data = bytearray(target.read_bytes())
            if damage == "truncated":
                data = data[:len(data) // 2]
            else:
                data[min(len(data) - 1, random.randrange(min(len(data), 4096)))] ^= 0x10
            target.write_bytes(data)
            log_from = node.log.stat().st_size
            node.process = clusters.Process("damaged", [BIN / "surfd", "-l", "-p", node.port, "--id", 1, "--data", node.data], node.log)

            def settled():
                return not node.running() or c.leader()

            clusters.wait_until("a start or a refusal", settled, 30)
            where = f"{damage} {target.relative_to(node.data)}"
            log = node.log.read_bytes()[log_from:].decode(errors="replace")
            if node.running():
                outcomes["started"] += 1
                mount = c.mount("check")
                names = sorted(os.listdir(mount.path))
                assert len(names) == 30, f"{where}: started with {len(names)} of 30 files\n{log}"
                for name in names:
                    try:
                        assert len((mount / name).read_bytes()) == 20_000, where
                    except OSError as e:
                        assert e.errno == 5, f"{where}: {e}"  # a block that is gone is EIO, never wrong bytes
                assert mount.stop() == 0
                assert node.stop() in (0, 1), where
            else:
                outcomes["refused"] += 1
                assert node.process.popen.returncode == 1, f"{where}: exit code {node.process.popen.returncode}\n{log}"
                assert "ERROR" in log or "surfd:" in log, where
            shutil.rmtree(node.data)
    with capsys.disabled():
        print(f"\n  {len(files)} files, each damaged twice: {outcomes}")
    assert outcomes["refused"] > 0
    shutil.move(whole, node.data)
    node.start()
    c.wait_leader()


# -- surffs


@pytest.mark.parametrize("address", ["", "nonsense", "host:", ":1", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:x", "127.0.0.1:1,,127.0.0.1:2"])
def test_surffs_bad_address(tmp_path, address):
    refused([BIN / "surffs", address, tmp_path, "-f"], address)


def test_surffs_mountpoints(shared_cluster, tmp_path):
    servers = shared_cluster.addresses
    refused([BIN / "surffs", servers, tmp_path / "missing", "-f"], tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    refused([BIN / "surffs", servers, tmp_path / "file", "-f"], tmp_path / "file")
    busy = shared_cluster.mounts["a"].path
    refused([BIN / "surffs", servers, busy, "-f"], busy)
    assert shared_cluster.mounts["a"].mounted()
    refused([BIN / "surffs", servers + ":/no-such-export", tmp_path, "-f"], "no-such-export")
    refused([BIN / "surffs", servers, tmp_path, "-f", "-o", "no_such_option"], "no_such_option")
    refused([BIN / "surffs", servers, tmp_path, "-f", "-o", "cache_size=lots"], "lots")
    refused([BIN / "surffs", servers, tmp_path, "-f", "-o", "reads=everybody"], "everybody")
    assert not os.path.ismount(tmp_path)


def test_surffs_with_the_cluster_down(tmp_path):
    address = f"127.0.0.1:{clusters.free_ports(1)[0]}"
    begun = time.monotonic()
    out = refused([BIN / "surffs", address, tmp_path, "-f", "-o", "mount_timeout=2"], address, "wait")
    assert 1.5 < time.monotonic() - begun < 6 * clusters.PATIENCE, out
    assert not os.path.ismount(tmp_path)


# -- surfctl


@pytest.mark.parametrize("args, word, code", [
    (["crash", "9"], "9", 1), (["crash", "x"], "x", 64), (["crash"], "crash", 64), (["nonsense"], "nonsense", 64), (["state", "0"], "0", 64),
    (["leader", "12345678901234567890"], "12345678901234567890", 64), ([], "", 64), (["status", "extra"], "extra", 64),
])
def test_surfctl_arguments(shared_cluster, args, word, code):
    before = shared_cluster.node_states()
    refused([BIN / "surfctl", "-m", shared_cluster.addresses, *args], word, code=code)
    after = shared_cluster.node_states()
    assert {i: s["state"] for i, s in before.items()} == {i: s["state"] for i, s in after.items()}


def test_surfctl_nobody_there():
    address = f"127.0.0.1:{clusters.free_ports(1)[0]}"
    refused([BIN / "surfctl", "-m", address, "status"], address)
    refused([BIN / "surfctl", "-m", "bad address", "status"], "bad address", code=64)


# -- the port


def closed_by_the_node(address, data):
    """Sends the bytes and half-closes; true when the node ends the connection."""
    with socket.create_connection(address, timeout=20 * clusters.PATIENCE) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError as e:  # closed under our hands: reset, broken pipe, not connected any more
            assert not isinstance(e, TimeoutError), "the node kept the connection"
        return True


def hello_of(node):
    """The node's own first frame: a valid one to cut."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=20 * clusters.PATIENCE) as s:
        header = s.recv(32, socket.MSG_WAITALL)
        message, payload = struct.unpack(">II", header[20:28])
        return header + s.recv(message + payload, socket.MSG_WAITALL)


def test_rubbish_on_the_port(cluster, mounts):
    a, b = mounts
    random.seed(3)

    def does_not_even_disturb_the_leader():
        node = cluster.nodes[cluster.wait_leader()]
        rubbish(node)
        (a / "still").write_text("here")
        assert (b / "still").read_text() == "here"
        return cluster.leader() == node.id

    assert clusters.when_not_busy(does_not_even_disturb_the_leader)


def rubbish(node):
    address = ("127.0.0.1", node.port)
    before = node.log.read_text().count("\n")
    assert closed_by_the_node(address, random.randbytes(1 << 20))
    assert clusters.wait_until("a log line", lambda: node.log.read_text().count("\n") > before, 5)
    hello = hello_of(node)
    for size in range(len(hello)):
        assert closed_by_the_node(address, hello[:size])
    assert closed_by_the_node(address, hello + random.randbytes(100))
    for field, value in ((4, 99), (5, 0), (5, 77), (20, 0xff), (24, 0xff), (28, hello[28] ^ 1)):
        assert closed_by_the_node(address, hello[:field] + bytes([value]) + hello[field + 1:])
    assert node.running()


def test_sigterm_is_a_clean_stop(cluster):
    for node in cluster.nodes.values():
        assert node.stop() == 0, node.process.tail()
