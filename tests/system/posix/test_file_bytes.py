"""Random calls on the bytes of one file against an array of bytes: reads and writes by calls and through shared mappings, sizes, holes,
direct I/O, copies within the file and from another, closing and opening again; through one mount, and through two in turn (each opens and
closes), also with so little room for blocks that few are ever there.

SURF_SOAK_SECONDS makes it long, SURF_SEED=N repeats one seed, SURF_ONLY=1,5,9 only these calls of it."""

import ctypes
import errno
import mmap
import os
import random
import tempfile
import time

import pytest

from calls import opened

SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "5"))
SEED = os.environ.get("SURF_SEED")
ONLY = os.environ.get("SURF_ONLY")
LENGTH = 120
MOST = 3 << 20  # bytes in the file: several blocks
PAGE = mmap.PAGESIZE
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
libc.copy_file_range.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_longlong), ctypes.c_int, ctypes.POINTER(ctypes.c_longlong),
                                 ctypes.c_size_t, ctypes.c_uint]
libc.copy_file_range.restype = ctypes.c_ssize_t


def fallocate(fd, mode, offset, length):
    assert libc.fallocate(fd, mode, offset, length) == 0, os.strerror(ctypes.get_errno())


def copy_range(source, source_offset, fd, offset, length):
    at, to = ctypes.c_longlong(source_offset), ctypes.c_longlong(offset)
    while length > 0:
        done = libc.copy_file_range(source, ctypes.byref(at), fd, ctypes.byref(to), length, 0)
        assert done >= 0, os.strerror(ctypes.get_errno())
        if done == 0:
            return
        length -= done


