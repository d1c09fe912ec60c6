"""open(2), creat(2), close(2)."""

import errno
import os
import socket
import stat
import subprocess

import pytest

from calls import (ALICE, NOT_DIRECTORIES, STAFF, TYPES, as_user, changes, fails, kind_of, make, opened, permissions, read, write)

READ, WRITE, BOTH = os.O_RDONLY, os.O_WRONLY, os.O_RDWR


@pytest.mark.parametrize("mode", [0, 0o1, 0o22, 0o400, 0o644, 0o755, 0o777, 0o4755, 0o2711, 0o1777, 0o7777])
def test_create_mode(place, mode):
    for mask in (0, 0o022, 0o077):
        os.umask(mask)
        os.close(os.open("f", os.O_CREAT | WRITE, mode))
        s = os.stat("f")
        assert stat.S_ISREG(s.st_mode) and stat.S_IMODE(s.st_mode) == mode & ~mask
        assert (s.st_nlink, s.st_size, s.st_blocks, s.st_uid) == (1, 0, 0, 0)
        os.unlink("f")


def test_create_owner(place):
    os.chmod(".", 0o777)
    as_user(ALICE, lambda: make("f", "file"))
    assert (os.stat("f").st_uid, os.stat("f").st_gid) == (ALICE, STAFF)


@pytest.mark.parametrize("kind", TYPES)
def test_exclusive_on_existing(place, kind):
    make("f", kind)
    with fails(errno.EEXIST):
        os.open("f", os.O_CREAT | os.O_EXCL | BOTH)
    assert kind_of("f") == kind


def test_exclusive_through_symlink(place):
    os.symlink("target", "link")
    with fails(errno.EEXIST):
        os.open("link", os.O_CREAT | os.O_EXCL | BOTH)
    assert not os.path.exists("target")


def test_create_through_dangling_symlink(place):
    os.symlink("target", "link")
    os.close(os.open("link", os.O_CREAT | BOTH))
    assert kind_of("target") == "file" and kind_of("link") == "symlink"


@pytest.mark.parametrize("flags", [READ, WRITE, BOTH, os.O_CREAT | READ, os.O_CREAT | WRITE, os.O_TRUNC | WRITE])
@pytest.mark.parametrize("content", [b"", b"x", b"0123456789" * 1000])
def test_open_existing(place, flags, content):
    write("f", content)
    with opened("f", flags) as fd:
        assert os.fstat(fd).st_size == (0 if flags & os.O_TRUNC else len(content))
    assert read("f") == (b"" if flags & os.O_TRUNC else content)


@pytest.mark.parametrize("flags", [READ, WRITE, BOTH, os.O_TRUNC | WRITE, os.O_DIRECTORY, os.O_NOFOLLOW])
def test_open_absent(place, flags):
    with fails(errno.ENOENT):
        os.open("f", flags)


@pytest.mark.parametrize("flags", [READ, os.O_CREAT | WRITE])
@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_component_is_no_directory(place, kind, flags):
    make("f", kind)
    with fails(errno.ENOENT if kind == "symlink" else errno.ENOTDIR):
        os.open("f/x", flags)


@pytest.mark.parametrize("flags", [WRITE, BOTH, os.O_TRUNC | WRITE, os.O_CREAT | READ, os.O_CREAT | WRITE])
def test_directory_for_writing(place, flags):
    os.mkdir("d")
    with fails(errno.EISDIR):
        os.open("d", flags)


@pytest.mark.parametrize("kind", ["file", "fifo", "char"])
def test_o_directory_on_others(place, kind):
    make("f", kind)
    with fails(errno.ENOTDIR):
        os.open("f", os.O_DIRECTORY | os.O_NONBLOCK)


def test_o_directory(place):
    os.mkdir("d")
    with opened("d", os.O_DIRECTORY) as fd:
        with fails(errno.EISDIR):
            os.read(fd, 1)
        with fails(errno.EBADF):
            os.write(fd, b"x")


@pytest.mark.parametrize("flags", [READ, WRITE, os.O_CREAT | WRITE])
def test_o_nofollow(place, flags):
    write("f")
    os.symlink("f", "link")
    with fails(errno.ELOOP):
        os.open("link", flags | os.O_NOFOLLOW)
    os.mkdir("d")
    write("d/f")
    os.symlink("d", "to-d")
    os.close(os.open("to-d/f", flags | os.O_NOFOLLOW))


@pytest.mark.parametrize("kind", TYPES)
def test_o_path(place, kind):
    make("f", kind)
    with opened("f", os.O_PATH | os.O_NOFOLLOW) as fd:
        assert os.fstat(fd).st_ino == os.lstat("f").st_ino
        with fails(errno.EBADF):
            os.read(fd, 1)
        with fails(errno.EBADF):
            os.fchmod(fd, 0o600)


def test_open_socket(place):
    make("s", "socket")
    with fails(errno.ENXIO):
        os.open("s", READ)


def test_fifo_without_reader(place):
    make("p", "fifo")
    with fails(errno.ENXIO):
        os.open("p", WRITE | os.O_NONBLOCK)


