"""One system call on a mount, made when it is told to: what waits for the cluster must end when its program is interrupted.

    waiting_call.py CALL DIRECTORY   prints "ready", waits for a line, makes the call, prints what came of it

The signals have their default effect, as with cat and cp."""

import fcntl
import mmap
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
call, directory = sys.argv[1:]
path = os.path.join(directory, call)
KEPT = b"x" * 3000000


def opened(flags=os.O_RDWR, contents=b"x"):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.write(fd, contents)
    os.close(fd)
    return os.open(path, flags)


def dirty(contents=b"dirty"):
    fd = opened()
    return lambda: (os.write(fd, contents), fd)[1]


def mapped():
    fd = opened(contents=KEPT)
    m = mmap.mmap(fd, len(KEPT))

    def use():
        m[0:2] = b"ab"
        m.flush()
    return use


def prepare():
    names = {
        "lookup": lambda: os.stat(path + ".other"),
        "mkdir": lambda: os.mkdir(path),
        "create": lambda: os.open(path, os.O_CREAT | os.O_WRONLY),
        "symlink": lambda: os.symlink("x", path),
        "readdir": lambda: os.listdir(directory + "/more"),
        "statfs": lambda: os.statvfs(directory),
    }
    if call in names:
        return names[call]
    if call in ("unlink", "rename", "link"):
        os.close(opened())
        return {"unlink": lambda: os.unlink(path), "rename": lambda: os.rename(path, path + "2"), "link": lambda: os.link(path, path + "2")}[call]
    if call == "read":
        fd = os.open(os.path.join(directory, "big"), os.O_RDONLY)
        return lambda: os.read(fd, 1 << 20)
    if call in ("fsync", "close", "exit"):
        write = dirty(KEPT)
        return {"fsync": lambda: os.fsync(write()), "close": lambda: os.close(write()), "exit": write}[call]
    if call == "mmap":
        return mapped()
    fd = opened()
    return {
        "flock": lambda: fcntl.flock(fd, fcntl.LOCK_EX),
        "lock": lambda: fcntl.lockf(fd, fcntl.LOCK_EX),
        "truncate": lambda: os.ftruncate(fd, 0),
        "chmod": lambda: os.fchmod(fd, 0o600),
        "xattr": lambda: os.setxattr(fd, "user.x", b"1"),
        "fallocate": lambda: os.posix_fallocate(fd, 0, 1 << 20),
        "copy": lambda: os.copy_file_range(fd, fd, 1, offset_src=0, offset_dst=10),
        "write": lambda: [os.write(fd, bytes(1 << 20)) for _ in range(1000)],
        "append": lambda: os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"more"),
    }[call]


do = prepare()
print("ready", flush=True)
sys.stdin.readline()
try:
    do()
    print("done", flush=True)
except OSError as e:
    print(e, flush=True)
