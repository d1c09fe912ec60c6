#!/usr/bin/python3
"""make bench-memory: what a mount needs to keep the names and attributes of many files, and that -o inodes=N bounds it. The files
(symbolic links) are made by bench/raft's driver, 32 at a time; then one mount after the other lists them all with attributes."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
SECONDS = 10  # of each run of the driver


def memory_mib(mount):
    status = pathlib.Path(f"/proc/{mount.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def walk(top):
    """ls -lR; how many."""
    count, directories = 0, [str(top)]
    while directories:
        with os.scandir(directories.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--files", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    work = pathlib.Path(tempfile.mkdtemp(prefix="surf-memory-"))
    cluster = clusters.Cluster(work / "cluster", 3)
    try:
        cluster.start()
        cluster.wait_formed()
        leader, made = cluster.nodes[cluster.wait_leader()].address, 0
        while made < options.files:
            command = [options.bin / "surf-bench-raft", "surf", leader, "put", "256", str(SECONDS), "32"]
            made += json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["count"]
        for inodes in (options.files * 2, options.files // 10):
            mount = cluster.mount("m", "-o", f"inodes={inodes}")
            empty = memory_mib(mount)
            seen = walk(mount.path)
            full, kept = memory_mib(mount), mount.counters()
            print(f"inodes={inodes}: {seen} listed, {kept['inodes']} inodes and {kept['names']} names kept; RSS {empty:.0f} MiB before, "
                  f"{full:.0f} MiB after: {(full - empty) * 2**20 / kept['inodes']:.0f} bytes each", flush=True)
            mount.stop()
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
