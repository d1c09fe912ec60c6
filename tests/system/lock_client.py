"""A process that locks as it is told: one JSON list per line, ["name", arguments...], one line of answer each. Runs on its own, since fcntl
locks belong to processes."""

import errno
import fcntl
import json
import os
import signal
import struct
import sys

TYPES = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}
FLOCKS = {"r": fcntl.LOCK_SH, "w": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
FLOCK = "hhqqi4x"  # struct flock on 64 bit
OFD_SETLK = 37


def record(kind, start, length):
    return struct.pack(FLOCK, TYPES[kind], os.SEEK_SET, start, length, 0)


def alarm(seconds):
    """Again and again: one that comes just before the call that it is to interrupt would leave that waiting for ever."""
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def do_open(path, flags="rw"):
    return os.open(path, {"r": os.O_RDONLY, "rw": os.O_RDWR | os.O_CREAT}[flags], 0o644)


def do_lock(fd, kind, start=0, length=0):
    fcntl.fcntl(fd, fcntl.F_SETLK, record(kind, start, length))


def do_wait(fd, kind, start=0, length=0, seconds=0):
    """With an alarm: EINTR after so many seconds."""
    alarm(seconds)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLKW, record(kind, start, length))
    finally:
        alarm(0)


def do_ofd(fd, kind, start=0, length=0):
    fcntl.fcntl(fd, OFD_SETLK, record(kind, start, length))


def do_get(fd, kind, start=0, length=0):
    found = struct.unpack(FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, record(kind, start, length)))
    return [next(name for name, value in TYPES.items() if value == found[0]), found[2], found[3], found[4]]


def do_flock(fd, kind, wait=False, seconds=0):
    alarm(seconds)
    try:
        fcntl.flock(fd, FLOCKS[kind] | (0 if wait else fcntl.LOCK_NB))
    finally:
        alarm(0)


def do_close(fd):
    os.close(fd)


def do_dup(fd):
    return os.dup(fd)


def do_read(fd, offset, length):
    return os.pread(fd, length, offset).decode("latin-1")


def do_write(fd, offset, text):
    return os.pwrite(fd, text.encode("latin-1"), offset)


def do_fsync(fd):
    os.fsync(fd)


def do_count(path, times, flock=False):
    """Adds one to the number in the file so often, under its lock."""
    fd = os.open(path, os.O_RDWR)
    for _ in range(times):
        do_flock(fd, "w", True) if flock else do_wait(fd, "w")
        number = int(os.pread(fd, 20, 0) or b"0") + 1
        os.pwrite(fd, b"%d" % number, 0)
        do_flock(fd, "u") if flock else do_lock(fd, "u")
    os.close(fd)


class Interrupted(Exception):
    pass


def on_alarm(number, frame):
    alarm(0)
    raise Interrupted


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = ["ok", globals()[f"do_{name}"](*arguments)]
        except Interrupted:
            answer = ["EINTR", None]
        except OSError as e:
            answer = [errno.errorcode[e.errno], None]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
