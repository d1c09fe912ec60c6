"""Set-user-ID and set-group-ID bits of files go when contents change, by whom and how (chown(2), write(2), truncate(2))."""

import ctypes
import mmap
import os

import pytest

from calls import ALICE, BOB, GUESTS, LIBC, STAFF, as_user, checked, opened, permissions, write

PUNCH = 3  # with KEEP_SIZE


def through(flags, action):
    with opened("f", flags) as fd:
        action(fd)


def copied(fd):
    with opened("source", os.O_RDONLY) as source:
        os.copy_file_range(source, fd, 100)


def direct(fd):
    with mmap.mmap(-1, 4096) as page:
        os.pwritev(fd, [page], 0)


def fallocate(fd, mode):
    checked(LIBC.fallocate64(fd, mode, ctypes.c_longlong(0), ctypes.c_longlong(6000)))


CHANGES = {
    "write": lambda: through(os.O_WRONLY, lambda fd: os.write(fd, b"x")),
    "append": lambda: through(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
    "direct": lambda: through(os.O_WRONLY | os.O_DIRECT, direct),
    "truncate": lambda: os.truncate("f", 10),
    "truncate to the same": lambda: os.truncate("f", 5000),
    "ftruncate": lambda: through(os.O_WRONLY, lambda fd: os.ftruncate(fd, 10)),
    "open": lambda: through(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "fallocate": lambda: through(os.O_WRONLY, lambda fd: fallocate(fd, 0)),
    "punch": lambda: through(os.O_WRONLY, lambda fd: fallocate(fd, PUNCH)),
    "copy": lambda: through(os.O_WRONLY, copied),
}
LOSES_NOTHING = {
    "write nothing": lambda: through(os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "open": lambda: through(os.O_RDWR, lambda fd: os.read(fd, 10)),
    "utime": lambda: os.utime("f"),
}
# Who writes a file of ALICE:STAFF: (uid, gid, supplementary groups), and whether he is of its group
WRITERS = {"owner": (ALICE, GUESTS, (), False), "owner in group": (ALICE, STAFF, (), True), "other": (BOB, GUESTS, (), False),
           "supplementary": (BOB, GUESTS, (STAFF,), True)}


def make_program(mode):
    write("f", b"x" * 5000)
    write("source", b"y" * 5000)
    os.chown("f", ALICE, STAFF)
    os.chmod("f", mode)


def left_of(mode, in_group):
    """Set-user-ID goes always, set-group-ID where the group may execute the file, or who writes is not of it."""
    mode &= ~0o4000
    return mode if in_group and not mode & 0o010 else mode & ~0o2000


@pytest.mark.parametrize("who", WRITERS)
@pytest.mark.parametrize("change", CHANGES)
def test_who_changes_contents_takes_the_bits(place, change, who):
    uid, gid, groups, in_group = WRITERS[who]
    for mode in (0o6777, 0o4777, 0o2777, 0o2767, 0o6767, 0o2666, 0o6666):
        make_program(mode)
        as_user(uid, CHANGES[change], gid, groups)
        assert oct(permissions("f")) == oct(left_of(mode, in_group)), oct(mode)


@pytest.mark.parametrize("change", CHANGES)
def test_root_takes_none(place, change):
    for mode in (0o6777, 0o2767):
        make_program(mode)
        CHANGES[change]()
        assert permissions("f") == mode


@pytest.mark.parametrize("call", LOSES_NOTHING)
def test_what_changes_no_contents_takes_none(place, call):
    for mode in (0o6777, 0o2767):
        make_program(mode)
        as_user(ALICE, LOSES_NOTHING[call], GUESTS)
        assert permissions("f") == mode


@pytest.mark.parametrize("who", ["owner", "owner in group"])
def test_giving_away_takes_the_bits(place, who):
    uid, gid, groups, in_group = WRITERS[who]
    for mode in (0o6777, 0o2767, 0o6666):
        make_program(mode)
        as_user(uid, lambda: os.chown("f", -1, gid), gid, groups)
        assert oct(permissions("f")) == oct(left_of(mode, in_group)), oct(mode)
