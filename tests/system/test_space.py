"""Space of files through real mounts: holes made and found, sizes to the limit, contents shared by copies, odd opens, appends."""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import subprocess
import sys
import time

import pytest

import cluster as clusters

MIB = 1 << 20
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
SIZE_MAX = 2**63 - 1
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def refused(number, call, *args):
    with pytest.raises(OSError) as e:
        call(*args)
    assert e.value.errno == number, f"{call.__name__}{args}: {e.value}"


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def segments(fd):
    """[(from, to)] of the data, by SEEK_DATA and SEEK_HOLE."""
    found, at, size = [], 0, os.fstat(fd).st_size
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO
            break
        end = os.lseek(fd, at, os.SEEK_HOLE)
        found.append((at, end))
        at = end
    return found


# ---- fallocate


@pytest.mark.parametrize("synced", [True, False], ids=["committed", "dirty"])
@pytest.mark.parametrize("mode", [PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE | KEEP_SIZE, ZERO_RANGE])
def test_zeroing_a_range(ab, mode, synced):
    a, b = ab
    data = bytearray(os.urandom(3 * MIB + 777))
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd, opened(b / "f") as theirs:
        os.pwrite(fd, data, 0)
        if synced:
            os.fsync(fd)
        for offset, length in [(5, 10), (MIB - 3, 6), (MIB, MIB), (100_000, 2 * MIB)]:
            fallocate(fd, mode, offset, length)
            data[offset:offset + length] = bytes(length)
            assert os.pread(fd, len(data), 0) == data
            clusters.wait_until("who has it open to see it", lambda: os.pread(theirs, len(data), 0) == data, 5)
        st = os.fstat(fd)
        assert st.st_size == len(data)
        assert st.st_blocks == -(-(len(data) - 2 * MIB - 10) // 512), "the space is given back at once"
        assert os.fstat(theirs).st_blocks == st.st_blocks
        assert segments(fd) == segments(theirs) == [(0, 5), (15, 100_000), (100_000 + 2 * MIB, len(data))]


def test_ranges_behind_the_end(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"x" * 1000, 0)
        fallocate(fd, KEEP_SIZE, 500, 10_000)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 5000, 100)
        fallocate(fd, ZERO_RANGE | KEEP_SIZE, 900, 10_000)
        assert os.fstat(fd).st_size == 1000
        assert os.pread(fd, 2000, 0) == b"x" * 900 + bytes(100)
        fallocate(fd, 0, 100, 100)
        assert os.fstat(fd).st_size == 1000
        fallocate(fd, 0, 1500, 500)
        assert os.fstat(fd).st_size == os.stat(b / "f").st_size == 2000
        fallocate(fd, ZERO_RANGE, 800, 2200)
        assert os.fstat(fd).st_size == os.stat(b / "f").st_size == 3000
        assert os.pread(fd, 4000, 0) == b"x" * 800 + bytes(2200)
        os.posix_fallocate(fd, 0, 4 * MIB)
        assert os.fstat(fd).st_size == 4 * MIB
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, SIZE_MAX)
        assert os.fstat(fd).st_blocks == 0


def test_fallocate_refuses(ab):
    a, _ = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        for mode in (COLLAPSE_RANGE, INSERT_RANGE, PUNCH_HOLE, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0x40 | 0x80):
            refused(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 4096)
        refused(errno.EINVAL, fallocate, fd, 0, 0, 0)
        refused(errno.EINVAL, fallocate, fd, 0, -1, 5)
        refused(errno.EFBIG, fallocate, fd, 0, SIZE_MAX - 1, 2)
    with opened(a / "f", os.O_RDONLY) as fd:
        refused(errno.EBADF, fallocate, fd, 0, 0, 5)
    with opened(a, os.O_RDONLY) as fd:
        refused(errno.EBADF, fallocate, fd, 0, 0, 5)


