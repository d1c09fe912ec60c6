"""tail_client.py write|read FILE SHARED SECONDS: one appends numbered lines to FILE and syncs each, the others read at its end. SHARED
holds how many have been synced: so many must be there for who begins to read then."""

import mmap
import os
import sys
import time

LINE = 8


def line(number):
    return b"%*d\n" % (LINE - 1, number)


def write(fd, synced, end):
    number = 0
    while time.monotonic() < end:
        os.pwrite(fd, line(number), LINE * number)
        os.fsync(fd)
        number += 1
        synced[:8] = number.to_bytes(8, "little")
    print(f"{number} lines")


def read(fd, synced, end):
    """Says what it did not find."""
    reads = 0
    while time.monotonic() < end:
        there = int.from_bytes(synced[:8], "little")
        first = max(0, there - 2)
        expected = b"".join(line(n) for n in range(first, there))
        got = os.pread(fd, 1 << 16, LINE * first)
        reads += 1
        if not got.startswith(expected):
            print(f"of {there} lines it found {first + len(got) // LINE}: {got[:2 * LINE]!r}")
    print(f"{reads} reads")


def main():
    kind, path, shared, seconds = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    with open(shared, "r+b") as f, mmap.mmap(f.fileno(), 8) as synced:
        fd = os.open(path, os.O_RDWR if kind == "write" else os.O_RDONLY)
        (write if kind == "write" else read)(fd, synced, end)


main()
