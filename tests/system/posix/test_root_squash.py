"""Root on an export that has it for nobody: the same calls as root there, and as user 65534 on a local file system, end in the same way and
leave the same tree. What each case works on is made through a mount that was there before the option was set."""

import errno
import itertools
import json
import os
import pathlib
import stat
import subprocess

import pytest

import cluster as clusters
from calls import ALICE, BOB, GUESTS, RENAME_EXCHANGE, STAFF, as_user, fails, rename2, write

NOBODY = 65534
# user, group, and where the bits are that count for nobody
OWNERS = {"others": (ALICE, STAFF, 0), "its own": (NOBODY, NOBODY, 6), "its group's": (ALICE, NOBODY, 3)}
DIRECTORY_BITS = (0, 1, 3, 4, 5, 7, 0o1007)
FILE_BITS = (0, 1, 2, 4, 5, 6, 7, 0o4007, 0o2006)
numbers = itertools.count()


def squash(cluster, value):
    return json.loads(cluster.surfctl("--json", "export", "set", "default", f"root-squash={value}").stdout)


@pytest.fixture(scope="module")
def mounts(posix_dir):
    """(before, squashed): where root is root, and where it is not."""
    c = clusters.Cluster(posix_dir / "squashed", 1)
    try:
        c.start()
        c.wait_formed()
        before = c.mount("before")
        assert squash(c, "on") == {"name": "default", "root_squash": True}
        yield before.path, c.mount("squashed").path
    finally:
        c.close()


@pytest.fixture
def places(mounts, local_root):
    """(where to make it, where to do it as root, where to make and do it as nobody)"""
    name = f"squash-{next(numbers)}"
    here, mask = os.getcwd(), os.umask(0o022)
    (mounts[0] / name).mkdir()
    (local_root / name).mkdir()
    yield mounts[0] / name, mounts[1] / name, local_root / name
    os.chdir(here)
    os.umask(mask)


def opened(path, flags):
    with open(os.open(path, flags), "rb", buffering=0):
        return "opened"


