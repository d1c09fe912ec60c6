"""Random sequences of system calls, the same on several roots in turn, and how their results are compared.

A call is a tuple of plain values: its name and arguments, with paths relative to the root. It is carried out through one mount
or another of the file system under test, and on the reference; what it returns, or its errno, must be the same."""

import contextlib
import errno
import os
import random
import stat

from calls import LIBC, RENAME_EXCHANGE, RENAME_NOREPLACE, checked

NAMES = ["a", "b", "c", "d"]
DEPTHS = [1, 1, 2, 2, 3]  # three levels are enough for every relation of two paths
HANDLES = 4
BYTES_MAX = 20_000
FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT | os.O_RDWR, os.O_CREAT | os.O_EXCL | os.O_WRONLY, os.O_TRUNC | os.O_RDWR,
         os.O_CREAT | os.O_TRUNC | os.O_WRONLY, os.O_APPEND | os.O_RDWR, os.O_CREAT | os.O_APPEND | os.O_WRONLY, os.O_DIRECTORY, os.O_NOFOLLOW]
TYPES = [stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK]


def choose_path(rng):
    path = "/".join(rng.choice(NAMES) for _ in range(rng.choice(DEPTHS)))
    return path + "/" if rng.random() < 0.03 else path


def choose_target(rng):
    return rng.choice(["../" * rng.randrange(2) + choose_path(rng), choose_path(rng), ".", "absent", "x" * 100])


def choose(rng):
    """One call."""
    path, other = choose_path(rng), choose_path(rng)
    handle, number = rng.randrange(HANDLES), rng.randrange
    return rng.choices(*zip(
        (("mkdir", path, rng.choice([0o755, 0o700, 0o1777])), 10), (("rmdir", path), 6), (("unlink", path), 8), (("link", path, other), 6),
        (("symlink", choose_target(rng), path), 5), (("rename", path, other, rng.choice([0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE])), 14),
        (("mknod", path, rng.choice(TYPES) | 0o644), 3), (("chmod", path, number(0o10000)), 4), (("chown", path, number(3), number(3)), 3),
        (("truncate", path, number(BYTES_MAX)), 4), (("utime", path, number(10**9), number(10**18)), 4), (("stat", path), 6), (("readlink", path), 3),
        (("list", path), 4), (("read", path), 6), (("write", path, number(BYTES_MAX), number(3000), number(256)), 8),
        (("open", path, handle, rng.choice(FLAGS), rng.choice([0o644, 0o600])), 8), (("close", handle), 6), (("pwrite", handle, number(BYTES_MAX), number(3000), number(256)), 8),
        (("append", handle, number(500), number(256)), 3), (("pread", handle, number(BYTES_MAX), number(5000)), 6), (("ftruncate", handle, number(BYTES_MAX)), 3),
        (("fstat", handle), 5), (("fsync", handle), 2), (("fchmod", handle, number(0o10000)), 2), (("futime", handle, number(10**18)), 2)))[0]


def attributes(s):
    """What must be the same everywhere. A directory's size is its file system's own affair; times that were not given are
    only ordered (times_in_order)."""
    size = None if stat.S_ISDIR(s.st_mode) else s.st_size
    return s.st_mode, s.st_uid, s.st_gid, s.st_nlink, size, os.major(s.st_rdev), os.minor(s.st_rdev)


