"""Blocks that heal themselves: copies that are missing are made, bad ones are replaced, and what is read is right all the time."""

import hashlib
import json
import os
import random
import shutil
import time

import pytest

import cluster as clusters
from cluster import PATIENCE, wait_until
from manifest import check_files, kill_all_and_check, kills, write_files

KIB = 1024
QUICK = ["--repair-delay", "2", "--repair-interval", "2", "--stray-age", "1", "--repair-rate", "0"]
REPAIR = [*QUICK, "--scrub-rate", "0"]
SCRUB = [*QUICK, "--scrub-rate", "200M"]


def blocks(c):
    """What a leader knows of all servers that it has; one that has just begun to lead has yet to hear from each what it counts."""
    def known():
        done = c.surfctl("--json", "blocks", check=False)
        view = json.loads(done.stdout) if done.returncode == 0 else None
        return view if view and all(s["reporting"] or not running(c, s["id"]) for s in view["servers"]) else None

    return wait_until("the leader to have heard from the servers", known)


def running(c, number):
    return number in c.nodes and c.nodes[number].running()


def servers(c):
    return {s["id"]: s for s in blocks(c)["servers"]}


def total(c, key):
    return sum(s[key] for s in blocks(c)["servers"])


@pytest.fixture
def make_cluster(make_cluster):
    """Every test ends with kill -9 of all nodes at once, after which all that was synced must be there."""
    made = []

    def make(*args, **kwargs):
        made.append(make_cluster(*args, **kwargs))
        return made[-1]

    yield make
    for c in made:
        kill_all_and_check(c)


