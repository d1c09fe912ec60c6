"""name_to_handle_at(2), open_by_handle_at(2): files that are found by their number, as NFS servers do. A handle of one mount is good on all,
so those are opened on another mount, whose kernel has never heard of the file."""

import ctypes
import errno
import os
import stat

import pytest

from calls import AT_FDCWD, LIBC, checked, fails, opened, read, write

HANDLE_BYTES = 128
HEADER_BYTES = 8


def handle_of(path):
    handle = ctypes.create_string_buffer(HANDLE_BYTES.to_bytes(4, "little"), HEADER_BYTES + HANDLE_BYTES)
    checked(LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(ctypes.c_int()), 0), path)
    return handle


@pytest.fixture
def open_by(place, is_surffs, request):
    """Opens by a handle, on another mount where there is one; closes at the end."""
    root = request.getfixturevalue("posix_cluster").mounts["b"].path if is_surffs else place
    found = []

    def open_it(handle, flags):
        with opened(root, os.O_RDONLY) as mount:
            found.append(checked(LIBC.open_by_handle_at(mount, handle, flags)))
        return found[-1]

    yield open_it
    for fd in found:
        os.close(fd)


def test_file(place, open_by):
    write("f", b"hello")
    fd = open_by(handle_of("f"), os.O_RDWR)
    assert os.read(fd, 10) == b"hello"
    os.pwrite(fd, b"J", 0)
    os.fsync(fd)
    assert read("f") == b"Jello"


def test_where_it_is_known(place):
    write("f", b"hello")
    handle = handle_of("f")
    with opened(".", os.O_RDONLY) as here:
        fd = checked(LIBC.open_by_handle_at(here, handle, os.O_RDONLY))
    assert os.read(fd, 10) == b"hello"
    os.close(fd)


def test_renamed(place, open_by):
    os.makedirs("d/e")
    write("f", b"hello")
    handle = handle_of("f")
    os.rename("f", "d/e/g")
    assert os.fstat(open_by(handle, os.O_RDONLY)).st_ino == os.stat("d/e/g").st_ino


def test_directory_has_a_path(place, open_by):
    os.makedirs("d/e/g")
    fd = open_by(handle_of("d/e/g"), os.O_RDONLY | os.O_DIRECTORY)
    os.fchdir(fd)
    try:
        assert os.getcwd().endswith(f"/{place.name}/d/e/g")
        os.chdir("..")
        assert os.listdir(".") == ["g"] and os.getcwd().endswith(f"/{place.name}/d/e")
    finally:
        os.chdir(place)


def test_symlink(place, open_by):
    os.symlink("target", "link")
    fd = open_by(handle_of("link"), os.O_PATH | os.O_NOFOLLOW)
    assert stat.S_ISLNK(os.fstat(fd).st_mode)
    assert os.readlink("", dir_fd=fd) == "target"


def test_removed(place, open_by):
    write("f")
    handle = handle_of("f")
    os.unlink("f")
    write("f")
    with fails(errno.ESTALE):
        open_by(handle, os.O_RDONLY)
