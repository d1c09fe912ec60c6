"""Writers and readers that note what was acknowledged, when, and how long it took."""

import ctypes
import hashlib
import os
import threading
import time

from cluster import PATIENCE


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_file(name, data, directory_fd, sync):
    """Written, and fsynced if asked, and closed when it returns: both acknowledge."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=directory_fd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


CLONE_FILES = 0x400
LIBC = ctypes.CDLL(None, use_errno=True)


def own_files(*kept):
    """From here on what this thread opens is its own. A program that another thread starts would get it, and close it before it begins:
    a file that is being written is committed then, and while no majority serves, the thread that starts the program waits for that, and
    with it, as it has the interpreter's lock, the whole test. (os.unshare came with Python 3.12.)"""
    if LIBC.unshare(CLONE_FILES) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    begin = 3
    for fd in sorted(kept):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


class WriteThenRead(threading.Thread):
    """Until stopped: a new file through one directory, read back through another (the other mount's). Every operation
    must succeed; the longest round is the stall that a user would have felt."""

    def __init__(self, write_dir, read_dir, size=20000):
        super().__init__(daemon=True)
        self.write_dir, self.read_dir, self.size = write_dir, read_dir, size
        self.stopped = threading.Event()
        self.rounds, self.longest, self.error, self.digests = 0, 0.0, None, {}

    def run(self):
        own_files()
        try:
            while not self.stopped.is_set():
                begun = time.monotonic()
                name = f"f{self.rounds}"
                data = os.urandom(self.size)
                (self.write_dir / name).write_bytes(data)
                read = (self.read_dir / name).read_bytes()
                if read != data:
                    raise AssertionError(f"{name}: {len(data)} bytes written, {len(read)} bytes read, not the same")
                self.digests[name] = hashlib.sha256(data).hexdigest()
                self.longest = max(self.longest, time.monotonic() - begun)
                self.rounds += 1
        except BaseException as e:  # noqa: B902  handed to the test by finish()
            self.error = e

    def finish(self, seconds=60):
        self.stopped.set()
        self.join(seconds * PATIENCE)
        assert not self.is_alive(), "an operation hangs"
        if self.error:
            raise self.error
        return self.longest


class AckedWriter(threading.Thread):
    """Writes files, remembering for each what was acknowledged; ends with the first error, as when the machine goes away. It
    holds the directory open: by its path it would write on below the mountpoint once the mount is gone.

    acked:  name -> digest of contents whose close or fsync returned
    begun:  name -> every contents that a write was begun with
    """

    def __init__(self, directory, prefix, size=60000):
        super().__init__(daemon=True)
        self.directory, self.prefix, self.size = os.open(directory, os.O_RDONLY | os.O_DIRECTORY), prefix, size
        self.stopped = threading.Event()
        self.acked, self.begun = {}, {}

    def run(self):
        own_files(self.directory)
        number = 0
        while not self.stopped.is_set():
            name = f"{self.prefix}-{number}"
            data = os.urandom(self.size)
            self.begun[name] = data
            try:
                write_file(name, data, self.directory, sync=number % 2 == 1)
            except OSError:
                return
            self.acked[name] = data
            number += 1

    def finish(self, seconds=30):
        self.stopped.set()
        self.join(seconds * PATIENCE)
        assert not self.is_alive(), "an operation hangs"
        os.close(self.directory)

    def check(self, directory):
        """What was acknowledged is there; anything else is absent, or a part of what was begun (holes read as zeros)."""
        for name, data in self.acked.items():
            found = (directory / name).read_bytes()
            assert found == data, f"{name}: acknowledged {len(data)} bytes, found {len(found)}, equal: {found == data}"
        for name, data in self.begun.items():
            if name in self.acked or not (directory / name).exists():
                continue
            found = (directory / name).read_bytes()
            assert len(found) <= len(data), f"{name}: {len(found)} bytes of {len(data)} begun"
            wrong = [i for i, (f, d) in enumerate(zip(found, data)) if f not in (d, 0)]
            assert not wrong, f"{name}: wrong bytes at {wrong[:5]}"
