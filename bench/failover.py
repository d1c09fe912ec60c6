#!/usr/bin/python3
"""make bench-failover: how long the users of a mount wait when the leader of three nodes is killed (kill -9), or stops (SIGSTOP),
with default timers. Idle: one user makes a directory ten times a second. Loaded: eight users make and remove files all the
time. The stall is the longest time from one completed call to the next of the same user, around each fault."""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))


class User(threading.Thread):
    def __init__(self, path, number, pause_s):
        super().__init__(daemon=True)
        self.path, self.number, self.pause_s = path, number, pause_s
        self.done_s, self.longest_s, self.calls, self.stop, self.error = time.monotonic(), 0.0, 0, False, None

    def run(self):
        while not self.stop:
            begun = time.monotonic()
            name = f"{self.path}/u{self.number}.{self.calls}"
            try:
                os.mkdir(name)
                os.rmdir(name)
            except OSError as e:
                self.error = e
                return
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - begun)
            self.calls += 1
            if self.pause_s:
                time.sleep(self.pause_s)  # how often an idle user does something


def part(values, p):
    return sorted(values)[min(len(values) - 1, int(p * len(values)))]


def one_series(clusters, directory, fault, users, pause_s, count):
    cluster = clusters.Cluster(directory, 3, ["-s", "both"])
    stalls = []
    try:
        cluster.start()
        cluster.wait_formed()
        mount = cluster.mount("a")
        threads = [User(mount.path, n, pause_s) for n in range(users)]
        for t in threads:
            t.start()
        for _ in range(count):
            leader = cluster.wait_leader()
            cluster.wait_caught_up(60)
            for t in threads:
                t.longest_s = 0.0
            before = {t: t.calls for t in threads}
            node = cluster.nodes[leader]
            node.kill() if fault == "kill" else node.process.signal(signal.SIGSTOP)
            clusters.wait_until("all users to get on", lambda: all(t.calls > before[t] + 2 or t.error for t in threads), 60)
            stalls.append(max(t.longest_s for t in threads))
            node.start() if fault == "kill" else node.process.signal(signal.SIGCONT)
            errors = [t.error for t in threads if t.error]
            if errors:
                sys.exit(f"a user got an error: {errors[0]!r}")
        for t in threads:
            t.stop = True
        for t in threads:
            t.join(30)
    finally:
        cluster.close()
    return stalls


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=20)
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-failover-", dir=os.environ.get("SURF_BENCH_DIR", str(ROOT / "build"))))
    try:
        for fault, count in (("kill", options.kills), ("stop", options.stops)):
            for load, users, pause_s in (("idle", 1, 0.1), ("loaded", 8, 0)):
                if count == 0:
                    continue
                s = one_series(clusters, directory / f"{fault}-{load}", fault, users, pause_s, count)
                print(f"{fault:5} {load:7} {count:4} times: p50 {part(s, 0.5):.2f} s, p90 {part(s, 0.9):.2f} s, p99 {part(s, 0.99):.2f} s, "
                      f"max {max(s):.2f} s", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