def wait_copies(c, copies, made=0, seconds=40):
    """Until all servers together have so many blocks, as counted one by one in comparisons that left nothing to do, and have made
    so many copies (what they last told may be two seconds old, from before what they are to notice)."""
    def there():
        view = blocks(c)
        return view["settled"] and view["short_blocks"] == view["unsure_blocks"] == view["bad_now"] == 0 and \
            sum(s["copied_blocks"] for s in view["servers"]) >= made and sum(s["walk_blocks"] for s in view["servers"]) == copies

    try:
        wait_until(f"{copies} copies", there, seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{c.surfctl('blocks', check=False).stdout}") from None


def wait_looked(c):
    """Until every server has compared its blocks with the others' by what is so now, and has told of it."""
    since = time.time() + 1  # a follower may hear of a change so much later
    wait_until("all to have looked", lambda: (lambda view: view["settled"] and all(
        s["walk_ended_s"] - s["walk_s"] > since for s in view["servers"]))(blocks(c)))


def blob_files(node):
    return sorted((node.data / "blocks").glob("*.blob"))


def flip_bytes(node, every=8 * KIB):
    """In all blob files, so that each block of more bytes than that is bad."""
    for path in blob_files(node):
        with open(path, "r+b") as f:
            for at in range(every // 2, os.path.getsize(path), every):
                f.seek(at)
                byte = f.read(1)[0]
                f.seek(at)
                f.write(bytes([byte ^ 0x41]))


def restart(node, *more):
    """What a store has in its log is in tables and blob files afterwards."""
    node.stop()
    node.start(*more)


def test_copies_lie_in_different_zones(make_cluster):
    """Three servers in one rack, one elsewhere: that one has a copy of everything. Then another rack is said to be the lonely one."""
    c = make_cluster(4, REPAIR, start=False)
    for node, zone in zip(c.nodes.values(), ("rack-1", "rack-1", "rack-1", "rack-2")):
        node.start("--zone", zone)
    c.wait_formed()
    m = c.mount("m")
    wait_until("all four servers", lambda: len(servers(c)) == 4)
    manifest = write_files(m.path, 30)
    wait_copies(c, 90)
    assert {id: s["zone"] for id, s in servers(c).items()} == {1: "rack-1", 2: "rack-1", 3: "rack-1", 4: "rack-2"}
    assert servers(c)[4]["walk_blocks"] == 30
    for id, zone in ((4, "rack-1"), (2, "rack-2")):
        c.nodes[id].stop()
        c.nodes[id].start("--zone", zone)
    wait_until("the other zones", lambda: {id: s["zone"] for id, s in servers(c).items()} == {1: "rack-1", 2: "rack-2", 3: "rack-1", 4: "rack-1"})
    wait_until("the copies to move", lambda: servers(c)[2]["walk_blocks"] == 30 and servers(c)[4]["walk_blocks"] < 30)
    wait_copies(c, 90)
    check_files(m.path, manifest)


def test_a_server_that_was_down_gets_what_it_missed(make_cluster):
    c = make_cluster(3, [*REPAIR, "--repair-delay", "60", "--repair-interval", "3600"])
    c.wait_formed()
    m = c.mount("m")
    wait_copies(c, 0)
    c.nodes[3].kill()
    manifest = write_files(m.path, 40)
    c.nodes[3].start()
    wait_until("its copies", lambda: total(c, "copied_blocks") >= 40 and servers(c)[3]["blocks"] >= 40)
    # Once each; twice where the one that is to make them seemed to be away for a moment.
    made = total(c, "copied_blocks")
    assert servers(c)[3]["copied_blocks"] == 0 and made <= 80
    restart(c.nodes[3])  # and looks for itself
    wait_copies(c, 120, made=made)
    assert servers(c)[3]["copied_blocks"] == 0
    c.nodes[1].kill()
    c.wait_leader(1)
    check_files(c.mount("other").path, manifest)


def test_a_lost_block_store_is_filled_again(make_cluster):
    c = make_cluster(3, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 30)
    wait_copies(c, 90)
    before = total(c, "copied_blocks") - servers(c)[2]["copied_blocks"]  # such as were just being written; what 2 counted goes with it
    with clusters.Stalls() as stalls:
        lose_and_fill(c, before)
    # Once each; twice where the one that is to make them had to be taken for away, since it could not run.
    assert total(c, "copied_blocks") <= before + (30 if stalls.longest < clusters.ELECTION_S / 4 else 60)
    check_files(m.path, manifest)


def lose_and_fill(c, before):
    """The store of 2, with 30 blocks."""
    c.nodes[2].kill()
    shutil.rmtree(c.nodes[2].data / "blocks")
    refused = clusters.Process("refused", c.nodes[2].process.command, c.dir / "refused.log")
    assert refused.popen.wait(20 * PATIENCE) != 0 and "--rebuild-blocks" in refused.tail()
    c.nodes[2].start("--rebuild-blocks")
    wait_copies(c, 90, made=before + 30)


def test_another_stands_in_for_one_that_is_away(make_cluster):
    c = make_cluster(4, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 40)
    wait_copies(c, 120)
    assert all(s["walk_blocks"] < 40 for s in servers(c).values())
    c.nodes[4].kill()
    wait_until("the other three to have all", lambda: all(s["walk_blocks"] == 40 for i, s in servers(c).items() if i != 4), 30)
    check_files(m.path, manifest)
    more = write_files(m.path, 20, seed=2, prefix="more")
    c.nodes[4].start()
    # It has its old blocks and gets its part of the new ones; then those that it owns go elsewhere, and no others.
    wait_until("strays to go", lambda: total(c, "strays_removed") > 0)
    wait_copies(c, 180)
    check_files(m.path, {**manifest, **more})
    check_files(c.mount("other").path, {**manifest, **more})


def test_scrub_heals_flipped_bytes(make_cluster):
    c = make_cluster(3, SCRUB)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 40)
    restart(c.nodes[2])
    c.wait_formed()
    flip_bytes(c.nodes[2])
    check_files(c.mount("other").path, manifest)
    wait_until("all to be found", lambda: servers(c)[2]["bad_found"] >= 40, 30)
    wait_until("all to be healed", lambda: servers(c)[2]["bad_healed"] >= 40, 30)
    passes = servers(c)[2]["scrub_passes"]
    wait_until("two more passes", lambda: servers(c)[2]["scrub_passes"] >= passes + 2, 30)
    view = servers(c)[2]
    assert view["bad_found"] == view["bad_healed"] == 40 and view["bad_now"] == 0
    assert total(c, "bad_found") == 40
    check_files(c.mount("third").path, manifest)


def test_a_blob_file_that_is_gone(make_cluster):
    c = make_cluster(3, SCRUB)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 30)
    restart(c.nodes[2])
    c.nodes[2].stop()
    assert blob_files(c.nodes[2])
    for path in blob_files(c.nodes[2]):
        path.unlink()
    c.nodes[2].start()
    check_files(m.path, manifest)
    check_files(c.mount("other").path, manifest)
    wait_until("all to be healed", lambda: (lambda s: s["bad_healed"] >= 30 and s["bad_now"] == 0)(servers(c)[2]), 30)
    wait_copies(c, 90)


