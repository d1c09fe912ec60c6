"""surfctl fsck: says "clean" of a cluster that is, whatever is going on in it; finds each kind of damage, says where, and repairs
what can be repaired."""

import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import cluster as clusters
import netns
from cluster import PATIENCE, wait_until
from manifest import check_files, write_files
from test_blocks import REPAIR, blob_files, flip_bytes, restart, wait_copies

DAMAGE = clusters.BIN.parent / "test-bin" / "surf-damage-state"
LAZY = [*REPAIR, "--repair-interval", "3600"]  # the keepers find nothing by themselves
CLEAN, NOT_CLEAN, NOT_ABLE, NOT_KNOWN, USAGE = 0, 1, 2, 3, 64


def fsck(c, *options, seconds=10 * PATIENCE):
    done = c.surfctl("--json", "fsck", "--wait", seconds, *options, check=False, timeout=200)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def fsck_text(c, *options):
    done = c.surfctl("fsck", *options, check=False, timeout=200)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def lazy(make_cluster):
    """Three nodes, a mount m and 20 files of one block each, whose copies are all there."""
    c = make_cluster(3, LAZY)
    c.wait_formed()
    c.manifest = write_files(c.mount("m").path, 20)
    assert fsck(c)[0] == CLEAN
    return c


def test_a_clean_cluster_is_clean(shared_cluster, ab):
    a, _ = ab
    write_files(a, 10)
    (a / "d").mkdir()
    os.link(a / "f0", a / "d" / "link")
    os.symlink("f1", a / "symlink")
    os.setxattr(a / "f2", "user.k", b"v")
    (a / "f3").unlink()
    os.truncate(a / "f4", 1000)

    def clean():
        """What fsck found; nothing while f3, which no mount has open any more, still goes."""
        code, found = fsck(shared_cluster)
        assert code == CLEAN and found["clean"]
        counts = {(m["inodes"], m["names"], m["extents"], m["blocks"]) for m in found["metadata"]["members"]}
        return found if len(counts) == 1 and {found["blocks"]["checked"]} == {blocks for *_, blocks in counts} else None

    found = wait_until("the members to be as one", clean)
    members, blocks = found["metadata"]["members"], found["blocks"]
    assert [m["id"] for m in members] == [1, 2, 3] and all(m["checked"] and m["problem_count"] == 0 for m in members)
    assert members[0]["inodes"] >= 12 and members[0]["extents"] >= 9
    assert blocks["copies"] == 3 * blocks["checked"]
    assert blocks["lost"] == blocks["short"] == blocks["bad_copies"] == 0 and blocks["list"] == []
    assert all(s["answers"] and s["unchecked"] == 0 for s in blocks["servers"])
    code, text = fsck_text(shared_cluster)
    assert code == CLEAN and text.endswith("clean\n") and text.count("sound") == 3
    code, found = fsck(shared_cluster, "--metadata-only")
    assert code == CLEAN and "blocks" not in found


def test_a_command_line_without_sense(shared_cluster):
    for wrong in (["--no-such"], ["--wait"], ["--wait", "x"], ["--wait=-1"], ["--rate", "fast"], ["--rate"], ["thing"]):
        assert shared_cluster.surfctl("fsck", *wrong, check=False).returncode == USAGE


def test_no_server_reads_faster_than_it_may(shared_cluster, ab):
    write_files(ab[0], 12, size=256 * 1024, seed=17)
    bytes_, rate = 12 * 256 * 1024, 2 << 20
    begun = time.monotonic()
    code, found = fsck(shared_cluster, "--rate", "2M")
    assert code == CLEAN and found["blocks"]["checked"] >= 12
    assert time.monotonic() - begun >= bytes_ / rate


def test_blocks_that_nobody_names_are_no_error(lazy):
    (lazy.mounts["m"] / "f0").unlink()
    wait_until("it to be reaped", lambda: fsck(lazy)[1]["blocks"]["checked"] == 19)
    code, found = fsck(lazy)
    assert code == CLEAN
    assert sum(s["unnamed"] for s in found["blocks"]["servers"]) <= 3  # less when they have been collected


# ---- damaged copies


