#!/usr/bin/python3
"""make bench-visibility: when does a mount see what another mount has done? Two mounts take turns: a call returns on one (close
of a file that was written, rename, unlink, create), then the other looks, with names, attributes, contents and a listing of
what it had looked at before, so that it could be wrong. Counts the stale answers, of which there must be none, and gives the
times of the looks. Then how long a reader that has a file open waits for what is written into it."""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
FILES = 16
RECORD = 64
KINDS = ["create", "close", "rename", "create", "close", "unlink"]  # of a name, one after the other


def exists(path):
    try:
        os.lstat(path)
        return True
    except FileNotFoundError:
        return False


def content(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


class Turns:
    """Two mounts' views of one directory, and what is in it."""

    def __init__(self, first, second):
        self.mounts = first, second
        os.mkdir(first / "turns")
        self.there = {}
        self.looks = {kind: [] for kind in KINDS}
        self.stale = 0

    def change(self, n):
        """On one mount. What happened, and the names that it is about."""
        here, name = self.mounts[n % 2] / "turns", f"f{n % FILES}"
        kind = KINDS[n // FILES % len(KINDS)]
        if kind == "create":
            os.close(os.open(here / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            self.there[name] = b""
        elif kind == "close":
            fd = os.open(here / name, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b"%d" % n)
            os.close(fd)
            self.there[name] = b"%d" % n
        elif kind == "unlink":
            os.unlink(here / name)
            del self.there[name]
        else:
            moved = f"m{n % FILES}"
            os.rename(here / name, here / moved)
            self.there[moved] = self.there.pop(name)
            name = moved
        return kind, name

    def look(self, n):
        kind, name = self.change(n)
        other = self.mounts[(n + 1) % 2] / "turns"
        begun = time.perf_counter_ns()
        # The first call is the one that is measured; the others look for what could still be old.
        right = exists(other / name) == (name in self.there)
        self.looks[kind].append(time.perf_counter_ns() - begun)
        if name in self.there:
            right = right and content(other / name) == self.there[name] and os.stat(other / name).st_size == len(self.there[name])
        right = right and set(os.listdir(other)) == set(self.there)
        if kind == "rename":
            right = right and not exists(other / f"f{n % FILES}")
        self.stale += not right


def open_reader_waits(first, second, count):
    """The times from the return of a write until the other mount's pread has it; the file stays open in both."""
    waits = []
    with open(first / "log", "wb", buffering=0) as writer:
        writer.write(b"." * RECORD)
        with open(second / "log", "rb", buffering=0) as reader:
            for n in range(1, count + 1):
                record = (b"%d" % n).ljust(RECORD)
                writer.write(record)
                begun = time.perf_counter_ns()
                while os.pread(reader.fileno(), RECORD, n * RECORD) != record:
                    pass
                waits.append(time.perf_counter_ns() - begun)
    return waits[3:]  # by the first looks the writer's mount learns that somebody looks


def quantiles(values):
    values = sorted(values)
    return {"count": len(values), "p50_us": values[len(values) // 2] / 1000, "p99_us": values[len(values) * 99 // 100] / 1000, "max_us": values[-1] / 1000}


def say(what, values):
    q = quantiles(values)
    print(f"{what:40} {q['count']:8} {q['p50_us']:10.0f} {q['p99_us']:10.0f} {q['max_us']:10.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--tries", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=1000, help="that the open reader waits for")
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    work = pathlib.Path(tempfile.mkdtemp(prefix="surf-visibility-"))
    cluster = clusters.Cluster(work / "cluster", 3)
    try:
        cluster.start()
        cluster.wait_formed()
        first, second = cluster.mount("a"), cluster.mount("b")
        turns = Turns(first, second)
        tries = 0
        try:
            while tries < options.tries:
                turns.look(tries)
                tries += 1
        except KeyboardInterrupt:
            pass  # so many it is, then
        print(f"{'microseconds':40} {'tries':>8} {'p50':>10} {'p99':>10} {'max':>10}")
        for kind, looks in turns.looks.items():
            if looks:
                say(f"the other mount's stat after {kind}", looks)
        say("an open reader's wait for a write", open_reader_waits(first, second, options.records))
        print(f"{turns.stale} stale answers in {tries} tries; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)
    return 1 if turns.stale else 0


if __name__ == "__main__":
    sys.exit(main())
