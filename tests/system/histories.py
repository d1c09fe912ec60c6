"""Clients that write down what they ask and what they are told (tests/tools/lin_client), and the verdict on it (tests/lin)."""

import os
import random
import re
import signal
import subprocess
import time

import cluster as clusters

CHECKER = clusters.BIN.parent / "test-bin" / "lin"
VERDICTS = {0: "ok", 1: "BAD", 2: "unknown"}


class Clients:
    """Some clients of one history, each on the machine that it is given. Every other one only looks, so that it isn't
    held up by a node that can't commit, and goes on reading there. Every third one reads from any member."""

    def __init__(self, cluster, model, machines, seed, timeout_ms=4000, pause_us=8000, objects=2, names=4, numbers_from=0, lookers=True):
        self.cluster, self.model, self.machines, self.seed = cluster, model, machines, seed
        self.options = ["--timeout-ms", timeout_ms, "--pause-us", pause_us, "--objects", objects, "--names", names]
        self.numbers, self.lookers = numbers_from, lookers
        self.files = []
        self.running = {}  # name -> (process, machine)
        for machine in machines:
            self.start(machine)

    def start(self, machine, addresses=None):
        """A client with a number that none has had: one that was killed must not use a tag again. Its name."""
        self.numbers += 1
        name = f"c{self.numbers}"
        file = self.cluster.dir / f"{self.model}-{name}.txt"
        self.files.append(file)
        process = self.cluster.program(
            machine, f"client-{name}", clusters.BIN / "surf-lin-client", "-m", addresses or self.cluster.addresses, "--model", self.model, "--client", name,
            "--looks", 100 if self.lookers and self.numbers % 2 == 0 else 40, "--number", self.numbers, "--seed", self.seed, "--out", file, "--seconds", 100000,
            "--any-member", int(self.numbers % 3 == 0), *self.options)
        self.running[name] = process, machine
        return name

    def operations(self):
        """Calls noted so far."""
        return sum(f.read_bytes().count(b" invoke ") for f in self.files if f.exists())

    def answered(self):
        return sum(f.read_bytes().count(b" ok ") for f in self.files if f.exists())

    def wait_for(self, more, seconds=30):
        """Until this many more operations have succeeded."""
        goal = self.answered() + more
        clusters.wait_until(f"{more} operations to succeed", lambda: self.answered() >= goal, seconds)

    def kill_one(self, rng):
        """kill -9 of a client, and another in its place."""
        name = rng.choice(sorted(self.running))
        machine = self.running[name][1]
        self.end(name)
        self.start(machine)

    def end(self, name):
        process, _ = self.running.pop(name)
        process.kill()

    def some(self, rng):
        return self.running[rng.choice(sorted(self.running))][0]

    def stop(self):
        for process, _ in self.running.values():
            process.signal(signal.SIGTERM)
        for process, _ in self.running.values():
            code = process.terminate(30)
            assert code == 0, f"{process.name} ended with {code}:\n{process.tail(500)}"
        self.running = {}

    def kill(self):
        for process, _ in self.running.values():
            process.kill()
        self.running = {}

    def verdict(self, *others):
        """(verdict, what the checker says), of these clients' history, together with that of others"""
        files = [str(f) for clients in [self, *others] for f in clients.files if f.exists()]
        done = subprocess.run([str(CHECKER), self.model.removeprefix("kv-"), *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=300 * clusters.PATIENCE)
        assert done.returncode in VERDICTS, done.stdout
        return VERDICTS[done.returncode], done.stdout

    def lines(self):
        return sum(f.read_bytes().count(b"\n") for f in self.files if f.exists())

    def check(self, at_least, say):
        """Stops all; the history must be linearizable, and of some length: on a busy machine that takes a while longer."""
        end = time.monotonic() + 20 * clusters.PATIENCE
        while self.lines() < 3 * at_least and time.monotonic() < end:  # two for each operation, and some that fail
            time.sleep(0.1)
        self.stop()
        verdict, text = self.verdict()
        say(f"  {self.model}, seed {self.seed}: {text.splitlines()[0]}")
        assert verdict == "ok", f"seed {self.seed}: {text}\nin {self.cluster.dir}"
        operations, = re.findall(r"(\d+) operations", text)
        assert int(operations) >= at_least, f"{operations} operations say little: {text}"


class Service:
    """What the clients of some histories got between two moments: how many operations, how long they took, and in which part of
    the time (in windows of 100 ms) anything succeeded at all."""

    WINDOW_NS = 100_000_000

    def __init__(self, clients, begun_ns, ended_ns):
        self.latencies_ms, windows = [], set()
        for file in clients.files:
            call = None
            for line in file.read_text().splitlines():
                time_ns, _, kind = line.split(" ", 3)[:3]
                time_ns = int(time_ns)
                if kind == "invoke":
                    call = time_ns
                elif kind != "info" and begun_ns <= time_ns <= ended_ns:
                    self.latencies_ms.append((time_ns - call) / 1e6)
                    windows.add((time_ns - begun_ns) // self.WINDOW_NS)
        self.latencies_ms.sort()
        self.availability = len(windows) / ((ended_ns - begun_ns) // self.WINDOW_NS + 1)

    def latency_ms(self, part):
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(part * len(self.latencies_ms)))] if self.latencies_ms else float("inf")

    def __str__(self):
        return f"{len(self.latencies_ms)} operations, available {self.availability:.1%}, p50 {self.latency_ms(0.5):.1f} ms, " \
               f"p99 {self.latency_ms(0.99):.1f} ms, max {self.latency_ms(1):.0f} ms"


def now_ns():
    """The clock of the histories."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def seeded(request):
    """A generator whose seed is printed when the test fails; SURF_SEED replays its choices (not the timing)."""
    seed = int(os.environ.get("SURF_SEED", random.SystemRandom().randrange(1 << 30)))
    request.node.user_properties.append(("seed", seed))
    return seed, random.Random(seed)
