"""chmod(2), chown(2), stat(2), statx(2), statvfs(3), mknod(2), access(2)."""

import ctypes
import errno
import os
import stat
import struct
import time

import pytest

from calls import (ALICE, AT_FDCWD, BOB, GUESTS, LIBC, MODE_OF, STAFF, TYPES, as_user, changes, fails, kind_of, make, opened, permissions, read, write)

NO_SYMLINKS = [t for t in TYPES if t != "symlink"]


@pytest.mark.parametrize("kind", NO_SYMLINKS)
def test_chmod(place, kind):
    make("x", kind)
    for mode in (0, 0o1, 0o20, 0o644, 0o777, 0o1755, 0o2755, 0o4755, 0o7777):
        os.chmod("x", mode)
        assert permissions("x") == mode and kind_of("x") == kind


@pytest.mark.parametrize("call", [lambda p: os.chmod(p, 0o600), lambda p: os.chown(p, 1, 1), lambda p: os.stat(p), lambda p: os.utime(p),
                                  lambda p: os.truncate(p, 0), lambda p: os.listdir(p) if p else os.stat(p), lambda p: os.chdir(p)],
                         ids=["chmod", "chown", "stat", "utime", "truncate", "listdir", "chdir"])
def test_paths_that_lead_nowhere(place, call):
    write("f")
    os.symlink("loop", "loop")
    os.symlink("absent", "dangling")
    for path, number in (("absent", errno.ENOENT), ("f/x", errno.ENOTDIR), ("loop", errno.ELOOP), ("", errno.ENOENT), ("dangling", errno.ENOENT),
                         ("n" * 256, errno.ENAMETOOLONG)):
        with fails(number):
            call(path)


def test_chmod_follows_symlinks(place):
    write("f")
    os.symlink("f", "link")
    os.chmod("link", 0o600)
    assert permissions("f") == 0o600 and permissions("link") == 0o777


@pytest.mark.parametrize("kind", ["file", "dir", "fifo"])
def test_fchmod(place, kind):
    make("x", kind)
    with opened("x", os.O_RDONLY | os.O_NONBLOCK) as fd:
        os.fchmod(fd, 0o711)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o711
    assert permissions("x") == 0o711


@pytest.mark.parametrize("kind", NO_SYMLINKS)
def test_chmod_by_others(place, kind):
    make("x", kind)
    with fails(errno.EPERM):
        as_user(ALICE, lambda: os.chmod("x", 0o777))
    os.chown("x", ALICE, STAFF)
    as_user(ALICE, lambda: os.chmod("x", 0o640))
    assert permissions("x") == 0o640


def test_chmod_sees_all_bits_at_once_from_both_handles(place):
    write("f")
    with opened("f", os.O_RDWR) as one, opened("f", os.O_RDONLY) as two:
        for mode in (0o600, 0o644, 0):
            os.fchmod(one, mode)
            assert stat.S_IMODE(os.fstat(two).st_mode) == mode


@pytest.mark.parametrize("kind", TYPES)
def test_chown(place, kind):
    make("x", kind)
    for uid, gid in ((ALICE, STAFF), (65534, 65534), (1 << 31, 1), ((1 << 32) - 2, (1 << 32) - 2), (0, 0)):
        os.lchown("x", uid, gid)
        assert (os.lstat("x").st_uid, os.lstat("x").st_gid) == (uid, gid)


@pytest.mark.parametrize("uid, gid, want", [(-1, -1, (ALICE, STAFF)), (BOB, -1, (BOB, STAFF)), (-1, GUESTS, (ALICE, GUESTS))])
def test_chown_of_one(place, uid, gid, want):
    write("f")
    os.chown("f", ALICE, STAFF)
    os.chown("f", uid, gid)
    assert (os.stat("f").st_uid, os.stat("f").st_gid) == want


def test_chown_follows_symlinks_and_lchown_does_not(place):
    write("f")
    os.symlink("f", "link")
    os.chown("link", ALICE, STAFF)
    assert os.stat("f").st_uid == ALICE and os.lstat("link").st_uid == 0
    os.lchown("link", BOB, GUESTS)
    assert os.stat("f").st_uid == ALICE and os.lstat("link").st_uid == BOB


