"""Which names there can be, and how long paths may be."""

import ctypes
import errno
import os

import pytest

from calls import AT_FDCWD, LIBC, fails, make, opened, read, write

NAMES = [b"a", b" ", b"  x  ", b"\n", b"\\", b"*?[]", b"-rf", b"...", b"..x", b".x", b"x.", b"\x01\x02\x7f", b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", "ä".encode(),
         "a\u0308".encode(), "𝄞".encode(), b"CON", b"a:b", b'"', b"|", b"~", b"$HOME", b"a;b", b"x" * 255, "ä".encode() * 127 + b"x", b"\xff" * 255]

MAKERS = {
    "create": lambda p: write(p), "mkdir": lambda p: os.mkdir(p), "mkfifo": lambda p: os.mkfifo(p), "symlink": lambda p: os.symlink(b"x", p),
    "link": lambda p: os.link(b"f", p), "rename": lambda p: os.rename(b"f", p), "mknod": lambda p: os.mknod(p),
}
LOOKERS = {
    "stat": lambda p: os.stat(p), "open": lambda p: os.open(p, os.O_RDONLY), "unlink": lambda p: os.unlink(p), "rmdir": lambda p: os.rmdir(p),
    "readlink": lambda p: os.readlink(p), "rename": lambda p: os.rename(p, b"x"), "link": lambda p: os.link(p, b"x"), "chdir": lambda p: os.chdir(p),
}


def test_names(place):
    for name in NAMES:
        write(name, b"content")
        assert os.listdir(b".") == [name] and read(name) == b"content"
        os.rename(name, b"other")
        os.mkdir(name)
        os.rename(b"other", name + b"/" + name)
        assert os.listdir(name) == [name]
        os.unlink(name + b"/" + name)
        os.rmdir(name)
        os.symlink(name, name)
        assert os.readlink(name) == name
        os.unlink(name)


def test_all_names_of_one_byte(place):
    names = [bytes([n]) for n in range(1, 256) if n not in (ord("/"), ord("."))]
    for name in names:
        make(name, "file")
    assert sorted(os.listdir(b".")) == names
    for name in names:
        os.unlink(name)


def test_names_that_differ_in_case_or_form_only(place):
    for name in ("name", "Name", "NAME", "n\u00e4me", "na\u0308me", "name ", "name."):
        write(name, name.encode())
    assert len(os.listdir(".")) == 7 and read("na\u0308me") == "na\u0308me".encode()


@pytest.mark.parametrize("call", MAKERS)
def test_length_of_names(place, call):
    write("f")
    for length in (256, 300, 4000):
        with fails(errno.ENAMETOOLONG):
            MAKERS[call](b"n" * length)
        with fails(errno.ENAMETOOLONG):
            MAKERS[call](b"n" * length + b"/x")
    MAKERS[call](b"n" * 255)
    assert b"n" * 255 in os.listdir(b".")


@pytest.mark.parametrize("call", LOOKERS)
def test_looking_for_long_names(place, call):
    with fails(errno.ENOENT):
        LOOKERS[call](b"n" * 255)
    with fails(errno.ENAMETOOLONG):
        LOOKERS[call](b"n" * 256)


@pytest.mark.parametrize("action", [*MAKERS.values(), *LOOKERS.values()], ids=[*MAKERS, *(f"old {name}" for name in LOOKERS)])
def test_paths_too_long(place, action):
    """PATH_MAX counts the NUL: 4,095 bytes are a path and 4,096 are not."""
    write("f")
    with fails(errno.ENAMETOOLONG):
        action(b"./" * 2048)


@pytest.mark.parametrize("call", LOOKERS)
def test_paths_of_full_length_lead_nowhere(place, call):
    with fails(errno.ENOENT):
        LOOKERS[call](b"./" * 2047 + b"y")


def test_path_of_full_length_works(place):
    write(b"./" * 2047 + b"f", b"x")
    assert read("f") == b"x"


@pytest.mark.parametrize("path", [".", "./", "d/..", "d/../", ".//.", "d/e/../..", "/proc/self/cwd"])
def test_ways_to_say_here(place, path):
    os.makedirs("d/e")
    assert os.path.samefile(path, place)


@pytest.mark.parametrize("call", LOOKERS)
def test_empty_path(place, call):
    with fails(errno.ENOENT):
        LOOKERS[call](b"")


def test_bad_address(place):
    for call in (lambda: LIBC.openat(AT_FDCWD, ctypes.c_void_p(1), 0), lambda: LIBC.mkdir(ctypes.c_void_p(1), 0), lambda: LIBC.unlink(ctypes.c_void_p(1))):
        assert call() == -1 and ctypes.get_errno() == errno.EFAULT


@pytest.mark.parametrize("call", [lambda fd: os.stat("x", dir_fd=fd), lambda fd: os.mkdir("x", dir_fd=fd), lambda fd: os.open("x", os.O_CREAT, dir_fd=fd),
                                  lambda fd: os.unlink("x", dir_fd=fd), lambda fd: os.symlink("y", "x", dir_fd=fd)],
                         ids=["stat", "mkdir", "open", "unlink", "symlink"])
def test_relative_to_no_directory(place, call):
    write("f")
    with opened("f", os.O_RDONLY) as fd:
        with fails(errno.ENOTDIR):
            call(fd)
    with fails(errno.EBADF):
        call(9999)


def test_name_found_again_after_absent(place):
    """What was looked for in vain is seen as soon as it is there, and not longer than it is."""
    for _ in range(30):
        with fails(errno.ENOENT):
            os.stat("x")
        write("x")
        os.stat("x")
        os.unlink("x")
        with fails(errno.ENOENT):
            os.stat("x")
        os.mkdir("x")
        os.stat("x/.")
        os.rmdir("x")
