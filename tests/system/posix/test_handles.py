"""What one does with an open file besides reading and writing: fcntl(2), sendfile(2), splice(2), poll(2), ioctl(2), fork(2), limits."""

import errno
import fcntl
import mmap
import os
import resource
import select
import signal

import pytest

from calls import ALICE, as_user, fails, make, opened, read, write


@pytest.mark.parametrize("content", [b"", b"abcdef"])
def test_append_switched_on(place, content):
    write("f", content)
    with opened("f", os.O_RDWR) as fd:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        assert os.pwrite(fd, b"XY", 1) == 2  # pwrite(2): on Linux O_APPEND has its way
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"Z")
        assert os.pread(fd, 100, 0) == content + b"XYZ"
    assert read("f") == content + b"XYZ"


def test_append_switched_off(place):
    write("f", b"abcdef")
    with opened("f", os.O_RDWR | os.O_APPEND) as fd:
        os.write(fd, b"g")
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        assert os.pwrite(fd, b"XY", 1) == 2
        assert os.pread(fd, 100, 0) == b"aXYdefg"
    assert read("f") == b"aXYdefg"


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_SYNC])
@pytest.mark.parametrize("kind", [mmap.MAP_SHARED, mmap.MAP_PRIVATE])
def test_mapping(place, flags, kind):
    write("f", b"x" * 5000)
    with opened("f", flags) as fd:
        with mmap.mmap(fd, 5000, flags=kind) as mapped:
            assert mapped[4990:] == b"x" * 10
            mapped[0:3] = b"abc"
    assert read("f") == (b"abc" if kind == mmap.MAP_SHARED else b"xxx") + b"x" * 4997


@pytest.mark.parametrize("other", [os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_APPEND, os.O_WRONLY])
@pytest.mark.parametrize("first", [False, True])
def test_mapped_bytes_stay_in_their_place(place, other, first):
    """Whichever other handle the kernel writes them back through."""
    write("f", b"x" * 5000)
    with opened("f", other if first else os.O_RDWR) as one, opened("f", os.O_RDWR if first else other) as two:
        with mmap.mmap(two if first else one, 5000) as mapped:
            mapped[100:103] = b"abc"
            mapped.flush()
        os.fsync(one)
        os.fsync(two)
    assert read("f") == b"x" * 100 + b"abc" + b"x" * 4897


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_WRONLY | os.O_APPEND])
def test_limit_of_the_size(place, flags):
    write("f", b"x" * 90)

    def act():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with opened("f", flags) as fd:
            os.lseek(fd, 0, os.SEEK_END)
            assert os.write(fd, b"y" * 50) == 10
            with fails(errno.EFBIG):
                os.write(fd, b"y")
            with fails(errno.EFBIG):
                os.ftruncate(fd, 101)
        return os.stat("f").st_size

    assert as_user(0, act, gid=0) == 100


@pytest.mark.parametrize("size", [10, 5000, 1 << 20])
def test_sendfile(place, size):
    data = os.urandom(size)
    write("f", data)
    with opened("f", os.O_RDONLY) as source, opened("g", os.O_CREAT | os.O_WRONLY) as target:
        done = 0
        while done < size:
            done += os.sendfile(target, source, done, size - done)
    assert read("g") == data


def test_splice(place):
    write("f", b"abcdefgh" * 1000)
    reader, writer = os.pipe()
    with opened("f", os.O_RDONLY) as source, opened("g", os.O_CREAT | os.O_WRONLY) as target:
        assert os.splice(source, writer, 8000) == 8000
        assert os.splice(reader, target, 8000) == 8000
    os.close(reader)
    os.close(writer)
    assert read("g") == b"abcdefgh" * 1000


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_poll_is_always_ready(place, kind, is_surffs):
    make("x", kind)
    with opened("x", os.O_RDONLY) as fd:
        ready = select.poll()
        ready.register(fd, select.POLLIN | select.POLLOUT)
        assert ready.poll(0) == [(fd, select.POLLIN | select.POLLOUT)]
        if kind == "file" and is_surffs:
            return  # FUSE has files that can be waited for: docs/POSIX.md
        with select.epoll() as ready, fails(errno.EPERM):
            ready.register(fd)


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_unknown_ioctl(place, kind):
    make("x", kind)
    with opened("x", os.O_RDONLY) as fd:
        with fails(errno.ENOTTY):
            fcntl.ioctl(fd, 0x5401, b"\0" * 64)


def test_fionread(place):
    write("f", b"0123456789")
    with opened("f", os.O_RDONLY) as fd:
        os.read(fd, 3)
        assert int.from_bytes(fcntl.ioctl(fd, 0x541B, b"\0" * 4), "little") == 7


def test_child_shares_the_offset(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"abc")
        as_user(ALICE, lambda: os.write(fd, b"def"))
        os.write(fd, b"ghi")
    assert read("f") == b"abcdefghi"


def test_closing_one_of_two_handles_keeps_the_other(place):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"abc")
        for _ in range(10):
            os.close(os.dup(fd))
            os.close(os.open("f", os.O_RDONLY))
        os.write(fd, b"def")
        assert os.pread(fd, 10, 0) == b"abcdef"


@pytest.mark.parametrize("advice", [os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED, os.POSIX_FADV_SEQUENTIAL])
def test_advice(place, advice):
    write("f", b"abc" * 5000)
    with opened("f", os.O_RDONLY) as fd:
        os.posix_fadvise(fd, 0, 0, advice)
        assert os.pread(fd, 6, 3) == b"abcabc"


def test_handle_that_is_closed(place):
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.close(fd)
    for call in (lambda: os.read(fd, 1), lambda: os.write(fd, b"x"), lambda: os.fstat(fd), lambda: os.fsync(fd), lambda: os.ftruncate(fd, 0),
                 lambda: os.fchmod(fd, 0), lambda: os.close(fd), lambda: os.lseek(fd, 0, os.SEEK_SET)):
        with fails(errno.EBADF):
            call()
