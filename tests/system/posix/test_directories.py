"""mkdir(2), rmdir(2), getdents(2), telldir(3) and seekdir(3) while the directory changes, chdir(2), getcwd(2)."""

import ctypes
import errno
import os
import stat

import pytest

from calls import (ALICE, AT_REMOVEDIR, LIBC, MODE_OF, NOT_DIRECTORIES, STAFF, TYPES, as_user, changes, fails, kind_of, make, opened,
                   unlinkat, write)


@pytest.mark.parametrize("mode", [0, 0o1, 0o400, 0o700, 0o755, 0o777, 0o1777])
def test_mkdir_mode(place, mode):
    for mask in (0, 0o022, 0o077):
        os.umask(mask)
        os.mkdir("d", mode)
        s = os.stat("d")
        assert stat.S_ISDIR(s.st_mode) and stat.S_IMODE(s.st_mode) == mode & ~mask and s.st_nlink == 2
        os.rmdir("d")


@pytest.mark.parametrize("mode", [0o2755, 0o4755, 0o6777])
def test_mkdir_ignores_the_set_bits(place, mode):
    """mkdir(2): the mode is (mode & ~umask & 0777), on Linux with the sticky bit."""
    os.mkdir("d", mode)
    assert stat.S_IMODE(os.stat("d").st_mode) == mode & 0o1755


@pytest.mark.parametrize("kind", TYPES)
def test_mkdir_where_something_is(place, kind):
    make("d", kind)
    with fails(errno.EEXIST):
        os.mkdir("d")
    assert kind_of("d") == kind


@pytest.mark.parametrize("path, number", [("absent/d", errno.ENOENT), ("f/d", errno.ENOTDIR), ("", errno.ENOENT), (".", errno.EEXIST),
                                          ("..", errno.EEXIST), ("d/.", errno.ENOENT), ("/", errno.EEXIST), ("loop/d", errno.ELOOP)])
def test_mkdir_errors(place, path, number):
    write("f")
    os.symlink("loop", "loop")
    with fails(number):
        os.mkdir(path)


@pytest.mark.parametrize("path", ["d/", "d//", "./d/", "e/../d"])
def test_mkdir_with_slashes(place, path):
    os.mkdir("e")
    os.mkdir(path)
    assert kind_of("d") == "dir"


def test_mkdir_through_dangling_symlink(place):
    os.symlink("target", "link")
    for path in ("link", "link/"):
        with fails(errno.EEXIST):
            os.mkdir(path)


def test_links_of_directories(place):
    before = os.stat(".").st_nlink
    for n in range(5):
        os.mkdir(str(n))
        assert os.stat(".").st_nlink == before + n + 1
    make("f", "file")
    assert os.stat(".").st_nlink == before + 5
    os.rmdir("0")
    os.rename("1", "2")
    os.rename("3", "2/3")
    assert os.stat(".").st_nlink == before + 2 and os.stat("2").st_nlink == 3


def test_mkdir_inherits_the_group_of_a_set_group_directory(place):
    os.mkdir("d")
    os.chown("d", 0, STAFF)
    os.chmod("d", 0o2777)
    as_user(ALICE, lambda: os.mkdir("d/e"), gid=ALICE, groups=[STAFF])
    as_user(ALICE, lambda: make("d/f", "file"), gid=ALICE, groups=[STAFF])
    assert os.stat("d/e").st_gid == STAFF and stat.S_IMODE(os.stat("d/e").st_mode) == 0o2755
    assert os.stat("d/f").st_gid == STAFF and stat.S_IMODE(os.stat("d/f").st_mode) == 0o644


# -- rmdir


@pytest.mark.parametrize("kind", NOT_DIRECTORIES)
def test_rmdir_of_others(place, kind):
    make("f", kind)
    with fails(errno.ENOTDIR):
        os.rmdir("f")
    assert kind_of("f") == kind