def damage_tables(node):
    """Of its block store, which has written them when it was closed; the node is stopped then."""
    restart(node)
    node.stop()
    tables = sorted((node.data / "blocks").glob("*.sst"))
    assert tables
    for path in tables:
        with open(path, "r+b") as f:
            f.seek(300)
            f.write(b"not what was written here")


def test_damaged_tables(make_cluster):
    """What can't be listed is copied there again by the others; and what the store can't live with is put aside."""
    c = make_cluster(3, SCRUB)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 30)
    damage_tables(c.nodes[2])
    before = total(c, "copied_blocks")
    c.nodes[2].start()
    check_files(c.mount("other").path, manifest)
    # Those that a reader has met are fetched, the others come by themselves.
    wait_until("all to be whole", lambda: (lambda s: s[2]["bad_healed"] + sum(
        x["copied_blocks"] for x in s.values()) - before >= 30 and s[2]["bad_now"] == 0)(servers(c)), 30)
    check_files(m.path, manifest)
    c.nodes[2].stop()
    for path in (c.nodes[2].data / "blocks").glob("MANIFEST-*"):
        path.write_bytes(b"\0" * path.stat().st_size)
    refused = clusters.Process("refused", c.nodes[2].process.command, c.dir / "refused.log")
    assert refused.popen.wait(20 * PATIENCE) != 0 and "--rebuild-blocks" in refused.tail(), refused.tail()
    c.nodes[2].start("--rebuild-blocks")
    wait_looked(c)
    wait_copies(c, 90)
    check_files(c.mount("third").path, manifest)


def test_a_store_that_fails_is_told_and_gone_round(make_cluster):
    """Tables that are damaged end all writing to a store when they are to be merged with others. Its server says so, others take its
    copies, also those that it has and can't read, and with an empty store it has all again."""
    c = make_cluster(4, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 40)
    damage_tables(c.nodes[2])
    c.nodes[2].start()

    def has_them_or_failed(since):
        view = servers(c)
        return view[2]["failed"] or all(s["walk_ended_s"] - s["walk_s"] > since for i, s in view.items() if i != 2)

    for turn in range(10):  # each leaves another table
        manifest.update(write_files(m.path, 4, seed=100 + turn, prefix=f"turn{turn}-"))
        since = time.time()
        wait_until("it to have got them, or to have failed", lambda: has_them_or_failed(since))
        if servers(c)[2]["failed"]:
            break
        restart(c.nodes[2])
    assert servers(c)[2]["failed"]
    assert [line.split()[0] for line in c.surfctl("status").stdout.splitlines() if "FAILED" in line] == ["2"]
    assert "FAILED" in c.surfctl("state", 2).stdout and c.state(2)["blocks_failed"]
    assert "--rebuild-blocks" in c.surfctl("blocks").stdout
    wait_until("its log to say what to do", lambda: "surfd --rebuild-blocks" in c.nodes[2].log.read_text())
    count = len(manifest)
    wait_until("the other three to have all", lambda: all(s["walk_blocks"] == count for i, s in servers(c).items() if i != 2), 30)
    assert not blocks(c)["settled"] and "every block has its copies" not in c.surfctl("blocks").stdout
    check_files(c.mount("other").path, manifest)
    assert "has a good copy" not in c.nodes[2].log.read_text()
    c.nodes[2].stop()
    c.nodes[2].start("--rebuild-blocks")
    wait_until("it to take blocks", lambda: not servers(c)[2]["failed"])
    wait_looked(c)
    wait_copies(c, 3 * count)
    check_files(c.mount("third").path, manifest)


