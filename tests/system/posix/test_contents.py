"""read(2), write(2) and their kind, truncate(2), ftruncate(2), fsync(2), mmap(2)."""

import errno
import mmap
import os
import threading

import pytest

from calls import (NOT_DIRECTORIES, fails, make, opened, read, write)

MOST = (1 << 63) - 1


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 131072, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sizes(place, size):
    data = os.urandom(size)
    write("f", data)
    assert os.stat("f").st_size == size and read("f") == data


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 1048575, 1048576, 5_000_000, 1 << 32, (1 << 40) + 7])
def test_writing_beyond_the_end_leaves_a_hole(place, offset):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        assert os.pwrite(fd, b"xyz", offset) == 3
        assert os.fstat(fd).st_size == offset + 3
        assert os.pread(fd, 5, offset) == b"xyz"
        start = max(0, offset - 100)
        assert os.pread(fd, offset - start, start) == bytes(offset - start)
        assert os.pread(fd, 100, offset + 3) == b""


@pytest.mark.parametrize("at", [0, 1, 4096, 500_000, (1 << 20) - 2, 1 << 20])
def test_overwriting(place, at):
    data = bytearray(os.urandom((1 << 20) + 100))
    write("f", bytes(data))
    with opened("f", os.O_RDWR) as fd:
        os.pwrite(fd, b"new!", at)
        data[at:at + 4] = b"new!"
        assert os.pread(fd, len(data) + 10, 0) == bytes(data)
    assert read("f") == bytes(data)


@pytest.mark.parametrize("before", [0, 1, 5000, (1 << 20) + 5])
def test_truncation(place, before):
    data = os.urandom(before)
    for after in (0, 1, 4096, 4999, 1 << 20, (2 << 20) + 1):
        write("f", data)
        os.truncate("f", after)
        want = data[:after] + bytes(max(0, after - before))
        assert os.stat("f").st_size == after and read("f") == want
        os.truncate("f", after + 100)
        assert read("f") == want + bytes(100)


def test_truncated_bytes_do_not_come_back(place):
    write("f", b"x" * 10000)
    with opened("f", os.O_RDWR) as fd:
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 10000)
        assert os.pread(fd, 20000, 0) == b"x" * 100 + bytes(9900)
        os.ftruncate(fd, 50)
        os.pwrite(fd, b"y", 200)
        assert os.pread(fd, 1000, 0) == b"x" * 50 + bytes(150) + b"y"


def test_ftruncate_of_bytes_not_yet_carried_off(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"abcdef")
        os.ftruncate(fd, 3)
        os.write(fd, b"X")
        assert os.pread(fd, 10, 0) == b"abc\0\0\0X"


@pytest.mark.parametrize("size", [-1, -MOST])
def test_negative_sizes(place, size):
    write("f")
    with fails(errno.EINVAL):
        os.truncate("f", size)
    with opened("f", os.O_RDWR) as fd:
        with fails(errno.EINVAL):
            os.ftruncate(fd, size)
        with fails(errno.EINVAL):
            os.pread(fd, 1, size)
        with fails(errno.EINVAL):
            os.pwrite(fd, b"x", size)
        with fails(errno.EINVAL):
            os.lseek(fd, size, os.SEEK_SET)


@pytest.mark.parametrize("kind", NOT_DIRECTORIES + ["dir"])
def test_truncation_of_others(place, kind):
    make("x", kind)
    number = {"dir": errno.EISDIR, "symlink": errno.ENOENT}.get(kind, errno.EINVAL)
    if kind == "file":
        os.truncate("x", 5)
        assert os.stat("x").st_size == 5
    else:
        with fails(number):
            os.truncate("x", 0)


def test_largest_file(place, is_surffs):
    """8 EiB - 1 here; ext4 ends at 16 TiB."""
    write("f")
    if not is_surffs:
        with fails(errno.EFBIG):
            os.truncate("f", MOST)
        return
    os.truncate("f", MOST)
    assert os.stat("f").st_size == MOST
    with opened("f", os.O_RDWR) as fd:
        assert os.pread(fd, 10, MOST - 10) == bytes(10)
        assert os.pwrite(fd, b"end", MOST - 3) == 3
        assert os.pread(fd, 4, MOST - 4) == b"\0end"
        with fails(errno.EINVAL, errno.EFBIG):
            os.pwrite(fd, b"x", MOST)
    os.truncate("f", 1)
    assert read("f") == b"\0"


