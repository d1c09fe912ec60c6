"""link(2), unlink(2), symlink(2), readlink(2)."""

import errno
import os
import stat

import pytest

from calls import (ALICE, BOB, NOT_DIRECTORIES, STAFF, TYPES, as_user, changes, fails, kind_of, link_followed, make, opened, read, write)

LINK_MAX = 65535


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_link(place, kind):
    make("a", kind)
    os.link("a", "b", follow_symlinks=False)
    os.mkdir("d")
    os.link("b", "d/c", follow_symlinks=False)
    a, b, c = os.lstat("a"), os.lstat("b"), os.lstat("d/c")
    assert a.st_ino == b.st_ino == c.st_ino and a.st_nlink == b.st_nlink == c.st_nlink == 3
    os.unlink("a")
    assert os.lstat("b").st_nlink == 2 and kind_of("b") == kind
    os.unlink("b")
    os.unlink("d/c")
    assert not os.path.lexists("d/c")


def test_names_of_one_file_share_everything(place):
    write("a", b"abc")
    os.link("a", "b")
    write("b", b"defg")
    os.chmod("b", 0o600)
    os.chown("b", ALICE, STAFF)
    assert read("a") == b"defg" and os.stat("a") == os.stat("b")
    with opened("a", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"h")
    assert read("b") == b"defgh"


def test_link_of_a_directory(place):
    os.mkdir("d")
    with fails(errno.EPERM):
        os.link("d", "e")
    with fails(errno.EPERM):
        os.link("d", "d/e")


@pytest.mark.parametrize("kind", TYPES)
def test_link_where_something_is(place, kind):
    write("a")
    make("b", kind)
    with fails(errno.EEXIST):
        os.link("a", "b")
    assert kind_of("b") == kind and os.stat("a").st_nlink == 1


@pytest.mark.parametrize("old, new, number", [
    ("absent", "b", errno.ENOENT), ("a", "absent/b", errno.ENOENT), ("a", "a/b", errno.ENOTDIR), ("a/x", "b", errno.ENOTDIR),
    ("a", "", errno.ENOENT), ("", "b", errno.ENOENT), ("a", "a", errno.EEXIST), ("loop/x", "b", errno.ELOOP), ("a", "loop/x", errno.ELOOP),
    ("a", "b/", errno.ENOENT), ("a/", "b", errno.ENOTDIR), ("a", ".", errno.EEXIST)])
def test_link_errors(place, old, new, number):
    write("a")
    os.symlink("loop", "loop")
    with fails(number):
        os.link(old, new)
    assert os.stat("a").st_nlink == 1


def test_link_to_what_a_symlink_names(place):
    write("a")
    os.symlink("a", "s")
    link_followed("s", "b")
    os.link("s", "t", follow_symlinks=False)
    assert kind_of("b") == "file" and os.stat("a").st_nlink == 2 and kind_of("t") == "symlink"