def test_a_reader_tells_of_bad_copies(make_cluster):
    c = make_cluster(3, [*REPAIR, "--repair-interval", "3600"])
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 20)
    restart(c.nodes[2])
    c.wait_formed()
    flip_bytes(c.nodes[2])

    def heals():
        n = heals.mounts = heals.mounts + 1
        reader = c.mount(f"reader{n}")
        check_files(reader.path, manifest)
        reader.stop()
        return servers(c)[2]["bad_healed"] > 0

    heals.mounts = 0
    wait_until("a copy to be healed", heals, 30)
    view = servers(c)[2]
    assert view["scrub_passes"] == 0 and view["scrub_rate"] == 0
    c.surfctl("fsck", "--repair")  # the copies that no reader has met


def test_repair_keeps_to_its_rate(make_cluster):
    c = make_cluster(3, [*REPAIR, "--repair-rate", "512K"])
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 40, size=256 * KIB)
    wait_copies(c, 120)
    before = blocks(c)["servers"]
    begun = time.monotonic()
    c.nodes[2].kill()
    c.nodes[2].start("--rebuild-blocks")
    wait_until("progress to be told", lambda: any(s["walking"] and s["short_blocks"] > 0 and 0 < s["walk_position"] < 10000 and s["walk_eta_s"] > 0
                                                  for s in servers(c).values()))
    wait_until("all to be copied", lambda: servers(c)[2]["blocks"] >= 40, 60)
    took = time.monotonic() - begun
    # Two servers copy, each at most that fast: the one that copies more of the 10 MiB tells how long that takes at least.
    wait_copies(c, 120, made=sum(s["copied_blocks"] for s in before if s["id"] != 2) + 40)
    most = max(servers(c)[s["id"]]["copied_bytes"] - s["copied_bytes"] for s in before if s["id"] != 2)
    assert most / took < 1.5 * 512 * KIB, (most, took)
    check_files(m.path, manifest)


def test_servers_without_a_metastore(make_cluster):
    """Which hear of the map, and of each other, from the leader."""
    c = make_cluster(1, [*REPAIR, "-s", "meta"])
    c.peers, metastore = f"1={c.nodes[1].address}", c.addresses

    def add(number):
        node = c.nodes[number] = clusters.Node(c, number, clusters.free_ports(1)[0], [*REPAIR, "-s", "block"])
        node.start()
        wait_until("it to be registered", lambda: servers(c).get(number, {}).get("walks", 0) > 0)

    for number in (11, 12, 13):
        add(number)
    m = c.mounts["m"] = clusters.Mount(c, "m")
    m.start(servers=metastore)
    manifest = write_files(m.path, 20)
    wait_copies(c, 60)
    c.nodes[12].kill()
    manifest.update(write_files(m.path, 5, seed=2, prefix="more"))
    c.nodes[12].start("--rebuild-blocks")
    wait_looked(c)
    wait_copies(c, 75)
    add(14)  # which gets what is its own now, and only that
    wait_looked(c)
    wait_copies(c, 75)
    assert 5 <= servers(c)[14]["walk_blocks"] < 25
    check_files(m.path, manifest)


