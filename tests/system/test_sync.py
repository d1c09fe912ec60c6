"""surfctl sync: directories without a mount, kept the same as the export by versions and index.txt (BEHAVIOURS.md, S0.14 to S0.20)."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import random
import shutil
import signal
import subprocess
import threading

import pytest

import cluster as clusters


class Client:
    """One synced directory."""

    def __init__(self, cluster, path, block=4096):
        self.cluster, self.path, self.block = cluster, path, block
        path.mkdir(exist_ok=True)

    def __truediv__(self, name):
        return self.path / name

    def sync(self, *options, check=True, block=None, timeout=60):
        done = self.cluster.surfctl("sync", *options, self.path, block or self.block, check=False, timeout=timeout)
        if check:
            assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    def report(self, *options, check=True):
        return json.loads(self.sync("--json", *options, check=check).stdout)

    def start(self, *options, block=None):
        command = [clusters.BIN / "surfctl", "-m", self.cluster.addresses, "sync", *options, self.path, str(block or self.block)]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def index_text(self):
        return (self / "index.txt").read_bytes().decode()

    def rows(self):
        rows = {}
        for line in self.index_text().splitlines():
            name, version, hashes = line.split(",")
            assert hashes.endswith(" ") and name not in rows
            rows[name] = (int(version), hashes.split())
        return rows

    def tree(self):
        """Of a client at work, too: what goes while it is looked at is not there."""
        found = {}
        for directory, _, names in os.walk(self.path):
            for path in (pathlib.Path(directory) / name for name in names if name != "index.txt"):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file():
                        found[str(path.relative_to(self.path))] = path.read_bytes()
        return found


def hashes_of(data, block):
    return [hashlib.sha256(data[i:i + block]).hexdigest() for i in range(0, len(data), block)] or ["-1"]


def wipe(directory):
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


@pytest.fixture
def world(shared_cluster, tmp_path):
    """Clients by name, and the mount of the module's cluster, whose export is empty."""
    mount = shared_cluster.mounts["a"]
    wipe(mount.path)

    def client(name, block=4096):
        return Client(shared_cluster, tmp_path / name, block)

    client.mount = mount
    client.cluster = shared_cluster
    return client


# ---- the numbered checks

def test_s0_14_an_empty_directory(world):
    a = world("a")
    a.sync()
    assert a.index_text() == ""
    assert a.tree() == {}