def test_link_of_an_unlinked_file(place):
    with opened("a", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink("a")
        with fails(errno.ENOENT):
            link_followed(f"/proc/self/fd/{fd}", "b")


def test_link_of_an_open_file(place):
    with opened("a", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"abc")
        link_followed(f"/proc/self/fd/{fd}", "b")
        os.unlink("a")
        assert os.fstat(fd).st_nlink == 1 and read("b") == b"abc"


def test_many_links(place):
    write("f")
    for n in range(300):
        os.link("f", f"f{n}")
    assert os.stat("f").st_nlink == 301
    for n in range(300):
        os.unlink(f"f{n}")
    assert os.stat("f").st_nlink == 1


if "SURF_SOAK_SECONDS" in os.environ:  # it takes a minute

    def test_most_links(place, is_surffs):
        """ext4 takes 65,000 and SurfFS 65,535."""
        most = LINK_MAX if is_surffs else 65000
        write("f")
        for n in range(most - 1):
            os.link("f", f"f{n}")
        with fails(errno.EMLINK):
            os.link("f", "one-more")
        assert os.stat("f").st_nlink == most
        os.unlink("f0")
        os.link("f", "one-more")


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_times_of_link_and_unlink(place, kind):
    os.mkdir("d")
    os.mkdir("e")
    make("d/a", kind)
    with changes(d="", e="mc", d_a="c"):
        os.link("d/a", "e/b", follow_symlinks=False)
    with changes(d="", e="mc", d_a="c"):
        os.unlink("e/b")
    with changes(here="", d="mc"):
        os.unlink("d/a")


def test_times_of_a_link_that_fails(place):
    os.mkdir("d")
    write("d/a")
    write("d/b")
    with changes(d="", d_a="", d_b=""):
        with fails(errno.EEXIST):
            os.link("d/a", "d/b")


# -- unlink


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_unlink(place, kind):
    make("x", kind)
    os.unlink("x")
    with fails(errno.ENOENT):
        os.lstat("x")
    with fails(errno.ENOENT):
        os.unlink("x")
    make("x", "file")


@pytest.mark.parametrize("path, number", [("absent", errno.ENOENT), ("d", errno.EISDIR), ("f/x", errno.ENOTDIR), ("absent/x", errno.ENOENT),
                                          ("f/", errno.ENOTDIR), ("d/", errno.EISDIR), ("", errno.ENOENT), (".", errno.EISDIR),
                                          ("d/..", errno.EISDIR), ("loop/x", errno.ELOOP), ("link/", errno.ENOTDIR)])
def test_unlink_errors(place, path, number):
    write("f")
    os.mkdir("d")
    os.symlink("loop", "loop")
    os.symlink("f", "link")
    with fails(number):
        os.unlink(path)


def test_unlink_takes_the_symlink_not_its_target(place):
    write("f")
    os.symlink("f", "link")
    os.unlink("link")
    assert os.path.exists("f") and not os.path.lexists("link")


def test_unlink_of_a_read_only_file(place):
    os.chmod(".", 0o777)
    as_user(ALICE, lambda: make("f", "file", 0o000))
    as_user(BOB, lambda: os.unlink("f"))


# -- symlink


@pytest.mark.parametrize("target", ["x", ".", "/", "a/b/c", "../..", "with space", "\n", "trailing/", "//", "ä€𝄞", "x" * 255, "x/" * 2047 + "y"])
def test_symlink(place, target):
    os.symlink(target, "link")
    s = os.lstat("link")
    assert stat.S_ISLNK(s.st_mode) and s.st_size == len(os.fsencode(target)) and stat.S_IMODE(s.st_mode) == 0o777
    assert os.readlink("link") == target


@pytest.mark.parametrize("length", [1, 59, 60, 61, 255, 256, 1000, 4094, 4095])
def test_length_of_symlinks(place, length, is_surffs):
    os.symlink("x" * length, "link")
    assert os.lstat("link").st_size == length and os.readlink("link") == "x" * length


def test_symlink_of_all_bytes(place):
    target = bytes(range(1, 256))
    os.symlink(target, b"link")
    assert os.readlink(b"link") == target


@pytest.mark.parametrize("length", [4096, 5000])
def test_symlink_too_long(place, length):
    with fails(errno.ENAMETOOLONG):
        os.symlink("x" * length, "link")


@pytest.mark.parametrize("target, name, number", [("", "link", errno.ENOENT), ("x", "", errno.ENOENT), ("x", "f", errno.EEXIST), ("x", "d", errno.EEXIST),
                                                  ("x", "f/y", errno.ENOTDIR), ("x", "absent/y", errno.ENOENT), ("x", "loop/y", errno.ELOOP),
                                                  ("x", "loop", errno.EEXIST), ("x", "y/", errno.ENOENT), ("x", ".", errno.EEXIST)])
def test_symlink_errors(place, target, name, number):
    write("f")
    os.mkdir("d")
    os.symlink("loop", "loop")
    with fails(number):
        os.symlink(target, name)


@pytest.mark.parametrize("kind", [k for k in TYPES if k != "symlink"])
def test_readlink_of_others(place, kind):
    make("x", kind)
    with fails(errno.EINVAL):
        os.readlink("x")


@pytest.mark.parametrize("path, number", [("absent", errno.ENOENT), ("f/x", errno.ENOTDIR), ("loop/x", errno.ELOOP), ("", errno.ENOENT)])
def test_readlink_errors(place, path, number):
    write("f")
    os.symlink("loop", "loop")
    with fails(number):
        os.readlink(path)
    assert os.readlink("loop") == "loop"


@pytest.mark.parametrize("count", [1, 10, 39, 40])
def test_chains_of_symlinks(place, count):
    write("0", b"x")
    for n in range(count):
        os.symlink(str(n), str(n + 1))
    assert read(str(count)) == b"x"


@pytest.mark.parametrize("call", [lambda p: os.stat(p), lambda p: os.open(p, os.O_RDONLY), lambda p: os.chmod(p, 0o600), lambda p: os.chdir(p),
                                  lambda p: os.truncate(p, 0), lambda p: os.access(p, os.F_OK) or os.stat(p), lambda p: os.listdir(p)],
                         ids=["stat", "open", "chmod", "chdir", "truncate", "access", "listdir"])
def test_too_many_symlinks(place, call):
    """41 in a row, one that names itself, and two in a ring."""
    write("0")
    for n in range(41):
        os.symlink(str(n), str(n + 1))
    os.symlink("itself", "itself")
    os.symlink("ring2", "ring1")
    os.symlink("ring1", "ring2")
    for path in ("41", "itself", "ring1"):
        with fails(errno.ELOOP):
            call(path)


def test_symlinks_within_paths(place):
    os.makedirs("a/b")
    write("a/b/f", b"x")
    os.symlink("a/b", "s")
    os.symlink(place / "a", "absolute")
    os.symlink("../b/../../s/f", "a/b/long")
    assert read("s/f") == read("absolute/b/f") == read("a/b/long") == b"x"
    assert os.path.samefile("s/..", "a")


def test_owner_of_a_symlink(place):
    os.chmod(".", 0o777)
    as_user(ALICE, lambda: os.symlink("x", "link"))
    assert (os.lstat("link").st_uid, os.lstat("link").st_gid) == (ALICE, STAFF)
    os.lchown("link", BOB, STAFF)
    assert os.lstat("link").st_uid == BOB


def test_nobody_needs_permission_to_read_a_symlink(place):
    os.symlink("target", "link")
    assert as_user(ALICE, lambda: os.readlink("link")) == "target"


def test_times_of_symlink(place):
    os.mkdir("d")
    write("d/f")
    with changes(here="", d="mc", d_f=""):
        os.symlink("f", "d/link")
    with changes(d="", d_f="", d_link=""):
        os.readlink("d/link")
    with changes(d="", d_f="", d_link="c"):
        os.lchown("d/link", ALICE, STAFF)


@pytest.mark.parametrize("kind", TYPES)
def test_inode_numbers_are_stable(place, kind):
    make("x", kind)
    ino = os.lstat("x").st_ino
    os.mkdir("d")
    os.rename("x", "d/y")
    os.lchown("d/y", ALICE, STAFF)
    assert os.lstat("d/y").st_ino == ino
    with os.scandir("d") as entries:
        assert [e.inode() for e in entries] == [ino]
