"""counter_client.py FILE OUT KIND SEED: adds one to the number in FILE for ever, each time under a lock of the whole file (KIND: flock or fcntl).
For each addition that was synced while the lock was held, OUT gets a line: when it began, when it had been synced, the number."""

import fcntl
import os
import random
import sys
import time

RECORD = 20


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def add(fd, kind, closes):
    """The new number. closes: by close instead of fsync, which ends the lock too, after the commit."""
    (fcntl.flock if kind == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX)
    number = int(os.pread(fd, RECORD, 0) or b"0") + 1
    if os.pwrite(fd, b"%*d" % (RECORD, number), 0) != RECORD:
        raise OSError("a short write")
    if not closes:
        os.fsync(fd)
    return number


def main():
    path, out, kind, seed = sys.argv[1:]
    rng = random.Random(int(seed))
    fd, log = -1, os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while True:
        begun_ns, closes = now_ns(), rng.random() < 0.2
        try:
            if fd < 0:
                fd = os.open(path, os.O_RDWR)
            number = add(fd, kind, closes)
            if closes:
                closing, fd = fd, -1
                os.close(closing)
            os.write(log, b"%d %d %d\n" % (begun_ns, now_ns(), number))
            if not closes:
                (fcntl.flock if kind == "flock" else fcntl.lockf)(fd, fcntl.LOCK_UN)
        except OSError as e:  # the session is lost, with the lock and what was not committed; or nobody knows
            os.write(log, b"# %d %s\n" % (now_ns(), str(e).encode()))
            if fd >= 0:
                try:
                    os.close(fd)
                except OSError:
                    pass
            fd = -1
            time.sleep(0.05)  # not a loop that only fails


main()
