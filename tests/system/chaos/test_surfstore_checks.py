"""The checks S0.1 to S0.13 (the metastore and its chaos calls) and S0.22 (two mounts), each for three, four and five nodes where the
number doesn't matter. Leadership is by hand in the former: election=manual, so only `surfctl leader` makes leaders and only
`surfctl heartbeat` or a change advertises them. Node 1, 2 and 3 are the A, B and C of the checks."""

import shutil

import pytest

from cluster import wait_until
from manual import Background, HeldUpdate, all_is_told, files, followers, lead, led_by, probe, same_logs, same_tables, table, terms, update, \
    versions, wait_all_say


def test_s0_1_set_leader(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    wait_all_say(c, 1, "term 1", lambda: terms(c) == led_by(c, 1, 1), 5)
    lead(c, 3)
    wait_all_say(c, 3, "term 2", lambda: terms(c) == led_by(c, 3, 2), 5)


def test_s0_2_and_3_update_and_versions(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    assert update(c, "f", 1) == 1
    wait_all_say(c, 1, "the same log and map everywhere", lambda: len(files(c, 1)) == 1 and same_logs(c) and same_tables(c), 5)
    first = table(c, 1)
    assert versions(c, 1) == {"f": 1} and len(first["f"][1]) == 1
    # S0.3
    assert update(c, "f", 2) == 2
    second = table(c, 1)
    assert versions(c, 1) == {"f": 2} and second["f"][1] != first["f"][1]
    assert update(c, "f", 2) == -1
    assert update(c, "f", 4) == -1
    assert table(c, 1) == second and probe(c, "version", "f").stdout == "2\n"


def test_s0_4_and_5_crashed_leader_and_follower_refuse(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    update(c, "f", 1)
    wait_all_say(c, 1, "the map everywhere", lambda: all(versions(c, n) == {"f": 1} for n in c.nodes))
    c.surfctl("crash", 1)
    before, before_2 = c.state(1)["last"], c.state(2)["last"]
    done = probe(c, "--only", c.nodes[1].address, "update", "f", 2, check=False)
    assert done.returncode != 0 and "crashed" in done.stderr.lower()
    state = c.state(1)
    assert state["state"] == "CRASHED" and state["last"] == before
    assert versions(c, 1) == {"f": 1}
    # S0.5
    for command in (("update", "f", 2), ("version", "f")):
        done = probe(c, "--only", c.nodes[2].address, *command, check=False)
        assert done.returncode != 0 and "not the leader" in done.stderr.lower()
    assert c.state(2)["last"] == before_2 and versions(c, 2) == {"f": 1}


def majority_is_needed(c, down):
    lead(c, 1)
    assert update(c, "f", 1) == 1
    for number in down:
        c.surfctl("crash", number)
    waiting = Background(lambda: update(c, "f", 2))
    waiting.join(5)
    assert waiting.is_alive(), "no reply without a majority"
    assert versions(c, 1) == {"f": 1}
    for number in down:
        c.surfctl("restore", number)
    wait_all_say(c, 1, "the reply", lambda: not waiting.is_alive(), 5)
    assert waiting.value() == 2
    wait_all_say(c, 1, "applied everywhere", lambda: all(versions(c, n) == {"f": 2} for n in c.nodes) and same_tables(c), 5)
    assert all(len(files(c, n)) == 2 for n in c.nodes)


def test_s0_6_without_the_followers_nothing_is_answered(make_manual, size):
    c = make_manual(size)
    majority_is_needed(c, followers(c, 1))


def test_s0_7_uncommitted_entries_of_an_old_leader_go(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    lost = [HeldUpdate(c, name, 1) for name in ("f1", "f2")]
    wait_all_say(c, 1, "all to know of everything", lambda: all_is_told(c), 20)
    for number in followers(c, 1):
        c.surfctl("crash", number)
    for client in lost:
        client.go()
    wait_until("two uncommitted entries in the log of 1", lambda: len(files(c, 1)) == 2, 10)
    for client in lost:
        client.give_up()
    assert versions(c, 1) == {}
    c.surfctl("crash", 1)
    for number in followers(c, 1):
        c.surfctl("restore", number)
    lead(c, 2)
    assert update(c, "f3", 1) == 1
    c.surfctl("restore", 1)
    wait_all_say(c, 2, "the same log and map everywhere", lambda: same_logs(c) and same_tables(c) and versions(c, 1) == {"f3": 1})
    assert len(files(c, 1)) == 1
    wait_all_say(c, 2, "the same state everywhere", lambda: len({c.state(n)["chain_hash"] for n in c.nodes}) == 1)


def test_s0_8_logs_converge(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    c.surfctl("crash", size)
    assert update(c, "f1", 1) == 1
    c.surfctl("crash", 1)
    c.surfctl("restore", size)
    lead(c, 2)
    assert update(c, "f2", 1) == 1
    c.surfctl("restore", 1)
    wait_all_say(c, 2, "identical logs", lambda: same_logs(c) and len(files(c, 1)) == 2)
    assert [t for t, _ in files(c, 1)] == [1, 2]
    wait_all_say(c, 2, "identical maps", lambda: same_tables(c) and versions(c, 1) == {"f1": 1, "f2": 1})


def test_s0_9_and_10_partition_and_concurrent_updates(make_manual):
    c = make_manual(5)
    lead(c, 1)
    blocked = HeldUpdate(c, "f", 1)
    for number in (3, 4, 5):
        c.surfctl("unreachable", number, 1, 2)
    for number in (1, 2):
        c.surfctl("unreachable", number, 3, 4, 5)
    last = c.state(1)["commit"]
    blocked.go()
    wait_until("the entry in the log of 1", lambda: len(files(c, 1)) == 1, 10)
    assert blocked.is_blocked_for(5) and c.state(1)["commit"] == last
    blocked.give_up()
    assert all(versions(c, n) == {} for n in c.nodes)
    # While the cuts were made one after the other, an entry of the leader's own may have reached some of them.
    new = max((3, 4, 5), key=lambda n: c.state(n)["last"])
    lead(c, new)
    c.surfctl("heal")
    wait_all_say(c, new, "one log", lambda: len({s["last"] for s in c.node_states().values()}) == 1)
    assert all(not files(c, n) and versions(c, n) == {} for n in c.nodes)
    # S0.10
    both = [Background(lambda n=n: update(c, n, 1)) for n in ("g", "h")]
    assert [b.value() for b in both] == [1, 1]
    wait_all_say(c, new, "both once, everywhere", lambda: all(len(files(c, n)) == 2 and versions(c, n) == {"g": 1, "h": 1} for n in c.nodes))


def test_s0_11_half_of_four_is_no_majority(make_manual):
    majority_is_needed(make_manual(4), (3, 4))


def test_s0_12_a_follower_catches_up(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    c.surfctl("crash", size)
    for number in range(3):
        assert update(c, f"f{number}", 1) == 1
    assert versions(c, size) == {}
    c.surfctl("restore", size)
    wait_all_say(c, 1, "full catch-up", lambda: files(c, size) == files(c, 1) and len(files(c, 1)) == 3 and table(c, size) == table(c, 1))


def test_s0_13_a_stale_leader_steps_down(make_manual, size):
    c = make_manual(size)
    lead(c, 1)
    wait_all_say(c, 1, "all to know of everything", lambda: all_is_told(c), 20)
    c.surfctl("isolate", 1)
    lead(c, 2)
    assert terms(c)[1] == (1, "LEADER") and terms(c)[2] == (2, "LEADER")
    c.surfctl("heal")

    def one_leads():
        c.surfctl("heartbeat", 1, check=False)  # refused when it has heard that it leads no more
        return terms(c) == led_by(c, 2, 2)

    wait_until("one leader", one_leads, 10)


@pytest.mark.parametrize("with_leader", [True, False])
def test_s0_22_two_mounts_without_a_minority(make_cluster, size, tmp_path, with_leader):
    c = make_cluster(size)
    c.wait_formed()
    a, b = c.mount("a"), c.mount("b")
    leader = c.wait_leader()
    down = ([leader] if with_leader else []) + followers(c, leader)
    down = down[:(size - 1) // 2]
    for number in down:
        c.surfctl("crash", number)
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 8192)
    shutil.copy(source, a / "copy")
    assert [p.name for p in b.path.iterdir()] == ["copy"] and (b / "copy").read_bytes() == source.read_bytes()
    live = c.wait_leader(*down)
    assert versions(c, live) == {"copy": table(c, live)["copy"][0]}
    assert all("copy" not in table(c, n) for n in down)
    for number in down:
        c.surfctl("restore", number)
    wait_until("the map on all nodes", lambda: same_tables(c) and "copy" in table(c, 1))
