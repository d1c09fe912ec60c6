"""rename(2), renameat2(2)."""

import errno
import os

import pytest

from calls import (NOT_DIRECTORIES, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, TYPES, changes, fails, kind_of, make, opened, read,
                   rename2, times, tick, write)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("where", ["here", "there"])
def test_rename(place, kind, where):
    os.mkdir("d")
    new = "b" if where == "here" else "d/b"
    make("a", kind)
    before = os.lstat("a")
    os.rename("a", new)
    after = os.lstat(new)
    assert not os.path.lexists("a") and kind_of(new) == kind
    assert (after.st_ino, after.st_mode, after.st_nlink, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_nlink, before.st_mtime_ns)
    os.rename(new, "a")
    assert kind_of("a") == kind


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("moved", TYPES)
def test_types(place, moved, target):
    make("a", moved)
    make("b", target)
    ino = os.lstat("a").st_ino
    if moved == "dir" and target != "dir":
        with fails(errno.ENOTDIR):
            os.rename("a", "b")
    elif moved != "dir" and target == "dir":
        with fails(errno.EISDIR):
            os.rename("a", "b")
    else:
        os.rename("a", "b")
        assert os.lstat("b").st_ino == ino and not os.path.lexists("a")
        return
    assert kind_of("a") == moved and kind_of("b") == target


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("moved", ["file", "dir"])
@pytest.mark.parametrize("where", ["here", "there"])
def test_exchange(place, moved, target, where):
    os.mkdir("d")
    b = "b" if where == "here" else "d/b"
    make("a", moved)
    make(b, target)
    links = os.stat(".").st_nlink + os.stat("d").st_nlink
    inodes = os.lstat("a").st_ino, os.lstat(b).st_ino
    rename2("a", b, RENAME_EXCHANGE)
    assert (os.lstat(b).st_ino, os.lstat("a").st_ino) == inodes
    assert kind_of("a") == target and kind_of(b) == moved
    assert os.stat(".").st_nlink + os.stat("d").st_nlink == links
    for path in ("a", b):
        if kind_of(path) == "dir":
            assert os.path.samefile(path + "/..", os.path.dirname(path) or ".")


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("moved", ["file", "dir"])
def test_noreplace(place, moved, target):
    make("a", moved)
    make("b", target)
    with fails(errno.EEXIST):
        rename2("a", "b", RENAME_NOREPLACE)
    assert kind_of("a") == moved and kind_of("b") == target
    rename2("a", "c", RENAME_NOREPLACE)
    assert kind_of("c") == moved


def test_noreplace_of_itself(place):
    write("a")
    os.link("a", "b")
    for new in ("a", "b"):
        with fails(errno.EEXIST):
            rename2("a", new, RENAME_NOREPLACE)


@pytest.mark.parametrize("flags", [RENAME_NOREPLACE | RENAME_EXCHANGE, RENAME_EXCHANGE | RENAME_WHITEOUT, 8, 0x80000000])
def test_bad_flags(place, flags):
    write("a")
    write("b")
    with fails(errno.EINVAL):
        rename2("a", "b", flags)


def test_whiteout(place, is_surffs):
    """The overlay file system's own flag: docs/POSIX.md."""
    write("a")
    if is_surffs:
        with fails(errno.EINVAL):
            rename2("a", "b", RENAME_WHITEOUT)
    else:
        rename2("a", "b", RENAME_WHITEOUT)
        assert kind_of("a") == "char"


@pytest.mark.parametrize("old, new, number", [
    ("absent", "b", errno.ENOENT), ("a", "absent/b", errno.ENOENT), ("a", "a/b", errno.ENOTDIR), ("a/x", "b", errno.ENOTDIR), ("", "b", errno.ENOENT),
    ("a", "", errno.ENOENT), ("loop/x", "b", errno.ELOOP), ("a", "loop/x", errno.ELOOP), (".", "b", errno.EBUSY), ("d", ".", errno.EBUSY),
    ("..", "b", errno.EBUSY), ("d", "d/e/..", errno.EBUSY), ("a", "b/", errno.ENOTDIR), ("a/", "b", errno.ENOTDIR), ("d", "a/", errno.ENOTDIR),
    ("d", "d/x", errno.EINVAL), ("d", "d/e", errno.EINVAL), ("d", "d/e/x", errno.EINVAL), ("d/e", "d", errno.ENOTEMPTY), ("a", "d", errno.EISDIR),
    ("d/.", "x", errno.EBUSY), ("d", "x/.", errno.ENOENT), ("n" * 256, "b", errno.ENAMETOOLONG), ("a", "n" * 256, errno.ENAMETOOLONG)])
def test_errors(place, old, new, number):
    write("a")
    os.makedirs("d/e")
    os.symlink("loop", "loop")
    with fails(number):
        os.rename(old, new)
    assert os.path.exists("a") and os.path.isdir("d/e")


@pytest.mark.parametrize("old, new, number", [("a", "absent", errno.ENOENT), ("absent", "a", errno.ENOENT), ("d", "d/e", errno.EINVAL),
                                              ("d/e", "d", errno.EINVAL), ("d/e/f", "d", errno.EINVAL), ("d", "d/e/f", errno.EINVAL)])
def test_exchange_errors(place, old, new, number):
    write("a")
    os.makedirs("d/e/f")
    with fails(number):
        rename2(old, new, RENAME_EXCHANGE)
    assert os.path.isdir("d/e/f")