class File:
    """The file at `paths` (the same one, by one mount each), and what must be in it."""

    def __init__(self, paths, source, source_bytes):
        self.paths, self.source_path, self.source_bytes = paths, source, source_bytes
        self.bytes = bytearray()
        self.turn = 0
        self.handle = self.other = None
        os.close(os.open(paths[0], os.O_CREAT | os.O_RDWR, 0o644))
        self.open()

    def open(self):
        path = self.paths[self.turn % len(self.paths)]
        self.handle, self.other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)

    def opened(self, flags):
        return opened(self.paths[self.turn % len(self.paths)], flags)

    def close(self):
        os.close(self.handle)
        os.close(self.other)

    def put(self, offset, data):
        self.bytes.extend(bytes(max(0, offset + len(data) - len(self.bytes))))
        self.bytes[offset:offset + len(data)] = data

    def expect(self, what, got, offset, length):
        want = bytes(self.bytes[offset:offset + length])
        if got == want:
            return
        at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w), min(len(got), len(want)))
        raise AssertionError(f"{what}: {len(got)} bytes from {offset}, not {len(want)}; they differ from {offset + at} on: "
                             f"{got[at:at + 8]!r} instead of {want[at:at + 8]!r}")

    def do(self, call):
        name, *arguments = call
        getattr(self, name)(*arguments)

    def write(self, second, offset, data):
        assert os.pwrite(self.other if second else self.handle, data, offset) == len(data)
        self.put(offset, data)

    def read(self, second, offset, length):
        self.expect("pread", os.pread(self.other if second else self.handle, length, offset), offset, length)

    def map_write(self, offset, data):
        end = min(offset + len(data), len(self.bytes))
        if offset >= end:
            return
        with mmap.mmap(self.handle, len(self.bytes)) as m:
            m[offset:end] = data[:end - offset]
        self.bytes[offset:end] = data[:end - offset]

    def map_read(self, offset, length):
        if not self.bytes:
            return
        with mmap.mmap(self.handle, len(self.bytes), prot=mmap.PROT_READ) as m:
            self.expect("mapping", m[offset:offset + length], offset, length)

    def direct_write(self, page, data):
        """Whole pages, as local file systems want it."""
        data = data.ljust(-(-len(data) // PAGE) * PAGE, b"d")
        with self.opened(os.O_WRONLY | os.O_DIRECT) as fd, mmap.mmap(-1, len(data)) as m:
            m[:] = data
            assert os.pwritev(fd, [m], page * PAGE) == len(data)
        self.put(page * PAGE, data)

    def direct_read(self, page, pages):
        with self.opened(os.O_RDONLY | os.O_DIRECT) as fd, mmap.mmap(-1, pages * PAGE) as m:
            self.expect("direct", m[:os.preadv(fd, [m], page * PAGE)], page * PAGE, pages * PAGE)

    def seek(self, offset):
        """What it calls a hole has no bytes but zeros. The kernel keeps mapped bytes to itself until they are synced: docs/POSIX.md."""
        os.fsync(self.handle)
        if offset < len(self.bytes):
            try:
                data = os.lseek(self.handle, offset, os.SEEK_DATA)
            except OSError as e:
                assert e.errno == errno.ENXIO, e
                data = len(self.bytes)
            self.expect("hole", bytes(data - offset), offset, data - offset)

    def truncate(self, size):
        os.ftruncate(self.handle, size)
        self.bytes = self.bytes[:size] + bytes(max(0, size - len(self.bytes)))

    def punch(self, offset, length):
        fallocate(self.handle, PUNCH_HOLE | KEEP_SIZE, offset, length)
        end = min(offset + length, len(self.bytes))
        self.bytes[offset:end] = bytes(max(0, end - offset))

    def zero(self, offset, length, keep):
        fallocate(self.handle, ZERO_RANGE | (KEEP_SIZE if keep else 0), offset, length)
        if keep:
            length = min(length, max(0, len(self.bytes) - offset))
        if length:
            self.put(offset, bytes(length))

    def allocate(self, offset, length):
        fallocate(self.handle, 0, offset, length)
        self.bytes.extend(bytes(max(0, offset + length - len(self.bytes))))

    def copy_within(self, source_offset, offset, length):
        length = min(length, abs(source_offset - offset), max(0, len(self.bytes) - source_offset))
        if length == 0:
            return
        copy_range(self.handle, source_offset, self.handle, offset, length)
        self.put(offset, bytes(self.bytes[source_offset:source_offset + length]))

    def copy_from(self, source_offset, offset, length):
        source = os.open(self.source_path, os.O_RDONLY)
        try:
            copy_range(source, source_offset, self.handle, offset, length)
        finally:
            os.close(source)
        data = self.source_bytes[source_offset:source_offset + length]
        if data:
            self.put(offset, data)

    def append(self, data):
        with self.opened(os.O_WRONLY | os.O_APPEND) as fd:
            assert os.write(fd, data) == len(data)
        self.put(len(self.bytes), data)

    def sync(self):
        os.fsync(self.handle)

    def size(self):
        assert os.fstat(self.other).st_size == len(self.bytes)
        assert os.stat(self.paths[self.turn % len(self.paths)]).st_size == len(self.bytes)

    def reopen(self):
        self.close()
        self.turn += 1
        self.open()

    def whole(self):
        self.sync()
        for path in self.paths:
            with open(path, "rb") as f:
                self.expect(f"all of {path}", f.read(), 0, MOST)


def sequence(seed):
    rng = random.Random(seed)

    def offset():
        at = rng.choice([0, rng.randrange(MOST // 2), rng.randrange(3 * PAGE), (1 << 20) + rng.randrange(-2 * PAGE, 2 * PAGE)])
        return max(0, at if rng.random() < 0.7 else at // PAGE * PAGE)

    def length():
        return rng.choice([1, rng.randrange(1, 200), rng.randrange(1, 5 * PAGE), PAGE, rng.randrange(1, MOST // 3)])

    def data():
        return bytes([rng.randrange(1, 256)]) + rng.randbytes(length() - 1)

    kinds = {
        "write": lambda: (rng.random() < 0.3, offset(), data()), "read": lambda: (rng.random() < 0.5, offset(), length()),
        "map_write": lambda: (offset(), data()), "map_read": lambda: (offset(), length()),
        "truncate": lambda: (rng.choice([0, offset(), offset(), offset() + length()]),), "punch": lambda: (offset(), length()),
        "zero": lambda: (offset(), length(), rng.random() < 0.5), "allocate": lambda: (offset(), length()),
        "copy_within": lambda: (offset(), offset(), length()), "copy_from": lambda: (offset(), offset(), length()),
        "direct_write": lambda: (offset() // PAGE, data()[:PAGE * 64]), "direct_read": lambda: (offset() // PAGE, rng.randrange(1, 64)),
        "seek": lambda: (offset(),), "append": lambda: (data()[:PAGE * 3],), "sync": tuple, "size": tuple, "reopen": tuple, "whole": tuple,
    }
    weights = {"write": 8, "read": 8, "map_write": 4, "map_read": 4, "copy_within": 2, "copy_from": 2, "punch": 2, "zero": 2, "reopen": 3,
               "direct_write": 2, "direct_read": 2}
    names = rng.choices(list(kinds), [weights.get(k, 1) for k in kinds], k=LENGTH)
    return [(name, *kinds[name]()) for name in names] + [("whole",)]


def failure(make, calls, only):
    f = make()
    try:
        for n in only:
            try:
                f.do(calls[n])
            except (AssertionError, OSError) as e:
                what = [a if not isinstance(a, bytes) else f"{len(a)} bytes" for a in calls[n]]
                return f"call {n} {what}: {e}"
        return None
    finally:
        f.close()


def shrink(make, calls, only):
    step = len(only) // 2
    while step:
        at = 0
        while at < len(only):
            fewer = only[:at] + only[at + step:]
            if failure(make, calls, fewer):
                only = fewer
            else:
                at += step
        step //= 2
    return only


def many(capsys, make):
    end, count = time.monotonic() + SECONDS, 0
    while count == 0 or (SEED is None and time.monotonic() < end):
        seed = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
        calls = sequence(seed)
        only = [int(n) for n in ONLY.split(",")] if ONLY else list(range(len(calls)))
        found = failure(make, calls, only)
        if found:
            only = shrink(make, calls, only)
            pytest.fail(f"SURF_SEED={seed} SURF_ONLY={','.join(map(str, only))}: {failure(make, calls, only) or found}")
        count += 1
    with capsys.disabled():
        print(f"\n  {count} sequences of {LENGTH} calls", end="")


@pytest.fixture
def source_bytes():
    return random.Random(1).randbytes(MOST)


@pytest.mark.parametrize("mounts", ["a", "ab", "tight"])
def test_on_mounts(capsys, posix_cluster, source_bytes, mounts):
    if mounts == "tight":
        mounts = ["tight-a", "tight-b"]
        for name in mounts:
            posix_cluster.mount(name, "-o", "cache_memory=1")
    paths = [posix_cluster.mounts[name].path for name in mounts]
    top = os.path.basename(tempfile.mkdtemp(dir=paths[0]))
    (paths[0] / top / "source").write_bytes(source_bytes)

    def make():
        name = os.path.join(top, str(time.monotonic_ns()))
        return File([os.path.join(p, name) for p in paths], paths[0] / top / "source", source_bytes)

    many(capsys, make)


def test_on_the_local_file_system(capsys, local_root, source_bytes):
    top = tempfile.mkdtemp(dir=local_root)
    source = os.path.join(top, "source")
    with open(source, "wb") as f:
        f.write(source_bytes)
    many(capsys, lambda: File([os.path.join(top, str(time.monotonic_ns()))], source, source_bytes))
