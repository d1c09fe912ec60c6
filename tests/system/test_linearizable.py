"""What clients of three real nodes saw while nodes were killed, stopped, cut off and given other clocks, judged by the checker
of tests/lin. The time of the faults: SURF_SOAK_SECONDS (8)."""

import os
import signal
import time

import pytest

import cluster as clusters
import histories
import netns

REASON = netns.why_not()
SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "8"))
pytestmark = [pytest.mark.skipif(REASON is not None, reason=REASON or ""), pytest.mark.timeout(300 + 3 * SECONDS)]

NODES = 3
CLIENTS = 5
SESSION_SECONDS = 5


class Nemesis:
    """Faults of one kind, one after the other; `undo` leaves all nodes running and heard. Clocks stay wrong: SurfFS must not
    need them right, and is to measure spans with those that don't step."""

    def __init__(self, cluster, clients, rng):
        self.cluster, self.clients, self.rng = cluster, clients, rng
        self.net = cluster.net
        self.count = 0
        self.stopped = []

    def some_node(self):
        """The leader half of the time."""
        leader = self.cluster.leader() if self.rng.random() < 0.5 else None
        return self.cluster.nodes[leader or self.rng.choice(list(self.cluster.nodes))]

    def last(self, low, high):
        """How long a fault lasts is what is tested here: no condition ends it."""
        time.sleep(self.rng.uniform(low, high))

    def kill(self):
        victims = {self.some_node().id} if self.rng.random() < 0.7 else set(self.rng.sample(list(self.cluster.nodes), self.rng.choice([2, 3])))
        for number in victims:
            self.cluster.nodes[number].kill()
        if self.rng.random() < 0.5:
            self.clients.kill_one(self.rng)
        self.last(0.05, 1.5)
        for number in victims:
            self.cluster.nodes[number].start()

    def pause(self):
        """Longer than an election; half of the times than the lease (2 s); now and then than a session."""
        process = self.clients.some(self.rng) if self.rng.random() < 0.2 else self.some_node().process
        self.stopped.append(process)
        process.signal(signal.SIGSTOP)
        self.last(*self.rng.choice([(0.3, 1.5), (2.1, 3), (SESSION_SECONDS + 0.5, SESSION_SECONDS + 1.5)]))
        process.signal(signal.SIGCONT)

    def cut(self):
        numbers = list(self.cluster.nodes)
        one = self.some_node().id
        other = self.rng.choice([n for n in numbers if n != one])
        choice = self.rng.randrange(5)
        newcomers = []
        if choice == 0:
            self.net.isolate(one)  # from clients too
        elif choice == 1:
            self.net.cut(one, other, one_way=True)
        else:
            for n in numbers:
                if n == one:
                    continue
                if choice in (2, 3):  # it hears no other node
                    self.net.cut(n, one, one_way=True)
                if choice in (2, 4):  # no other node hears it
                    self.net.cut(one, n, one_way=True)
            # A stale read takes clients that still reach it, and one that finds a new leader before the old one steps down; those
            # that are cut off need longer to give up their connections, and who comes sooner is sent to the old one.
            self.last(0.5, 0.8)
            others = ",".join(self.cluster.nodes[n].address for n in numbers if n != one)
            newcomers = [self.clients.start(self.net.admin, others) for _ in range(2)]
        self.last(0.5, 4)
        self.net.heal()
        for name in newcomers:
            self.clients.end(name)

    def clocks(self):
        """The time of day of a node that runs is stepped, or a node restarts with the others of its clocks elsewhere."""
        node = self.some_node()
        if node.time_of_day and self.rng.random() < 0.6:
            node.step_time_of_day(self.rng.choice([-86400, -3600, -3, 0, 3, 3600, 10**7]))
        else:
            node.kill()
            node.offset_s = self.rng.choice([0, 7, 86400, 10**8])
            node.start()
        self.last(0.5, 2)

    def all(self):
        getattr(self, self.rng.choice(["kill", "pause", "cut", "clocks"]))()

    def undo(self):
        for process in self.stopped:
            process.signal(signal.SIGCONT)
        self.net.heal()
        for node in self.cluster.nodes.values():
            if not node.running():
                node.start()

    def run(self, kind, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            getattr(self, kind)()
            self.count += 1
            self.last(0.1, 1)
        self.undo()


# The gate runs each kind of fault and each model; a soak runs every pair.
PAIRS = [("kill", "names"), ("pause", "register"), ("cut", "names"), ("clocks", "register"), ("all", "list")]
if "SURF_SOAK_SECONDS" in os.environ:
    PAIRS = [(kind, model) for kind in ("kill", "pause", "cut", "clocks", "all") for model in ("names", "register", "list", "kv-register", "kv-list")]


@pytest.mark.parametrize("kind,model", PAIRS)
def test_history(tmp_path, request, capsys, kind, model):
    seed, rng = histories.seeded(request)
    reads = rng.choice(["lease", "readindex"])
    extra = ["--session-timeout", SESSION_SECONDS, "--reads", reads]

    def say(text):
        with capsys.disabled():
            print(f"\n{text}", end="")

    machines = list(range(NODES + 1, NODES + 1 + CLIENTS))
    with netns.cluster(tmp_path / "cluster", NODES, NODES + CLIENTS, extra, fake_time=kind in ("clocks", "all")) as cluster:
        clients = histories.Clients(cluster, model, machines, seed)
        try:
            clients.wait_for(50)
            nemesis = Nemesis(cluster, clients, rng)
            try:
                nemesis.run(kind, SECONDS)
            finally:
                nemesis.undo()
            cluster.wait_leader()
            clients.wait_for(100)
            clients.check(200, lambda text: say(f"{text} ({nemesis.count} faults: {kind}; reads by {reads})"))
        finally:
            clients.kill()


@pytest.mark.parametrize("model", ["names", "register"])
def test_two_clusters_are_not_one(tmp_path, request, model):
    """What the tests above could not be without: clients of two clusters that know nothing of each other, taken for clients of
    one, have no history that the checker accepts."""
    seed, _ = histories.seeded(request)
    with netns.cluster(tmp_path / "left", 1, 2) as left, netns.cluster(tmp_path / "right", 1, 2) as right:
        clients = [histories.Clients(left, model, [2], seed), histories.Clients(right, model, [2], seed, numbers_from=1000)]
        try:
            for each in clients:
                each.wait_for(50)
                each.stop()
            assert all(each.verdict()[0] == "ok" for each in clients)
            verdict, text = clients[0].verdict(clients[1])
            assert verdict == "BAD" and "\n> " in text, text
        finally:
            for each in clients:
                each.kill()