@pytest.mark.parametrize("uid, gid, groups, number", [
    (BOB, -1, (), errno.EPERM), (0, -1, (), errno.EPERM), (ALICE, -1, (), 0), (-1, STAFF, (), 0), (-1, GUESTS, (), errno.EPERM),
    (-1, GUESTS, (GUESTS,), 0), (ALICE, GUESTS, (GUESTS,), 0), (BOB, GUESTS, (GUESTS,), errno.EPERM), (-1, 0, (), errno.EPERM), (-1, -1, (), 0)])
def test_chown_by_the_owner(place, uid, gid, groups, number):
    write("f")
    os.chown("f", ALICE, STAFF)
    if number:
        with fails(number):
            as_user(ALICE, lambda: os.chown("f", uid, gid), groups=groups)
        assert (os.stat("f").st_uid, os.stat("f").st_gid) == (ALICE, STAFF)
    else:
        as_user(ALICE, lambda: os.chown("f", uid, gid), groups=groups)
        assert os.stat("f").st_gid == (STAFF if gid == -1 else gid)


def test_chown_by_others(place):
    write("f")
    for uid, gid in ((BOB, -1), (-1, STAFF), (0, 0)):
        with fails(errno.EPERM):
            as_user(BOB, lambda: os.chown("f", uid, gid))


@pytest.mark.parametrize("kind", TYPES)
def test_times_of_chown(place, kind):
    make("x", kind)
    with changes(here="", x="c"):
        os.lchown("x", ALICE, STAFF)


@pytest.mark.parametrize("kind", NO_SYMLINKS)
def test_times_of_chmod(place, kind):
    make("x", kind)
    with changes(here="", x="c"):
        os.chmod("x", 0o600)
    with changes(here="", x="c"):
        os.chmod("x", 0o600)


def test_times_of_failures(place):
    write("f")
    with changes(here="", f=""):
        for call in (lambda: os.chmod("f", 0), lambda: os.chown("f", ALICE, STAFF), lambda: os.utime("f"), lambda: os.truncate("f", 9)):
            with fails(errno.EPERM, errno.EACCES):
                as_user(ALICE, call)


# -- mknod


@pytest.mark.parametrize("kind", ["file", "fifo", "socket", "char", "block"])
def test_mknod(place, kind):
    for device in ((0, 0), (1, 3), (255, 255), (256, 256), (4095, 1048575)):
        os.mknod("x", MODE_OF[kind] | 0o640, os.makedev(*device))
        s = os.lstat("x")
        assert kind_of("x") == kind and stat.S_IMODE(s.st_mode) == 0o640 and s.st_nlink == 1 and s.st_size == 0
        if kind in ("char", "block"):
            assert (os.major(s.st_rdev), os.minor(s.st_rdev)) == device
        os.unlink("x")


def test_mknod_without_a_type_is_a_file(place):
    os.mknod("x", 0o600)
    assert kind_of("x") == "file" and permissions("x") == 0o600


@pytest.mark.parametrize("type_", [stat.S_IFDIR, stat.S_IFLNK, 0o170000])
def test_mknod_of_other_types(place, type_):
    with fails(errno.EPERM if type_ == stat.S_IFDIR else errno.EINVAL):
        os.mknod("x", type_ | 0o600)


@pytest.mark.parametrize("kind", ["file", "fifo", "socket", "char", "block"])
def test_mknod_by_others(place, kind):
    os.chmod(".", 0o777)
    if kind in ("char", "block"):
        with fails(errno.EPERM):
            as_user(ALICE, lambda: os.mknod("x", MODE_OF[kind] | 0o644, os.makedev(1, 3)))
    else:
        as_user(ALICE, lambda: os.mknod("x", MODE_OF[kind] | 0o644))
        assert (os.stat("x").st_uid, os.stat("x").st_gid) == (ALICE, STAFF)


@pytest.mark.parametrize("path, number", [("f", errno.EEXIST), ("d", errno.EEXIST), ("f/x", errno.ENOTDIR), ("absent/x", errno.ENOENT), ("", errno.ENOENT),
                                          ("x/", errno.ENOENT), ("loop/x", errno.ELOOP), ("loop", errno.EEXIST), ("n" * 256, errno.ENAMETOOLONG)])
