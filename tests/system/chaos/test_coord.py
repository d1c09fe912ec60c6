"""`surfctl coord`: an outside failure detector for clusters without election timers. The checks S1.4 to S1.6 and S1.9; S1.3
(a reply that the leader could not send is sent again by the next one) is in test_replicated_store_checks.py."""

import json
import subprocess
import threading

import pytest

from cluster import BIN, PATIENCE, wait_until
from manual import Background, files, probe, update


class Coord:
    """The program at work, and what it has printed."""

    def __init__(self, c, *args):
        command = [str(BIN / "surfctl"), "-m", c.addresses, "--json", "coord", "--interval", str(int(50 * PATIENCE)),
                   "--lost", str(int(5 * PATIENCE)), *args]
        self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.popen.stdout:
            self.events.append(json.loads(line))

    def view(self):
        views = [e for e in self.events if e["event"] == "view"]
        return {n["id"]: n["state"] for n in views[-1]["nodes"]} if views else {}

    def wait_view(self, **wanted):
        """wait_view(_1="LEADER", _2="FAILED"): those named are so."""
        wanted = {int(k[1:]): v for k, v in wanted.items()}
        try:
            wait_until(f"a view with {wanted}", lambda: all(self.view().get(i) == s for i, s in wanted.items()), 30)
        except AssertionError as e:
            raise AssertionError(f"{e}; there were {self.events[-12:]}") from None

    def of(self, event):
        return [e for e in list(self.events) if e["event"] == event]

    def stop(self):
        self.popen.terminate()
        code = self.popen.wait(20 * PATIENCE)
        self.reader.join(20 * PATIENCE)
        self.popen.stdout.close()
        self.popen.stderr.close()
        return code


@pytest.fixture
def start_coord():
    running = []

    def start(c, *args):
        running.append(Coord(c, *args))
        return running[-1]

    yield start
    for coord in running:
        assert coord.stop() == 0


def test_the_first_leader_and_the_next(make_manual, start_coord):
    """S1.4: the first is the lowest id, of equal logs; a failover begins with a no-op, and the logs of the others are the same."""
    c = make_manual(3)
    coord = start_coord(c)
    coord.wait_view(_1="LEADER", _2="FOLLOWER", _3="FOLLOWER")
    assert len(coord.of("all_joined")) == 1 and [e["node"] for e in coord.of("leads")] == [1]
    assert update(c, "f", 1) == 1
    c.nodes[1].kill()
    coord.wait_view(_1="FAILED", _2="LEADER", _3="FOLLOWER")
    assert update(c, "f", 2) == 2
    term = c.state(2)["term"]
    wait_until("the same logs", lambda: c.state(2, log=100)["log"] == c.state(3, log=100)["log"])
    first = next(e for e in c.state(2, log=100)["log"] if e["term"] == term)
    assert first["text"] == "noop"
    c.nodes[1].start()
    coord.wait_view(_1="FOLLOWER", _2="LEADER", _3="FOLLOWER")
    wait_until("the old leader to have all", lambda: files(c, 1) == files(c, 2))
    c.surfctl("crash", 2)  # refuses service, but answers
    coord.wait_view(_2="FAILED", _1="LEADER")
    c.surfctl("restore", 2)
    coord.wait_view(_2="FOLLOWER", _1="LEADER")


def test_s1_5_seven_of_which_three_then_four_are_gone(make_manual, start_coord):
    c = make_manual(7)
    coord = start_coord(c)
    coord.wait_view(_1="LEADER")
    assert update(c, "f", 1) == 1
    for number in (1, 3, 5):
        c.nodes[number].kill()
    coord.wait_view(_1="FAILED", _3="FAILED", _5="FAILED", _2="LEADER")
    assert update(c, "f", 2) == 2
    leads = len(coord.of("leads"))
    c.nodes[2].kill()
    wait_until("no majority to be told", lambda: coord.of("no_majority"))
    waiting = Background(lambda: update(c, "f", 3))
    for _ in range(3):
        c.surfctl("heartbeat", 4, check=False)
    assert waiting.is_alive() and len(coord.of("leads")) == leads
    c.nodes[1].start()
    assert waiting.value(30) == 3
    assert len(coord.of("leads")) == leads + 1


def test_s1_6_the_longest_log_of_the_latest_term_leads(make_manual, start_coord):
    c = make_manual(5)
    c.surfctl("leader", 1)
    c.surfctl("heartbeat", 1)
    for number in (2, 3, 4):  # 5 alone follows what comes now
        c.surfctl("unreachable", number, 1)
    waiting = Background(lambda: update(c, "f", 1))
    wait_until("an entry that 1 and 5 alone have", lambda: c.state(5)["last"] > max(c.state(n)["last"] for n in (2, 3, 4)))
    c.surfctl("crash", 1)
    for number in (2, 3, 4):
        c.surfctl("unreachable", number)
    coord = start_coord(c)
    coord.wait_view(_1="FAILED", _5="LEADER")
    assert [e["node"] for e in coord.of("designated")] == [5]
    assert waiting.value(30) == 1
    c.surfctl("restore", 1)
    coord.wait_view(_1="FOLLOWER", _5="LEADER")


def test_s1_9_a_leader_that_is_cut_off_is_replaced_and_steps_down(make_manual, start_coord):
    c = make_manual(3)
    coord = start_coord(c)
    coord.wait_view(_1="LEADER")
    assert update(c, "f", 1) == 1
    c.surfctl("isolate", 1)
    coord.wait_view(_2="LEADER")
    assert update(c, "f", 2) == 2
    assert c.node_states()[1]["state"] == "LEADER"
    c.surfctl("heal")
    coord.wait_view(_1="FOLLOWER", _2="LEADER", _3="FOLLOWER")
    wait_until("all to have the same", lambda: files(c, 1) == files(c, 2) == files(c, 3))
    assert probe(c, "version", "f").stdout == "2\n"


@pytest.mark.parametrize("args, words", [
    (("--interval", "0"), "from 10 to 60000"), (("--interval", "soon"), "from 10"), (("--lost", "-1"), "from 1 to 100"),
    (("--lost",), "from 1 to 100"), (("--every", "3"), "--every")])
def test_bad_arguments(args, words):
    done = subprocess.run([str(BIN / "surfctl"), "-m", "127.0.0.1:1", "coord", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 64 and words in done.stderr


def test_who_elects_by_itself_needs_none(cluster):
    done = subprocess.run([str(BIN / "surfctl"), "-m", cluster.addresses, "coord"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=20 * PATIENCE)
    assert done.returncode == 1 and "election=auto" in done.stderr