@pytest.mark.parametrize("block", [1024, 4096, 1 << 20])
def test_s0_15_new_files_arrive_byte_for_byte(world, block):
    a, b = world("a", block), world("b", block)
    files = {"empty": b"", "text": b"hello\n", "binary": bytes(range(256)) * 37, "exact": os.urandom(3 * block), "long": os.urandom(5 * block // 2),
             "with space and ünicode": b"\0\r\n\xff"}
    for name, data in files.items():
        (a / name).write_bytes(data)
    a.sync()
    b.sync()
    assert b.tree() == files == a.tree()
    assert {p.name: p.read_bytes() for p in world.mount.path.iterdir() if p.is_file()} == files
    expected = "".join(f"{name},1,{''.join(h + ' ' for h in hashes_of(files[name], block))}\n" for name in sorted(files, key=os.fsencode))
    assert a.index_text() == expected == b.index_text()


def test_s0_17_an_edit_travels(world):
    a, b = world("a"), world("b")
    (a / "f").write_text("one")
    a.sync()
    b.sync()
    (b / "f").write_text("two, which is longer")
    b.sync()
    assert b.rows()["f"][0] == 2
    ino = os.stat(world.mount / "f").st_ino
    a.sync()
    assert (a / "f").read_text() == "two, which is longer"
    assert a.rows() == b.rows() == {"f": (2, hashes_of(b"two, which is longer", 4096))}
    (a / "f").write_text("3")
    a.sync()
    assert os.stat(world.mount / "f").st_ino == ino  # the same file with other contents
    assert (world.mount / "f").read_text() == "3"


def test_s0_18_deleted_there_and_edited_here(world):
    a, b = world("a"), world("b")
    (a / "f").write_text("one")
    a.sync()
    b.sync()
    (b / "f").unlink()
    b.sync()
    assert b.rows() == {"f": (2, ["0"])}
    assert not (world.mount / "f").exists()
    (a / "f").write_text("edited")
    report = a.report()
    assert [(x["path"], x["action"], x["discards_local_edit"]) for x in report["actions"]] == [("f", "delete here", True)]
    assert not (a / "f").exists()
    assert a.index_text() == "f,2,0 \n"


def test_s0_19_made_again_after_it_was_deleted(world):
    a, b, fresh = world("a"), world("b"), world("fresh")
    (a / "f").write_text("one")
    a.sync()
    (a / "f").unlink()
    a.sync()
    assert a.rows() == {"f": (2, ["0"])}
    b.sync()
    assert b.rows() == {"f": (2, ["0"])}  # also who has never seen the file knows that it was
    (b / "f").write_text("again")
    b.sync()
    assert b.rows()["f"][0] == 3
    a.sync()
    fresh.sync()
    assert a.rows() == b.rows() == fresh.rows()
    assert (a / "f").read_text() == "again" == (world.mount / "f").read_text()
    (fresh / "f").unlink()
    fresh.sync()
    (fresh / "f").write_text("and again")
    fresh.sync()
    assert fresh.rows()["f"][0] == 5


# ---- conflicts

def test_what_is_the_same_on_both_sides_is_no_conflict(world):
    a, b = world("a"), world("b")
    for client in (a, b):
        (client / "same").write_text("made by both")
    (a / "other").write_text("of a")
    (b / "other").write_text("of b")
    (a / "empty").touch()
    a.sync()
    report = b.report()
    assert {x["path"]: x["discards_local_edit"] for x in report["actions"]} == {"same": False, "other": True, "empty": False}
    assert report["counts"]["discarded"] == 1
    (a / "index.txt").unlink()  # as after a run that was killed before it could write it
    report = a.report()
    assert report["counts"]["discarded"] == 0
    assert a.rows() == b.rows() and a.tree() == b.tree()


def test_a_file_that_is_always_written_keeps_nothing_else(world):
    a, over, runs = world("a", 1 << 20), threading.Event(), []
    (a / "log").write_bytes(bytes(64 << 20))
    a.sync()

    def write():
        with open(a / "log", "ab", buffering=0) as f:
            while not over.is_set():
                f.write(b"x")

    def sync():
        runs.append(len(runs))
        (a / "other").write_text(str(runs[-1]))
        done = a.sync(check=False)
        assert (world.mount / "other").read_text() == str(runs[-1])
        assert "log" in a.rows() and (world.mount / "log").exists()
        assert done.returncode == (1 if done.stderr else 0)
        return "log: it is being written" in done.stderr

    writer = threading.Thread(target=write)
    writer.start()
    try:
        clusters.wait_until("it to be met while it is written", sync, 60)
    finally:
        over.set()
        writer.join()
    a.sync()
    assert (world.mount / "log").stat().st_size == (a / "log").stat().st_size


def test_the_server_wins(world):
    a, b = world("a"), world("b")
    (a / "f").write_text("one")
    a.sync()
    b.sync()
    (a / "f").write_text("of a")
    (b / "f").write_text("of b")
    a.sync()
    report = b.report()
    assert report["counts"]["discarded"] == 1
    assert (b / "f").read_text() == "of a"
    assert b.rows()["f"][0] == 2
    (a / "f").write_text("newer")
    a.sync()
    (b / "f").unlink()
    b.sync()
    assert (b / "f").read_text() == "newer"  # deleting something older deletes nothing


def test_another_cluster(world):
    """Pointed at a cluster that has none of its files, a directory loses none of them."""
    a = world("a")
    (a / "kept").write_bytes(b"only here by now")
    a.sync()
    (world.mount.path / "kept").unlink()
    index = a / "index.txt"
    mark = os.getxattr(index, "user.surfsync.export")
    assert mark.endswith(b":/default") and len(mark) == 32 + len(b":/default")
    os.setxattr(index, "user.surfsync.export", b"f" * 32 + b":/default")
    report = a.report(check=False)
    assert report["code"] == "WRONG_CLUSTER" and "remove it" in report["error"]
    assert a.tree() == {"kept": b"only here by now"}
    index.unlink()
    a.sync()
    assert (world.mount.path / "kept").read_bytes() == b"only here by now" and os.getxattr(index, "user.surfsync.export") == mark


def test_two_at_the_same_time(world):
    a, b = world("a"), world("b")
    for n in range(20):
        (a / f"f{n}").write_text(f"a {n}")
        (b / f"f{n}").write_text(f"b {n}")
    running = [a.start(), b.start()]
    for process in running:
        out, err = process.communicate(timeout=60 * clusters.PATIENCE)
        assert process.returncode in (0, 1), out + err
    a.sync()
    b.sync()
    assert a.tree() == b.tree() and len(a.tree()) == 20
    assert a.rows() == b.rows()
    assert {version for version, _ in a.rows().values()} == {1}
    for n in range(20):
        assert (a / f"f{n}").read_text() in (f"a {n}", f"b {n}")
        assert (world.mount / f"f{n}").read_bytes() == (a / f"f{n}").read_bytes()


def test_a_file_replaced_through_the_mount(world):
    """Its version begins anew, and may be what the index has of the old one."""
    a = world("a")
    (a / "f").write_text("from here")
    a.sync()
    assert a.rows()["f"][0] == 1
    (world.mount / "f").unlink()
    (world.mount / "f").write_text("another one")
    (a / "f").write_text("edited on top of what is gone")
    a.sync()
    assert (a / "f").read_text() == "another one" == (world.mount / "f").read_text()
    (world.mount / "g").write_text("renamed")
    a.sync()
    os.rename(world.mount / "g", world.mount / "f")
    a.sync()
    assert a.tree() == {"f": b"renamed"}
    os.chmod(world.mount / "f", 0o600)  # no other contents
    (a / "f").write_text("an edit that counts")
    a.sync()
    assert (world.mount / "f").read_text() == "an edit that counts"


def test_a_file_replaced_while_a_run_is_at_work(world):
    """The run has looked at it before, and what it does itself afterwards is newer than what has happened to it."""
    a = world("a")
    (a / "f").write_text("one")
    a.sync()
    (a / "large").write_bytes(os.urandom(32 << 20))
    run = a.start(block=1 << 20)
    try:
        while run.poll() is None and not any(n.startswith("put-") for n in os.listdir(world.mount / ".surfsync")):
            pass  # 32 MiB take long enough for a look, and not for a nap
        run.send_signal(signal.SIGSTOP)
        (world.mount / "g").write_text("two")
        os.rename(world.mount / "g", world.mount / "f")
    finally:
        run.send_signal(signal.SIGCONT)
    assert run.wait(60 * clusters.PATIENCE) == 0, run.communicate()
    assert (world.mount / "large").stat().st_size == 32 << 20
    a.sync()
    assert (a / "f").read_text() == "two"


def test_with_a_mount(world):
    a, mount = world("a"), world.mount
    (mount / "made").write_bytes(b"x" * 100000)
    (mount / "nothing").touch()
    a.sync()
    assert a.tree() == {"made": b"x" * 100000, "nothing": b""}
    assert a.rows()["nothing"] == (1, ["-1"])
    with open(mount / "made", "r+b") as f:
        f.seek(5000)
        f.write(b"middle")
    a.sync()
    assert (a / "made").read_bytes() == (mount / "made").read_bytes()
    (a / "nothing").write_text("something")
    a.sync()
    assert (mount / "nothing").read_text() == "something"
    with open(mount / "made", "rb") as reader:
        (a / "made").write_bytes(b"short")
        a.sync()
        clusters.wait_until("the open reader to see it", lambda: (reader.seek(0), reader.read())[1] == b"short", 5)


# ---- trees

def test_trees(world):
    a, b, mount = world("a"), world("b"), world.mount
    deep = "/".join(["d" * 20] * 40)
    for path in ["top", "x/one", "x/two", "x/y/three", deep + "/bottom"]:
        (a / path).parent.mkdir(parents=True, exist_ok=True)
        (a / path).write_text(path)
    a.sync()
    b.sync()
    assert a.tree() == b.tree() and len(b.tree()) == 5
    assert (mount / deep / "bottom").read_text() == deep + "/bottom"
    assert set(b.rows()) == set(b.tree())
    shutil.rmtree(b / "x")
    b.sync()
    assert not (mount / "x").exists()
    a.sync()
    assert not (a / "x").exists()
    (a / "top").unlink()
    (a / "top").mkdir()
    (a / "top" / "inside").write_text("a directory now")
    a.sync()
    b.sync()
    assert b.tree() == a.tree() and (b / "top" / "inside").is_file()
    shutil.rmtree(a / "top")
    (a / "top").write_text("a file again")
    a.sync()
    b.sync()
    assert (b / "top").read_text() == "a file again" == (mount / "top").read_text()


def test_a_file_here_and_a_directory_there(world):
    a = world("a")
    (world.mount / "n").mkdir()
    (world.mount / "n" / "in").write_text("there")
    (a / "n").write_text("here")
    (a / "other").write_text("goes all the same")
    report = a.report(check=False)
    assert {p["path"] for p in report["problems"]} == {"n", "n/in"}
    assert (a / "n").read_text() == "here" and (world.mount / "n" / "in").read_text() == "there"
    assert (world.mount / "other").exists()
    assert a.sync(check=False).returncode == 1


def test_many_clients_converge(world):
    rng = random.Random(7)
    clients = [world(name) for name in "abc"]
    paths = ["f", "g", "d/f", "d/e/g", "h"]
    for _ in range(8):
        client = rng.choice(clients)
        for _ in range(rng.randrange(3)):
            path = client / rng.choice(paths)
            if path.exists() and rng.random() < 0.4:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(rng.randbytes(rng.choice([0, 1, 5000, 20000])))
        client.sync()
    for _ in range(2):
        for client in clients:
            client.sync()
    assert clients[0].tree() == clients[1].tree() == clients[2].tree()
    assert clients[0].rows() == clients[1].rows() == clients[2].rows()
    for name, data in clients[0].tree().items():
        assert (world.mount / name).read_bytes() == data


def test_a_big_file(world):
    a, b = world("a", 1 << 20), world("b", 1 << 20)
    data = os.urandom(30 << 20) + b"end"
    (a / "big").write_bytes(data)
    a.sync()  # it takes several commits, and is version 1 all the same
    assert a.rows()["big"][0] == 1
    log = world.cluster.state(world.cluster.wait_leader(), 60)["log"]
    assert any("take version=1" in entry["text"] for entry in log) and sum("commit" in entry["text"] for entry in log) > 1
    b.sync()
    assert (b / "big").read_bytes() == data
    with open(b / "big", "r+b") as f:
        f.seek(20 << 20)
        f.write(b"changed")
    b.sync()
    assert (world.mount / "big").read_bytes() == (b / "big").read_bytes()
    assert b.rows()["big"][0] == 2


# ---- nothing else is touched

def test_another_block_size_changes_nothing(world):
    a = world("a", 1024)
    (a / "f").write_bytes(os.urandom(10000))
    a.sync()
    before = a.index_text()
    report = json.loads(a.sync("--json", block=4096).stdout)
    assert report["actions"] == []
    assert a.index_text() == before


def test_what_is_the_same_is_left_alone(world):
    a = world("a")
    (a / "f").write_text("one")
    a.sync()
    before = os.stat(a / "f"), os.stat(world.mount / "f")
    a.sync()
    assert a.report()["actions"] == []
    assert os.stat(a / "f") == before[0]
    assert os.stat(world.mount / "f").st_mtime_ns == before[1].st_mtime_ns
    assert sorted(os.listdir(a.path)) == ["f", "index.txt"]


def test_another_export_is_noticed(world):
    """An empty one deletes nothing here."""
    a = world("a")
    (a / "f").write_text("mine")
    a.sync()
    wipe(world.mount.path)
    done = a.sync(check=False)
    assert done.returncode == 1 and "right one" in done.stderr
    assert a.tree() == {"f": b"mine"}
    (a / "index.txt").unlink()
    a.sync()
    assert (world.mount / "f").read_text() == "mine"
    (world.mount / "f").unlink()
    a.sync()
    assert a.tree() == {}


def test_modes(world):
    a, b = world("a"), world("b")
    (a / "program").write_text("#!/bin/sh\n")
    os.chmod(a / "program", 0o755)
    a.sync()
    os.chmod(world.mount / "program", 0o4755)
    b.sync()
    assert os.stat(b / "program").st_mode & 0o7777 == 0o755  # nobody gets a set-user-ID program this way


def test_dry_run(world):
    a = world("a")
    (a / "new").write_text("x")
    (world.mount / "there").write_text("y")
    done = a.sync("--dry-run")
    assert "would upload new version 1" in done.stdout and "would download there version 1" in done.stdout
    assert sorted(os.listdir(a.path)) == ["new"]
    assert os.listdir(world.mount.path) == ["there"]


def test_links_lead_nowhere(world, tmp_path):
    """Neither here nor there: nothing outside the directory is read or written."""
    a, outside = world("a"), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    os.symlink(outside, a / "dir")
    os.symlink(outside / "secret", a / "file")
    (world.mount / "dir").mkdir()
    (world.mount / "dir" / "secret").write_text("from the server")
    (world.mount / "file").write_text("from the server")
    os.symlink("/etc/passwd", world.mount / "link")
    done = a.sync(check=False)
    assert "symbolic link" in done.stderr
    assert (outside / "secret").read_text() == "secret" and os.listdir(outside) == ["secret"]
    assert not os.path.lexists(a / "link")
    assert os.readlink(a / "file") == str(outside / "secret")
    assert (world.mount / "dir" / "secret").read_text() == "from the server"
    a.sync(check=False)
    assert (world.mount / "file").read_text() == "from the server"  # what is not looked at is not deleted


def test_a_file_that_becomes_a_link_is_not_deleted_there(world):
    a = world("a")
    (a / "f").write_text("one")
    a.sync()
    (a / "f").unlink()
    os.symlink("elsewhere", a / "f")
    a.sync(check=False)
    assert (world.mount / "f").read_text() == "one"
    assert a.rows()["f"][0] == 1


def test_names_that_the_index_cannot_have(world):
    a, mount = world("a"), world.mount
    for name in ["with,comma", "with\nnewline", "fine"]:
        (a / name).write_text("here")
    (mount / "there,too").write_text("there")
    (mount / "index.txt").write_text("not ours")
    report = a.report(check=False)
    assert {p["path"] for p in report["problems"]} == {"with,comma", "with\nnewline", "there,too", "index.txt"}
    assert set(a.rows()) == {"fine"}
    assert (mount / "fine").exists() and not (a / "there,too").exists()
    (a / "sub").mkdir()
    (a / "sub" / "index.txt").write_text("a file like any other")
    a.sync(check=False)
    assert (mount / "sub" / "index.txt").exists()


# ---- bad input

@pytest.mark.parametrize("text, line", [
    ("f,1,abc \n", 1), ("g,1,-1 \nf,0,-1 \n", 2), ("f,1,-1", 1), ("f,1,-1\n", 1), ("../f,1,-1 \n", 1), ("/f,1,-1 \n", 1), ("a//f,1,-1 \n", 1),
    ("f,1\n", 1), ("\n", 1), ("f,99999999999999999999,-1 \n", 1), ("f,+1,-1 \n", 1), (f"f,1,{'A' * 64} \n", 1), (f"f,1,{'a' * 64}\n", 1),
    ("f,1,-1 \r\n", 1), ("a/./f,1,0 \n", 1), ("index.txt,1,-1 \n", 1)])
def test_an_index_that_is_none(world, text, line):
    a = world("a")
    (a / "mine").write_text("mine")
    (a / "index.txt").write_text(text)
    done = a.sync(check=False)
    assert done.returncode == 1
    assert f"index.txt:{line}:" in done.stderr
    assert a.index_text() == text and not (world.mount / "mine").exists()


def test_an_index_of_garbage(world):
    a = world("a")
    (a / "index.txt").write_bytes(os.urandom(5000))
    assert a.sync(check=False).returncode == 1
    (a / "index.txt").write_text("f,1,-1 \nf,2,-1 \n")
    assert "two lines" in a.sync(check=False).stderr
    (a / "index.txt").unlink()
    os.symlink("/etc/passwd", a / "index.txt")
    assert a.sync(check=False).returncode == 1
    (a / "index.txt").unlink()
    os.mkdir(a / "index.txt")
    assert a.sync(check=False).returncode == 1


@pytest.mark.parametrize("arguments", [(), ("a", "0"), ("a", "-5"), ("a", "x"), ("a", "4096x"), ("a", "99999999"), ("a", "1", "2"), ("--what", "a"),
                                       ("--dry-run", "--watch", "a"), ("",), ("-m", "nonsense", "a")])
def test_usage(world, tmp_path, arguments):
    (tmp_path / "a").mkdir()
    done = subprocess.run([clusters.BIN / "surfctl", "-m", world.cluster.addresses, "sync", *arguments], cwd=tmp_path, capture_output=True, text=True,
                          timeout=30 * clusters.PATIENCE)
    assert done.returncode == 64, done
    assert done.stderr


def test_directories_that_cannot_be_synced(world, tmp_path):
    done = world.cluster.surfctl("sync", tmp_path / "nowhere", check=False)
    assert done.returncode == 1 and "nowhere" in done.stderr
    (tmp_path / "file").write_text("x")
    assert world.cluster.surfctl("sync", tmp_path / "file", check=False).returncode == 1
    a = world("a")
    fd = os.open(a.path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    done = a.sync(check=False)
    os.close(fd)
    assert done.returncode == 1 and "another process" in done.stderr
    assert a.sync("--export", "nothing", check=False).returncode == 1


# ---- interrupted

def test_killed_in_the_middle(world):
    a, b = world("a"), world("b")
    for n in range(60):
        (a / f"f{n}").write_bytes(os.urandom(20000))
    process = a.start()
    clusters.wait_until("some to be there", lambda: len(os.listdir(world.mount.path)) > 10)
    process.kill()
    process.communicate()
    a.sync()
    process = b.start()
    clusters.wait_until("some to be here", lambda: len(os.listdir(b.path)) > 5 or process.poll() is not None)
    process.kill()
    process.communicate()
    b.sync()
    assert len(a.tree()) == 60 and a.tree() == b.tree()
    assert a.rows() == b.rows() and {version for version, _ in a.rows().values()} == {1}
    assert not [name for name in os.listdir(b.path) if name.startswith(".surfsync")]


def test_interrupted_in_order(world):
    a = world("a")
    for turn in range(5):  # one that is done before we come is followed by another one
        before = len(os.listdir(world.mount.path))
        for n in range(200):
            (a / f"f{turn}-{n}").write_bytes(os.urandom(20000))
        process = a.start()
        clusters.wait_until("some to be there", lambda: len(os.listdir(world.mount.path)) > before + 5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30 * clusters.PATIENCE)
        if process.returncode != 0:
            break
    assert process.returncode == 1 and "interrupted" in err
    done = len(a.rows()) - 200 * turn
    assert 0 < done < 200 and out.count("upload ") == done
    assert not [name for name in os.listdir(world.mount / ".surfsync") if name.startswith("put-")]


def test_a_bar_on_a_terminal(world):
    a = world("a")
    (a / "f").write_bytes(os.urandom(3 << 20))
    master, slave = pty.openpty()
    done = subprocess.run([clusters.BIN / "surfctl", "-m", world.cluster.addresses, "sync", a.path, "4096"], stdout=subprocess.PIPE, stderr=slave,
                          timeout=60 * clusters.PATIENCE)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode(errors="replace")
    os.close(master)
    assert done.returncode == 0
    assert "files" in shown and "%" in shown and shown.endswith("\r\x1b[K")


def test_watch(world):
    a, b = world("a"), world("b")
    (a / "first").write_text("1")
    watching = [a.start("--watch"), b.start("--watch")]
    try:
        clusters.wait_until("the first file", lambda: b.tree() == {"first": b"1"})
        (a / "d").mkdir()
        (a / "d" / "second").write_text("2")
        clusters.wait_until("the second", lambda: b.tree().get("d/second") == b"2")
        (b / "first").unlink()
        clusters.wait_until("the deletion", lambda: not (a / "first").exists())
        (world.mount / "third").write_text("3")
        clusters.wait_until("what was written through the mount", lambda: a.tree().get("third") == b.tree().get("third") == b"3")
        shutil.rmtree(world.mount / "d")
        clusters.wait_until("a directory to go", lambda: not (a / "d").exists() and not (b / "d").exists())
    finally:
        for process in watching:
            process.send_signal(signal.SIGTERM)
        results = [process.communicate(timeout=30 * clusters.PATIENCE) for process in watching]
    assert [process.returncode for process in watching] == [0, 0], results
    assert a.tree() == b.tree() == {"third": b"3"}


def test_watch_beside_who_never_stops_writing(world, tmp_path):
    a = world("a")
    (a / "first").write_text("1")
    process, over = a.start("--watch"), threading.Event()

    def write():
        n = 0
        while not over.wait(0.02):
            n += 1
            (tmp_path / "aside").write_text(str(n))
            os.rename(tmp_path / "aside", a / "busy")

    writer = threading.Thread(target=write)
    try:
        clusters.wait_until("the first file", lambda: (world.mount / "first").exists())
        writer.start()
        (a / "quiet").write_text("2")
        clusters.wait_until("the second", lambda: (world.mount / "quiet").exists())
    finally:
        over.set()
        if writer.ident:
            writer.join()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30 * clusters.PATIENCE)
    assert process.returncode == 0, out + err


# ---- failures of the cluster; these have clusters of their own

def test_s0_16_both_create_and_the_leader_crashes(cluster, tmp_path):
    a, b = Client(cluster, tmp_path / "a"), Client(cluster, tmp_path / "b")
    (a / "f").write_text("of a")
    (b / "f").write_text("of b")
    a.sync()
    old = cluster.wait_leader()
    cluster.surfctl("crash", old)
    cluster.wait_leader(old)
    b.sync()
    assert (b / "f").read_text() == "of a"
    assert b.index_text() == f"f,1,{hashes_of(b'of a', 4096)[0]} \n"
    # The same with a leader that is killed while a client is at work.
    cluster.surfctl("restore", old)
    cluster.wait_caught_up()
    for n in range(150):
        (a / f"g{n}").write_bytes(os.urandom(5000))
    process = a.start()
    clusters.wait_until("it to be at work", lambda: process.poll() is not None or (a / "index.txt").stat().st_size > 200)
    cluster.nodes[cluster.wait_leader()].kill()
    out, err = process.communicate(timeout=60 * clusters.PATIENCE)
    assert process.returncode == 0, out + err
    b.sync()
    assert b.tree() == a.tree() and len(b.tree()) == 151
    assert {version for version, _ in b.rows().values()} == {1}


def test_watch_goes_on_when_the_cluster_is_back(cluster, tmp_path):
    a = Client(cluster, tmp_path / "a")
    (a / "f").write_text("one")
    mount = cluster.mount("a")
    process = a.start("--watch")
    try:
        clusters.wait_until("the file", lambda: (mount / "f").exists())
        cluster.surfctl("crash", cluster.wait_leader())
        (a / "g").write_text("after a failover")
        clusters.wait_until("the next file", lambda: (mount / "g").exists())
        (mount / "h").write_text("of the mount")
        clusters.wait_until("the mount's file", lambda: (a / "h").exists())
        for number, node in cluster.node_states().items():
            if node["state"] != "CRASHED":
                cluster.surfctl("crash", number)
        (a / "i").write_text("while nobody answers")
        for number in cluster.nodes:
            cluster.surfctl("restore", number)
        clusters.wait_until("the last file", lambda: (mount / "i").exists(), 40)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30 * clusters.PATIENCE)
    assert process.returncode == 0, out + err


def test_s0_20_without_a_majority(cluster, tmp_path):
    a = Client(cluster, tmp_path / "a")
    (a / "f").write_text("one")
    a.sync()
    before = a.index_text()
    (a / "f").write_text("two")
    for node in list(cluster.nodes.values())[:2]:
        node.kill()
    done = cluster.surfctl("-t", 2, "sync", a.path, 4096, check=False, timeout=60)
    assert done.returncode == 1 and done.stderr
    assert a.index_text() == before
    assert (a / "f").read_text() == "two"
    for node in list(cluster.nodes.values())[:2]:
        node.start()
    cluster.wait_formed()
    a.sync()
    assert a.rows()["f"][0] == 2