def damaged(c, kinds, numbers):
    """Copies of all blocks on these servers, which are in blob files after a restart."""
    for number in numbers:
        node = c.nodes[number]
        restart(node)
        c.wait_formed()
    for number in numbers:
        node = c.nodes[number]
        if kinds == "flipped":
            flip_bytes(node)
            continue
        node.stop()
        assert blob_files(node)
        for path in blob_files(node):
            path.unlink()
        node.start()
    c.wait_formed()


@pytest.mark.parametrize("kind", ["flipped", "gone"])
def test_bad_copies_are_found_and_repaired(lazy, kind):
    damaged(lazy, kind, [2])
    code, found = fsck(lazy, seconds=0)
    blocks = found["blocks"]
    assert code == NOT_CLEAN and not found["clean"]
    assert blocks["short"] == blocks["bad_copies"] == 20 and blocks["lost"] == 0 and blocks["copies"] == 40
    assert all(b["bad"] == [2] and b["good"] == [1, 3] and not b["lost"] for b in blocks["list"])
    code, text = fsck_text(lazy, "--wait", "0")
    assert code == NOT_CLEAN and "bad on 2" in text and "--repair" in text and text.endswith("NOT CLEAN\n")
    code, found = fsck(lazy, "--repair", seconds=60 * PATIENCE)
    assert code == CLEAN and found["blocks"]["healed"] == 20, found
    code, found = fsck(lazy, seconds=0)
    assert code == CLEAN and found["blocks"]["copies"] == 60
    check_files(lazy.mount("other").path, lazy.manifest)


def test_missing_copies_are_found_and_made(lazy):
    lazy.nodes[3].kill()
    lazy.nodes[3].start("--rebuild-blocks")
    lazy.wait_formed()
    code, found = fsck(lazy, "--repair", seconds=60 * PATIENCE)
    assert code == CLEAN, found
    assert fsck(lazy, seconds=0)[1]["blocks"]["copies"] == 60


def test_a_block_that_is_nowhere_is_told_with_its_file(lazy):
    m = lazy.mounts["m"]
    (m / "d").mkdir()
    (m / "d" / "sparse").write_bytes(b"")
    with open(m / "d" / "sparse", "r+b") as f:
        f.seek(100000)
        f.write(random.Random(9).randbytes(5000))
        os.fsync(f.fileno())
    lazy.unsound = "its blocks are lost on all servers"
    m.stop()
    damaged(lazy, "gone", [1, 2, 3])
    for options in ([], ["--repair"]):  # nothing can repair it
        code, found = fsck(lazy, *options, seconds=2)
        blocks = found["blocks"]
        assert code == NOT_CLEAN and blocks["lost"] == 21 and blocks["copies"] == 0, blocks
        files = {f["path"]: f["offset"] for b in blocks["list"] for f in b["files"]}
        assert files == {**{f"/f{n}": 0 for n in range(20)}, "/d/sparse": 100000}
    code, text = fsck_text(lazy, "--wait", "0")
    assert code == NOT_CLEAN and "LOST" in text and "/d/sparse, from 100000" in text
    assert found["metadata"]["members"][0]["problem_count"] == 0
    # What is put back from a backup is whole again, though the servers still list blocks of these names.
    restored = lazy.mount("restored")
    assert write_files(restored.path, 20) == lazy.manifest
    with open(restored / "d" / "sparse", "r+b") as f:
        f.seek(100000)
        f.write(random.Random(9).randbytes(5000))
        os.fsync(f.fileno())
    code, found = fsck(lazy, seconds=30 * PATIENCE)
    assert code == CLEAN and found["blocks"]["copies"] >= 60, found["blocks"]
    check_files(lazy.mount("other").path, lazy.manifest)
    lazy.unsound = None


# ---- damaged metadata