class Root:
    """One file system: the mounts by which it is reached, and handles that are open on one of them."""

    def __init__(self, *paths):
        self.paths = [str(p) for p in paths]
        self.handles = {}

    def close(self):
        for fd in self.handles.values():
            os.close(fd)
        self.handles = {}

    def do(self, call, turn):
        """Its result: a plain value, or the name of its errno."""
        name, *arguments = call
        os.chdir(self.paths[turn % len(self.paths)])
        try:
            if name in ("close", "pwrite", "append", "pread", "ftruncate", "fstat", "fsync", "fchmod", "futime"):
                fd = self.handles.get(arguments[0])
                if fd is None:
                    return "no handle"
                return getattr(self, "close_handle" if name == "close" else name)(*([] if name == "close" else [fd]), *arguments)
            return getattr(self, name)(*arguments)
        except OSError as e:
            return errno.errorcode.get(e.errno, e.errno)

    # -- names

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def rmdir(self, path):
        os.rmdir(path)

    def unlink(self, path):
        os.unlink(path)

    def link(self, old, new):
        os.link(old, new, follow_symlinks=False)
        return os.lstat(new).st_nlink

    def symlink(self, target, path):
        os.symlink(target, path)

    def rename(self, old, new, flags):
        for path in (old, new):  # as mv(1) does; why it must: docs/POSIX.md on directories that another mount moved
            with contextlib.suppress(OSError):
                os.lstat(path)
        checked(LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags))

    def mknod(self, path, mode):
        os.mknod(path, mode, os.makedev(1, 3))

    def readlink(self, path):
        return os.readlink(path)

    def list(self, path):
        with os.scandir(path) as entries:
            return sorted((e.name, stat.S_IFMT(e.stat(follow_symlinks=False).st_mode), e.is_dir(follow_symlinks=False)) for e in entries)

    # -- attributes

    def stat(self, path):
        return attributes(os.lstat(path)), self.times_in_order(os.lstat(path))

    def chmod(self, path, mode):
        os.chmod(path, mode)
        return attributes(os.stat(path))

    def chown(self, path, uid, gid):
        os.lchown(path, uid, gid)
        return attributes(os.lstat(path))

    def utime(self, path, access, modification):
        os.utime(path, ns=(access, modification), follow_symlinks=False)
        return os.lstat(path).st_mtime_ns  # looking may have changed the atime of a symbolic link on the way

    def truncate(self, path, size):
        os.truncate(path, size)
        return os.stat(path).st_size

    @staticmethod
    def times_in_order(s):
        """Nothing here gives a time that lies in the future, so the ctime is the latest."""
        return s.st_ctime_ns >= s.st_mtime_ns

    # -- contents

    def read(self, path):
        with self.regular(path, os.O_RDONLY) as f:
            return f.read()

    def write(self, path, offset, length, byte):
        with self.regular(path, os.O_WRONLY) as f:
            return os.pwrite(f.fileno(), bytes([byte]) * length, offset), os.fstat(f.fileno()).st_size

    @staticmethod
    def regular(path, flags):
        Root.refuse_fifo(path)
        fd = os.open(path, flags | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "no regular file")
        return open(fd, "rb" if flags == os.O_RDONLY else "wb", buffering=0)

    @staticmethod
    def refuse_fifo(path):
        """Each mount has its own pipe behind a fifo, so whether somebody reads from it depends on the mount (docs/POSIX.md)."""
        mode = 0
        with contextlib.suppress(OSError):  # open(2) says it again
            mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode):
            raise OSError(errno.EINVAL, "a fifo")

    def open(self, path, handle, flags, mode):
        self.refuse_fifo(path)
        fd = os.open(path, flags | os.O_NONBLOCK, mode)
        old = self.handles.pop(handle, None)
        if old is not None:
            os.close(old)
        self.handles[handle] = fd
        return attributes(os.fstat(fd))

    def close_handle(self, handle):
        os.close(self.handles.pop(handle))

    def pwrite(self, fd, handle, offset, length, byte):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "no regular file"
        done = os.pwrite(fd, bytes([byte]) * length, offset)
        os.fsync(fd)  # until then it is for this mount only: docs/POSIX.md
        return done, os.fstat(fd).st_size

    def append(self, fd, handle, length, byte):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "no regular file"
        os.lseek(fd, 0, os.SEEK_END)
        done = os.write(fd, bytes([byte]) * length)
        os.fsync(fd)
        return done, os.lseek(fd, 0, os.SEEK_CUR)

    def pread(self, fd, handle, offset, length):
        return os.pread(fd, length, offset) if stat.S_ISREG(os.fstat(fd).st_mode) else "no regular file"

    def ftruncate(self, fd, handle, size):
        os.ftruncate(fd, size)
        return os.fstat(fd).st_size

    def fstat(self, fd, handle):
        return attributes(os.fstat(fd)), self.times_in_order(os.fstat(fd))

    def fsync(self, fd, handle):
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fsync(fd)

    def fchmod(self, fd, handle, mode):
        os.fchmod(fd, mode)
        return attributes(os.fstat(fd))

    def futime(self, fd, handle, modification):
        os.utime(fd, ns=(0, modification))
        return os.fstat(fd).st_mtime_ns

    # -- the whole

    def tree(self, turn):
        """Everything below the root: path -> attributes and contents. Names of one inode have its first path."""
        found, first = {}, {}
        root = self.paths[turn % len(self.paths)]
        for directory, directories, files in os.walk(root):
            for name in directories + files:
                path = os.path.join(directory, name)
                s, relative = os.lstat(path), os.path.relpath(path, root)
                content = None
                if stat.S_ISREG(s.st_mode):
                    with open(path, "rb") as f:
                        content = f.read()
                elif stat.S_ISLNK(s.st_mode):
                    content = os.readlink(path)
                first[s.st_ino] = min(first.get(s.st_ino, relative), relative)
                found[relative] = (attributes(s), content, s.st_ino)
        return {path: (a, content, first[ino]) for path, (a, content, ino) in found.items()}


def sequence(seed, length):
    rng = random.Random(seed)
    return [choose(rng) for _ in range(length)]
