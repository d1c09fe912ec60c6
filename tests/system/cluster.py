"""Real nodes and real mounts for the system tests: processes that we started, ended by pid, and mounts that are undone even
when a test fails. Nothing here sleeps where it can await a condition."""

import collections
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import stacks

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SURF_BIN", ROOT / "build" / "release" / "bin"))
# Sanitized binaries are several times slower; waits stretch with them.
PATIENCE = float(os.environ.get("SURF_PATIENCE", "1"))


def wait_until(what, condition, seconds=20):
    """The first true value of condition(), polled; fails with `what` otherwise."""
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begun
        if waited > seconds * PATIENCE:
            raise AssertionError(f"waited {seconds * PATIENCE:.0f} s for {what}")
        # The longer it takes, the less often it is looked at: each look may be a program, and the machine has other tests to run.
        time.sleep(min(max(0.01, waited / 10), 0.25))


class Stalls(threading.Thread):
    """How long programs of this machine had to wait for a processor at most, while it lasts: judged by this one."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over, self.longest = threading.Event(), 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        pause, before = 0.02, time.monotonic()
        while not self.over.wait(pause):
            before, last = time.monotonic(), before
            self.longest = max(self.longest, before - last - pause)


ELECTION_S = 0.5  # NODE_ELECTION_TIMEOUT_NS: who isn't heard of for so long is taken for dead


def when_not_busy(attempt, tries=5):
    """What attempt() gives, which nodes might fail by being kept from running for long enough to lose their leader: then it is tried
    again. A failure while they could run is one."""
    for _ in range(tries):
        with Stalls() as stalls:
            value = attempt()
        if value or stalls.longest < ELECTION_S / 4:
            break
    return value


# Below those that the kernel gives to clients, and for each worker of a run a range of its own.
PORTS_PER_WORKER = 1500
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
FIRST_PORT = 20000 + WORKER % 8 * PORTS_PER_WORKER
next_port = itertools.count(os.getpid() % PORTS_PER_WORKER)
claims = collections.deque(maxlen=100)  # what tells other runs on this machine which ports were given here; more than one test needs


def claim(port):
    """Whether it is free, and no other run has it for a server that doesn't listen at the moment."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(f"\0surffs-test-port-{port}")
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
    except OSError:
        claimed.close()
        return False
    claims.append(claimed)
    return True


def is_listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count):
    """So many free ports; each is given again only after all others."""
    found = []
    for _ in range(2 * PORTS_PER_WORKER):
        port = FIRST_PORT + next(next_port) % PORTS_PER_WORKER
        if port not in found and claim(port):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports")


def free_port_run(count):
    """The first of `count` free ports in a row."""
    for _ in range(PORTS_PER_WORKER):
        ports = free_ports(count)
        if ports[-1] - ports[0] == count - 1:
            return ports[0]
    raise AssertionError(f"no {count} free ports in a row")


