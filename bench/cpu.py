#!/usr/bin/python3
"""make bench-cpu: CPU time per GiB written and read cold, of three nodes and a mount on this machine, by what it goes to. The CPU time is
the scheduler's; perf's samples say how it is split. Beside it what the aim compares with: SHA-256 and three copies of a GiB."""

import argparse
import collections
import ctypes
import glob
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
MIB = 1 << 20
COPIES = ("memmove", "memcpy", "memset", "copy_to_iter", "copy_from_iter", "copy_folio", "copy_page", "fuse_copy", "copy_user", "pi_memcpy")
LIBRARIES = {"libcrypto": "hashing", "librocksdb": "RocksDB", "libzstd": "zstd"}
KINDS = ("hashing", "copying", "RocksDB", "zstd", "kernel", "rest")


def cpu_s(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            total += int(pathlib.Path(path).read_text().split()[0])
        except OSError:
            pass  # the thread has ended
    return total / 1e9


def kind_of(library, symbol):
    if any(part in symbol for part in COPIES):
        return "copying"
    if "kernel" in library:
        return "kernel"
    return next((kind for part, kind in LIBRARIES.items() if part in library), "rest")


def shares(data, pids):
    """kind -> its part of the samples of these processes."""
    done = subprocess.run(["perf", "report", "-i", str(data), "--no-children", "-g", "none", "--sort", "dso,sym", "-F", "sample,dso,sym", "-t", "\t",
                           "--pid", ",".join(map(str, pids))], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    counts = collections.Counter()
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3 and fields[0].isdigit():
            counts[kind_of(fields[1], fields[2])] += int(fields[0])
    total = sum(counts.values()) or 1
    return {kind: counts[kind] / total for kind in KINDS}


def reference_s():
    """CPU seconds of a GiB's SHA-256, and of one copy of it out of 64 MiB that no cache holds."""
    block, many = os.urandom(MIB), 64
    begun = time.process_time()
    for _ in range(256):
        hashlib.sha256(block)
    sha = (time.process_time() - begun) * 4
    source, target = ctypes.create_string_buffer(os.urandom(MIB) * many, MIB * many), ctypes.create_string_buffer(MIB * many)
    begun = time.process_time()
    for n in range(1024):
        at = n % many * MIB
        ctypes.memmove(ctypes.addressof(target) + at, ctypes.addressof(source) + at, MIB)
    return sha, time.process_time() - begun


class Measure:
    def __init__(self, options, cluster, mount):
        self.options, self.cluster, self.mount = options, cluster, mount
        self.rows = []

    def run(self, name, workload):
        groups = {"mount": [self.mount.process.pid], "three nodes": [n.process.pid for n in self.cluster.nodes.values()]}
        pids = [pid for group in groups.values() for pid in group]
        data = self.cluster.dir / "perf.data"
        perf = subprocess.Popen(["perf", "record", "-e", "cpu-clock", "-F", "999", "-o", str(data), "-p", ",".join(map(str, pids))],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = {group: sum(map(cpu_s, members)) for group, members in groups.items()}
        subprocess.run([str(self.options.bin / "surf-bench-files"), workload, str(self.mount.path), str(self.options.mib)],
                       stdout=subprocess.DEVNULL, check=True)
        used = {group: sum(map(cpu_s, members)) - before[group] for group, members in groups.items()}
        perf.send_signal(signal.SIGINT)
        perf.wait(60)
        for group, members in groups.items():
            per_gib = used[group] * 1024 / self.options.mib
            self.rows.append((f"{name}, {group}", per_gib, {kind: part * per_gib for kind, part in shares(data, members).items()}))

    def table(self):
        print(f"| CPU s per GiB | all | {' | '.join(KINDS)} |\n|{' --- |' * (len(KINDS) + 2)}")
        for name, total, kinds in self.rows:
            print(f"| {name} | {total:.2f} | {' | '.join(f'{kinds[kind]:.2f}' for kind in KINDS)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "bench-results", help="on the disk to measure")
    options = parser.parse_args()
    if not shutil.which("perf"):
        raise SystemExit("perf is missing (Debian: linux-perf)")
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    options.directory.mkdir(exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="cpu-", dir=options.directory))
    cluster = clusters.Cluster(work / "cluster", 3)
    try:
        cluster.start()
        cluster.wait_formed()
        measure = Measure(options, cluster, cluster.mount("m"))
        measure.run("written", "stream-write")
        measure.mount.stop()
        measure.mount.start()
        measure.run("read cold", "stream-read")
        measure.table()
        sha, copy = reference_s()
        print(f"\nSHA-256 {sha:.2f}, one copy {copy:.2f}; with three copies {sha + 3 * copy:.2f} s per GiB")
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