def damage_state(node, what):
    (directory,) = node.data.glob("meta-*")
    done = subprocess.run([DAMAGE, directory, what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("what, words", [("links", "2 links, but 1 names"), ("count", "is counted 2 times and named by 1 extents"),
                                         ("name", "under the name that it has kept"), ("owner", "different states")])
def test_a_damaged_row_is_found_and_a_rebuild_heals_it(lazy, what, words):
    number = next(n for n in lazy.nodes if n != lazy.wait_leader())
    node = lazy.nodes[number]
    assert node.stop() == 0
    damage_state(node, what)
    node.start()
    lazy.wait_formed()
    lazy.wait_caught_up()
    code, found = fsck(lazy, "--metadata-only")
    wrong = {m["id"]: m["problems"] for m in found["metadata"]["members"] if m["problem_count"] > 0}
    assert code == NOT_CLEAN
    if what == "owner":  # its rows agree with one another, but not with the other members'
        assert wrong == {} and any(words in d and str(number) in d for d in found["metadata"]["differences"])
    else:
        assert list(wrong) == [number] and any(words in p for p in wrong[number]), wrong
        code, text = fsck_text(lazy, "--repair", "--metadata-only")
        assert code == NOT_CLEAN and f"member {number} can be made anew" in text and "--rebuild" in text
    assert node.stop() == 0
    node.start("--rebuild")
    wait_until("it to be in its place again", lambda: "in its place again" in node.log.read_text(), 60)
    lazy.wait_formed()
    code, found = fsck(lazy, seconds=60 * PATIENCE)
    assert code == CLEAN, found
    check_files(lazy.mounts["m"].path, lazy.manifest)


# ---- while the cluster is at work


class Churn:
    """Threads that write, overwrite, rename and delete until told to stop."""

    def __init__(self, directory, threads=3):
        self.directory, self.stop, self.rounds = directory, threading.Event(), 0
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(threads)]

    def run(self, n):
        source, at = random.Random(n), 0
        while not self.stop.is_set():
            path = self.directory / f"c{n}-{at % 8}"
            with open(path, "wb") as f:
                f.write(source.randbytes(source.choice([100, 5000, 70000])))
                if at % 2:
                    os.fsync(f.fileno())
            if at % 3 == 0:
                os.rename(path, self.directory / f"r{n}-{at % 5}")
            elif at % 3 == 1:
                path.unlink()
            at += 1
            self.rounds += 1

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()


def test_no_false_alarm_while_a_mount_writes_and_deletes(cluster):
    m = cluster.mount("m")
    with Churn(m.path) as churn:
        for _ in range(15):
            before = churn.rounds
            code, found = fsck(cluster, seconds=30 * PATIENCE)
            assert code == CLEAN, found
            wait_until("more to have been written", lambda: churn.rounds > before + 5)


def test_a_leader_that_dies_in_the_middle(cluster):
    """The check goes on with the next leader, or says what it could not check; it never calls sound blocks lost."""
    m = cluster.mount("m")
    write_files(m.path, 60, size=1 << 20)
    for delay_ms in (5, 30, 80, 150):
        leader = cluster.wait_leader()
        checking = subprocess.Popen([clusters.BIN / "surfctl", "-m", cluster.addresses, "--json", "-t", str(20 * PATIENCE), "fsck", "--wait", "5"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cluster.env)
        time.sleep(delay_ms / 1000)  # not awaited: where it is then is what differs
        cluster.nodes[leader].kill()
        out, err = checking.communicate(timeout=120 * PATIENCE)
        assert checking.returncode in (CLEAN, NOT_CLEAN, NOT_KNOWN), (checking.returncode, out, err)
        found = json.loads(out)
        assert found["blocks"]["lost"] == 0 and found["blocks"]["checked"] == 60
        assert all(m["checked"] or m["error"] for m in found["metadata"]["members"])
        if checking.returncode != CLEAN:
            said = [m["id"] for m in found["metadata"]["members"] if not m["checked"]]
            said += [s["id"] for s in found["blocks"]["servers"] if s["unchecked"]]
            assert set(said) == {leader}, found
        cluster.nodes[leader].start()
        cluster.wait_formed()
    assert fsck(cluster, seconds=60 * PATIENCE)[0] == CLEAN


def test_servers_that_do_not_answer(lazy):
    lazy.nodes[3].process.signal(signal.SIGSTOP)
    lazy.wait_leader(3)
    code, text = fsck_text(lazy, "--wait", "0")
    assert code == NOT_KNOWN and "member 3: NOT CHECKED" in text and "block server 3: 20 copies COULD NOT BE CHECKED" in text
    lazy.nodes[3].process.signal(signal.SIGCONT)
    wait_until("it to be there again", lambda: fsck(lazy)[0] == CLEAN, 30)
    lazy.nodes[2].kill()
    lazy.nodes[3].kill()
    wait_until("nobody to lead", lambda: lazy.leader() is None)
    done = lazy.surfctl("-t", "1", "--json", "fsck", check=False)
    assert done.returncode == NOT_ABLE and json.loads(done.stdout)["code"] == "NO_LEADER"
    lazy.nodes[1].kill()
    done = lazy.surfctl("-t", "1", "fsck", check=False)
    assert done.returncode == NOT_ABLE and "no node answers" in done.stderr


def test_a_member_that_is_only_behind_is_no_damage(lazy):
    """One that is cut off from the others, and whose state and blocks are well."""
    number = next(n for n in lazy.nodes if n != lazy.wait_leader())
    lazy.surfctl("isolate", number)
    write_files(lazy.mounts["m"].path, 3, seed=5, prefix="later")
    for options in ([], ["--metadata-only"]):
        code, found = fsck(lazy, *options, seconds=2 * PATIENCE)  # for the other follower, which is told of an entry a moment later
        members = {m["id"]: m for m in found["metadata"]["members"]}
        assert code == NOT_KNOWN and found["verdict"] == "unknown" and not found["clean"], found
        assert {n: m["checked"] for n, m in members.items()} == {n: n != number for n in members}
        assert members[number]["behind"] > 0 and "it is behind" in members[number]["error"]
    code, text = fsck_text(lazy, "--wait", 2 * PATIENCE)
    assert code == NOT_KNOWN and f"member {number}: BEHIND, not checked" in text and "NOT CLEAN" not in text
    assert text.splitlines()[-1].startswith("NOT KNOWN")
    lazy.surfctl("heal")
    code, found = fsck(lazy, seconds=30 * PATIENCE)
    assert code == CLEAN and found["verdict"] == "clean", found
    # Damage elsewhere is what counts, also then.
    other = next(n for n in lazy.nodes if n not in (number, lazy.wait_leader()))
    assert lazy.nodes[other].stop() == 0
    damage_state(lazy.nodes[other], "links")
    lazy.unsound = "a row of one member is wrong on purpose"
    lazy.nodes[other].start()
    lazy.wait_formed()
    lazy.wait_caught_up()
    lazy.surfctl("isolate", number)
    (lazy.mounts["m"] / "still").write_bytes(b"x")
    code, found = fsck(lazy, "--metadata-only", seconds=2 * PATIENCE)
    assert code == NOT_CLEAN and found["verdict"] == "damaged", found
    lazy.surfctl("heal")


def test_a_crashed_node_is_not_checked(lazy):
    number = next(n for n in lazy.nodes if n != lazy.wait_leader())
    lazy.surfctl("crash", number)
    code, found = fsck(lazy, seconds=0)
    assert code == NOT_KNOWN
    assert [m["id"] for m in found["metadata"]["members"] if not m["checked"]] == [number]
    assert [s["id"] for s in found["blocks"]["servers"] if s["unchecked"] == 20] == [number]
    lazy.surfctl("restore", number)
    assert fsck(lazy, seconds=30 * PATIENCE)[0] == CLEAN


@pytest.mark.skipif(netns.why_not() is not None, reason="no network namespaces")
def test_a_block_that_one_client_could_not_put_everywhere(tmp_path):
    """Only the client doesn't reach the server: the servers see nothing amiss, and look because it tells them."""
    with netns.cluster(tmp_path / "cluster", 3, 4, LAZY) as c:
        wait_copies(c, 0)
        c.net.cut(4, next(n for n in c.nodes if n != c.wait_leader()))
        for n in range(5):
            probe = c.program(4, f"probe{n}", clusters.BIN / "surf-probe", "-m", c.addresses, "update", f"f{n}", 1)
            assert probe.popen.wait(60 * PATIENCE) == 0, probe.tail()
        code, found = fsck(c, seconds=30 * PATIENCE)
        assert code == CLEAN and found["blocks"]["checked"] == 5 and found["blocks"]["copies"] + found["blocks"]["healed"] >= 15, found
