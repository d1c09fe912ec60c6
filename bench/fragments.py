#!/usr/bin/python3
"""make bench-fragments: how fast a file is read from one end to the other that random page writes (as of a database) have cut into
pieces: beside a fresh one, before the pieces were merged in the background, and after. Three nodes and the mounts are on this machine.
The files are read cold, in turn, several times. With --mib 1024 --writes 1000000 it takes some minutes. With --sqlite the file is a database
of SQLite, with a row per page, and the writes are updates of rows chosen at random."""

import argparse
import json
import os
import pathlib
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
KIB, MIB = 1024, 1024 * 1024
PAGE = 4 * KIB


def write_whole(path, mib):
    with open(path, "wb", buffering=0) as f:
        for _ in range(mib):
            f.write(os.urandom(MIB))
        os.fsync(f.fileno())


def write_pages(path, count, sync_each):
    pages, page = os.stat(path).st_size // PAGE, os.urandom(PAGE - 8)
    source = random.Random(1)
    fd = os.open(path, os.O_RDWR)
    for number in range(1, count + 1):
        os.pwrite(fd, number.to_bytes(8, "big") + page, source.randrange(pages) * PAGE)
        if number % sync_each == 0:
            os.fsync(fd)
    os.fsync(fd)
    os.close(fd)


def write_database(path, mib):
    """A page of 4 KiB holds one row."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA page_size = 4096")
    db.execute("CREATE TABLE pages (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    with db:
        db.executemany("INSERT INTO pages VALUES (?, ?)", ((row, os.urandom(4000)) for row in range(mib * MIB // PAGE)))
    db.close()


def update_rows(path, count, commit_each):
    """With SQLite's defaults: a rollback journal, and what commits is synced."""
    db, source, body = sqlite3.connect(path), random.Random(1), os.urandom(3992)
    rows = db.execute("SELECT count(*) FROM pages").fetchone()[0]
    for begin in range(0, count, commit_each):
        with db:
            db.executemany("UPDATE pages SET body = ? WHERE id = ?",
                           ((number.to_bytes(8, "big") + body, source.randrange(rows)) for number in range(begin, min(begin + commit_each, count))))
    assert db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    db.close()


def extents(c):
    """As the members that could be checked now say; one that is busy may be behind for the moment."""
    while True:
        done = c.surfctl("--json", "fsck", "--metadata-only", timeout=300, check=False)
        counts = [m["extents"] for m in json.loads(done.stdout)["metadata"]["members"] if m["checked"]] if done.stdout else []
        if counts:
            return max(counts)
        time.sleep(0.5)


def read_cold(mount, name, options):
    """MB/s of one pass, by a mount of its own."""
    mount.stop()
    subprocess.run(["sync"], check=True)
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        pass
    mount.start(*options)
    begun, size = time.monotonic(), 0
    with open(mount / name, "rb", buffering=0) as f:
        while data := f.read(MIB):
            size += len(data)
    spent = time.monotonic() - begun
    return {"mb_per_s": size / spent / 1e6, "blocks": mount.counters()["blocks"]}


def compare(c, reader, names, rounds):
    results = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            results[name].append(read_cold(reader, name, ("-o", "merge_after=0")))
    return {name: {key: statistics.median(r[key] for r in runs) for key in runs[0]} for name, runs in results.items()}


def show(when, count, result):
    fresh, pieces = result["fresh"], result["pieces"]
    print(f"{when}: {count} extents; fresh {fresh['mb_per_s']:.0f} MB/s ({fresh['blocks']:.0f} blocks), written at random "
          f"{pieces['mb_per_s']:.0f} MB/s ({pieces['blocks']:.0f} blocks): {pieces['mb_per_s'] / fresh['mb_per_s']:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--writes", type=int, default=64000)
    parser.add_argument("--sync-each", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sqlite", action="store_true")
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    work = pathlib.Path(tempfile.mkdtemp(prefix="surf-bench-"))
    c = clusters.Cluster(work / "cluster", 3)
    try:
        c.start()
        c.wait_formed()
        writer, reader = c.mount("writer", "-o", "merge_after=0"), c.mount("reader", "-o", "merge_after=0")
        write_whole(writer / "fresh", options.mib)
        make, change = (write_database, update_rows) if options.sqlite else (write_whole, write_pages)
        make(writer / "pieces", options.mib)
        begun = time.monotonic()
        change(writer / "pieces", options.writes, options.sync_each)
        print(f"{options.writes} pages written in {time.monotonic() - begun:.0f} s", flush=True)
        show("before", extents(c), compare(c, reader, ("fresh", "pieces"), options.rounds))
        begun = time.monotonic()
        merger = c.mount("merger", "-o", "merge_after=1")
        # One block per MiB, and long ones left at both ends of some where little was written.
        blocks = options.mib + os.stat(writer / "pieces").st_size // MIB + 1
        most = blocks * (1 if options.writes >= 200 * options.mib else 3) + 8  # a database is a bit larger, and changes its first page
        clusters.wait_until("the pieces to be merged", lambda: time.sleep(3) or extents(c) <= most, 3600)  # to look is work for the nodes
        print(f"merged in {time.monotonic() - begun:.0f} s: {merger.counters()['merged_parts']} parts", flush=True)
        merger.stop()
        show("after", extents(c), compare(c, reader, ("fresh", "pieces"), options.rounds))
    finally:
        c.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