@pytest.mark.parametrize("kind", TYPES)
def test_rmdir_not_empty(place, kind):
    os.mkdir("d")
    make("d/x", kind)
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir("d")
    (os.rmdir if kind == "dir" else os.unlink)("d/x")
    os.rmdir("d")
    assert not os.path.lexists("d")


@pytest.mark.parametrize("path, number", [("absent", errno.ENOENT), ("d/.", errno.EINVAL), ("d/e/..", errno.ENOTEMPTY), ("f/x", errno.ENOTDIR),
                                          ("", errno.ENOENT), ("/", errno.EBUSY), ("/proc", errno.EBUSY), ("link", errno.ENOTDIR),
                                          ("link/", errno.ENOTDIR), ("loop/x", errno.ELOOP)])
def test_rmdir_errors(place, path, number):
    os.makedirs("d/e")
    write("f")
    os.symlink("d", "link")
    os.symlink("loop", "loop")
    with fails(number):
        os.rmdir(path)
    assert os.path.isdir("d/e")


def test_unlinkat_removes_directories_if_told(place):
    os.mkdir("d")
    with fails(errno.EISDIR):
        unlinkat("d", 0)
    unlinkat("d", AT_REMOVEDIR)
    make("f", "file")
    with fails(errno.ENOTDIR):
        unlinkat("f", AT_REMOVEDIR)


def test_rmdir_of_a_mountpoint(place):
    os.mkdir("d")
    if LIBC.mount(b"none", b"d", b"tmpfs", 0, None):
        pytest.skip("mount(2) is not allowed here")
    try:
        for call in (lambda: os.rmdir("d"), lambda: os.rename("d", "e"), lambda: (os.mkdir("g"), os.rename("g", "d"))):
            with fails(errno.EBUSY):
                call()
        with fails(errno.EXDEV):
            make("f", "file")
            os.rename("f", "d/f")
        with fails(errno.EXDEV):
            os.link("f", "d/f")
    finally:
        LIBC.umount2(b"d", 2)
    os.rmdir("d")


# -- removed while in use


def removed():
    os.mkdir("d")
    fd = os.open("d", os.O_DIRECTORY)
    os.rmdir("d")
    return fd


def test_removed_directory_has_no_entries(place):
    fd = removed()
    try:
        assert os.listdir(fd) == []
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.listdir(fd) == []
    finally:
        os.close(fd)


def test_removed_directory_has_attributes(place):
    os.mkdir("d", 0o711)
    with opened("d", os.O_DIRECTORY) as fd:
        ino = os.fstat(fd).st_ino
        os.rmdir("d")
        s = os.fstat(fd)
        assert (s.st_ino, s.st_nlink, s.st_mode) == (ino, 0, stat.S_IFDIR | 0o711)


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_is_made_in_a_removed_directory(place, kind):
    os.mkdir("d")
    os.mkdir("d/e")
    os.chdir("d/e")
    os.rmdir("../e")
    with fails(errno.ENOENT):
        make("x", kind)


@pytest.mark.parametrize("call", ["open", "stat", "unlink", "rmdir", "rename from", "rename to", "link to", "chdir .."])
def test_names_in_a_removed_directory(place, call):
    os.mkdir("other")
    write("other/f")
    fd = removed()
    try:
        with fails(errno.ENOENT):
            if call == "open":
                os.open("x", os.O_RDONLY, dir_fd=fd)
            elif call == "stat":
                os.stat("x", dir_fd=fd)
            elif call == "unlink":
                os.unlink("x", dir_fd=fd)
            elif call == "rmdir":
                os.rmdir("x", dir_fd=fd)
            elif call == "rename from":
                os.rename("x", "other/x", src_dir_fd=fd)
            elif call == "rename to":
                os.rename("other/f", "x", dst_dir_fd=fd)
            elif call == "link to":
                os.link("other/f", "x", dst_dir_fd=fd)
            else:
                os.fchdir(fd)
                os.getcwd()
    finally:
        os.close(fd)