@pytest.mark.parametrize("call", [lambda p: os.mknod(p, 0o600), lambda p: os.mkfifo(p)], ids=["mknod", "mkfifo"])
def test_mknod_errors(place, call, path, number):
    write("f")
    os.mkdir("d")
    os.symlink("loop", "loop")
    with fails(number):
        call(path)


# -- stat


@pytest.mark.parametrize("kind", TYPES)
def test_stat_of_new(place, kind):
    make("x", kind, 0o640)
    s = os.lstat("x")
    assert s.st_nlink == (2 if kind == "dir" else 1) and s.st_dev == os.stat(".").st_dev and s.st_ino > 0
    if kind not in ("dir", "symlink"):
        assert s.st_size == 0 and s.st_blocks == 0


@pytest.mark.parametrize("size", [1, 4096, 5000, 1 << 20])
def test_blocks(place, size):
    with opened("f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, os.urandom(size))
        os.fsync(fd)
    s = os.stat("f")
    assert s.st_size == size and size <= s.st_blocks * 512 <= size + 8192
    os.truncate("f", 0)
    assert os.stat("f").st_blocks == 0


def test_holes_take_no_blocks(place):
    write("f", b"x")
    os.truncate("f", 1 << 40)
    s = os.stat("f")
    assert s.st_size == 1 << 40 and s.st_blocks <= 16


def test_numbers_are_unique(place):
    for n in range(200):
        write(str(n))
    assert len({os.stat(str(n)).st_ino for n in range(200)}) == 200


def test_statx_says_when_it_was_born(place, is_surffs):
    """Kernels before 6.6 don't ask FUSE for it."""
    asks = not is_surffs or tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 6)
    begun = time.time_ns()
    write("f")
    os.utime("f", ns=(1, 1))
    buffer = ctypes.create_string_buffer(256)
    assert LIBC.statx(AT_FDCWD, b"f", 0, 0xFFF, buffer) == 0
    mask = int.from_bytes(buffer[:4], "little")
    assert mask & 0x7FF == 0x7FF and bool(mask & 0x800) == asks
    seconds, nanoseconds = struct.unpack_from("<qI", buffer, 80)
    assert not asks or abs(seconds * 10**9 + nanoseconds - begun) < 60 * 10**9


def test_statvfs(place):
    s = os.statvfs(".")
    assert s.f_namemax == 255 and s.f_bsize >= 512 and s.f_frsize >= 512
    assert 0 < s.f_bavail <= s.f_bfree <= s.f_blocks and 0 < s.f_ffree <= s.f_files
    write("f")
    with opened("f", os.O_RDONLY) as fd:
        assert os.fstatvfs(fd).f_namemax == 255
    with fails(errno.ENOENT):
        os.statvfs("absent")
    assert os.pathconf(".", "PC_NAME_MAX") == 255


# -- access


@pytest.mark.parametrize("kind", ["file", "dir"])
@pytest.mark.parametrize("who, shift", [("owner", 6), ("group", 3), ("supplementary", 3), ("other", 0)])
def test_access(place, kind, who, shift):
    make("x", kind)
    os.chown("x", ALICE, STAFF)
    uid, gid, groups = {"owner": (ALICE, STAFF, ()), "group": (BOB, STAFF, ()), "supplementary": (BOB, GUESTS, (STAFF,)), "other": (BOB, GUESTS, ())}[who]
    for mode in (0, 0o100, 0o200, 0o400, 0o10, 0o20, 0o40, 0o1, 0o2, 0o4, 0o754, 0o777):
        os.chmod("x", mode)
        allowed = as_user(uid, lambda: [os.access("x", what) for what in (os.R_OK, os.W_OK, os.X_OK, os.F_OK)], gid, groups)
        bits = mode >> shift
        assert allowed == [bool(bits & 4), bool(bits & 2), bool(bits & 1), True], oct(mode)


@pytest.mark.parametrize("mode, may", [(0, False), (0o644, False), (0o100, True), (0o1, True)])
def test_root_may_execute_what_somebody_may(place, mode, may):
    write("f")
    os.chmod("f", mode)
    assert os.access("f", os.X_OK) == may and os.access("f", os.R_OK | os.W_OK)
    assert read("f") == b""
