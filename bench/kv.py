#!/usr/bin/python3
"""make bench-kv: keys over the text protocol and HTTP, with many connections, and the same work done by etcd beside it (over gRPC, up to
eight connections for all clients). Values of 128 bytes, three nodes each on this machine and disk; put of new keys, linearizable get of one.
SurfFS's own library ("keys") is shown too: what the gateways cost. Rounds in turn, medians."""

import argparse
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT / "bench")]


class Gateways:
    """Three nodes with all gateways."""

    def __init__(self, clusters, directory):
        self.cluster = clusters.Cluster(directory / "surf", 3)
        self.ports = {}
        for number, node in self.cluster.nodes.items():
            http, text = clusters.free_ports(2)
            self.ports[number] = {"http": http, "text": text}
            node.extra += ["--http-port", http, "--text-port", text]
        self.cluster.start()
        self.cluster.wait_formed()

    def pids(self):
        return [n.process.pid for n in self.cluster.nodes.values()]

    def address(self, protocol):
        leader = self.cluster.wait_leader()
        return self.cluster.nodes[leader].address if protocol == "keys" else f"127.0.0.1:{self.ports[leader][protocol]}"

    def close(self):
        self.cluster.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--clients", type=lambda s: [int(c) for c in s.split(",")], default=[1, 64, 512])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    os.environ["SURF_BIN"] = str(options.bin)
    import cluster as clusters
    import raft

    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-kv-", dir=os.environ.get("SURF_BENCH_DIR", str(ROOT / "build"))))
    bench, found, systems = raft.Bench(options, clusters, directory), {}, []
    try:
        surf, etcd = Gateways(clusters, directory), None
        systems.append(surf)
        if shutil.which("etcd"):
            etcd = raft.Etcd(clusters, directory)
            systems.append(etcd)
        for _ in range(options.rounds):
            for operation in ("put", "get"):
                for clients in options.clients:
                    for name in ("text", "http", "keys", "etcd"):
                        if name == "etcd" and not etcd:
                            continue
                        system = etcd if name == "etcd" else surf
                        address = etcd.servers() if name == "etcd" else surf.address(name)
                        cpu = sum(map(raft.ticks, system.pids()))
                        result = bench.drive(name, address, operation, clients, options.seconds, 128)
                        result["server_cpu_us"] = (sum(map(raft.ticks, system.pids())) - cpu) * 1e6 / max(1, result["count"])
                        found.setdefault((operation, clients, name), []).append(result)
        print(f"{'':18}{'ops/s':>10}{'p50 us':>10}{'p99 us':>10}{'CPU us/op':>11}{'to etcd':>9}")
        for (operation, clients, name), results in found.items():
            median = {field: statistics.median(r[field] for r in results) for field in ("per_second", "p50_us", "p99_us", "server_cpu_us")}
            other = found.get((operation, clients, "etcd"))
            ratio = f"{median['per_second'] / statistics.median(r['per_second'] for r in other):9.2f}" if other and name != "etcd" else ""
            print(f"{operation} {name} {clients:>4}".ljust(18) + f"{median['per_second']:10.0f}{median['p50_us']:10.0f}{median['p99_us']:10.0f}"
                  f"{median['server_cpu_us']:11.0f}{ratio}")
    finally:
        for system in systems:
            system.close()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