def test_attributes_of_a_removed_directory_change(place):
    fd = removed()
    try:
        os.fchmod(fd, 0o700)
        os.fchown(fd, ALICE, STAFF)
        os.utime(fd, ns=(5, 6))
        s = os.fstat(fd)
        assert (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_nlink) == (0o700, ALICE, STAFF, 6, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_directory_made_anew_is_another(place):
    fd = removed()
    try:
        os.mkdir("d")
        write("d/f")
        assert os.listdir(fd) == []
        assert os.stat("d").st_ino != os.fstat(fd).st_ino
    finally:
        os.close(fd)


def test_replaced_directory_while_open(place):
    os.mkdir("d")
    os.mkdir("e")
    write("e/f")
    with opened("d", os.O_DIRECTORY) as fd:
        os.rename("e", "d")
        assert os.listdir(fd) == [] and os.fstat(fd).st_nlink == 0
    assert os.listdir("d") == ["f"]


def test_working_directory_moves_along(place):
    os.makedirs("a/b")
    os.mkdir("c")
    os.chdir("a/b")
    os.rename(place / "a" / "b", place / "c" / "d")
    assert os.getcwd() == str(place / "c" / "d")
    assert os.path.samefile("..", place / "c")
    write("x")
    assert os.path.exists(place / "c" / "d" / "x")


# -- reading


class Stream:
    """opendir(3) and its family."""

    def __init__(self, path):
        LIBC.opendir.restype = LIBC.readdir.restype = ctypes.c_void_p
        for name in ("readdir", "telldir", "rewinddir", "closedir"):
            getattr(LIBC, name).argtypes = [ctypes.c_void_p]
        LIBC.telldir.restype = ctypes.c_long
        LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
        self.dir = LIBC.opendir(os.fsencode(path))
        assert self.dir

    def __enter__(self):
        return self

    def __exit__(self, *_):
        LIBC.closedir(self.dir)

    def next(self):
        """(inode number, type, name) or None."""
        entry = LIBC.readdir(self.dir)
        if not entry:
            return None
        raw = ctypes.string_at(entry, 19)
        name = ctypes.string_at(entry + 19)
        return int.from_bytes(raw[:8], "little"), raw[18], os.fsdecode(name)

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return LIBC.telldir(self.dir)

    def seek(self, position):
        LIBC.seekdir(self.dir, position)

    def rewind(self):
        LIBC.rewinddir(self.dir)


@pytest.mark.parametrize("kind", TYPES)
def test_entry_says_number_and_type(place, kind):
    make("x", kind)
    with Stream(".") as d:
        entries = {name: (ino, kind) for ino, kind, name in d.rest()}
    assert set(entries) == {".", "..", "x"}
    assert entries["x"] == (os.lstat("x").st_ino, stat.S_IFMT(MODE_OF[kind]) >> 12)
    assert entries["."] == (os.stat(".").st_ino, 4) and entries[".."] == (os.stat("..").st_ino, 4)


@pytest.mark.parametrize("count", [0, 1, 100, 1100])
def test_every_entry_once(place, count):
    os.mkdir("d")
    for n in range(count):
        os.link("d/0", f"d/{n}") if n else write("d/0")
    with Stream("d") as d:
        assert sorted(name for _, _, name in d.rest()) == sorted([".", "..", *map(str, range(count))])
        d.rewind()
        assert len(d.rest()) == count + 2


def test_positions_lead_back(place):
    for n in range(300):
        os.symlink("x", f"entry-{n}")
    with Stream(".") as d:
        positions, names = [], []
        while True:
            positions.append(d.tell())
            entry = d.next()
            if entry is None:
                break
            names.append(entry[2])
        assert len(set(positions)) == len(positions)
        for at in list(range(0, len(names), 17)) + [len(names) - 1, 1, 0]:
            d.seek(positions[at])
            assert d.next()[2] == names[at]
        d.seek(positions[-1])
        assert d.next() is None
        d.seek(positions[150])
        assert [name for _, _, name in d.rest()] == names[150:]


def test_positions_survive_changes(place):
    """What is neither added nor removed meanwhile comes exactly once; what is removed before its turn may not come after a seek."""
    names = [f"entry-{n}" for n in range(600)]
    for name in names:
        os.symlink("x", name)
    with Stream(".") as d:
        first = [d.next()[2] for _ in range(200)]
        position = d.tell()
        gone = [n for n in names if n not in first][::2]
        for name in gone:
            os.unlink(name)
        for n in range(300):
            os.symlink("x", f"new-{n}")
        for name in first[2:100]:
            if name.startswith("entry"):
                os.unlink(name)
        d.seek(position)
        rest = [name for _, _, name in d.rest()]
    assert len(set(rest)) == len(rest) and not set(rest) & set(gone)
    assert {n for n in first + rest if n.startswith("entry")} == {n for n in names if n not in gone}


def test_removal_of_all_while_reading(place):
    for n in range(500):
        write(f"{n}")
    with os.scandir(".") as entries:
        for entry in entries:
            os.unlink(entry.name)
    assert os.listdir(".") == []


def test_renaming_while_reading(place):
    """A name that stays comes once, whatever is renamed beside it."""
    for n in range(200):
        os.symlink("x", f"stays-{n}")
        os.symlink("x", f"moves-{n}")
    seen = []
    with os.scandir(".") as entries:
        for n, entry in enumerate(entries):
            seen.append(entry.name)
            if n < 200:
                os.rename(f"moves-{n}", f"moved-{n}")
    assert sorted(s for s in seen if s.startswith("stays")) == sorted(f"stays-{n}" for n in range(200))


def test_reading_with_too_little_room(place):
    write("x" * 200)
    with opened(".", os.O_DIRECTORY) as fd:
        buffer = ctypes.create_string_buffer(8)
        assert LIBC.syscall(217, fd, buffer, 8) == -1 and ctypes.get_errno() == errno.EINVAL


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_reading_of_others(place, kind):
    make("f", kind)
    with fails(errno.ENOTDIR):
        os.listdir("f")


def test_new_entries_are_seen_after_rewinding(place):
    with Stream(".") as d:
        assert len(d.rest()) == 2
        write("f")
        d.rewind()
        assert len(d.rest()) == 3
        os.unlink("f")
        d.rewind()
        assert len(d.rest()) == 2


# -- times


@pytest.mark.parametrize("kind", TYPES)
def test_times_of_making(place, kind):
    os.mkdir("d")
    with changes(here="", d="mc"):
        make("d/x", kind)


def test_times_of_mkdir_and_rmdir(place):
    os.mkdir("d")
    with changes(here="", d="mc"):
        os.mkdir("d/e")
    with changes(here="", d="mc"):
        os.rmdir("d/e")


def test_times_of_failures(place):
    os.makedirs("d/e/f")
    with changes(d="", d_e=""):
        with fails(errno.ENOTEMPTY):
            os.rmdir("d/e")
        with fails(errno.EEXIST):
            os.mkdir("d/e")


def test_new_directory_has_equal_times_about_now(place):
    os.mkdir("d")
    os.mkdir("d/e")
    s = os.stat("d/e")
    assert s.st_atime_ns == s.st_mtime_ns == s.st_ctime_ns
    assert os.stat("d").st_mtime_ns == s.st_mtime_ns


def test_depth(place):
    """Deeper than a path can say: step by step."""
    name, deep = "d" * 200, 30
    for _ in range(deep):
        os.mkdir(name)
        os.chdir(name)
    write("f", b"x")
    with fails(errno.ENAMETOOLONG):
        os.stat("/".join([str(place)] + [name] * deep))
    for _ in range(deep):
        assert os.path.exists("f") or os.path.exists(name)
        os.chdir("..")
    assert os.path.samefile(".", place)
