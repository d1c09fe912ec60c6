"""The key/value space: surfctl kv, the client library (surf-kv-client), and what both promise while leaders are killed."""

import base64
import json
import signal
import subprocess
import time

import pytest

import cluster as clusters
import histories
import netns

ABSENT, REFUSED, USAGE = 3, 4, 64


@pytest.fixture(scope="module")
def shared(tmp_path_factory, request):
    """Three nodes without mounts; tests keep to keys of their own and break nothing."""
    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3), request.session.testsfailed
    try:
        c.start()
        c.wait_formed()
        yield c
    finally:
        c.close(check=request.session.testsfailed == failed_before)


def kv(cluster, *args, check=True, text=True, **more):
    done = subprocess.run([str(clusters.BIN / "surfctl"), "-m", cluster.addresses, "kv", *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=text, env=cluster.env, timeout=60 * clusters.PATIENCE, **more)
    if check:
        assert done.returncode == 0, f"kv {args}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def code(cluster, *args, **more):
    return kv(cluster, *args, check=False, **more).returncode


def get(cluster, key):
    return json.loads(kv(cluster, "get", key, "--json").stdout)


def version(cluster, key):
    return get(cluster, key)["version"]


def client(cluster, *args):
    """A running surf-kv-client."""
    return subprocess.Popen([str(clusters.BIN / "surf-kv-client"), "-m", cluster.addresses, *map(str, args)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=cluster.env)


def ended(process):
    out, err = process.communicate(timeout=120 * clusters.PATIENCE)
    assert process.returncode == 0, f"{process.args}: {process.returncode}: {out[-2000:]}{err}"
    return out.splitlines()


def lead(cluster, node):
    """Refused as long as it lacks entries."""
    clusters.wait_until(f"{node} to lead", lambda: cluster.surfctl("leader", node, check=False).returncode == 0)


# ---- what each of them does


def test_changes(shared):
    assert code(shared, "get", "c/k") == ABSENT
    assert code(shared, "cas", "c/k", 1, "x") == ABSENT
    assert code(shared, "delete", "c/k") == ABSENT
    assert code(shared, "set", "c/k", "one") == 0
    assert code(shared, "set", "c/k", "two") == REFUSED
    first = version(shared, "c/k")
    assert code(shared, "cas", "c/k", first + 1, "two") == REFUSED
    assert code(shared, "cas", "c/k", first, "two") == 0
    assert version(shared, "c/k") == first + 1
    assert code(shared, "cas", "c/k", "--if-value", "one", "three") == REFUSED
    assert code(shared, "cas", "c/k", "--if-value", "two", "three") == 0
    assert kv(shared, "get", "c/k").stdout == "three\n"
    assert kv(shared, "put", "c/k", "four", "--json").stdout.strip() == json.dumps({"version": first + 3, "key": "c/k"}, indent=2)
    assert code(shared, "delete", "c/k", first) == REFUSED
    assert code(shared, "delete", "c/k", first + 3) == 0
    assert code(shared, "get", "c/k") == ABSENT
    kv(shared, "set", "c/k", "again")
    assert version(shared, "c/k") > first + 3  # none is used twice


def test_lists(shared):
    kv(shared, "append", "l/k", "mouse")
    assert get(shared, "l/k")["value"] == ["mouse"]
    kv(shared, "put", "l/k", "--list", "cat", "dog")
    kv(shared, "append", "l/k", "mouse")
    assert get(shared, "l/k")["value"] == ["cat", "dog", "mouse"] and kv(shared, "get", "l/k").stdout == "cat\ndog\nmouse\n"
    kv(shared, "put", "l/k", "--list")
    assert get(shared, "l/k")["value"] == []
    kv(shared, "put", "l/bytes", "x")
    assert code(shared, "append", "l/bytes", "y") == REFUSED


def test_several_at_once(shared):
    """S2.7"""
    absent = json.loads(kv(shared, "mget", "m/100", "m/200", "m/300", "--json", check=False).stdout)
    assert [e["found"] for e in absent] == [False] * 3
    kv(shared, "mput", "m/100", "a", "m/200", "b", "m/300", "c")
    there = json.loads(kv(shared, "mget", "m/100", "m/200", "m/300", "--json").stdout)
    assert [e["value"] for e in there] == ["a", "b", "c"] and len({e["version"] for e in there}) == 1
    assert code(shared, "mget", "m/100", "m/none") == ABSENT
    assert code(shared, "mput", "m/1", "x", "m/1", "y") == USAGE
    assert code(shared, "get", "m/1") == ABSENT


def test_bytes_of_any_kind(shared):
    value = bytes(range(256)) * 40
    kv(shared, "put", "b/k", "-", input=value, text=False)
    assert kv(shared, "get", "b/k", "--raw", text=False).stdout == value
    assert base64.b64decode(get(shared, "b/k")["value_base64"]) == value
    kv(shared, "put", "b/empty", "")
    assert get(shared, "b/empty")["value"] == "" and get(shared, "b/empty")["bytes"] == 0
    key = b"b/\xff\x01\x7f"
    done = subprocess.run([str(clusters.BIN / "surfctl"), "-m", shared.addresses, "kv", "put", key, "x"], env=shared.env)
    assert done.returncode == 0
    listed = json.loads(kv(shared, "list", "b/", "--json").stdout)
    assert [e.get("key") or base64.b64decode(e["key_base64"]) for e in listed] == ["b/empty", "b/k", key]


def test_limits(shared):
    largest = b"x" * (1 << 20)
    kv(shared, "put", "limit/value", "-", input=largest, text=False)
    assert kv(shared, "get", "limit/value", "--raw", text=False).stdout == largest
    done = kv(shared, "put", "limit/value", "-", input=largest + b"x", text=False, check=False)
    assert done.returncode == 1 and b"1048576" in done.stderr
    key = "limit/" + "k" * (1024 - 6)
    kv(shared, "set", key, "x")
    assert code(shared, "set", key + "k", "x") == 1
    assert [e["key"] for e in json.loads(kv(shared, "list", "limit/", "--json").stdout)] == [key, "limit/value"]
    pairs = [word for i in range(128) for word in (f"limit/many{i}", "x" * 1000)]
    kv(shared, "mput", *pairs)
    assert code(shared, "mput", *pairs, "limit/more", "x") == USAGE
    for i in range(3):  # two of them don't fit into one answer, so they come in several
        kv(shared, "put", f"large/{i}", "-", input=largest, text=False)
    assert code(shared, "mget", "large/0", "large/1") == 1
    listed = json.loads(kv(shared, "list", "large/", "--values", "--json").stdout)
    assert [len(e["value"]) for e in listed] == [1 << 20] * 3


def test_bad_input(shared):
    for arguments in ([], ["nonsense"], ["get"], ["get", ""], ["get", "a", "b"], ["put", "k"], ["put", "k", "v", "--ttl", "0"],
                      ["put", "k", "v", "--ttl", "x"], ["put", "k", "v", "--ttl"], ["put", "k", "v", "--ttl", "1e30"], ["cas", "k", "0", "v"],
                      ["cas", "k", "-1", "v"], ["cas", "k", "v"], ["append", "k"], ["delete", "k", "one"], ["mput", "k"], ["list", "--max", "0"],
                      ["list", "--nonsense"], ["watch", "--from", "now"], ["get", "k", "--ttl", "3"]):
        done = kv(shared, *arguments, check=False)
        assert done.returncode == USAGE and done.stderr.startswith("surfctl: ") and "Traceback" not in done.stderr, (arguments, done)
        assert code(shared, "get", "k") == ABSENT
    done = kv(shared, "get", "--json", "k", check=False)
    assert done.returncode == ABSENT and json.loads(done.stdout)["code"] == "NOT_FOUND"


def test_pages(shared):
    count = 1500  # more than one answer holds
    lines = ended(client(shared, "puts", "p/k", count))
    assert len(lines) == 2 * count and all(line.split()[1] == "OK" for line in lines)
    listed = json.loads(kv(shared, "list", "p/", "--values", "--json").stdout)
    assert [e["key"] for e in listed] == sorted(f"p/k-{i}" for i in range(1, count + 1))
    assert all(e["value"] == "v-" + e["key"].split("-")[1] for e in listed)
    some = json.loads(kv(shared, "list", "p/k-1", "--after", "p/k-10", "--max", 3, "--json").stdout)
    assert [e["key"] for e in some] == ["p/k-100", "p/k-1000", "p/k-1001"]
    assert json.loads(kv(shared, "list", "p/k-2000", "--json").stdout) == []


# ---- expiry


def test_expiry(shared):
    """S4.4, but for its change of leaders"""
    for ttl in (2, 4, 8, 16, 32):  # long enough for the commands up to the cas
        begun = time.monotonic()
        kv(shared, "put", "e/k", "x", "--ttl", ttl)
        kv(shared, "put", "e/kept", "x", "--ttl", ttl)
        told = [kv(shared, "get", key, "--json", check=False) for key in ("e/k", "e/kept")]
        if [done.returncode for done in told] == [0, 0]:
            there = [json.loads(done.stdout) for done in told]
            assert [e["ttl"] for e in there] == [ttl, ttl]
            if code(shared, "cas", "e/kept", there[1]["version"], "y") == 0:  # no time to live: it stays
                break
        assert time.monotonic() - begun >= ttl - 0.1
    clusters.wait_until("the key to expire", lambda: code(shared, "get", "e/k") == ABSENT, 40)
    assert time.monotonic() - begun >= ttl - 0.1
    assert code(shared, "set", "e/k", "again") == 0
    assert kv(shared, "get", "e/kept").stdout == "y\n"
    assert [e["key"] for e in json.loads(kv(shared, "list", "e/", "--json").stdout)] == ["e/k", "e/kept"]


@pytest.mark.parametrize("election, text", [("auto", "it was not done, and won't be"), ("manual", "whether it was done is not known")])
def test_what_is_said_of_a_change_that_gets_no_answer(make_cluster, election, text):
    """Whoever repeats an append must know whether the first one can't have been done: a leader that has lost its followers has it in its log
    for as long as it takes itself for the leader, which is for ever where there are no timers."""
    c = make_cluster(3, ("--election", election))
    if election == "manual":
        c.surfctl("leader", 1)
        c.unsound = "nobody tells those that were killed what they missed"
    c.wait_formed()
    leader = c.wait_leader()
    append = subprocess.Popen([str(clusters.BIN / "surfctl"), "-m", c.nodes[leader].address, "-t", "4", "kv", "append", "k", "-"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=c.env)
    clusters.wait_until("its session", lambda: any(s["client"] == "surfctl kv" for s in c.status()["sessions"]))
    for n in c.nodes:
        if n != leader:
            c.nodes[n].kill()
    if election == "auto":
        clusters.wait_until("it to step down", lambda: c.state(leader)["state"] != "LEADER")
    out, err = append.communicate(b"element", timeout=60 * clusters.PATIENCE)
    assert (append.returncode, out) == (2, b"") and text in err.decode(), err


def test_expired_on_every_leader(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_formed()
    begun = time.monotonic()
    kv(cluster, "put", "k", "x", "--ttl", 2)
    kv(cluster, "put", "stays", "x", "--ttl", 1000)
    stays = get(cluster, "stays")
    for _ in range(2):
        leader = cluster.wait_leader()
        cluster.nodes[leader].kill()
        cluster.wait_leader(leader)
        cluster.nodes[leader].start()
    clusters.wait_until("the key to expire", lambda: code(cluster, "get", "k") == ABSENT, 10)
    assert time.monotonic() - begun >= 1.9
    for node in cluster.nodes:
        lead(cluster, node)
        assert code(cluster, "get", "k") == ABSENT
        now = get(cluster, "stays")
        assert (now["version"], now["ttl"]) == (stays["version"], 1000)
    assert code(cluster, "set", "k", "new") == 0


@pytest.mark.skipif(netns.why_not() is not None, reason=netns.why_not() or "")
def test_keys_expire_behind_a_leader_whose_clock_was_ahead(tmp_path):
    """Its entries have a time that the others' clocks reach in months; time to live goes on all the same."""
    with netns.cluster(tmp_path / "cluster", 3, fake_time=True) as cluster:
        def ctl(*args):
            return cluster.surfctl("kv", *args, check=False)

        leader = cluster.wait_leader()
        assert ctl("put", "stays", "x", "--ttl", 10**8).returncode == 0
        cluster.nodes[leader].step_time_of_day(10**7)
        clusters.wait_until("its clock to be another", lambda: ctl("put", "early", "x", "--ttl", 10**6).returncode == 0
                            and ctl("put", "clock", "x").returncode == 0 and stamped_ahead(cluster, leader), 20)
        assert ctl("put", "soon", "x", "--ttl", 2).returncode == 0
        assert ctl("put", "later", "x", "--ttl", 1000).returncode == 0
        cluster.nodes[leader].kill()
        cluster.wait_leader(leader)
        clusters.wait_until("the key to expire", lambda: ctl("get", "soon").returncode == ABSENT, 15)
        assert ctl("put", "new", "x", "--ttl", 1).returncode == 0
        clusters.wait_until("the new key to expire", lambda: ctl("get", "new").returncode == ABSENT, 15)
        assert ctl("get", "stays").returncode == ctl("get", "later").returncode == 0
        cluster.nodes[leader].start()


def stamped_ahead(cluster, leader):
    """The newest change of a key bears a time that is months ahead."""
    done = cluster.surfctl("kv", "put", "stamp", "x", "--json")
    index = int(json.loads(cluster.surfctl("kv", "get", "stamp", "--json").stdout)["index"])
    watch = cluster.program(cluster.net.admin, f"watch{index}", clusters.BIN / "surfctl", "-m", cluster.addresses, "kv", "watch", "stamp",
                            "--from", 0, "--json")
    try:
        lines = clusters.wait_until("the change", lambda: [json.loads(line) for line in watch.log.read_text().splitlines() if '"event"' in line])
    finally:
        watch.kill()
    return done.returncode == 0 and lines[-1]["time"] > time.time() + 10**6


# ---- watching


def test_watch(shared, request):
    out, err = shared.dir / "watch.out", shared.dir / "watch.err"
    with open(out, "wb") as o, open(err, "wb") as e:
        watch = subprocess.Popen([str(clusters.BIN / "surfctl"), "-m", shared.addresses, "kv", "watch", "w/", "--json"], stdout=o, stderr=e,
                                 env=shared.env)
    request.addfinalizer(watch.kill)
    clusters.wait_until("the watch to begin", lambda: "watching from" in err.read_text())
    start = int(err.read_text().split()[-1])
    kv(shared, "put", "w/a", "1")
    kv(shared, "put", "not/w", "1")
    first = version(shared, "w/a")
    kv(shared, "mput", "w/b", "1", "w/c", "2")
    kv(shared, "delete", "w/a")
    kv(shared, "put", "w/d", "1", "--ttl", 0.1)
    kv(shared, "set", "w/b", "refused", check=False)

    def events():
        text = out.read_text()
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]

    clusters.wait_until("all of it", lambda: len(events()) >= 6)
    seen = [(e["event"], e["key"]) for e in events()]
    assert seen == [("changed", "w/a"), ("changed", "w/b"), ("changed", "w/c"), ("deleted", "w/a"), ("changed", "w/d"), ("expired", "w/d")]
    assert events()[0]["version"] == events()[3]["version"] == first and events()[1]["index"] == events()[2]["index"] > start
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(10 * clusters.PATIENCE) == 0
    # A later one sees what came behind an index.
    index = events()[3]["index"]
    again = subprocess.Popen([str(clusters.BIN / "surfctl"), "-m", shared.addresses, "kv", "watch", "w/", "--from", str(index - 1), "--json"],
                             stdout=subprocess.PIPE, text=True, env=shared.env)
    request.addfinalizer(again.kill)
    assert [json.loads(again.stdout.readline()) for _ in range(3)] == events()[3:]


# ---- exactly once, while leaders are killed


def kill_leaders(cluster, rounds, busy):
    """How many were killed while there was something to do."""
    for done in range(rounds):
        leader = cluster.wait_leader()
        if not busy():
            return done
        cluster.nodes[leader].kill()
        cluster.wait_leader(leader)
        cluster.nodes[leader].start()
        cluster.wait_caught_up()
    return rounds


def replicas_agree(cluster):
    """Equal states: every row, so every value and version, is the same on all of them."""
    cluster.wait_caught_up()
    done = cluster.surfctl("-t", 30 * clusters.PATIENCE, "fsck", "--wait", 60 * clusters.PATIENCE, timeout=200)
    assert "differ" not in done.stdout and done.stdout.count(", 2 keys: sound\n") == len(cluster.nodes), done.stdout


def without_a_majority(cluster):
    """S1.5, S4.9: nothing is said to be done, and nothing is told that may be old."""
    left = cluster.wait_leader()
    for number, node in cluster.nodes.items():
        if number != left:
            node.kill()
    for command in (["put", "n", "x"], ["get", "n"], ["delete", "n"]):
        assert cluster.surfctl("-t", 1, "kv", *command, check=False).returncode == 2
    for number, node in cluster.nodes.items():
        if number != left:
            node.start()
    cluster.wait_leader()
    kv(cluster, "put", "n", "done")


def test_nothing_is_lost_or_doubled(make_cluster, request):
    """S1.2, S1.3, S2.5, S4.7, S4.8: counters and lists, by many operations under way, while one leader after the other is killed."""
    cluster = make_cluster(3)
    cluster.wait_formed()
    counters, per_counter, appends = 3, 600, 4000
    kills, rounds = 0, 0
    while kills < 3:  # clients that are done before somebody is killed say little, and are followed by others
        words = [f"{word}{rounds}" for word in ("a", "b")]
        running = [client(cluster, "counter", "n", per_counter) for _ in range(counters)]
        running += [client(cluster, "--under-way", 16, "appends", "list", word, appends) for word in words]
        for process in running:
            request.addfinalizer(process.kill)
        kills += kill_leaders(cluster, 3 - kills, lambda: any(p.poll() is None for p in running))
        rounds += 1
        lines = [ended(process) for process in running]
        for done in lines[counters:]:
            assert sorted(int(line.split()[0]) for line in done) == list(range(1, appends + 1))  # each id once
            assert all(line.split()[1] == "OK" for line in done)
        assert kv(cluster, "get", "n").stdout == f"{rounds * counters * per_counter}\n"
        elements = get(cluster, "list")["value"]
        assert sorted(e for e in elements if e.split("-")[0] in words) == sorted(f"{word}-{i}" for word in words for i in range(1, appends + 1))
        assert len(elements) == rounds * len(words) * appends
    replicas_agree(cluster)
    without_a_majority(cluster)
    # All at once, and what was told is still there.
    before = [get(cluster, key) for key in ("n", "list")]
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_leader()
    after = [get(cluster, key) for key in ("n", "list")]
    assert [(e["version"], e["value"]) for e in before] == [(e["version"], e["value"]) for e in after]


def test_a_retry_gets_the_first_answer_from_the_next_leader(make_cluster, request):
    """S1.3"""
    cluster = make_cluster(3)
    cluster.wait_formed()
    probe = subprocess.Popen([str(clusters.BIN / "surf-probe"), "-m", cluster.addresses, "retry-append", "k"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env=cluster.env)
    request.addfinalizer(probe.kill)
    first = probe.stdout.readline()
    assert first.startswith("OK ")
    leader = cluster.wait_leader()
    cluster.nodes[leader].kill()
    cluster.wait_leader(leader)
    out, _ = probe.communicate("\n", timeout=60 * clusters.PATIENCE)
    assert out == first
    assert get(cluster, "k")["value"] == ["once"]


def test_a_snapshot_has_all_of_it(make_cluster):
    """Who was down while the log was cut gets keys, versions, times to live and replies with a snapshot, and leads with them."""
    cluster = make_cluster(3, extra=["--log-entries", "100", "--log-size", "1"])
    cluster.wait_formed()
    kv(cluster, "append", "list", "before")
    down = next(n for n in cluster.nodes if n != cluster.wait_leader())
    had = cluster.state(down)["applied"]
    cluster.nodes[down].kill()
    leader = cluster.wait_leader()
    kv(cluster, "put", "expires", "x", "--ttl", 1)
    kv(cluster, "put", "stays", "x", "--ttl", 1000)

    def cut():
        ended(client(cluster, "puts", "k", 300))
        return cluster.state(leader)["compacted"] > had

    clusters.wait_until("the log to be cut", cut, 60)
    kv(cluster, "append", "list", "after")
    before = json.loads(kv(cluster, "list", "--values", "--json").stdout)
    cluster.nodes[down].start()
    cluster.wait_caught_up()
    lead(cluster, down)
    assert cluster.state(down)["snapshots_installed"] >= 1
    clusters.wait_until("the key to expire", lambda: code(cluster, "get", "expires") == ABSENT, 10)
    after = json.loads(kv(cluster, "list", "--values", "--json").stdout)
    assert [{**e, "index": 0} for e in after] == [{**e, "index": 0} for e in before if e["key"] != "expires"]
    assert code(cluster, "cas", "list", get(cluster, "list")["version"], "x") == 0


def test_in_order_with_one_under_way(shared):
    ended(client(shared, "--under-way", 1, "appends", "order", "x", 50))
    assert get(shared, "order")["value"] == [f"x-{i}" for i in range(1, 51)]


class LocalMachines:
    """What histories.Clients needs of a cluster: all its machines are this one."""

    def __init__(self, cluster):
        self.dir, self.addresses, self.cluster = cluster.dir, cluster.addresses, cluster

    def program(self, machine, name, *command):
        return clusters.Process(name, command, self.dir / f"{name}.log", env=self.cluster.env)


@pytest.mark.parametrize("model", ["kv-register", "kv-list"])
def test_history(make_cluster, request, model):
    """S2.13: clients that read from the leader and from others, while leaders are killed, saw what one copy could have shown."""
    seed, _ = histories.seeded(request)
    cluster = make_cluster(3)
    cluster.wait_formed()
    clients = histories.Clients(LocalMachines(cluster), model, range(5), seed, pause_us=4000)
    try:
        clients.wait_for(50)
        kill_leaders(cluster, 2, lambda: True)
        clients.wait_for(100)
        clients.check(200, print)
    finally:
        clients.kill()
