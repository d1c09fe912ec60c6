"""Partitions by nft of nodes on machines of their own: BEHAVIOURS S3.6, S3.7, S3.8, S0.9 and S1.9, loss, and cuts that let
messages through in one direction. Clients on every side write histories, which the checker of tests/lin judges."""

import signal
import subprocess
import time

import pytest

import cluster as clusters
import histories
import netns

REASON = netns.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

STEP_DOWN_SECONDS = 3  # a leader without a quorum must not think so for longer


@pytest.fixture
def say(capsys):
    def printed(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")
    return printed


@pytest.fixture
def partitioned(tmp_path, request):
    """partitioned(count): the cluster, and a client on every node's machine, which shares its fate, and two elsewhere."""
    with_exit = []

    def make(count, **options):
        context = netns.cluster(tmp_path / "cluster", count, count + 2)
        cluster = context.__enter__()
        with_exit.append((context, cluster))
        seed, _ = histories.seeded(request)
        cluster.clients = histories.Clients(cluster, "names", range(1, count + 3), seed, lookers=False, **options)
        cluster.clients.wait_for(30)
        return cluster

    yield make
    for context, cluster in with_exit:
        cluster.clients.kill()
        context.__exit__(None, None, None)


def sides(cluster, minority_has_leader):
    """(leader, minority, majority)"""
    leader = cluster.wait_leader()
    others = [n for n in cluster.nodes if n != leader]
    small = (len(cluster.nodes) - 1) // 2
    if minority_has_leader:
        return leader, [leader, *others[:small - 1]], others[small - 1:]
    return leader, others[:small], [leader, *others[small:]]


def away(cluster):
    """The machines that have clients and no node; they go with the majority."""
    return [m for m in cluster.net.machines if m not in cluster.nodes]


def states(cluster, key="state"):
    """Of those that answer."""
    return {number: n[key] for number, n in cluster.node_states().items() if key in n}


def pause(clients, machines, signal_number):
    """Only those on these machines."""
    for process, machine in clients.running.values():
        if machine in machines:
            process.signal(signal_number)


def wait_answers_are_noted(clients):
    """Until each client has begun another call: by then it has written down what it had been told before."""
    def calls():
        return {f: f.read_bytes().count(b" invoke ") for f in clients.files}

    before = calls()
    clusters.wait_until("each client to have gone on", lambda: all(n > before[f] for f, n in calls().items()))


def log_of(cluster, number):
    """index -> entry, of the last hundred, which is all that administration shows"""
    return {e["index"]: e for e in cluster.state(number, 100)["log"]}


def check_same_logs(cluster):
    """The tails of all logs, and what was applied, once no client changes anything any more."""
    cluster.wait_caught_up()
    logs = [log_of(cluster, n) for n in cluster.nodes]
    for other in logs[1:]:
        common = logs[0].keys() & other.keys()
        assert common and all(logs[0][i] == other[i] for i in common)

    def same_hashes():
        hashes = {cluster.state(n)["chain_hash"] for n in cluster.nodes}
        return len(hashes) == 1

    clusters.wait_until("equal chain hashes", same_hashes)


def wait_new_leader(cluster, among, term):
    def found():
        return next((n for n, s in cluster.node_states().items() if n in among and s.get("state") == "LEADER" and s["term"] > term), None)

    return clusters.wait_until(f"a leader among {among}", found)


@pytest.mark.parametrize("count", [3, 5])
def test_leader_in_the_minority(partitioned, say, count):
    """S3.7, S1.9, S0.9: it acknowledges nothing and steps down; the others elect and go on; what it had not committed is gone
    after the heal, on all nodes."""
    cluster = partitioned(count, pause_us=100000)  # so slow that the last hundred entries reach back to the cut
    for _ in range(5):
        leader, minority, majority = sides(cluster, minority_has_leader=True)
        term = states(cluster, "term")[leader]
        begun = time.monotonic()
        cluster.net.split(minority, majority + away(cluster))
        # Until we have seen what the old leader has: the new one's log is not to grow beyond what is shown of it.
        pause(cluster.clients, majority + away(cluster), signal.SIGSTOP)
        new_leader = wait_new_leader(cluster, majority, term)
        elected = time.monotonic() - begun
        clusters.wait_until("the old leader to step down", lambda: states(cluster).get(leader) not in (None, "LEADER"), STEP_DOWN_SECONDS)
        stepped_down = time.monotonic() - begun
        commit = cluster.state(leader)["commit"]
        uncommitted = {i: e for i, e in log_of(cluster, leader).items() if i > commit}
        pause(cluster.clients, majority + away(cluster), signal.SIGCONT)
        if uncommitted:
            break
        cluster.net.heal()  # its clients happened to ask for nothing but looks
        cluster.wait_leader()
        cluster.clients.wait_for(30)
    assert uncommitted, "its clients' calls must have reached its log, or this test says little"
    cluster.clients.wait_for(20)
    assert all(s["commit"] <= commit and s["state"] != "LEADER" for n, s in cluster.node_states().items() if n in minority)

    cluster.clients.stop()
    cluster.net.heal()
    begun = time.monotonic()
    cluster.wait_caught_up()
    converged = time.monotonic() - begun
    kept = log_of(cluster, leader)
    shown = uncommitted.keys() & kept.keys()  # the last hundred are
    assert shown
    assert all(kept[i] != uncommitted[i] for i in shown), "an entry that was never committed has survived"
    cluster.clients.check(50, say)
    check_same_logs(cluster)
    assert sum(s == "LEADER" for s in states(cluster).values()) == 1
    say(f"{count} nodes, {minority} | {majority}: node {new_leader} led after {elected:.2f} s, {leader} had stepped down after "
        f"{stepped_down:.2f} s, {len(uncommitted)} uncommitted entries dropped, converged {converged:.2f} s after the heal")


@pytest.mark.parametrize("count", [3, 5])
def test_leader_in_the_majority(partitioned, say, count):
    """S3.8: it goes on leading, in its term, also when the others come back."""
    cluster = partitioned(count)

    def goes_on_leading():
        leader, minority, majority = sides(cluster, minority_has_leader=False)
        term = states(cluster, "term")[leader]
        begun = histories.now_ns()
        cluster.net.split(minority, majority + away(cluster))
        cluster.clients.wait_for(1000)
        clusters.wait_until("the minority to give up on the leader", lambda: all(states(cluster).get(n) not in (None, "LEADER") for n in minority))
        ended = histories.now_ns()
        cluster.net.heal()
        cluster.wait_caught_up()
        say(f"{count} nodes, {minority} | {majority} while split: {histories.Service(cluster.clients, begun, ended)}")
        return cluster.wait_leader() == leader and set(states(cluster, "term").values()) == {term}

    assert clusters.when_not_busy(goes_on_leading), "neither the cut nor the minority's return must cost a term"
    cluster.clients.check(1000, say)
    check_same_logs(cluster)


def test_no_quorum_anywhere(partitioned, say):
    """S3.6: nothing is acknowledged, administration says why; then all goes on."""
    cluster = partitioned(3, timeout_ms=2000)
    cluster.net.split([1], [2], [3, *away(cluster)])
    clusters.wait_until("all leaders to step down", lambda: len(states(cluster)) == 3 and "LEADER" not in states(cluster).values(), STEP_DOWN_SECONDS)
    assert cluster.leader() is None
    wait_answers_are_noted(cluster.clients)
    before, commits = cluster.clients.answered(), states(cluster, "commit")
    time.sleep(5)  # that nothing happens has no other end; the sheets ask for five seconds
    assert cluster.clients.answered() == before
    assert states(cluster, "commit") == commits
    cluster.net.heal()
    begun = time.monotonic()
    cluster.clients.wait_for(100)
    say(f"3 nodes, each alone for 5 s: nothing was acknowledged; 100 operations {time.monotonic() - begun:.2f} s after the heal")
    cluster.clients.check(200, say)
    check_same_logs(cluster)


def test_blocked_for_five_seconds(partitioned, say):
    """S0.9: a request to the minority's leader gets no answer, and leaves nothing behind."""
    cluster = partitioned(5)
    leader, minority, majority = sides(cluster, minority_has_leader=True)
    term = states(cluster, "term")[leader]
    cluster.net.split(minority, majority + away(cluster))
    addresses = ",".join(cluster.nodes[n].address for n in minority)
    probe = cluster.program(leader, "probe", clusters.BIN / "surf-probe", "-m", addresses, "retry", "never")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            probe.popen.wait(5)
    finally:
        probe.kill()
    wait_new_leader(cluster, majority, term)
    cluster.net.heal()
    cluster.wait_caught_up()
    cluster.clients.check(100, say)
    check_same_logs(cluster)
    listed = netns.run(*cluster.net.inside(cluster.net.admin), clusters.BIN / "surf-probe", "-m", cluster.addresses, "ls").stdout.split()
    assert "never" not in listed and "d0" in listed


def measure(cluster, seconds):
    """(service, elections per minute) over that time."""
    terms, begun = max(states(cluster, "term").values()), histories.now_ns()
    time.sleep(seconds)  # a measurement
    ended = histories.now_ns()
    return histories.Service(cluster.clients, begun, ended), (max(states(cluster, "term").values()) - terms) * 60 / seconds


@pytest.mark.parametrize("where,count", [("nodes", 3), ("everywhere", 5)])
def test_loss(partitioned, say, count, where):
    """30 % of all packets between nodes, or of clients too, are lost: slow, and right."""
    cluster = partitioned(count, timeout_ms=10000)
    cluster.net.lose(30, cluster.nodes if where == "nodes" else cluster.net.machines)
    service, elections = measure(cluster, 15)
    cluster.net.heal()
    say(f"{count} nodes, 30 % loss, {where}: {service}, {elections:.0f} elections/min")
    cluster.wait_leader()
    cluster.clients.wait_for(100)
    cluster.clients.check(200, say)
    check_same_logs(cluster)
    assert service.latencies_ms, "nothing succeeded at all"


@pytest.mark.parametrize("deaf", ["follower", "leader", "follower-to-all", "leader-to-all"])
def test_one_way(partitioned, say, deaf):
    """One node hears less than it is heard. A follower that hears nobody must not cost a term or a leader; a leader that hears
    nobody must make way."""
    cluster = partitioned(3)

    def is_right():
        leader = cluster.wait_leader()
        follower = next(n for n in cluster.nodes if n != leader)
        term = states(cluster, "term")[leader]
        receiver, sender = (leader, follower) if deaf.startswith("leader") else (follower, leader)
        for number in [n for n in cluster.nodes if n != receiver] if deaf.endswith("all") else [sender]:
            cluster.net.cut(number, receiver, one_way=True)
        service, elections = measure(cluster, 8)
        now = cluster.wait_leader()
        cluster.net.heal()
        say(f"3 nodes, {deaf} deaf: {service}, {elections:.0f} elections/min, leader {leader} -> {now}")
        cluster.wait_caught_up()
        cluster.clients.wait_for(30)
        if deaf.endswith("to-all") and receiver == leader:
            assert now != leader
            return service.availability > 0.5
        return service.availability > 0.5 and states(cluster, "term")[cluster.wait_leader()] == term  # one cut link must not cost the leader

    assert clusters.when_not_busy(is_right)
    cluster.clients.check(200, say)
    check_same_logs(cluster)
