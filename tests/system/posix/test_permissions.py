"""Who may do what: search and write permission of directories, sticky directories, supplementary groups."""

import errno
import os

import pytest

from calls import (ALICE, BOB, GUESTS, NOT_DIRECTORIES, RENAME_EXCHANGE, STAFF, as_user, fails, kind_of, make, opened, permissions,
                   read, rename2, write)

# (uid, gid, supplementary groups) and by how much the bits of a directory of ALICE:STAFF are shifted for them
WHO = {"owner": (ALICE, GUESTS, (), 6), "group": (BOB, STAFF, (), 3), "supplementary": (BOB, GUESTS, (7, STAFF, 8), 3), "other": (BOB, GUESTS, (7,), 0)}

CALLS = {
    "create": lambda: os.close(os.open("d/new", os.O_CREAT | os.O_WRONLY)),
    "mkdir": lambda: os.mkdir("d/new"),
    "mkfifo": lambda: os.mkfifo("d/new"),
    "symlink": lambda: os.symlink("x", "d/new"),
    "link": lambda: os.link("mine", "d/new"),
    "unlink": lambda: os.unlink("d/f"),
    "rmdir": lambda: os.rmdir("d/e"),
    "rename in": lambda: os.rename("mine", "d/new"),
    "rename out": lambda: os.rename("d/f", "new"),
    "rename": lambda: os.rename("d/f", "d/new"),
    "exchange": lambda: rename2("d/f", "mine", RENAME_EXCHANGE),
}


def room(mode):
    """A directory d of ALICE:STAFF with something in it, in a directory where all may write."""
    os.chmod(".", 0o777)
    os.mkdir("d")
    write("d/f")
    os.chown("d/f", BOB, STAFF)
    os.mkdir("d/e")
    os.chown("d/e", BOB, STAFF)
    os.chown("d", ALICE, STAFF)
    os.chmod("d", mode)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("who", WHO)
def test_changing_a_directory(place, who, call):
    """It takes writing and searching."""
    uid, gid, groups, shift = WHO[who]
    room(0)
    write("mine")
    os.chown("mine", uid, gid)
    for bits in (0o1, 0o2, 0o6):
        os.chmod("d", bits << shift)
        with fails(errno.EACCES):
            as_user(uid, CALLS[call], gid, groups)
    os.chmod("d", 0o3 << shift)
    as_user(uid, CALLS[call], gid, groups)


@pytest.mark.parametrize("who", WHO)
def test_the_first_class_that_fits_decides(place, who):
    """An owner who may not is not helped by what others may."""
    uid, gid, groups, shift = WHO[who]
    room(0o777 & ~(0o7 << shift))
    for call in (lambda: os.listdir("d"), lambda: os.stat("d/f"), lambda: os.unlink("d/f")):
        with fails(errno.EACCES):
            as_user(uid, call, gid, groups)


@pytest.mark.parametrize("call", [lambda: os.stat("d/f"), lambda: os.open("d/f", os.O_RDONLY), lambda: os.chmod("d/f", 0), lambda: os.listdir("d/e"),
                                  lambda: os.readlink("d/s"), lambda: os.stat("d/absent"), lambda: os.chdir("d"), lambda: os.truncate("d/f", 0)],
                         ids=["stat", "open", "chmod", "listdir", "readlink", "absent", "chdir", "truncate"])
def test_no_search(place, call):
    room(0o755)
    os.symlink("f", "d/s")
    os.chmod("d", 0o666)
    with fails(errno.EACCES):
        as_user(BOB, call)


def test_listing_needs_reading_only_and_names_searching_only(place):
    room(0o744)
    assert sorted(as_user(BOB, lambda: os.listdir("d"))) == ["e", "f"]
    os.chmod("d", 0o711)
    with fails(errno.EACCES):
        as_user(BOB, lambda: os.listdir("d"))
    assert as_user(BOB, lambda: read("d/f")) == b""


@pytest.mark.parametrize("mode, flags, may", [
    (0o400, os.O_RDONLY, True), (0o400, os.O_WRONLY, False), (0o400, os.O_RDWR, False), (0o200, os.O_RDONLY, False), (0o200, os.O_WRONLY, True),
    (0o200, os.O_WRONLY | os.O_TRUNC, True), (0o400, os.O_RDONLY | os.O_TRUNC, False), (0o600, os.O_RDWR, True), (0o077, os.O_RDONLY, False),
    (0o200, os.O_WRONLY | os.O_APPEND, True), (0o100, os.O_RDONLY, False), (0, os.O_PATH, True)])
@pytest.mark.parametrize("create", [0, os.O_CREAT])
def test_opening(place, mode, flags, may, create):
    write("f", b"abc")
    os.chown("f", ALICE, STAFF)
    os.chmod("f", mode)
    if may:
        as_user(ALICE, lambda: os.close(os.open("f", flags | create)))
    else:
        with fails(errno.EACCES):
            as_user(ALICE, lambda: os.open("f", flags | create))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 500])
