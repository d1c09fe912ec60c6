"""Mounted read-only: everything that would change something fails with EROFS."""

import errno
import os
import shutil
import subprocess

import pytest

import cluster as clusters
from calls import TYPES, fails, make, opened, write

CALLS = {
    "create": lambda: os.open("new", os.O_CREAT | os.O_WRONLY), "open for writing": lambda: os.open("file", os.O_WRONLY),
    "truncating open": lambda: os.open("file", os.O_RDONLY | os.O_TRUNC), "mkdir": lambda: os.mkdir("new"), "rmdir": lambda: os.rmdir("dir"),
    "unlink": lambda: os.unlink("file"), "symlink": lambda: os.symlink("x", "new"), "link": lambda: os.link("file", "new"),
    "rename": lambda: os.rename("file", "new"), "chmod": lambda: os.chmod("file", 0), "chown": lambda: os.chown("file", 1, 1),
    "lchown": lambda: os.lchown("symlink", 1, 1), "utime": lambda: os.utime("file"), "truncate": lambda: os.truncate("file", 0),
    "mkfifo": lambda: os.mkfifo("new"), "mknod": lambda: os.mknod("new"), "rename of a directory": lambda: os.rename("dir", "new"),
}


@pytest.fixture(scope="module")
def read_only(posix_cluster, local_root, posix_dir):
    """The same directory, writable and read-only, on both file systems."""
    pairs = {}
    a = posix_cluster.mounts["a"].path
    mount = posix_cluster.mount("ro", "-o", "ro")
    pairs["surffs"] = (a / "read-only", mount.path / "read-only")
    bound = posix_dir / "read-only"
    bound.mkdir()
    subprocess.run(["mount", "--bind", local_root, bound], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", bound], check=True)
    pairs["local"] = (local_root / "read-only", bound / "read-only")
    for writable, _ in pairs.values():
        writable.mkdir()
        for kind in TYPES:
            make(writable / kind, kind)
    yield pairs
    subprocess.run(["umount", "-l", bound], check=True)
    bound.rmdir()
    mount.stop()


@pytest.fixture(params=["surffs", "local"])
def both(read_only, request):
    before = os.getcwd()
    writable, frozen = read_only[request.param]
    clusters.wait_until("the directory on the read-only mount", lambda: (frozen / "fifo").exists(), 5)
    os.chdir(frozen)
    yield writable, frozen
    os.chdir(before)


@pytest.mark.parametrize("call", CALLS)
def test_changes_are_refused(both, call):
    with fails(errno.EROFS):
        CALLS[call]()


@pytest.mark.parametrize("call, number", [(lambda: os.mkdir("dir"), errno.EEXIST), (lambda: os.open("file", os.O_CREAT | os.O_EXCL), errno.EEXIST),
                                          (lambda: os.rmdir("absent"), errno.ENOENT), (lambda: os.unlink("absent/x"), errno.ENOENT)],
                         ids=["mkdir", "create", "rmdir", "unlink"])
def test_what_would_fail_anyway(both, call, number):
    with fails(number, errno.EROFS):
        call()


def test_reading_works(both):
    writable, frozen = both
    assert sorted(os.listdir(".")) == sorted(TYPES)
    os.close(os.open("file", os.O_RDONLY))
    assert os.access("file", os.R_OK) and not os.access("file", os.W_OK)
    assert os.statvfs(".").f_flag & os.ST_RDONLY


def test_devices_and_fifos_can_be_written_to(both):
    with opened("char", os.O_WRONLY) as fd:
        os.write(fd, b"x")
    with opened("fifo", os.O_RDWR | os.O_NONBLOCK) as fd:
        os.write(fd, b"x")


def test_what_others_change_is_seen(both):
    writable, frozen = both
    write(writable / "later", b"abc")
    with open("later", "rb") as f:
        assert f.read() == b"abc"
    os.unlink(writable / "later")
    with fails(errno.ENOENT):
        os.stat("later")
    (writable / "more").mkdir()
    assert os.path.isdir("more")
    shutil.rmtree(writable / "more")