class Process:
    """One process in its own session, with a log file."""

    def __init__(self, name, command, log, env=None):
        self.name, self.command, self.log = name, [str(c) for c in command], pathlib.Path(log)
        self.stopped = False
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        """SIGCONT is for who was sent SIGSTOP: it takes away each SIGSTOP that is on its way, and a sanitizer's search for leaks, with which a
        process ends, attaches to its threads by one and waits for it."""
        if not self.running() or (number == signal.SIGCONT and not self.stopped):
            return
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.stopped = number == signal.SIGSTOP
        os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(20 * PATIENCE)

    def terminate(self, seconds=30):
        """SIGTERM and the exit code; SIGKILL when it does not end in time (then None, and its log ends with what it waited for)."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            with open(self.log, "a") as log:
                log.write(f"{self.name} does not end:\n{stacks.of(self.pid)}\n")
            self.kill()
            return None

    def tail(self, lines=30):
        try:
            return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-lines:])
        except OSError:
            return ""


class Node:
    def __init__(self, cluster, number, port, extra, peers=True):
        self.cluster, self.id, self.port, self.extra, self.peers = cluster, number, port, list(extra), peers
        self.address = f"127.0.0.1:{port}"
        self.data = cluster.dir / f"data{number}"
        self.log = cluster.dir / f"node{number}.log"
        self.process = None
        self.program = BIN / "surfd"

    def start(self, *more):
        assert not self.running()
        command = [self.program, "-l", "-p", self.port, "--id", self.id, "--data", self.data, *self.extra, *more]
        if self.cluster.peers and self.peers:
            command += ["--peers", self.cluster.peers]
        self.process = Process(f"node{self.id}", command, self.log, env=self.cluster.env)
        wait_until(f"node {self.id} to listen", self.listening)

    def listening(self):
        assert self.running(), f"node {self.id} ended with {self.process.popen.returncode}:\n{self.process.tail()}"
        return is_listening(self.port)

    def running(self):
        return self.process is not None and self.process.running()

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process is None:
            return 0
        return self.process.terminate()


class Mount:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.path = cluster.dir / name
        self.log = cluster.dir / f"mount-{name}.log"
        self.process = None
        self.program = BIN / "surffs"

    def __truediv__(self, name):
        return self.path / name

    def mounted(self):
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == str(self.path) for line in f)

    def start(self, *options, servers=None, prefix=()):
        self.launch(*options, servers=servers, prefix=prefix)
        self.wait_mounted()

    def launch(self, *options, servers=None, prefix=()):
        self.path.mkdir(exist_ok=True)
        self.process = Process(f"mount-{self.name}", [*prefix, self.program, servers or self.cluster.addresses, self.path, "-f", *options],
                               self.log, env=self.cluster.env)

    def assert_running(self):
        assert self.process.running(), f"surffs ended with {self.process.popen.returncode}:\n{self.process.tail()}"

    def wait_mounted(self):
        def up():
            self.assert_running()
            return self.mounted()

        wait_until(f"the mount {self.name}", up, 30)

    def counter_lines(self):
        self.assert_running()
        return [line for line in self.log.read_text(errors="replace").splitlines() if " requests=" in line]

    def counters(self):
        """What it logs at SIGUSR2: requests of the kernel, calls to the metastore, and so on."""
        before = len(self.counter_lines())
        self.process.signal(signal.SIGUSR2)
        wait_until("the counters", lambda: len(self.counter_lines()) > before)
        return {name: int(value) for name, value in (item.split("=") for item in self.counter_lines()[-1].split() if "=" in item)}

    def stop(self):
        """Unmounts and gives the exit code of surffs."""
        if self.mounted() and subprocess.run(["fusermount3", "-u", self.path], stderr=subprocess.DEVNULL, timeout=30 * PATIENCE).returncode:
            subprocess.run(["fusermount3", "-u", "-z", self.path], stderr=subprocess.DEVNULL, timeout=30 * PATIENCE)
        if self.process is None:
            return 0
        try:
            return self.process.popen.wait(30 * PATIENCE)
        except subprocess.TimeoutExpired:
            return self.process.terminate()


class Cluster:
    def __init__(self, directory, count=3, extra=()):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.env = dict(os.environ)
        ports = free_ports(count)
        self.peers = ",".join(f"{i}=127.0.0.1:{p}" for i, p in enumerate(ports, 1)) if count > 1 else ""
        self.nodes = {i: Node(self, i, p, extra) for i, p in enumerate(ports, 1)}
        self.mounts = {}
        self.unsound = None  # why the nodes are not to be brought back and checked at the end, if they are not

    @property
    def addresses(self):
        return ",".join(n.address for n in self.nodes.values())

    def start(self):
        for node in self.nodes.values():
            node.start()

    def join(self, number, *extra):
        """A started node that waits to be added to the metastore."""
        node = self.nodes[number] = Node(self, number, free_ports(1)[0], [*extra, "--join"], peers=False)
        node.start()
        return node

    def members(self):
        """id -> role, as the leader knows them, once no change is under way: leaders make some by themselves."""
        def settled():
            done = self.surfctl("--json", "members", check=False)
            view = json.loads(done.stdout) if done.returncode == 0 else {"change_pending": True}
            return None if view["change_pending"] else {m["id"]: m["role"] for m in view["members"]}

        return wait_until("the members", settled)

    def wait_answering(self):
        """All nodes answer administration; there need not be a leader."""
        wait_until("all nodes to answer", lambda: sum(s["state"] != "UNREACHABLE" for s in self.node_states().values()) == len(self.nodes))

    def wait_formed(self, seconds=20):
        """A leader, and every block server registered and reporting: what is written from here on has all its replicas."""
        def formed():
            status = self.status()
            return status.get("leader") and sum(b["reporting"] for b in status.get("block_servers", [])) == len(self.nodes)

        wait_until("all block servers to be registered", formed, seconds)

    def mount(self, name, *options):
        mount = self.mounts[name] = Mount(self, name)
        mount.start(*options)
        return mount

    # -- administration

    def surfctl(self, *args, check=True, timeout=60):
        done = subprocess.run([str(BIN / "surfctl"), "-m", self.addresses, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=self.env, timeout=timeout * PATIENCE)
        if check:
            assert done.returncode == 0, f"surfctl {args}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def status(self):
        done = self.surfctl("--json", "status", check=False)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def state(self, node, log=10):
        return json.loads(self.surfctl("--json", "state", node, "--log", log).stdout)

    def node_states(self):
        return {n["id"]: n for n in self.status().get("nodes", [])}

    def leader(self):
        return self.status().get("leader") or None

    def wait_leader(self, *not_these, seconds=20):
        return wait_until("a leader", lambda: (lambda l: l if l and l not in not_these else None)(self.leader()), seconds)

    def wait_caught_up(self, seconds=30):
        """All follow one leader and have applied the same; while somebody writes they may never be seen to have, and then what had been
        applied when we first looked."""
        looks = []

        def caught_up():
            states = self.node_states()
            mine = [states.get(i, {}) for i in self.nodes]
            mine = [s for s in mine if s.get("state") != "REMOVED"]
            if not all(s.get("state") in ("LEADER", "FOLLOWER") for s in mine) or sum(s["state"] == "LEADER" for s in mine) != 1:
                return False
            applied = [s["applied"] for s in mine]
            looks.append(max(applied))
            is_written_to = looks[-1] > looks[0] + 20  # more than nodes have to say by themselves
            return len(set(applied)) == 1 or (is_written_to and min(applied) >= looks[0])

        return wait_until("all nodes to be caught up", caught_up, seconds)

    # -- faults

    def answered_while_stopped(self, ask, seconds=2):
        """Whether ask() ends while all nodes are stopped: then nobody was asked. What a mount knows it believes for 2 s, of which a third
        may be over, or more on a busy machine; then ask() ends when the nodes go on."""
        ended, failures = threading.Event(), []

        def run():
            try:
                ask()
            except BaseException as e:  # told below
                failures.append(e)
            ended.set()

        thread = threading.Thread(target=run, daemon=True)
        for node in self.nodes.values():
            node.process.signal(signal.SIGSTOP)
        try:
            thread.start()
            in_time = ended.wait(seconds)
        finally:
            for node in self.nodes.values():
                node.process.signal(signal.SIGCONT)
        assert ended.wait(60 * PATIENCE), "a call hangs"
        if failures:
            raise failures[0]
        return in_time

    # -- the end

    def bring_back(self):
        """All that was started once runs and serves again."""
        for node in self.nodes.values():
            if node.running():
                node.process.signal(signal.SIGCONT)
            elif node.process is not None:
                node.start()
        for number, node in self.node_states().items():
            if node["state"] == "CRASHED":
                self.surfctl("restore", number)
        self.surfctl("heal")
        if any("manual" in map(str, node.extra) for node in self.nodes.values()):
            self.lead_by_hand()
        else:
            self.wait_leader(seconds=30)

    def lead_by_hand(self):
        """Without timers nobody hears of anything but by a heartbeat."""
        wait_until("a leader", lambda: any(self.surfctl("leader", number, check=False).returncode == 0 for number in self.nodes))

        def told():
            self.surfctl("heartbeat", self.leader(), check=False)
            return len({node.get("applied") for node in self.node_states().values() if node["state"] != "BLOCK"}) == 1

        wait_until("all to have heard of everything", told)

    def check_sound(self):
        """surfctl fsck, which waits for copies that are being made: every test leaves a cluster behind that has lost nothing."""
        self.bring_back()
        done = self.surfctl("-t", 30 * PATIENCE, "fsck", "--wait", 60 * PATIENCE, check=False, timeout=200)
        assert done.returncode == 0, f"surfctl fsck: {done.returncode}:\n{done.stdout}{done.stderr}"

    def close(self, check=False):
        """check: whether the cluster is sound, when nobody writes any more."""
        problems = []
        for mount in self.mounts.values():
            try:
                mount.stop()
            except Exception as e:  # the rest must still be undone
                problems.append(f"{mount.name}: {e!r}")
        try:
            if check and not self.unsound and any(node.process for node in self.nodes.values()):
                self.check_sound()
        except Exception as e:
            problems.append(f"not sound at the end: {e}")
        for node in self.nodes.values():
            if node.running():
                node.process.signal(signal.SIGCONT)
                node.process.signal(signal.SIGTERM)
        for node in self.nodes.values():
            try:
                node.stop()
            except Exception as e:
                problems.append(f"node {node.id}: {e!r}")
        for log in sorted(self.dir.glob("*.log")):
            text = log.read_text(errors="replace")
            for sign in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "check failed"):
                if sign in text:
                    at = text.index(sign)
                    problems.append(f"{log.name}: {text[max(0, at - 200):at + 4000]}")
        assert not problems, "\n".join(problems)
