"""utimensat(2) and which times a change of contents sets."""

import errno
import os
import time

import ctypes
import pytest

from calls import (AT_FDCWD, LIBC, TYPES, changes, checked, fails, make, opened, times, write)

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
S = 1_000_000_000


class Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


def utimensat(path, access, modification, flags=0):
    both = (Timespec * 2)(Timespec(*access), Timespec(*modification))
    return checked(LIBC.utimensat(AT_FDCWD, os.fsencode(path), both, flags), path)


@pytest.mark.parametrize("kind", ["file", "dir", "symlink"])
def test_times_are_kept(place, kind):
    """Nanoseconds, before 1970, beyond 2038 and up to 2262, the end of 64 bits of nanoseconds."""
    make("x", kind)
    for ns in (0, 1, 999_999_999, S, 1_700_000_000 * S + 123_456_789, 2**31 * S - 1, 2**31 * S, 2**32 * S + 5, 4_102_444_800 * S + 1,
               9_223_372_036 * S, -1, -S, -S + 1, -2**31 * S + S):
        os.utime("x", ns=(ns, ns + 1), follow_symlinks=False)
        s = os.lstat("x")
        assert (s.st_atime_ns, s.st_mtime_ns) == (ns, ns + 1)


@pytest.mark.parametrize("seconds", [2**40, 2**62, -2**40, -2**62])
def test_times_beyond_what_can_be_kept(place, seconds):
    """They become the last or first that can, as Linux does it."""
    write("f")
    utimensat("f", (seconds, 5), (seconds, 5))
    s = os.stat("f")
    far = 9_000_000_000 if seconds > 0 else -2_000_000_000
    assert s.st_mtime_ns == s.st_atime_ns and (s.st_mtime_ns >= far * S if seconds > 0 else s.st_mtime_ns <= far * S)


@pytest.mark.parametrize("kind", TYPES)
def test_times_of_utime(place, kind):
    make("x", kind)
    with changes(here="", x="mc"):
        os.utime("x", follow_symlinks=False)
    with changes(here="", x="c"):
        os.utime("x", ns=(1, os.lstat("x").st_mtime_ns), follow_symlinks=False)


def test_now(place):
    write("f")
    os.utime("f", ns=(1, 1))
    before = time.time_ns()
    utimensat("f", (0, UTIME_NOW), (0, UTIME_NOW))
    s = os.stat("f")
    assert s.st_atime_ns == s.st_mtime_ns and abs(s.st_mtime_ns - before) < 10 * S


@pytest.mark.parametrize("access, modification, want", [((0, UTIME_OMIT), (7, 8), (5, 7 * S + 8)), ((7, 8), (0, UTIME_OMIT), (7 * S + 8, 6)),
                                                        ((0, UTIME_OMIT), (0, UTIME_OMIT), (5, 6))])
def test_omitted(place, access, modification, want):
    write("f")
    os.utime("f", ns=(5, 6))
    utimensat("f", access, modification)
    assert (os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns) == want


def test_omitting_both_changes_nothing(place):
    write("f")
    with changes(f=""):
        utimensat("f", (0, UTIME_OMIT), (0, UTIME_OMIT))


def test_one_now_and_one_given(place):
    write("f")
    os.utime("f", ns=(5, 6))
    utimensat("f", (0, UTIME_NOW), (9, 9))
    s = os.stat("f")
    assert s.st_mtime_ns == 9 * S + 9 and s.st_atime_ns > S * 1_000_000_000


@pytest.mark.parametrize("nanoseconds", [-1, S, UTIME_NOW + 1])
def test_bad_nanoseconds(place, nanoseconds):
    write("f")
    with fails(errno.EINVAL):
        utimensat("f", (0, nanoseconds), (0, 0))


def test_given_times_outlast_what_was_written_before(place):
    with opened("f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"abc")
        os.utime("f", ns=(5, 6))
        assert os.stat("f").st_mtime_ns == 6
    assert os.stat("f").st_mtime_ns == 6


def test_given_times_are_gone_when_it_is_written_again(place):
    with opened("f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"abc")
        os.utime(fd, ns=(5, 6))
        os.write(fd, b"def")
        assert os.stat("f").st_mtime_ns > S
    assert os.stat("f").st_mtime_ns > S


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_SYNC])
def test_times_of_writing(place, flags):
    write("f", b"abc")
    with opened("f", flags) as fd:
        with changes(here="", f="mc"):
            os.write(fd, b"x")
        with changes(here="", f="mc"):
            os.write(fd, b"x" * 5000)
        with changes(here="", f=""):
            os.fsync(fd)
    settled = times("f")
    with opened("f", os.O_RDONLY) as fd:
        os.read(fd, 10)
    assert times("f") == settled


def test_closing_does_not_change_what_was_seen(place):
    """The time of a write is that of the write, not of when it was carried off."""
    with opened("f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"abc")
        seen = times("f")
    assert times("f") == seen


def test_writing_nothing_changes_nothing(place):
    write("f", b"abc")
    with opened("f", os.O_WRONLY) as fd:
        with changes(f=""):
            os.write(fd, b"")


@pytest.mark.parametrize("before, after", [(3, 0), (3, 2), (3, 10), (0, 1), (1 << 20, 5)])
@pytest.mark.parametrize("by", ["path", "handle"])
def test_times_of_truncation(place, before, after, by):
    write("f", b"x" * before)
    with changes(here="", f="mc"):
        if by == "path":
            os.truncate("f", after)
        else:
            with opened("f", os.O_WRONLY) as fd:
                os.ftruncate(fd, after)


@pytest.mark.parametrize("kind", TYPES)
def test_looking_changes_neither(place, kind):
    os.mkdir("d")
    make("d/x", kind)
    with changes(d="", d_x=""):
        os.lstat("d/x")
        os.listdir("d")
        os.access("d/x", os.R_OK)
        with opened("d/x", os.O_PATH | os.O_NOFOLLOW):
            pass


@pytest.mark.parametrize("mode", [0, 1, 3, 16, 17], ids=["", "keep size", "punch", "zero", "zero and keep size"])
@pytest.mark.parametrize("offset, length", [(0, 100), (4000, 5000), (10000, 10)])
def test_times_of_fallocate(place, mode, offset, length):
    """Also when neither size nor bytes change."""
    write("f", b"x" * 5000)
    with opened("f", os.O_RDWR) as fd, changes(f="mc", here=""):
        checked(LIBC.fallocate64(fd, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)))
