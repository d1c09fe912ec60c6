"""Clusters whose leaders are made by hand, and what is asked of them: the teaching systems' chaos calls in terms of ours.

UpdateFile is a commit of contents with an expected version; the map of files is what surfctl state --files tells of a node, as far as
contents were committed. Log entries other than changes of files (no-ops, sessions, registrations) are not counted."""

import json
import subprocess
import threading

import cluster as clusters
from cluster import BIN, wait_until

MANUAL = ("--election", "manual")


def probe_command(c, *args):
    return [str(BIN / "surf-probe"), "-m", c.addresses, *map(str, args)]


def probe(c, *args, timeout=60, check=True):
    """The surf-probe tool: one operation of libsurf, without a mount."""
    done = subprocess.run(probe_command(c, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout * clusters.PATIENCE)
    if check:
        assert done.returncode == 0, f"{args}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def update(c, name, version, **options):
    """UpdateFile(name, version): the new version, or -1."""
    return int(probe(c, "update", name, version, **options).stdout)


class HeldUpdate:
    """UpdateFile(name, version) by a client that has its session and its blocks, and waits to be let go."""

    def __init__(self, c, name, version):
        self.popen = subprocess.Popen(probe_command(c, "--hold", "update", name, version), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True)
        assert self.popen.stdout.readline() == "ready\n"

    def go(self):
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def is_blocked_for(self, seconds):
        try:
            self.popen.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            return True

    def give_up(self):
        """The client is gone: nobody asks for it again."""
        self.popen.kill()
        self.popen.communicate()


class Background(threading.Thread):
    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.result, self.error = call, None, None
        self.start()

    def run(self):
        try:
            self.result = self.call()
        except BaseException as e:
            self.error = e

    def value(self, seconds=20):
        self.join(seconds * clusters.PATIENCE)
        assert not self.is_alive(), "no answer"
        if self.error:
            raise self.error
        return self.result


# -- internal state

def files(c, node):
    """Log entries of a node that change files, in words, in order: (term, text)."""
    return [(e["term"], e["text"]) for e in c.state(node, log=100)["log"] if e["text"].startswith("commit")]


def same_logs(c):
    return all(files(c, n) == files(c, 1) for n in c.nodes)


def table(c, node):
    """The node's map of files: name -> (version, hashes)."""
    state = json.loads(c.surfctl("--json", "state", node, "--files").stdout)
    assert state["files_next"] is None
    return {f["path"][1:]: (f["version"], f["blocks"]) for f in state["files"] if f["type"] == "file" and f["version"] > 0}


def versions(c, node):
    return {name: version for name, (version, _) in table(c, node).items()}


def same_tables(c):
    return all(table(c, n) == table(c, 1) for n in c.nodes)


def terms(c):
    return {i: (s["term"], s["state"]) for i, s in c.node_states().items()}


def led_by(c, leader, term):
    """What terms() says when all follow it."""
    return {n: (term, "LEADER" if n == leader else "FOLLOWER") for n in c.nodes}


# -- what is done to them

def lead(c, node):
    c.surfctl("leader", node)
    c.surfctl("heartbeat", node)


def all_is_told(c):
    """Whether all know of everything. Also of the block servers, which register when they hear of a leader: of two nodes that are cut off
    one after the other one may know less than the other, which gives it no vote then."""
    done = c.surfctl("--json", "blocks", check=False)
    known = json.loads(done.stdout)["servers"] if done.returncode == 0 else []
    return len(known) == len(c.nodes) and len({s["last"] for s in c.node_states().values()}) == 1


def followers(c, leader):
    return [n for n in c.nodes if n != leader]


def wait_all_say(c, leader, what, condition, seconds=10):
    """Heartbeats carry what is committed, and one may be lost while a connection is being made again."""
    def said():
        c.surfctl("heartbeat", leader)
        return condition()

    wait_until(what, said, seconds)