@pytest.mark.parametrize("kind", TYPES)
def test_onto_itself(place, kind):
    make("a", kind)
    with changes(here="", a=""):
        os.rename("a", "a")
        rename2("a", "a", RENAME_EXCHANGE)


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_onto_another_name_of_the_same(place, kind):
    """Does nothing, and both names stay: POSIX demands it."""
    os.mkdir("d")
    make("a", kind)
    os.link("a", "d/b", follow_symlinks=False)
    with changes(here="", a="", d=""):
        os.rename("a", "d/b")
        rename2("a", "d/b", RENAME_EXCHANGE)
    assert os.lstat("a").st_nlink == 2 and os.path.lexists("d/b")


@pytest.mark.parametrize("kind", TYPES)
def test_onto_a_directory_that_is_not_empty(place, kind):
    os.mkdir("a")
    write("a/x")
    os.mkdir("b")
    make("b/y", kind)
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rename("a", "b")
    assert os.listdir("a") == ["x"] and os.listdir("b") == ["y"]
    rename2("a", "b", RENAME_EXCHANGE)
    assert os.listdir("a") == ["y"] and os.listdir("b") == ["x"]


def test_tree_goes_along(place):
    os.makedirs("a/b/c")
    write("a/b/c/f", b"x")
    os.mkdir("d")
    os.rename("a/b", "d/b")
    assert read("d/b/c/f") == b"x" and os.listdir("a") == [] and os.path.samefile("d/b/..", "d")
    assert (os.stat("a").st_nlink, os.stat("d").st_nlink) == (2, 3)


def test_loops_are_refused_at_every_depth(place):
    path = "d0"
    os.mkdir(path)
    for n in range(1, 12):
        path += f"/d{n}"
        os.mkdir(path)
        with fails(errno.EINVAL):
            os.rename("d0", path + "/x")
        with fails(errno.EINVAL):
            os.rename("d0", path)


def test_symlinks_are_renamed_not_followed(place):
    os.mkdir("d")
    write("f", b"f")
    os.symlink("d", "link")
    os.rename("f", "link")
    assert read("link") == b"f" and os.path.isdir("d")
    os.symlink("d", "link2")
    os.rename("link2", "link3")
    assert os.readlink("link3") == "d"
    with fails(errno.ENOTDIR):
        os.rename("link3/", "x")
    with fails(errno.ENOTDIR):
        os.rename("d", "link3")


@pytest.mark.parametrize("path", ["b/", "b//"])
def test_slash_at_the_end_of_a_directory(place, path):
    os.mkdir("a")
    os.rename("a/", path)
    assert os.path.isdir("b")
    os.mkdir("c")
    os.rename("b/", "c/")


@pytest.mark.parametrize("kind", TYPES)
def test_times_here(place, kind):
    os.mkdir("d")
    make("d/a", kind)
    tick()
    before = times("d/a")
    with changes(here="", d="mc"):
        os.rename("d/a", "d/b")
    assert times("d/b")["m"] == before["m"] and times("d/b")["c"] > before["c"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("replace", [False, True])
def test_times_there(place, kind, replace):
    os.mkdir("d")
    os.mkdir("e")
    make("d/a", kind)
    if replace:
        make("e/b", kind)
    before = times("d/a")
    with changes(here="", d="mc", e="mc"):
        os.rename("d/a", "e/b")
    assert times("e/b")["m"] == before["m"] and times("e/b")["c"] > before["c"]


def test_times_of_what_is_replaced_and_has_other_names(place):
    write("a")
    write("b")
    os.link("b", "c")
    with changes(c="c"):
        os.rename("a", "b")
    assert os.stat("c").st_nlink == 1


def test_times_of_exchange(place):
    os.mkdir("d")
    os.mkdir("e")
    write("d/a")
    os.mkdir("e/b")
    with changes(here="", d="mc", e="mc"):
        rename2("d/a", "e/b", RENAME_EXCHANGE)


@pytest.mark.parametrize("old, new, number", [("d/f", "e", errno.EISDIR), ("e", "d/f", errno.ENOTDIR), ("d", "d/g", errno.EINVAL), ("e", "d", errno.ENOTEMPTY)])
def test_times_of_failures(place, old, new, number):
    os.mkdir("d")
    os.mkdir("e")
    write("d/f")
    with changes(here="", d="", e="", d_f=""):
        with fails(number):
            os.rename(old, new)


def test_over_an_open_file_again_and_again(place):
    """The way in which editors and package managers write: who has the old one open reads it to its end."""
    write("f", b"0")
    handles = []
    for n in range(1, 50):
        handles.append(os.open("f", os.O_RDONLY))
        write("f.new", str(n).encode())
        os.rename("f.new", "f")
    for n, fd in enumerate(handles):
        assert os.read(fd, 10) == str(n).encode() and os.fstat(fd).st_nlink == 0
        os.close(fd)
    assert read("f") == b"49" and os.listdir(".") == ["f"]


def test_name_can_be_made_anew_at_once(place):
    for n in range(50):
        write("a", str(n).encode())
        os.rename("a", "b")
        with fails(errno.ENOENT):
            os.stat("a")
        assert read("b") == str(n).encode()


def test_by_directory_handles(place):
    os.mkdir("d")
    os.mkdir("e")
    write("d/a", b"x")
    with opened("d", os.O_DIRECTORY) as d, opened("e", os.O_DIRECTORY) as e:
        os.rename("d", "moved")
        os.rename("a", "b", src_dir_fd=d, dst_dir_fd=e)
        assert read("e/b") == b"x"
        with fails(errno.ENOTDIR), opened("e/b", os.O_RDONLY) as f:
            os.rename("b", "c", src_dir_fd=f, dst_dir_fd=e)