def test_kills_during_repair(make_cluster):
    c = make_cluster(3, [*SCRUB, "--repair-rate", "4M"])
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 30, size=128 * KIB)
    source = random.Random(int(os.environ.get("SURF_SEED", "5")))
    c.nodes[3].kill()
    c.nodes[3].start("--rebuild-blocks")
    for turn in range(5):
        victim = c.nodes[source.randint(1, 3)]
        victim.kill()
        manifest.update(write_files(m.path, 4, seed=100 + turn, prefix=f"turn{turn}-"))
        victim.start()
        c.wait_leader()
        check_files(m.path, dict(source.sample(sorted(manifest.items()), 10)))
    wait_copies(c, 3 * len(manifest), seconds=60)
    assert len(manifest) == 50
    check_files(c.mount("other").path, manifest)


def test_kills_while_copies_move(make_cluster):
    """Files are written and synced while a server is drained, taken in again and made light, and whichever is killed."""
    c = make_cluster(4, [*REPAIR, "--repair-delay", "60"])
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 30)
    steps = [("drain", 4), ("undrain", 4), ("weight", 3, 1), ("drain", 2), ("undrain", 2)]
    with kills(list(c.nodes.values()), os.environ.get("SURF_SEED", "6")) as killed:
        for turn, step in enumerate(steps):
            wait_until(f"{step}", lambda: c.surfctl("blocks", *step, check=False).returncode == 0, 60)
            manifest.update(write_files(m.path, 4, seed=200 + turn, prefix=f"turn{turn}-"))
            wait_until("another kill", lambda: len(killed) > turn, 30)
    wait_looked(c)
    wait_copies(c, 3 * len(manifest), seconds=60)
    check_files(c.mount("other").path, manifest)


def test_kills_while_bad_copies_are_healed(make_cluster):
    c = make_cluster(3, SCRUB)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 60)
    restart(c.nodes[2])
    c.wait_formed()
    flip_bytes(c.nodes[2])
    with kills(list(c.nodes.values()), os.environ.get("SURF_SEED", "7"), 0.5) as killed:
        wait_until("some kills", lambda: len(killed) >= 6, 60)
    wait_until("two passes", lambda: all(s["scrub_passes"] >= 2 and s["bad_now"] == 0 for s in servers(c).values()), 60)
    check_files(c.mount("other").path, manifest)