@pytest.mark.parametrize("whence, offset, want", [(os.SEEK_SET, 5, 5), (os.SEEK_END, 0, 10), (os.SEEK_END, -10, 0), (os.SEEK_END, 100, 110), (os.SEEK_CUR, 3, 3)])
def test_lseek(place, whence, offset, want):
    write("f", b"0123456789")
    with opened("f", os.O_RDONLY) as fd:
        assert os.lseek(fd, offset, whence) == want
        assert os.read(fd, 1) == b"0123456789"[want:want + 1]


@pytest.mark.parametrize("whence, offset", [(os.SEEK_END, -11), (os.SEEK_CUR, -1), (99, 0)])
def test_lseek_errors(place, whence, offset):
    write("f", b"0123456789")
    with opened("f", os.O_RDONLY) as fd:
        with fails(errno.EINVAL):
            os.lseek(fd, offset, whence)


def test_vectors(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        assert os.writev(fd, [b"ab", b"", b"cde"]) == 5
        assert os.pwritev(fd, [b"X", b"Y"], 1) == 2
        a, b = bytearray(2), bytearray(10)
        assert os.preadv(fd, [a, b], 0) == 5
        assert bytes(a) == b"aX" and bytes(b[:3]) == b"Yde"


def test_one_handle_sees_at_once_what_the_other_wrote(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as one, opened("f", os.O_RDWR) as two:
        for n in range(100):
            os.pwrite(one, b"%04d" % n, n * 4)
            assert os.pread(two, 4, n * 4) == b"%04d" % n and os.fstat(two).st_size == n * 4 + 4
            os.ftruncate(two, n * 4 + 4)


def test_shared_offset_of_a_duplicate(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        other = os.dup(fd)
        os.write(fd, b"abc")
        os.write(other, b"def")
        os.close(other)
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.read(fd, 10) == b"abcdef"


@pytest.mark.parametrize("sync", [os.fsync, os.fdatasync])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_sync(place, sync, kind):
    make("x", kind)
    with opened("x", os.O_RDONLY) as fd:
        sync(fd)


def test_concurrent_writers_of_different_bytes(place):
    write("f")
    errors = []

    def work(number):
        try:
            with opened("f", os.O_WRONLY) as fd:
                for n in range(50):
                    os.pwrite(fd, bytes([65 + number]) * 10, (n * 4 + number) * 10)
        except OSError as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and read("f") == (b"A" * 10 + b"B" * 10 + b"C" * 10 + b"D" * 10) * 50


def test_shared_mapping(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 10000)
        with mmap.mmap(fd, 10000) as shared:
            shared[5000:5003] = b"map"
            shared.flush()
            assert os.pread(fd, 3, 5000) == b"map"
            os.pwrite(fd, b"new", 100)
            assert shared[100:103] == b"new"
    assert read("f")[5000:5003] == b"map"


def test_private_mapping(place):
    write("f", b"x" * 5000)
    with opened("f", os.O_RDONLY) as fd:
        with mmap.mmap(fd, 5000, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as private:
            private[0:3] = b"abc"
            assert os.pread(fd, 3, 0) == b"xxx"


def test_mapping_without_permission(place):
    write("f", b"x")
    with opened("f", os.O_RDONLY) as fd:
        with fails(errno.EACCES):
            mmap.mmap(fd, 1, flags=mmap.MAP_SHARED, prot=mmap.PROT_WRITE)


@pytest.mark.parametrize("size", [4096, 65536, 1 << 20])
def test_direct(place, size):
    with mmap.mmap(-1, size) as buffer:
        buffer[:] = os.urandom(size)
        with opened("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT) as fd:
            assert os.writev(fd, [buffer]) == size
            with mmap.mmap(-1, size) as back:
                assert os.preadv(fd, [back], 0) == size
                assert back[:] == buffer[:]
        assert read("f") == buffer[:]