CALLS = {
    "stat": lambda: bool(os.stat("d/f")),
    "list": lambda: sorted(os.listdir("d")),
    "scan": lambda: sorted((e.name, e.is_dir()) for e in os.scandir("d")),
    "read": lambda: pathlib.Path("d/f").read_bytes(),
    "write": lambda: opened("d/f", os.O_WRONLY),
    "read and write": lambda: opened("d/f", os.O_RDWR),
    "truncating open": lambda: opened("d/f", os.O_RDONLY | os.O_TRUNC),
    "open without atime": lambda: opened("d/f", os.O_RDONLY | os.O_NOATIME),
    "execute": lambda: os.execv("d/f", ["f"]),
    "readlink": lambda: os.readlink("d/s"),
    "create": lambda: write("d/new"),
    "mkdir": lambda: os.mkdir("d/new"),
    "mkfifo": lambda: os.mkfifo("d/new"),
    "mknod": lambda: os.mknod("d/new", stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "symlink": lambda: os.symlink("x", "d/new"),
    "link out": lambda: os.link("d/f", "o/new"),
    "link in": lambda: os.link("o/mine", "d/new"),
    "unlink": lambda: os.unlink("d/f"),
    "unlink an own one": lambda: os.unlink("d/own"),
    "unlink nothing": lambda: os.unlink("d/nothing"),
    "rmdir": lambda: os.rmdir("d/e"),
    "rename": lambda: os.rename("d/f", "d/new"),
    "rename over": lambda: os.rename("d/f", "d/own"),
    "rename in": lambda: os.rename("o/mine", "d/f"),
    "rename out": lambda: os.rename("d/f", "o/new"),
    "move a directory": lambda: os.rename("d/e", "o/new"),
    "rename a directory": lambda: os.rename("d/e", "d/new"),
    "exchange": lambda: rename2("d/e", "o/mine", RENAME_EXCHANGE),
    "chmod": lambda: os.chmod("d/f", 0o6775),
    "chmod the directory": lambda: os.chmod("d", 0o2777),
    "chown": lambda: os.chown("d/f", BOB, -1),
    "chown to itself": lambda: os.chown("d/f", NOBODY, NOBODY),
    "chgrp": lambda: os.chown("d/f", -1, GUESTS),
    "chgrp to its own": lambda: os.chown("d/f", -1, NOBODY),
    "truncate": lambda: os.truncate("d/f", 1),
    "touch": lambda: os.utime("d/f"),
    "set times": lambda: os.utime("d/f", (1, 2)),
    "set a user attribute": lambda: os.setxattr("d/f", "user.k", b"w"),
    "get a user attribute": lambda: os.getxattr("d/f", "user.k"),
    "remove a user attribute": lambda: os.removexattr("d/f", "user.k"),
    "set an attribute of the directory": lambda: os.setxattr("d", "user.k", b"w"),
    "set a trusted attribute": lambda: os.setxattr("d/f", "trusted.k", b"w"),
    "get a trusted attribute": lambda: os.getxattr("d/f", "trusted.k"),
    "list attributes": lambda: sorted(n for n in os.listxattr("d/f") if n.startswith(("user.", "trusted."))),
}


def mode_of(owner, bits):
    """The other classes have what this one lacks: nobody is helped by them."""
    shift = OWNERS[owner][2]
    others = 0o777 & ~(7 << shift) & ~sum((bits & 7) << s for s in (0, 3, 6))
    return (bits & ~7) | (bits & 7) << shift | others


def room(directory, owner, directory_mode, file_owner, file_mode):
    """d, with files and a directory in it, and o, which is nobody's own."""
    d, o = directory / "d", directory / "o"
    d.mkdir()
    o.mkdir()
    os.symlink("target", d / "s")
    (d / "e").mkdir()
    for path in (d / "f", d / "own", o / "mine"):
        path.write_bytes(b"#!/bin/true\n")
        os.setxattr(path, "user.k", b"v")
        os.setxattr(path, "trusted.k", b"v")
    for path in (d / "own", o / "mine", o):
        os.chown(path, NOBODY, NOBODY)
    for path in (d / "f", d / "e"):
        os.chown(path, *OWNERS[file_owner][:2])
    (d / "f").chmod(file_mode)
    (d / "e").chmod(0o755 if file_mode & 0o100 else 0o700)
    os.chown(d, *OWNERS[owner][:2])
    d.chmod(directory_mode)


def outcome(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


def executed(call):
    """execve(2) replaces who calls it, if it can."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except OSError as e:
            os._exit(e.errno)
        finally:
            os._exit(255)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode.get(code, code)


def tree(directory):
    """What can be seen of it, with names of owners that are the same here and there."""
    found = {}
    for path in sorted(directory.rglob("*")):
        st = path.lstat()
        size = st.st_size if stat.S_ISREG(st.st_mode) else 0
        own = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
               if n.startswith(("user.", "trusted."))}
        found[str(path.relative_to(directory))] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink if not path.is_dir() else 0, size, own)
    return found


def compare(places, call, case, *of_room):
    there, squashed, local = (place / case for place in places)
    for place in (there, local):
        place.mkdir()
        room(place, *of_room)
    do = (lambda: executed(CALLS[call])) if call == "execute" else CALLS[call]
    os.chdir(local)
    expected = as_user(NOBODY, lambda: outcome(do), NOBODY)
    os.chdir(squashed)
    assert outcome(do) == expected, f"{call}: {case}"
    os.chdir("/")
    assert tree(there) == tree(local), f"{call}: {case}"


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("call", CALLS)
def test_root_does_as_nobody_would(places, call, owner):
    for bits in DIRECTORY_BITS:
        compare(places, call, oct(bits), owner, mode_of(owner, bits), "others", 0o644)


OF_FILES = ["read", "write", "read and write", "truncating open", "open without atime", "execute", "link out", "unlink", "rename",
            "move a directory", "chmod", "chown", "chown to itself", "chgrp", "chgrp to its own", "truncate", "touch", "set times",
            "set a user attribute", "get a user attribute"]


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("call", OF_FILES)
def test_what_is_in_a_directory(places, call, owner):
    for bits in FILE_BITS:
        compare(places, call, oct(bits), "its own", 0o755, owner, mode_of(owner, bits))


def test_lists_count(places):
    """An access list may give nobody more or less than the mode bits say."""
    there, squashed, local = places
    for number, (entries, call) in enumerate(itertools.product(("u:65534:r", "u:65534:rwx", "u:65534:-", "g:65534:rw", "o::-"),
                                                               ("read", "write", "truncate", "create", "list", "unlink", "stat"))):
        for place in (there, local):
            case = place / str(number)
            case.mkdir()
            room(case, "others", 0o755, "others", 0o644)
            subprocess.run(["setfacl", "-m", entries, case / "d", case / "d/f"], check=True)
        os.chdir(local / str(number))
        expected = as_user(NOBODY, lambda: outcome(CALLS[call]), NOBODY)
        os.chdir(squashed / str(number))
        assert outcome(CALLS[call]) == expected, f"{call} with {entries}"


def test_what_others_have_looked_up_is_hidden(places):
    """Names in a directory that nobody may search are not left to the kernel's cache."""
    there, squashed, _ = places
    (there / "home/inner").mkdir(parents=True)
    (there / "home/inner/f").write_bytes(b"secret")
    for path in ("home/inner/f", "home/inner", "home"):
        os.chown(there / path, ALICE, STAFF)
    (there / "home").chmod(0o700)
    for _ in range(3):
        assert as_user(ALICE, lambda: (squashed / "home/inner/f").read_bytes()) == b"secret"
        for path in ("home/inner/f", "home/inner", "home/nothing"):
            with fails(errno.EACCES):
                os.stat(squashed / path)


def test_what_came_along_with_names_of_others_is_hidden(places):
    """The mount knows names that nobody has asked for (client/meta/look_ahead.h); who may not search their directory finds none."""
    there, squashed, _ = places
    (there / "home").mkdir()
    for n in range(10):
        (there / f"home/f{n}").write_bytes(b"secret")
    os.chown(there / "home", ALICE, STAFF)
    (there / "home").chmod(0o700)
    as_user(ALICE, lambda: [bool(os.stat(squashed / f"home/f{n}")) for n in range(2)])
    for n in range(10):
        with fails(errno.EACCES):
            os.stat(squashed / f"home/f{n}")
        with fails(errno.EACCES):
            os.unlink(squashed / f"home/f{n}")
    assert as_user(ALICE, lambda: sum(os.stat(squashed / f"home/f{n}").st_size for n in range(10))) == 60


def test_others_are_themselves(places):
    there, squashed, _ = places
    there.chmod(0o777)
    as_user(ALICE, lambda: write(squashed / "f"))
    as_user(ALICE, lambda: os.chmod(squashed / "f", 0o600))
    assert (os.stat(squashed / "f").st_uid, os.stat(there / "f").st_gid) == (ALICE, STAFF)
    with fails(errno.EACCES):
        as_user(BOB, lambda: (squashed / "f").read_bytes())
    with fails(errno.EACCES):
        (squashed / "f").read_bytes()
    assert (there / "f").read_bytes() == as_user(ALICE, lambda: (squashed / "f").read_bytes())


def test_what_is_open_stays_open(places):
    """A descriptor that somebody else hands on is asked nothing, nor is one that was opened before the mode was changed."""
    there, squashed, _ = places
    there.chmod(0o777)
    fd = os.open(squashed / "f", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.chmod(there / "f", 0)
        os.chown(there / "f", ALICE, STAFF)
        os.write(fd, b"abc")
        os.ftruncate(fd, 2)
        os.fsync(fd)
        assert os.pread(fd, 10, 0) == b"ab"
        with fails(errno.EPERM):
            os.fchmod(fd, 0o777)
    finally:
        os.close(fd)


def test_a_program_that_nobody_writes_is_not_set_user_id_any_more(places):
    there, squashed, _ = places
    (there / "f").write_bytes(b"x")
    os.chown(there / "f", ALICE, STAFF)
    (there / "f").chmod(0o4777)
    with open(squashed / "f", "r+b", buffering=0) as f:
        f.write(b"y")
        os.fsync(f.fileno())
    assert stat.S_IMODE(os.stat(there / "f").st_mode) == 0o777


def test_sessions_that_are_open_keep_what_they_were_told(make_cluster):
    c = make_cluster(1)
    c.wait_formed()
    a = c.mount("a")
    assert c.surfctl("export", "show", "default").stdout == "default  root-squash=off\n"
    (a / "before").mkdir()
    squash(c, "on")
    assert c.surfctl("export", "show", "default").stdout == "default  root-squash=on\n"
    (a / "as-root").mkdir()
    (a / "open").mkdir()
    (a / "open").chmod(0o777)
    b = c.mount("b")
    with fails(errno.EACCES):
        (b / "x").mkdir()
    (b / "open/x").mkdir()
    assert os.stat(a / "open/x").st_uid == NOBODY
    squash(c, "off")
    c.mount("d")
    (c.mounts["d"] / "x").mkdir()
    assert os.stat(a / "x").st_uid == 0


def test_what_surfctl_refuses(make_cluster):
    c = make_cluster(1)
    c.wait_formed()
    done = c.surfctl("export", "show", "other", check=False)
    assert done.returncode == 1 and "no such export" in done.stderr
    for arguments in (["export"], ["export", "show"], ["export", "set", "default"], ["export", "set", "default", "root-squash=maybe"],
                      ["export", "drop", "default"], ["export", "show", "default", "root-squash=on"], ["export", "show", "x" * 64]):
        assert c.surfctl(*arguments, check=False).returncode == 64, arguments