def test_drained_weighed_and_removed(make_cluster):
    c = make_cluster(4, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    manifest = write_files(m.path, 40)
    wait_copies(c, 120)
    refused = c.surfctl("blocks", "remove", 4, check=False)
    assert refused.returncode == 2 and "drain" in refused.stderr, refused.stderr
    c.surfctl("blocks", "drain", 4)
    manifest.update(write_files(m.path, 10, seed=2, prefix="more"))
    check_files(m.path, manifest)
    wait_until("nothing to be left on it", lambda: (lambda s: s[4]["walk_blocks"] == 0 and all(s[i]["walk_blocks"] == 50 for i in (1, 2, 3)))(servers(c)), 40)
    wait_copies(c, 150)
    check_files(c.mount("other").path, manifest)
    refused = c.surfctl("blocks", "remove", 4, check=False)
    assert refused.returncode == 2 and "stop it" in refused.stderr, refused.stderr
    # A server that is light has little of what comes, and what is too much on it goes.
    c.surfctl("blocks", "undrain", 4)
    c.surfctl("blocks", "weight", 4, 1)
    wait_looked(c)
    wait_copies(c, 150)
    view = servers(c)[4]
    assert view["weight"] == 1 and not view["draining"] and view["walk_blocks"] <= 2
    c.surfctl("blocks", "drain", 4)
    c.surfctl("leader", 1)  # what a server has told is known to the leader that it told
    wait_looked(c)
    wait_until("nothing to be left on it", lambda: servers(c)[4]["walk_blocks"] == 0)
    wait_looked(c)
    c.nodes[4].stop()
    wait_until("it to be removed", lambda: c.surfctl("blocks", "remove", 4, check=False).returncode == 0, 30)
    assert sorted(servers(c)) == [1, 2, 3]
    check_files(m.path, manifest)
    for i in (1, 2):
        c.surfctl("blocks", "drain", i)
    refused = c.surfctl("blocks", "drain", 3, check=False)
    assert refused.returncode == 2 and "last" in refused.stderr, refused.stderr


def test_a_drained_server_tells_that_it_is_empty(make_cluster):
    """When its copies have gone, not when it would have compared what it has again anyway."""
    c = make_cluster(4, [*REPAIR, "--repair-interval", "3600", "--stray-age", "6"])  # later than the comparisons that follow a new map
    c.wait_formed()
    write_files(c.mount("m").path, 40)
    leader = c.wait_leader()
    number = next(n for n in c.nodes if n != leader)  # what servers tell is known to the leader alone
    c.surfctl("blocks", "drain", number)
    wait_until("its copies to go", lambda: servers(c)[number]["strays_removed"] > 0, 40)

    def empty():
        drained = servers(c)[number]
        return drained["walk_blocks"] == 0 and not drained["walking"] and not drained["walk_due"]

    wait_until("it to be empty, and to look no more", empty)
    c.nodes[number].stop()
    wait_until("it to be removed", lambda: c.surfctl("blocks", "remove", number, check=False).returncode == 0, 30)


def test_how_many_copies_each_block_has(make_cluster):
    """Less and more than before, with what was there and with what comes then."""
    c = make_cluster(4, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    wait_until("all four servers", lambda: len(servers(c)) == 4)
    manifest = write_files(m.path, 20)
    wait_copies(c, 60)
    for words in (["0"], ["8"], ["x"], ["-1"], ["3x"], [], ["2", "3"]):
        refused = c.surfctl("blocks", "replicas", *words, check=False)
        assert refused.returncode == 64 and refused.stderr, words
    assert blocks(c)["replicas"] == 3
    for copies in (1, 4):
        c.surfctl("blocks", "replicas", copies)
        assert blocks(c)["replicas"] == copies
        wait_copies(c, len(manifest) * copies)
        manifest.update(write_files(m.path, 5, seed=10 + copies, prefix=f"of-{copies}-"))
        wait_copies(c, len(manifest) * copies)
    assert blocks(c)["space"]["copies"] == 4
    c.nodes[c.wait_leader() % 4 + 1].kill()
    check_files(c.mount("other").path, manifest)


def test_what_blocks_shows(make_cluster):
    c = make_cluster(1, SCRUB)
    c.wait_formed()
    write_files(c.mount("m").path, 3)
    wait_copies(c, 3)
    text = c.surfctl("blocks").stdout
    assert "every block has its copies" in text and "repair:" in text and "scrub:" in text, text
    with pytest.raises(AssertionError, match="64"):
        c.surfctl("blocks", "what")


def test_what_is_equal_or_compressible_takes_less(make_cluster):
    c = make_cluster(3, REPAIR)
    c.wait_formed()
    m = c.mount("m")
    wait_copies(c, 0)
    noise = random.Random(1).randbytes(1 << 20)
    text = b"".join(b"line %d of many that are much alike\n" % n for n in range(40000))[:1 << 20]
    for name, data in (("a", noise), ("again", noise), ("text", text)):
        (m / name).write_bytes(data)

    def space():
        view = c.status().get("space", {})
        return view if view.get("unique") == 2 << 20 and blocks(c).get("space", {}).keys() == view.keys() else None

    view = wait_until("the servers to have told", space, 30)
    assert view["logical"] == 3 << 20 and view["copies"] == 3
    assert 0.5 < view["stored_share"] < 0.7, view
    assert "in different blocks" in c.surfctl("status").stdout and "in different blocks" in c.surfctl("blocks").stdout
    for node in c.nodes.values():  # and is known again after a start
        restart(node)
    view = wait_until("the servers to have told again", space, 30)
    assert view["physical"] < 3 * 1.5 * (1 << 20), "less than three copies of what is different"
    (m / "text").unlink()
    check_files(c.mount("other").path, {"a": hashlib.sha256(noise).hexdigest(), "again": hashlib.sha256(noise).hexdigest()})