def test_fifo_carries(place):
    make("p", "fifo")
    with opened("p", READ | os.O_NONBLOCK) as reader, opened("p", WRITE | os.O_NONBLOCK) as writer:
        os.write(writer, b"hello")
        assert os.read(reader, 10) == b"hello"
    assert os.stat("p").st_size == 0


def test_socket_carries(place):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        with server.accept()[0] as connection:
            client.send(b"hello")
            assert connection.recv(10) == b"hello"


def test_bind_where_something_is(place):
    make("s", "file")
    with socket.socket(socket.AF_UNIX) as s:
        with fails(errno.EADDRINUSE):
            s.bind("s")


def test_device_works(place):
    os.mknod("zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with opened("zero", READ) as fd:
        assert os.read(fd, 4) == bytes(4)


def test_device_that_is_not_there(place):
    os.mknod("none", stat.S_IFCHR | 0o666, os.makedev(250, 77))
    with fails(errno.ENXIO, errno.ENODEV):
        os.open("none", READ)


def test_read_and_write_of_the_wrong_handle(place):
    write("f", b"abc")
    with opened("f", WRITE) as fd:
        with fails(errno.EBADF):
            os.read(fd, 1)
    with opened("f", READ) as fd:
        with fails(errno.EBADF):
            os.write(fd, b"x")
        with fails(errno.EINVAL):
            os.ftruncate(fd, 0)


@pytest.mark.parametrize("mode", [0, 0o200, 0o400, 0o444])
def test_creator_may_write_whatever_the_mode(place, mode):
    os.chmod(".", 0o777)

    def act():
        with opened("f", os.O_CREAT | os.O_EXCL | BOTH, mode) as fd:
            os.write(fd, b"abc")
            return os.pread(fd, 10, 0)

    assert as_user(ALICE, act) == b"abc"
    assert permissions("f") == mode


def test_mode_changed_while_open(place):
    os.chmod(".", 0o777)

    def act():
        with opened("f", os.O_CREAT | BOTH) as fd:
            os.chmod("f", 0)
            os.write(fd, b"abc")
            with fails(errno.EACCES):
                os.open("f", READ)
            return os.pread(fd, 10, 0)

    assert as_user(ALICE, act) == b"abc"


@pytest.mark.parametrize("before", [b"", b"abc"])
def test_o_append(place, before):
    write("f", before)
    with opened("f", WRITE | os.O_APPEND) as one, opened("f", WRITE | os.O_APPEND) as two:
        for n in range(10):
            os.write(one, b"1")
            os.lseek(two, 0, os.SEEK_SET)
            os.write(two, b"2")
        assert os.fstat(one).st_size == len(before) + 20
    assert read("f") == before + b"12" * 10


def test_append_position(place):
    with opened("f", os.O_CREAT | BOTH | os.O_APPEND) as fd:
        os.write(fd, b"abc")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 3
        os.lseek(fd, 1, os.SEEK_SET)
        assert os.read(fd, 1) == b"b"
        os.write(fd, b"d")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 4
        assert os.pread(fd, 10, 0) == b"abcd"


def test_append_after_truncation(place):
    with opened("f", os.O_CREAT | WRITE | os.O_APPEND) as fd:
        os.write(fd, b"abcdef")
        os.truncate("f", 2)
        os.write(fd, b"X")
    assert read("f") == b"abX"


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC, os.O_NONBLOCK, os.O_CLOEXEC, os.O_NOATIME, os.O_NOCTTY])
def test_flags_that_change_nothing_to_see(place, flag):
    with opened("f", os.O_CREAT | BOTH | flag) as fd:
        os.write(fd, b"abc")
        assert os.pread(fd, 3, 0) == b"abc"
    assert read("f") == b"abc"


def test_o_noatime_of_others(place):
    os.chmod(".", 0o777)
    write("f")
    with fails(errno.EPERM):
        as_user(ALICE, lambda: os.open("f", READ | os.O_NOATIME))


def test_truncating_open_needs_permission(place):
    write("f", b"abc")
    os.chmod("f", 0o444)
    with fails(errno.EACCES):
        as_user(ALICE, lambda: os.open("f", READ | os.O_TRUNC))
    assert read("f") == b"abc"


def test_truncating_open_of_others(place):
    """open(2): O_TRUNC with O_RDONLY truncates on Linux, if writing is allowed."""
    write("f", b"abc")
    os.close(os.open("f", READ | os.O_TRUNC))
    assert read("f") == b""


def test_text_file_busy(place):
    write("tool", read("/bin/true"))
    os.chmod("tool", 0o755)
    with opened("tool", WRITE):
        with fails(errno.ETXTBSY):
            subprocess.run(["./tool"])
    running = subprocess.Popen(["/bin/true"])
    running.wait()
    write("sleep", read("/bin/sleep"))
    os.chmod("sleep", 0o755)
    running = subprocess.Popen(["./sleep", "100"])
    try:
        for flags in (WRITE, BOTH, WRITE | os.O_TRUNC):
            with fails(errno.ETXTBSY):
                os.open("sleep", flags)
        with fails(errno.ETXTBSY):
            os.truncate("sleep", 0)
        os.close(os.open("sleep", READ))
        os.rename("sleep", "awake")
        os.unlink("awake")
    finally:
        running.kill()
        running.wait()


