#!/usr/bin/python3
"""make bench-raft: durable small commands and linearizable reads on three nodes of this machine, without FUSE, and the same
on three nodes of etcd beside it; how long the metastore takes to restart with many files, and its memory.

The two systems are measured one after the other in each round, and fdatasync of the same disk before each; medians are shown.
Driver: bench/raft/main.c, one thread, which must not be what is measured: its CPU time is shown too."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Surf:
    name = "surf"

    def __init__(self, clusters, directory):
        self.clusters = clusters
        self.cluster = clusters.Cluster(directory / "surf", 3, ["-s", "both"])
        self.cluster.start()
        self.cluster.wait_formed()

    def pids(self):
        return [n.process.pid for n in self.cluster.nodes.values()]

    def servers(self):
        leader = self.cluster.wait_leader()
        return self.cluster.nodes[leader].address

    def entries(self):
        """(entries in the log so far, writes of it that were synced)"""
        state = self.cluster.state(self.cluster.wait_leader(), log=0)
        return state["last"], state.get("log_writes", 0)

    def close(self):
        self.cluster.close()


class Etcd:
    name = "etcd"

    def __init__(self, clusters, directory):
        self.clusters = clusters
        client, peer = clusters.free_ports(3), clusters.free_ports(3)
        self.ports = client
        everyone = ",".join(f"n{i}=http://127.0.0.1:{p}" for i, p in enumerate(peer))
        self.processes = []
        for i in range(3):
            data = directory / f"etcd{i}"
            command = ["etcd", "--name", f"n{i}", "--data-dir", data, "--listen-client-urls", f"http://127.0.0.1:{client[i]}",
                       "--advertise-client-urls", f"http://127.0.0.1:{client[i]}", "--listen-peer-urls", f"http://127.0.0.1:{peer[i]}",
                       "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer[i]}", "--initial-cluster", everyone,
                       "--initial-cluster-state", "new", "--log-level", "error"]
            self.processes.append(clusters.Process(f"etcd{i}", command, directory / f"etcd{i}.log", env=dict(os.environ)))
        clusters.wait_until("etcd to have a leader", self.servers, 60)

    def pids(self):
        return [p.pid for p in self.processes]

    def status(self, port):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/maintenance/status", data=b"{}")
        with urllib.request.urlopen(request, timeout=2) as reply:
            return json.load(reply)

    def servers(self):
        for port in self.ports:
            try:
                status = self.status(port)
            except OSError:
                continue
            if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return f"127.0.0.1:{port}"
        return None

    def entries(self):
        return 0, 0

    def close(self):
        for process in self.processes:
            process.terminate()


class Bench:
    def __init__(self, options, clusters, directory):
        self.options, self.clusters, self.directory = options, clusters, directory
        self.driver = options.bin / "surf-bench-raft"
        self.results = {}

    def drive(self, *arguments):
        before = os.times()
        done = subprocess.run([str(a) for a in (self.driver, *arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"surf-bench-raft {arguments}: {done.stderr}")
        after = os.times()
        result = json.loads(done.stdout)
        result["driver_cpu_us"] = (after.children_user + after.children_system - before.children_user - before.children_system) * 1e6 / max(1, result["count"])
        return result

    def measure(self, system, operation, clients):
        pids = system.pids()
        cpu, (entries, writes) = sum(map(ticks, pids)), system.entries()
        result = self.drive(system.name, system.servers(), operation, clients, self.options.seconds, 128)
        result["server_cpu_us"] = (sum(map(ticks, pids)) - cpu) * 1e6 / max(1, result["count"])
        more_entries, more_writes = system.entries()
        if more_writes > writes:
            result["batch"] = (more_entries - entries) / (more_writes - writes)
        self.results.setdefault((system.name, operation, clients), []).append(result)

    def run(self, systems):
        sync = []
        for number in range(self.options.rounds):
            for clients in self.options.clients:
                for operation in ("put", "get"):
                    for system in systems:
                        sync.append(self.drive("fdatasync", self.directory / "sync", 1)["p50_us"])
                        self.measure(system, operation, clients)
            print(f"round {number + 1} of {self.options.rounds} is done", file=sys.stderr, flush=True)
        self.show(statistics.median(sync))

    def median(self, name, operation, clients, field):
        values = [r[field] for r in self.results.get((name, operation, clients), []) if field in r]
        return statistics.median(values) if values else None

    def show(self, sync_us):
        print(f"fdatasync of 4 KiB on this disk: p50 {sync_us:.0f} us")
        print(f"{'':18}{'ops/s':>9}{'p50 us':>9}{'p99 us':>9}{'CPU us/op':>11}{'driver':>8}{'batch':>7}{'p50/sync':>10}{'times etcd':>12}{'its p50':>9}")
        for operation in ("put", "get"):
            for clients in self.options.clients:
                for name in ("surf", "etcd"):
                    get = lambda field: self.median(name, operation, clients, field)
                    if get("per_second") is None:
                        continue
                    line = f"{name} {operation} {clients:>4}".ljust(18) + f"{get('per_second'):9.0f}{get('p50_us'):9.0f}{get('p99_us'):9.0f}" \
                        f"{get('server_cpu_us'):11.0f}{get('driver_cpu_us'):8.0f}{get('batch') or 0:7.1f}"
                    if operation == "put":
                        line += f"{get('p50_us') / sync_us:10.2f}"
                    else:
                        line += " " * 10
                    other = self.median("etcd", operation, clients, "per_second")
                    if name == "surf" and other:
                        line += f"{get('per_second') / other:12.2f}{get('p50_us') / self.median('etcd', operation, clients, 'p50_us'):9.2f}"
                    print(line)

    def files(self, count):
        """Memory with so many files in the metastore, and how long a node takes to serve again."""
        system = Surf(self.clusters, self.directory / "files")
        try:
            begun, made = time.monotonic(), 0
            while made < count:
                made += self.drive("surf", system.servers(), "put", 256, 10, 32)["count"]
            took = time.monotonic() - begun
            rss = {n.id: round(rss_mib(n.process.pid)) for n in system.cluster.nodes.values()}
            leader = system.cluster.wait_leader()
            node = next(n for n in system.cluster.nodes.values() if n.id != leader)
            node.kill()
            begun = time.monotonic()
            node.start()
            system.cluster.wait_caught_up(120)
            after_kill = time.monotonic() - begun
            node.stop()
            begun = time.monotonic()
            node.start()
            system.cluster.wait_caught_up(120)
            after_stop = time.monotonic() - begun
            print(f"{made} files in {took:.0f} s; RSS in MiB {rss}, {round(rss_mib(node.process.pid))} after a restart; serves again "
                  f"{after_kill:.2f} s after kill -9, {after_stop:.2f} s after a clean stop")
        finally:
            system.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--clients", type=lambda s: [int(c) for c in s.split(",")], default=[1, 8, 64, 256])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=0, help="measure memory and restart with so many files instead")
    parser.add_argument("--without-etcd", action="store_true")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    os.environ["SURF_BIN"] = str(options.bin)
    import cluster as clusters

    work = os.environ.get("SURF_BENCH_DIR", str(ROOT / "build"))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-raft-", dir=work))
    bench = Bench(options, clusters, directory)
    systems = []
    try:
        if options.files:
            bench.files(options.files)
            return
        systems.append(Surf(clusters, directory))
        if not options.without_etcd:
            systems.append(Etcd(clusters, directory))
        bench.run(systems)
    finally:
        for system in systems:
            system.close()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