def test_a_hole_over_thousands_of_extents(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        for at in range(6000):
            os.pwrite(fd, b"y", at * 3)
        os.fsync(fd)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 1, 17_000)
        assert os.fstat(fd).st_size == 5999 * 3 + 1
        assert os.pread(fd, 17_002, 0) == b"y" + bytes(17_000) + b"y"
        assert os.stat(b / "f").st_blocks == 1
        assert (b / "f").read_bytes().count(b"y") == 1 + sum(at * 3 > 17_000 for at in range(6000))


def test_a_mapping_sees_the_hole(ab):
    a, _ = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"z" * 5 * 4096, 0)
        with mmap.mmap(fd, 5 * 4096) as m:
            assert m[4096] == ord("z")
            m[2 * 4096] = ord("!")
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 4096, 2 * 4096)
            assert m[:] == b"z" * 4096 + bytes(2 * 4096) + b"z" * 2 * 4096


# ---- SEEK_DATA, SEEK_HOLE


def test_seeking(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd, opened(b / "f") as theirs:
        refused(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
        refused(errno.ENXIO, os.lseek, fd, 0, os.SEEK_HOLE)
        os.pwrite(fd, b"data", 10 * MIB)  # dirty
        for each in fd, theirs:
            if each == theirs:
                os.fsync(fd)
            assert os.lseek(each, 0, os.SEEK_DATA) == 10 * MIB
            assert os.lseek(each, 0, os.SEEK_HOLE) == 0
            assert os.lseek(each, 10 * MIB + 1, os.SEEK_DATA) == 10 * MIB + 1
            assert os.lseek(each, 10 * MIB + 1, os.SEEK_HOLE) == 10 * MIB + 4  # the end is a hole
            refused(errno.ENXIO, os.lseek, each, 10 * MIB + 4, os.SEEK_HOLE)
            refused(errno.ENXIO, os.lseek, each, 10 * MIB + 4, os.SEEK_DATA)
            refused(errno.ENXIO, os.lseek, each, -1, os.SEEK_DATA)
        os.ftruncate(fd, 20 * MIB)
        assert os.lseek(theirs, 10 * MIB + 1, os.SEEK_HOLE) == 10 * MIB + 4
        refused(errno.ENXIO, os.lseek, theirs, 10 * MIB + 4, os.SEEK_DATA)
        assert segments(theirs) == [(10 * MIB, 10 * MIB + 4)]


def test_seeking_over_many_extents(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        for at in range(3000):
            os.pwrite(fd, b"y", at * 2)
        os.fsync(fd)
    with opened(b / "f", os.O_RDONLY) as fd:
        assert segments(fd) == [(at * 2, at * 2 + 1) for at in range(3000)]


# ---- copies that share


def test_copy_file_range(ab):
    a, b = ab
    data = os.urandom(5 * MIB + 123)
    with opened(a / "from", os.O_RDWR | os.O_CREAT) as source, opened(a / "to", os.O_RDWR | os.O_CREAT) as to:
        os.pwrite(source, data, 0)  # dirty
        os.pwrite(to, b"t" * 1000, 0)
        assert os.copy_file_range(source, to, 4 * MIB, 100, 500) == 4 * MIB
        want = b"t" * 500 + data[100:100 + 4 * MIB]
        assert os.pread(to, len(want) + 1, 0) == want
        assert (b / "to").read_bytes() == want
        assert os.copy_file_range(source, to, MIB, len(data) - 7, 0) == 7
        assert os.copy_file_range(source, to, MIB, len(data), 0) == 0
        want = data[-7:] + want[7:]
        assert (b / "to").read_bytes() == want
        # Neither is bound to the other.
        os.pwrite(source, b"!" * 2 * MIB, 0)
        os.fsync(source)
        assert (b / "to").read_bytes() == want
        assert os.pread(to, len(want), 0) == want


def test_copy_within_a_file_and_refusals(ab):
    a, _ = ab
    data = os.urandom(MIB)
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, data, 0)
        refused(errno.EINVAL, os.copy_file_range, fd, fd, 1000, 0, 999)
        assert os.copy_file_range(fd, fd, MIB, 0, MIB) == MIB
        assert os.pread(fd, 3 * MIB, 0) == data + data
        refused(errno.EFBIG, os.copy_file_range, fd, fd, 10, 0, SIZE_MAX)
        with opened(a / "f", os.O_RDONLY) as reader:
            refused(errno.EBADF, os.copy_file_range, fd, reader, 10, 0, MIB)
        with opened(a / "f", os.O_WRONLY | os.O_APPEND) as appender:
            refused(errno.EBADF, os.copy_file_range, fd, appender, 10, 0, MIB)
        with opened(a, os.O_RDONLY) as directory:
            refused(errno.EISDIR, os.copy_file_range, directory, fd, 10, 0, 0)


def test_copy_keeps_holes(ab):
    a, b = ab
    with opened(a / "from", os.O_RDWR | os.O_CREAT) as source, opened(a / "to", os.O_RDWR | os.O_CREAT) as to:
        os.pwrite(source, b"end", 100 * MIB)
        os.pwrite(to, b"t" * MIB, 50 * MIB)
        assert os.copy_file_range(source, to, 100 * MIB + 3, 0, 0) == 100 * MIB + 3
        assert segments(to) == [(100 * MIB, 100 * MIB + 3)]
        assert os.stat(b / "to").st_blocks == 1


def test_cp_moves_no_contents(shared_cluster, ab):
    a, b = ab
    size = 256 * MIB
    with opened(a / "big", os.O_WRONLY | os.O_CREAT) as fd:
        for n in range(size // MIB):
            os.write(fd, n.to_bytes(8, "big") * (MIB // 8))
    # The file is closed when a majority has its blocks: the third copies are still being sent.
    clusters.wait_until("the third copies", lambda: len(held := blocks_of(shared_cluster)) == 3 and min(held) >= size // MIB)
    quiet = [sent_by(shared_cluster)]
    clusters.wait_until("the mount to be quiet", lambda: quiet.append(sent_by(shared_cluster)) or quiet[-1] - quiet[-2] < MIB // 16)
    before = sent_by(shared_cluster)
    begun = time.monotonic()
    subprocess.run(["cp", a / "big", a / "copy"], check=True, timeout=60 * clusters.PATIENCE)
    took = time.monotonic() - begun
    assert sent_by(shared_cluster) - before < MIB, "cp put blocks"
    print(f"cp of {size // MIB} MiB took {took * 1000:.0f} ms")
    assert os.stat(b / "copy").st_blocks == size // 512
    assert subprocess.run(["cmp", a / "big", b / "copy"], timeout=120 * clusters.PATIENCE).returncode == 0


def blocks_of(c):
    done = c.surfctl("--json", "blocks", check=False)
    return [s["blocks"] for s in json.loads(done.stdout)["servers"]] if done.returncode == 0 else []


def sent_by(c):
    """Bytes that the process of mount a has handed to system calls that write: sockets as well as /dev/fuse."""
    with open(f"/proc/{c.mounts['a'].process.pid}/io") as f:
        return int(next(line for line in f if line.startswith("wchar:")).split()[1])


# ---- sizes


def test_sizes_to_the_limit(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"far", 2**62)
        assert os.fstat(fd).st_size == 2**62 + 3
        os.fsync(fd)
        with opened(b / "f") as theirs:
            assert os.pread(theirs, 10, 2**62 - 5) == bytes(5) + b"far"
            assert os.lseek(theirs, 0, os.SEEK_DATA) == 2**62
        os.ftruncate(fd, SIZE_MAX)
        assert os.stat(b / "f").st_size == SIZE_MAX
        assert os.pwrite(fd, b"l", SIZE_MAX - 1) == 1
        refused(errno.EINVAL, os.pwrite, fd, b"x", SIZE_MAX)  # as on any file system: the end would overflow
        os.fsync(fd)
        assert os.pread(fd, 3, SIZE_MAX - 3) == b"\0\0l"
        os.ftruncate(fd, 2**62 + 1)
        os.ftruncate(fd, 2**62 + 10)
        assert os.pread(fd, 100, 2**62) == b"f" + bytes(9)
        os.ftruncate(fd, 0)
        assert os.fstat(fd).st_blocks == 0


def test_truncation_up_and_down_leaves_holes(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"x" * 3 * MIB, 0)
        os.ftruncate(fd, 10)
        os.ftruncate(fd, 5 * MIB)
        assert os.pread(fd, 5 * MIB, 0) == b"x" * 10 + bytes(5 * MIB - 10)
        assert segments(fd) == [(0, 10)]
        assert (b / "f").read_bytes() == b"x" * 10 + bytes(5 * MIB - 10)


def test_the_limit_of_a_process(ab):
    a, _ = ab
    child = f"""
import errno, os, resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
fd = os.open({str(a / "f")!r}, os.O_RDWR | os.O_CREAT)
assert os.pwrite(fd, b"x" * 200, 9900) == 100
for call in (lambda: os.pwrite(fd, b"x", 10000), lambda: os.ftruncate(fd, 10001), lambda: os.posix_fallocate(fd, 0, 10001)):
    try:
        call()
        raise SystemExit("not refused")
    except OSError as e:
        assert e.errno == errno.EFBIG, e
"""
    subprocess.run([sys.executable, "-c", child], check=True, timeout=60 * clusters.PATIENCE)
    assert (a / "f").stat().st_size == 10000


# ---- odd opens


def test_flags_of_open(ab):
    a, b = ab
    with opened(a / "f", os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
        os.write(fd, b"first")
    refused(errno.EEXIST, os.open, a / "f", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    refused(errno.EEXIST, os.open, b / "f", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with opened(b / "f", os.O_RDWR | os.O_TRUNC):
        assert os.stat(a / "f").st_size == 0
    for flag in (os.O_SYNC, os.O_DSYNC):
        with opened(a / "f", os.O_WRONLY | flag) as fd:
            os.write(fd, b"synced %d" % flag)
            assert (b / "f").read_bytes() == b"synced %d" % flag, "the file is open and was not closed or synced"
            os.ftruncate(fd, 0)
    with opened(a / "f", os.O_RDONLY | os.O_NOATIME) as fd:
        os.read(fd, 1)
    refused(errno.ENOTDIR, os.open, a / "f", os.O_RDONLY | os.O_DIRECTORY)
    refused(errno.EISDIR, os.open, a, os.O_WRONLY)
    os.symlink("f", a / "link")
    refused(errno.ELOOP, os.open, a / "link", os.O_RDONLY | os.O_NOFOLLOW)


def test_direct_io(ab):
    a, b = ab
    block = mmap.mmap(-1, MIB)
    block.write(os.urandom(MIB))
    with opened(a / "f", os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd:
        assert os.pwritev(fd, [block], 0) == MIB
        assert os.pwritev(fd, [block], 3 * MIB) == MIB
        back = mmap.mmap(-1, MIB)
        assert os.preadv(fd, [back], 3 * MIB) == MIB
        assert back[:] == block[:]
        os.fsync(fd)
    with opened(b / "f", os.O_RDONLY | os.O_DIRECT) as fd:
        back = mmap.mmap(-1, 4 * MIB)
        assert os.preadv(fd, [back], 0) == 4 * MIB
        assert back[:] == block[:] + bytes(2 * MIB) + block[:]


# ---- appends


APPENDER = """
import mmap, os, sys
path, mark, size, count, begin = sys.argv[1], sys.argv[2].encode(), *map(int, sys.argv[3:])
record = mmap.mmap(-1, size + 4096)
record.write(mark * (size + 4096))
fd = os.open(path, os.O_WRONLY | os.O_APPEND)
for _ in range(count):
    assert os.write(fd, memoryview(record)[begin:begin + size]) == size
os.close(fd)
"""


# The kernel gives a write of 1 MiB whole only when its buffer begins with a page.
@pytest.mark.parametrize("size, count, begin", [(100, 200, 0), (MIB, 12, 0), (MIB, 12, 100), (MIB - 1, 12, 4095)])
def test_appends_of_several_machines_do_not_interleave(ab, size, count, begin):
    a, b = ab
    (a / "log").touch()
    running = [subprocess.Popen([sys.executable, "-c", APPENDER, where / "log", mark, str(size), str(count), str(begin)])
               for where, mark in ((a, "1"), (a, "2"), (b, "3"), (b, "4"))]
    assert [r.wait(120 * clusters.PATIENCE) for r in running] == [0] * 4
    text = (b / "log").read_bytes()
    assert len(text) == 4 * size * count
    records = [text[at:at + size] for at in range(0, len(text), size)]
    assert all(len(set(r)) == 1 for r in records), "a record is torn"
    assert sorted(set(records)) == [m * size for m in (b"1", b"2", b"3", b"4")]
    assert all(records.count(m * size) == count for m in (b"1", b"2", b"3", b"4"))


def test_an_append_whose_second_piece_never_comes(ab):
    """A write that fits in one request, but might have been the first piece of two."""
    a, b = ab
    whole = mmap.mmap(-1, MIB)
    whole.write(os.urandom(MIB))
    text = bytes(whole)[100:]
    with opened(a / "f", os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
        for _ in range(2):
            assert os.write(fd, memoryview(whole)[100:]) == MIB - 100
        assert os.fstat(fd).st_size == 2 * (MIB - 100)
        assert os.pread(fd, 3 * MIB, 0) == text * 2
        os.write(fd, memoryview(whole)[100:])
        os.fsync(fd)
        assert (b / "f").read_bytes() == text * 3
        os.write(fd, memoryview(whole)[100:])
        clusters.wait_until("the rest without any other call", lambda: (b / "f").stat().st_size == 4 * (MIB - 100), 10)
        os.write(fd, memoryview(whole)[100:])
        os.ftruncate(fd, 3)
        os.write(fd, memoryview(whole)[100:])
    assert (b / "f").read_bytes() == text[:3] + text


# ---- times of access


def old_atime(path):
    """A file that was read long before it was changed."""
    os.utime(path, ns=(10**18, 10**18 + 1))
    return path.stat()


def read_once(path, flags=os.O_RDONLY):
    with opened(path, flags) as fd:
        return os.read(fd, 100)


def test_a_read_sets_the_time_of_access(ab):
    a, b = ab
    (a / "f").write_text("text")
    before = old_atime(a / "f")
    assert before.st_atime_ns == 10**18
    read_once(a / "f")
    after = (a / "f").stat()
    assert after.st_atime_ns > max(before.st_ctime_ns, before.st_mtime_ns), "it shows here at once"
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    clusters.wait_until("the other mount to see it", lambda: (b / "f").stat().st_atime_ns == after.st_atime_ns, 10)
    # Relative: once is enough, from any mount.
    for path in (a / "f", b / "f") * 3:
        read_once(path)
    assert (a / "f").stat().st_atime_ns == (b / "f").stat().st_atime_ns == after.st_atime_ns
    (b / "f").write_text("new text")
    read_once(a / "f")
    assert (a / "f").stat().st_atime_ns > after.st_atime_ns


def test_a_time_that_is_set_after_a_read_stays(ab):
    a, b = ab
    for n in range(30):
        path = (a / f"f{n}", b / f"f{n}")
        path[0].write_text("text")
        read_once(path[0])
        os.utime(path[n % 2], ns=(10**18 + n, 10**18))
        assert path[0].stat().st_atime_ns == path[1].stat().st_atime_ns == 10**18 + n
    told_by(a, b)
    assert [(a / f"f{n}").stat().st_atime_ns for n in range(30)] == [10**18 + n for n in range(30)]


def told_by(a, b):
    """What was read on mount a before this has been told: it is told in order."""
    (a / "last").write_text("text")
    read_once(a / "last")
    clusters.wait_until("the last read to be told", lambda: (lambda s: s.st_atime_ns > s.st_ctime_ns)((b / "last").stat()), 10)


def applied(c):
    states = c.node_states()
    return max(s.get("applied", 0) for s in states.values())


def test_a_second_read_costs_nothing(shared_cluster, ab):
    a, _ = ab
    c = shared_cluster
    (a / "f").write_text("text")
    old_atime(a / "f")
    read_once(a / "f")
    clusters.wait_until("the time to be told", lambda: c.mounts["b"] and (ab[1] / "f").stat().st_atime_ns > 10**18, 10)
    quiet = clusters.wait_until("the log to be quiet", lambda: (lambda n: n if n == applied(c) else None)(applied(c)), 20)
    for _ in range(100):
        read_once(a / "f")
    assert applied(c) - quiet < 20  # others' entries: small blocks that move, an epoch


def test_no_time_of_access_when_it_is_not_wanted(cluster):
    mounts = cluster.mount("a"), cluster.mount("noatime", "-o", "noatime"), cluster.mount("ro", "-o", "ro")
    a = mounts[0]
    (a / "f").write_text("text")
    old_atime(a / "f")
    read_once(a / "f", os.O_RDONLY | os.O_NOATIME)
    for m in mounts[1:]:
        assert read_once(m / "f") == b"text"
        assert (m / "f").stat().st_atime_ns == 10**18
    for m in mounts:  # what a mount has to tell is told when it is undone
        m.stop()
    a.start()
    assert (a / "f").stat().st_atime_ns == 10**18
    read_once(a / "f")
    told = (a / "f").stat().st_atime_ns
    a.stop()
    a.start()
    assert (a / "f").stat().st_atime_ns == told > 10**18


@contextlib.contextmanager
def mapped(fd, size):
    """Maps and reads the file; gives what counts its pages that are in memory."""
    libc.mmap.restype = ctypes.c_void_p
    address = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0)))
    assert address.value != ctypes.c_void_p(-1).value
    ctypes.string_at(address, size)

    def resident():
        pages = (ctypes.c_ubyte * (size // 4096))()
        assert libc.mincore(address, ctypes.c_size_t(size), pages) == 0
        return sum(p & 1 for p in pages)

    try:
        yield resident
    finally:
        libc.munmap(address, ctypes.c_size_t(size))


def test_access_drops_no_pages_of_other_mounts(shared_cluster, ab):
    a, b = ab
    (a / "f").write_bytes(os.urandom(MIB))
    old_atime(a / "f")
    with opened(b / "f", os.O_RDONLY | os.O_NOATIME) as fd, mapped(fd, MIB) as resident:
        assert resident() == MIB // 4096
        read_once(a / "f")
        clusters.wait_until("the time to be told", lambda: (b / "f").stat().st_atime_ns > 10**18, 10)
        for _ in range(20):  # a dropped page would be so by now: what is told to this mount later is heeded in order
            (a / "g").write_text("x")
            assert (b / "g").read_text() == "x"
        assert resident() == MIB // 4096


# ---- mappings


def test_mappings(ab):
    a, b = ab
    (a / "f").write_bytes(b"-" * 3 * 4096)
    with opened(a / "f") as fd, opened(a / "f") as other:
        with mmap.mmap(fd, 0) as m, mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE) as private:
            writer = os.fork()
            if writer == 0:
                with mmap.mmap(other, 0) as theirs:
                    theirs[4096:4100] = b"fork"
                    os._exit(0)
            assert os.waitpid(writer, 0)[1] == 0
            assert m[4096:4100] == b"fork", "two processes share the pages"
            private[0:4] = b"mine"
            assert m[0:4] == b"----"
            m[8192:8196] = b"sync"
            m.flush()
            assert (b / "f").read_bytes()[8192:8196] == b"sync"
            assert (b / "f").read_bytes()[0:4] == b"----"
            m[100:104] = b"last"
    want = bytearray(b"-" * 3 * 4096)
    want[100:104], want[4096:4100], want[8192:8196] = b"last", b"fork", b"sync"
    clusters.wait_until("the mapped page on the other mount", lambda: (b / "f").read_bytes() == want, 10)