def test_execution(place):
    write("script", b"#!/bin/sh\necho $0 $1\n")
    with fails(errno.EACCES):
        subprocess.run(["./script"])
    os.chmod("script", 0o755)
    assert subprocess.run(["./script", "x"], stdout=subprocess.PIPE, check=True).stdout == b"./script x\n"
    write("empty")
    os.chmod("empty", 0o755)
    with fails(errno.ENOEXEC):
        os.execv("./empty", ["empty"])


@pytest.mark.parametrize("kind", ["file", "fifo", "char"])
def test_opened_again_through_proc(place, kind):
    make("f", kind)
    with opened("f", BOTH | os.O_NONBLOCK) as fd:
        with opened(f"/proc/self/fd/{fd}", READ | os.O_NONBLOCK) as again:
            assert os.fstat(again).st_ino == os.fstat(fd).st_ino


def test_unlinked_while_open(place):
    with opened("f", os.O_CREAT | BOTH) as fd:
        os.write(fd, b"abc")
        os.unlink("f")
        assert os.fstat(fd).st_nlink == 0
        os.write(fd, b"def")
        os.ftruncate(fd, 5)
        os.fchmod(fd, 0o600)
        os.fchown(fd, ALICE, STAFF)
        os.utime(fd, ns=(5, 6))
        s = os.fstat(fd)
        assert (s.st_size, stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns) == (5, 0o600, ALICE, STAFF, 6)
        assert os.pread(fd, 10, 0) == b"abcde"
        make("f", "file")
        assert os.stat("f").st_ino != s.st_ino and os.stat("f").st_size == 0


@pytest.mark.parametrize("kind", ["fifo", "char", "dir", "symlink", "socket"])
def test_others_unlinked_while_open(place, kind):
    make("f", kind)
    ino = os.lstat("f").st_ino
    with opened("f", os.O_PATH | os.O_NOFOLLOW) as fd:
        (os.rmdir if kind == "dir" else os.unlink)("f")
        s = os.fstat(fd)
        assert (s.st_ino, s.st_nlink) == (ino, 0)


def test_fifo_unlinked_while_open(place):
    make("p", "fifo")
    with opened("p", BOTH | os.O_NONBLOCK) as fd:
        os.unlink("p")
        os.write(fd, b"x")
        assert os.read(fd, 1) == b"x"
        os.fchmod(fd, 0o600)
        assert (stat.S_IMODE(os.fstat(fd).st_mode), os.fstat(fd).st_nlink) == (0o600, 0)


def test_replaced_while_open(place):
    write("f", b"old")
    write("g", b"new")
    with opened("f", READ) as fd:
        os.rename("g", "f")
        assert os.read(fd, 10) == b"old" and os.fstat(fd).st_nlink == 0
    assert read("f") == b"new"


def test_renamed_while_open(place):
    with opened("f", os.O_CREAT | BOTH) as fd:
        os.write(fd, b"abc")
        os.rename("f", "g")
        os.write(fd, b"def")
        assert os.fstat(fd).st_ino == os.stat("g").st_ino
    assert read("g") == b"abcdef"


@pytest.mark.parametrize("existing", [False, True])
def test_times_of_creation(place, existing):
    os.mkdir("d")
    if existing:
        write("d/f", b"abc")
        with changes(d="", d_f=""):
            os.close(os.open("d/f", os.O_CREAT | WRITE))
        return
    with changes(d="mc"):
        os.close(os.open("d/f", os.O_CREAT | WRITE))


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_times_of_truncation_by_open(place, content):
    os.mkdir("d")
    write("d/f", content)
    with changes(d="", d_f="mc"):
        os.close(os.open("d/f", os.O_TRUNC | WRITE))


def test_failed_creation_changes_nothing(place):
    os.mkdir("d")
    make("d/f", "file")
    with changes(d="", d_f=""):
        with fails(errno.EEXIST):
            os.open("d/f", os.O_CREAT | os.O_EXCL | WRITE)


def test_o_tmpfile(place, is_surffs):
    """FUSE has it, libfuse 3.14 has not: docs/POSIX.md."""
    if is_surffs:
        with fails(errno.EOPNOTSUPP):
            os.open(".", os.O_TMPFILE | BOTH)
        return
    with opened(".", os.O_TMPFILE | BOTH) as fd:
        assert os.fstat(fd).st_nlink == 0


@pytest.mark.parametrize("flags", [READ, WRITE, BOTH])
def test_many_handles_of_one_file(place, flags):
    write("f", b"abc")
    handles = [os.open("f", flags) for _ in range(100)]
    os.unlink("f")
    for fd in handles:
        assert os.fstat(fd).st_size == 3
        os.close(fd)
