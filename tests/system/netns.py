"""Machines of their own for nodes and clients: a network namespace each, on one bridge in another namespace, so that the
host's network is not touched. Links are cut, also one way, by nft at the receiver. All is undone when the test ends, however.

    with netns.Network(3) as net:            # machines 1, 2, 3 and `net.admin`, which is never cut off
        net.cut(1, 2)                        # nothing from 1 to 2 nor back
        net.cut(1, 2, one_way=True)          # 2 does not hear 1
        net.split([1], [2, 3])
        net.lose(30, [1, 2])                 # percent of the packets between these
        net.heal()
"""

import contextlib
import glob
import itertools
import json
import os
import pathlib
import shutil
import subprocess

import cluster as clusters

PORT = 7000
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")  # package faketime; without it the time of day stays right
RUN = 60  # seconds that a command may take


def run(*command, check=True, text=None):
    done = subprocess.run([str(c) for c in command], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}"
    return done


def why_not():
    """A reason to skip; None where namespaces and nft work."""
    for program in ("ip", "nft", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    name = f"surf{os.getpid()}try"
    added = run("ip", "netns", "add", name, check=False)
    if added.returncode:
        return f"no network namespaces: {added.stdout.strip()}"
    try:
        done = run(*inside(name), "nft", "add", "table", "inet", "surf", check=False)
        return f"no nft: {done.stdout.strip()}" if done.returncode else None
    finally:
        run("ip", "netns", "del", name, check=False)


def inside(namespace):
    """What to put before a command. It becomes that command, so the process id is the command's."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


class Network:
    numbers = itertools.count(1)

    def __init__(self, machines):
        self.prefix = f"surf{os.getpid()}n{next(Network.numbers)}"
        self.machines = range(1, machines + 1)
        self.admin = machines + 1
        self.made = []

    def __enter__(self):
        try:
            self.add(self.namespace(0))
            run(*inside(self.namespace(0)), "ip", "link", "add", "bridge", "type", "bridge")
            run(*inside(self.namespace(0)), "ip", "link", "set", "bridge", "up")
            for number in [*self.machines, self.admin]:
                self.add_machine(number)
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def close(self):
        # Namespaces take their interfaces and rules with them.
        for name in self.made:
            run("ip", "netns", "del", name, check=False)
        self.made = []

    def namespace(self, number):
        return f"{self.prefix}m{number}"

    def address(self, number):
        return f"10.77.0.{number}"

    def inside(self, number):
        return inside(self.namespace(number))

    def add(self, name):
        run("ip", "netns", "add", name)
        self.made.append(name)

    def add_machine(self, number):
        name = self.namespace(number)
        self.add(name)
        run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns", self.namespace(0))
        run("ip", "-n", self.namespace(0), "link", "set", f"port{number}", "master", "bridge", "up")
        run("ip", "-n", name, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        self.nft(number, "table inet surf {\n chain input {\n type filter hook input priority 0;\n }\n }")

    def nft(self, number, rules):
        run(*self.inside(number), "nft", "-f", "-", text=rules + "\n")

    def rule(self, receiver, rule):
        self.nft(receiver, f"add rule inet surf input {rule}")

    # -- faults

    def cut(self, a, b, one_way=False):
        self.rule(b, f"ip saddr {self.address(a)} drop")
        if not one_way:
            self.rule(a, f"ip saddr {self.address(b)} drop")

    def split(self, *groups):
        for left, right in itertools.combinations(groups, 2):
            for a, b in itertools.product(left, right):
                self.cut(a, b)

    def isolate(self, number):
        self.split([number], [m for m in self.machines if m != number])

    def lose(self, percent, machines):
        """Of the packets that these receive from one another."""
        addresses = ", ".join(self.address(n) for n in machines)
        for number in machines:
            self.rule(number, f"ip saddr {{ {addresses} }} numgen random mod 100 < {percent} drop")

    def received(self, number):
        """Bytes that have come from other machines."""
        text = run("ip", "-n", self.namespace(number), "-s", "-j", "link", "show", "eth0").stdout
        return json.loads(text)[0]["stats64"]["rx"]["bytes"]

    def slow(self, number, kib_per_second):
        """What it sends and what it gets; heal doesn't end it."""
        for where, device in ((self.namespace(number), "eth0"), (self.namespace(0), f"port{number}")):
            run(*inside(where), "tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{kib_per_second * 8}kbit", "burst", "16kb",
                "latency", "2s")

    def unslow(self, number):
        for where, device in ((self.namespace(number), "eth0"), (self.namespace(0), f"port{number}")):
            run(*inside(where), "tc", "qdisc", "del", "dev", device, "root", check=False)

    def heal(self):
        for number in self.machines:
            self.nft(number, "flush chain inet surf input")


class Node(clusters.Node):
    """surfd on a machine of its own."""

    def __init__(self, cluster, number, extra):
        super().__init__(cluster, number, PORT, extra)
        self.address = f"{cluster.net.address(number)}:{PORT}"
        self.offset_s = 0  # of CLOCK_MONOTONIC and CLOCK_BOOTTIME at its next start, from the machine's; not negative
        self.time_of_day = None  # a file that says how wrong its time of day is; see fake_time_of_day

    def fake_time_of_day(self):
        """From its next start on, step_time_of_day works. libfaketime reads the file about once a second."""
        self.time_of_day = self.cluster.dir / f"time-of-day-{self.id}"
        self.step_time_of_day(0)

    def step_time_of_day(self, seconds):
        written = self.time_of_day.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.rename(self.time_of_day)

    def clocks(self):
        """What to put before the command for its clocks."""
        before = []
        if self.offset_s:
            before += ["unshare", "-T", f"--boottime={self.offset_s}", f"--monotonic={self.offset_s}", "--"]
        if self.time_of_day:
            before += ["env", f"LD_PRELOAD={FAKETIME[0]}", "DONT_FAKE_MONOTONIC=1", f"FAKETIME_TIMESTAMP_FILE={self.time_of_day}",
                       "FAKETIME_CACHE_DURATION=1"]
        return before

    def remove_shared_clock(self):
        """What libfaketime left of a process that was killed; the next one of that number would not start."""
        for name in (f"faketime_shm_{self.process.pid}", f"sem.faketime_sem_{self.process.pid}") if self.process and self.time_of_day else ():
            pathlib.Path("/dev/shm", name).unlink(missing_ok=True)

    def start(self):
        assert not self.running()
        self.remove_shared_clock()
        command = [*self.cluster.net.inside(self.id), *self.clocks(), clusters.BIN / "surfd", "--insecure-listen-everywhere-without-tls",
                   "-p", self.port, "--id", self.id, "--data", self.data, "--peers", self.cluster.peers, *self.extra]
        self.process = clusters.Process(f"node{self.id}", command, self.log, env=self.cluster.env)
        clusters.wait_until(f"node {self.id} to listen", self.listening)

    def listening(self):
        assert self.running(), f"node {self.id} ended with {self.process.popen.returncode}:\n{self.process.tail()}"
        return run(*self.cluster.net.inside(self.id), "ss", "-Hltn", f"sport = :{self.port}", check=False).stdout.strip()


class Cluster(clusters.Cluster):
    """Nodes 1 to count on machines of those numbers; administration from the machine that is never cut off."""

    def __init__(self, directory, net, count=3, extra=()):
        self.net = net
        super().__init__(directory, count, extra)
        self.peers = ",".join(f"{i}={net.address(i)}:{PORT}" for i in range(1, count + 1))
        self.nodes = {i: Node(self, i, extra) for i in range(1, count + 1)}

    def surfctl(self, *args, check=True, timeout=60):
        command = [*self.net.inside(self.net.admin), clusters.BIN / "surfctl", "-m", self.addresses, *args]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env,
                              timeout=timeout * clusters.PATIENCE)
        if check:
            assert done.returncode == 0, f"surfctl {args}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def program(self, machine, name, *command):
        """A process on a machine, with a log."""
        log = self.dir / f"{name}.log"
        return clusters.Process(name, [*self.net.inside(machine), *command], log, env=self.env)


@contextlib.contextmanager
def cluster(directory, count=3, machines=None, extra=(), fake_time=False):
    """A formed cluster of `count` nodes on a network with that many machines or more."""
    with Network(machines or count) as net:
        made, ended_well = Cluster(directory, net, count, extra), False
        try:
            for node in made.nodes.values() if fake_time and FAKETIME else []:
                node.fake_time_of_day()
            made.start()
            made.wait_formed()
            yield made
            ended_well = True
        finally:
            net.heal()
            made.close(check=ended_well)
            for node in made.nodes.values():
                node.remove_shared_clock()
