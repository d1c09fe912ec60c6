"""What the conformance tests share: the system calls that Python lacks, objects of all types, other users, times."""

import contextlib
import ctypes
import errno
import os
import pickle
import socket
import stat
import time

import pytest

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
CLOCK_REALTIME_COARSE = 5
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4

# Nobody of the machine's own: only the numbers matter.
ALICE, BOB, STAFF, GUESTS = 61001, 61002, 61101, 61102

TYPES = ["file", "dir", "fifo", "socket", "symlink", "char", "block"]
NOT_DIRECTORIES = [t for t in TYPES if t != "dir"]
MODE_OF = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "symlink": stat.S_IFLNK,
           "char": stat.S_IFCHR, "block": stat.S_IFBLK}


def make(path, kind, mode=0o644):
    """An object of this type; a symbolic link dangles."""
    if kind == "file":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    elif kind == "dir":
        os.mkdir(path, mode | 0o111)
    elif kind == "fifo":
        os.mkfifo(path, mode)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
        os.chmod(path, mode)
    elif kind == "symlink":
        os.symlink("nowhere", path)
    else:
        os.mknod(path, MODE_OF[kind] | mode, os.makedev(1, 3))


@contextlib.contextmanager
def fails(*numbers):
    """Fails with one of these errnos and no other."""
    with pytest.raises(OSError) as caught:
        yield
    names = [errno.errorcode[n] for n in numbers]
    assert errno.errorcode.get(caught.value.errno, caught.value.errno) in names, caught.value


def checked(result, *what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *what)
    return result


def rename2(old, new, flags):
    return checked(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)), str(old))


def unlinkat(path, flags):
    return checked(LIBC.unlinkat(AT_FDCWD, os.fsencode(path), flags), str(path))


def link_followed(old, new):
    """Python's os.link leaves it to the system whether it follows."""
    return checked(LIBC.linkat(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), AT_SYMLINK_FOLLOW), str(old))


def as_user(uid, action, gid=STAFF, groups=()):
    """What action() returns or raises in a child process that is somebody else."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            try:
                result = (True, action())
            except OSError as e:
                result = (False, (e.errno, str(e)))
            os.write(writer, pickle.dumps(result))
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as f:
        data = f.read()
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    done, value = pickle.loads(data)
    if not done:
        raise OSError(*value)
    return value


def kind_of(path):
    mode = os.lstat(path).st_mode
    return next(k for k, m in MODE_OF.items() if stat.S_IFMT(mode) == m)


def permissions(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def tick():
    """Waits until the kernel's coarse clock has gone on: what happens from here on has a later time than what was before."""
    now = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) == now:
        time.sleep(0)


def times(path):
    s = os.lstat(path)
    return {"m": s.st_mtime_ns, "c": s.st_ctime_ns}


@contextlib.contextmanager
def changes(**expected):
    """changes(file="mc", parent=""): which of mtime and ctime the block must change; underscores in a name stand for slashes, "here"
    for the working directory. What is not said to change must not."""
    paths = {name: "." if name == "here" else name.replace("_", "/") for name in expected}
    before = {name: times(path) for name, path in paths.items()}
    tick()
    yield
    for name, which in expected.items():
        after = times(paths[name])
        assert "".join(k for k in "mc" if after[k] != before[name][k]) == which, f"times of {name}"
        assert all(after[k] > before[name][k] for k in which), f"times of {name} went back"


def write(path, data=b""):
    with open(path, "wb", buffering=0) as f:
        f.write(data)


def read(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


@contextlib.contextmanager
def opened(path, flags, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)