def test_many_supplementary_groups(place, count):
    write("f", b"x")
    os.chown("f", 0, STAFF)
    os.chmod("f", 0o040)
    groups = [70000 + n for n in range(count - 1)] + [STAFF]
    assert as_user(BOB, lambda: read("f"), GUESTS, groups) == b"x"
    with fails(errno.EACCES):
        as_user(BOB, lambda: read("f"), GUESTS, groups[:-1])


def test_permission_that_goes_while_open_stays(place):
    write("f", b"abc")
    os.chmod("f", 0o666)

    def act():
        with opened("f", os.O_RDWR) as fd:
            return os.pread(fd, 3, 0), os.pwrite(fd, b"x", 0)

    assert as_user(ALICE, act) == (b"abc", 1)


def test_permission_is_given_and_taken_at_once(place):
    write("f", b"abc")
    for _ in range(20):
        os.chmod("f", 0o600)
        with fails(errno.EACCES):
            as_user(ALICE, lambda: read("f"))
        os.chmod("f", 0o644)
        assert as_user(ALICE, lambda: read("f")) == b"abc"


# -- sticky directories: entries are removed by the owner of the entry, of the directory, or root


@pytest.mark.parametrize("kind", ["file", "dir", "symlink"])
@pytest.mark.parametrize("directory, owner, may", [(ALICE, BOB, True), (BOB, ALICE, True), (ALICE, ALICE, False), (BOB, BOB, True)])
@pytest.mark.parametrize("call", ["remove", "rename", "replace"])
def test_sticky(place, kind, directory, owner, may, call):
    os.mkdir("d")
    make("d/x", kind)
    os.lchown("d/x", owner, STAFF)
    os.chown("d", directory, STAFF)
    os.chmod("d", 0o1777)

    def act():
        if call == "remove":
            (os.rmdir if kind == "dir" else os.unlink)("d/x")
        elif call == "rename":
            os.rename("d/x", "d/y")
        else:
            make("d/mine", "dir" if kind == "dir" else "file")
            os.rename("d/mine", "d/x")

    if may:
        as_user(BOB, act)
    else:
        with fails(errno.EPERM, errno.EACCES):
            as_user(BOB, act)
        assert kind_of("d/x") == kind


def test_root_is_not_held_by_sticky(place):
    os.mkdir("d")
    make("d/x", "file")
    os.chown("d/x", ALICE, STAFF)
    os.chown("d", ALICE, STAFF)
    os.chmod("d", 0o1777)
    os.unlink("d/x")


@pytest.mark.parametrize("owner, number", [(BOB, 0), (ALICE, errno.EACCES)])
def test_moving_a_directory_elsewhere_writes_to_it(place, owner, number):
    """Its .. changes, so the mover needs write permission for the directory itself."""
    os.chmod(".", 0o777)
    os.mkdir("d")
    os.mkdir("moved")
    os.chown("moved", owner, STAFF)
    os.chmod("moved", 0o755)
    os.chmod("d", 0o777)
    if number:
        with fails(number):
            as_user(BOB, lambda: os.rename("moved", "d/moved"))
        as_user(BOB, lambda: os.rename("moved", "renamed"))
    else:
        as_user(BOB, lambda: os.rename("moved", "d/moved"))


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_links_to_what_belongs_to_others(place, kind):
    """fs.protected_hardlinks, or not: as on the local file system beside it."""
    make("x", kind)
    os.mkdir("d")
    os.chmod("d", 0o777)
    protected = read("/proc/sys/fs/protected_hardlinks").strip() == b"1"
    if protected:
        with fails(errno.EPERM):
            as_user(ALICE, lambda: os.link("x", "d/y", follow_symlinks=False))
    else:
        as_user(ALICE, lambda: os.link("x", "d/y", follow_symlinks=False))


@pytest.mark.parametrize("call", [lambda: os.utime("f", ns=(1, 2)), lambda: os.utime("f", ns=(0, 0))], ids=["times", "zero"])
def test_setting_times_takes_the_owner(place, call):
    write("f")
    os.chmod("f", 0o666)
    with fails(errno.EPERM):
        as_user(ALICE, call)
    as_user(ALICE, lambda: os.utime("f"))
    os.chown("f", ALICE, STAFF)
    os.chmod("f", 0)
    as_user(ALICE, call)


def test_setting_times_to_now_takes_writing(place):
    write("f")
    os.chmod("f", 0o644)
    with fails(errno.EACCES):
        as_user(ALICE, lambda: os.utime("f"))


@pytest.mark.parametrize("mode, may", [(0o666, True), (0o222, True), (0o444, False)])
def test_truncation_takes_writing(place, mode, may):
    write("f", b"abc")
    os.chmod("f", mode)
    if may:
        as_user(ALICE, lambda: os.truncate("f", 1))
    else:
        with fails(errno.EACCES):
            as_user(ALICE, lambda: os.truncate("f", 1))
    assert os.stat("f").st_size == (1 if may else 3)


def test_set_group_on_a_directory_is_not_for_who_is_not_in_the_group(place):
    os.mkdir("d")
    os.chown("d", ALICE, GUESTS)
    as_user(ALICE, lambda: os.chmod("d", 0o2755))
    assert permissions("d") == 0o755
    as_user(ALICE, lambda: os.chmod("d", 0o2755), groups=[GUESTS])
    assert permissions("d") == 0o2755
