"""Extended attributes, access control lists, and who loses set-user-ID and set-group-ID bits, on two mounts."""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import threading
import time
import traceback

import pytest

import cluster as clusters

NOBODY, GROUP, OTHER_GROUP = 65534, 60001, 60002
libc = ctypes.CDLL(None, use_errno=True)


def as_user(directory, function, uid=NOBODY, gid=NOBODY, groups=()):
    """What function() gives in a child that is that user and stands in the directory; an OSError's errno is raised here again.
    The way to the mount may be closed to others, so that the child enters it before it becomes the user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "e0"
        try:
            os.chdir(directory)
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            text = f"v{function()!r}"
        except OSError as e:
            text = f"e{e.errno}"
        except BaseException:
            text = "t" + traceback.format_exc()
        finally:
            os.write(writer, text.encode()[:60000])
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as f:
        text = f.read().decode()
    os.waitpid(child, 0)
    if text[:1] == "e":
        raise OSError(int(text[1:]), os.strerror(int(text[1:])))
    assert text[:1] == "v", text
    return eval(text[1:])  # of our own child


def fails(number, function, *args, **named):
    with pytest.raises(OSError) as caught:
        function(*args, **named)
    assert caught.value.errno == number, caught.value


def permissions(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def make(path, mode=0o644, uid=0, gid=0):
    path.write_bytes(b"old")
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


# ---- extended attributes


def test_set_on_one_seen_on_the_other(ab):
    a, b = ab
    (a / "f").write_text("x")
    for n in range(200):
        here, there = (a, b) if n % 2 else (b, a)
        before = os.stat(there / "f").st_ctime_ns
        os.listxattr(there / "f")
        os.setxattr(here / "f", "user.n", str(n).encode())
        assert os.getxattr(there / "f", "user.n") == str(n).encode()
        assert os.stat(there / "f").st_ctime_ns > before
        if n % 5 == 0:
            os.removexattr(there / "f", "user.n")
            assert os.listxattr(here / "f") == []
            fails(errno.ENODATA, os.getxattr, here / "f", "user.n")


@pytest.mark.parametrize("options", [("-o", "noepoch"), ("-o", "reads=any")], ids=["noepoch", "reads=any"])
def test_with_other_options(make_cluster, options):
    c = make_cluster(3)
    c.wait_formed()
    a, b = c.mount("a", *options), c.mount("b", *options)
    make(a / "f", 0o600)
    for n in range(50):
        os.setxattr(a / "f", "user.n", str(n).encode())
        assert os.getxattr(b / "f", "user.n") == str(n).encode()
        set_acl(b / "f", "-m", f"u:{NOBODY}:{'r' if n % 2 else '-'},g::r")
        if n % 2:
            assert as_user(a.path, lambda: open("f").read()) == "old"
        else:
            fails(errno.EACCES, as_user, a.path, lambda: open("f").read())


def test_a_list_is_heeded_at_once(ab):
    """The kernel keeps lists: what one mount has set, the next open on the other one is judged by."""
    a, b = ab
    make(a / "f", 0o640)
    for n in range(300):
        here, there = (a, b) if n // 2 % 2 else (b, a)
        entries = b"".join(struct.pack("<HHI", tag, permissions, owner) for tag, permissions, owner in
                           ((1, 6, 2**32 - 1), (2, 4 * (n % 2), NOBODY), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)))
        os.setxattr(here / "f", "system.posix_acl_access", struct.pack("<I", 2) + entries)
        if n % 2:
            assert as_user(there, lambda: open("f").read()) == "old"
        else:
            fails(errno.EACCES, as_user, there, lambda: open("f").read())


def test_flags_and_missing_ones(ab):
    a, b = ab
    for path in (a / "f", a / "d"):
        path.mkdir() if path.name == "d" else path.write_text("x")
        fails(errno.ENODATA, os.getxattr, path, "user.k")
        fails(errno.ENODATA, os.removexattr, path, "user.k")
        fails(errno.ENODATA, os.setxattr, path, "user.k", b"1", os.XATTR_REPLACE)
        os.setxattr(path, "user.k", b"1", os.XATTR_CREATE)
        fails(errno.EEXIST, os.setxattr, b / path.name, "user.k", b"2", os.XATTR_CREATE)
        os.setxattr(b / path.name, "user.k", b"", os.XATTR_REPLACE)
        assert os.getxattr(path, "user.k") == b""
        assert os.listxattr(path) == ["user.k"]


def test_many_attributes(ab):
    a, b = ab
    (a / "f").write_text("x")
    want = {f"user.{'n' * (n % 40)}{n}": os.urandom(n * 7 % 300) for n in range(1024)}
    for name, value in want.items():
        os.setxattr(a / "f", name, value)
    fails(errno.ENOSPC, os.setxattr, a / "f", "user.more", b"")
    assert {name: os.getxattr(b / "f", name) for name in os.listxattr(b / "f")} == want
    for name in list(want)[::2]:
        os.removexattr(b / "f", name)
        del want[name]
    assert sorted(os.listxattr(a / "f")) == sorted(want)
    os.rename(a / "f", a / "g")
    os.link(a / "g", a / "h")
    assert sorted(os.listxattr(b / "h")) == sorted(want)
    os.unlink(a / "g")
    os.unlink(a / "h")


def test_large_values(ab):
    a, b = ab
    (a / "f").write_text("x")
    value = os.urandom(65536)
    os.setxattr(a / "f", "user.large", value)
    assert os.getxattr(b / "f", "user.large") == value
    fails(errno.E2BIG, os.setxattr, a / "f", "user.larger", value + b"x")
    fails(errno.ERANGE, os.setxattr, a / "f", "user." + "n" * 251, b"")
    os.setxattr(a / "f", "user." + "n" * 250, b"longest")
    assert os.getxattr(b / "f", "user." + "n" * 250) == b"longest"


def test_a_list_has_a_limit(ab):
    a, _ = ab
    (a / "f").write_text("x")
    count = 0
    with pytest.raises(OSError) as caught:
        while True:
            os.setxattr(a / "f", f"user.{count:04}".ljust(255, "n"), b"")
            count += 1
    assert caught.value.errno == errno.ENOSPC and count == 256
    assert len(os.listxattr(a / "f")) == count


def test_namespaces(ab):
    a, b = ab
    f = make(a / "f")
    os.setxattr(f, "trusted.t", b"1")
    os.setxattr(f, "security.s", b"2")
    os.setxattr(f, "user.u", b"3")
    assert sorted(os.listxattr(b / "f")) == ["security.s", "trusted.t", "user.u"]
    assert as_user(b, lambda: sorted(os.listxattr("f"))) == ["security.s", "user.u"]
    assert as_user(b, lambda: os.getxattr("f", "user.u")) == b"3"
    with pytest.raises(OSError) as caught:
        as_user(b, lambda: os.getxattr("f", "trusted.t"))
    assert caught.value.errno == errno.ENODATA
    fails(errno.EPERM, as_user, b, lambda: os.setxattr("f", "trusted.t", b"x"))
    fails(errno.EACCES, as_user, b, lambda: os.setxattr("f", "user.u", b"x"))
    fails(errno.EOPNOTSUPP, os.setxattr, f, "system.unknown", b"x")
    fails(errno.EOPNOTSUPP, os.setxattr, f, "other.k", b"x")
    fails(errno.EINVAL, os.setxattr, f, "user.", b"x")
    os.symlink("f", a / "l")
    fails(errno.EPERM, os.setxattr, a / "l", "user.u", b"x", follow_symlinks=False)
    os.setxattr(a / "l", "trusted.t", b"of the link", follow_symlinks=False)
    assert os.getxattr(b / "l", "trusted.t", follow_symlinks=False) == b"of the link"
    os.mkfifo(a / "p")
    fails(errno.EPERM, os.setxattr, a / "p", "user.u", b"x")


def test_an_unlinked_file_keeps_them(ab):
    a, b = ab
    with open(a / "f", "w") as f:
        os.setxattr(f.fileno(), "user.k", b"1")
        os.unlink(b / "f")
        assert os.getxattr(f.fileno(), "user.k") == b"1"
        os.setxattr(f.fileno(), "user.l", b"2")
        assert sorted(os.listxattr(f.fileno())) == ["user.k", "user.l"]


def test_programs_copy_them(ab):
    a, b = ab
    (a / "f").write_text("x")
    os.setxattr(a / "f", "user.k", b"1")
    subprocess.run(["setfacl", "-m", f"u:{NOBODY}:rw", a / "f"], check=True)
    subprocess.run(["cp", "-a", a / "f", b / "g"], check=True)
    assert os.getxattr(a / "g", "user.k") == b"1"
    assert acl_of(a / "g") == acl_of(a / "f")


def test_what_is_known_costs_no_question(make_cluster):
    c = make_cluster(3)
    c.wait_formed()
    a = c.mount("a")
    names = [a / f"f{n}" for n in range(100)]
    for n, name in enumerate(names):
        make(name)
        if n % 2:
            os.setxattr(name, "user.k", b"v")
            set_acl(name, "-m", f"u:{NOBODY}:r")

    def ask_all():
        for n, name in enumerate(names):
            for attribute in ("security.selinux", "system.posix_acl_access"):
                with contextlib.suppress(OSError):
                    os.getxattr(name, attribute)
            if n % 2:
                assert os.getxattr(name, "user.k") == b"v"

    with open(names[0], "r+b", buffering=0) as plain, open(names[1], "r+b", buffering=0) as labelled:
        def use():
            ask_all()
            for n in range(100):
                os.pwrite(plain.fileno(), b"x", n)
                os.pwrite(labelled.fileno(), b"x", n)

        def known():
            c.wait_caught_up()
            use()
            return c.answered_while_stopped(use)

        clusters.wait_until("all to be answered from what is known", known, 60)


def test_they_survive_their_servers(make_cluster):
    c = make_cluster(3)
    c.wait_formed()
    a = c.mount("a")
    (a / "f").write_text("x")
    for n in range(100):
        os.setxattr(a / "f", f"user.{n}", bytes([n]) * 1000)
    for node in c.nodes.values():
        node.kill()
    for node in c.nodes.values():
        node.start()
    b = c.mount("b")
    assert {os.getxattr(b / "f", f"user.{n}") for n in range(100)} == {bytes([n]) * 1000 for n in range(100)}
    os.unlink(b / "f")
    c.wait_caught_up()


# ---- access control lists


def acl_of(path):
    done = subprocess.run(["getfacl", "-cpn", path], check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return [line.split("\t")[0] for line in done.stdout.split("\n") if line]


def set_acl(path, *arguments):
    subprocess.run(["setfacl", *arguments, path], check=True, timeout=60)


def test_a_list_lets_in_and_keeps_out(ab):
    a, b = ab
    f = make(a / "f", 0o600)
    fails(errno.EACCES, as_user, b, lambda: open("f").read())
    set_acl(f, "-m", f"u:{NOBODY}:r")
    assert as_user(b, lambda: open("f").read()) == "old"
    fails(errno.EACCES, as_user, b, lambda: open("f", "r+").close())
    assert permissions(b / "f") == 0o640
    os.chmod(f, 0o600)  # the mask goes, and with it what the list grants
    fails(errno.EACCES, as_user, b, lambda: open("f").read())
    os.chmod(b / "f", 0o660)
    assert acl_of(f) == ["user::rw-", f"user:{NOBODY}:r--", "group::---", "mask::rw-", "other::---"]
    set_acl(b / "f", "-m", f"u:{NOBODY}:-,g::r,o::rw")  # (Linux asks no list when the mask is empty)
    fails(errno.EACCES, as_user, a, lambda: open("f").read())
    assert as_user(a, lambda: open("f").read(), uid=NOBODY - 1) == "old"
    set_acl(a / "f", "-b")
    assert as_user(b, lambda: open("f").read()) == "old"
    assert acl_of(b / "f") == ["user::rw-", "group::r--", "other::rw-"]
    assert os.listxattr(b / "f") == []


def test_a_group_of_a_list(ab):
    a, b = ab
    make(a / "f", 0o600)
    set_acl(a / "f", "-m", f"g:{GROUP}:rw")
    assert as_user(b, lambda: open("f", "r+").read(), groups=[5, GROUP]) == "old"
    fails(errno.EACCES, as_user, b, lambda: open("f").read(), groups=[5, OTHER_GROUP])


def test_only_the_owner_sets_lists(ab):
    a, b = ab
    make(a / "f", 0o666)
    fails(errno.EPERM, as_user, b, lambda: os.setxattr("f", "system.posix_acl_access", b"\2\0\0\0"))
    fails(errno.EINVAL, os.setxattr, a / "f", "system.posix_acl_access", b"\2\0\0\0nonsense is none")
    fails(errno.EACCES, lambda: os.setxattr(a / "f", "system.posix_acl_default", default_acl(a)))


def default_acl(directory):
    (directory / "any").mkdir()
    set_acl(directory / "any", "-d", "-m", f"u:{NOBODY}:rwx")
    return os.getxattr(directory / "any", "system.posix_acl_default")


def test_default_lists_are_inherited(ab):
    a, b = ab
    a_dir, b_dir = a / "d", b / "d"
    a_dir.mkdir()
    set_acl(a_dir, "-d", "-m", f"u:{NOBODY}:rwx,g:{GROUP}:rx,o::-")
    mask = os.umask(0o077)
    try:
        (b_dir / "f").write_text("x")
        os.mkdir(b_dir / "s")
        os.mkdir(b_dir / "s" / "t")
        os.mkfifo(b_dir / "p", 0o600)
        (b / "plain").write_text("x")
    finally:
        os.umask(mask)
    named = [f"user:{NOBODY}:rwx", "group::r-x", f"group:{GROUP}:r-x"]
    assert acl_of(a_dir / "f") == ["user::rw-", *named, "mask::rw-", "other::---"]
    assert acl_of(a_dir / "p") == ["user::rw-", *named, "mask::---", "other::---"]
    inherited = ["user::rwx", *named, "mask::rwx", "other::---"]
    assert acl_of(a_dir / "s" / "t") == inherited + ["default:" + line for line in inherited]
    assert permissions(a_dir / "f") == 0o660 and permissions(a / "plain") == 0o600
    assert as_user(a_dir, lambda: open("s/t/new", "w").write("by nobody")) == 9
    assert os.stat(b_dir / "s" / "t" / "new").st_uid == NOBODY


def test_a_list_by_someone_outside_the_group_takes_the_set_group_id(ab):
    a, b = ab
    for groups, want in (((), 0o755), ((GROUP,), 0o2755)):
        f = make(a / f"f{len(groups)}", 0o2755, NOBODY, GROUP)
        name = f.name
        as_user(b, lambda: subprocess.run(["setfacl", "-m", f"u:{NOBODY - 1}:rx", name], check=True).returncode, groups=groups)
        assert permissions(f) == want


def test_a_create_that_meets_a_file_of_another_mount_heeds_its_list(ab):
    """The kernel takes the file for new and checks nothing. Both names come and go all the time, so that this happens."""
    a, b = ab
    (a / "d").mkdir()
    os.chmod(a / "d", 0o777)
    set_acl(a / "d", "-d", "-m", f"u::rw,u:{NOBODY}:r,g::-,m::rw,o::-")
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            os.close(os.open(a / "d/f", os.O_WRONLY | os.O_CREAT, 0o666))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(a / "d/f")

    def meet():
        outcomes = {"mine": 0, "theirs": 0, "kept out": 0}
        end = time.monotonic() + 60 * clusters.PATIENCE
        while min(outcomes.values()) < 20 and time.monotonic() < end:
            for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY):
                try:
                    fd = os.open("d/f", flags | os.O_CREAT, 0o666)
                except PermissionError:
                    assert flags != os.O_RDONLY, "the list lets it read"
                    outcomes["kept out"] += 1
                    continue
                mine = os.fstat(fd).st_uid == NOBODY
                os.close(fd)
                assert mine or flags == os.O_RDONLY, "the list doesn't let it write"
                outcomes["mine" if mine else "theirs"] += 1
                if mine:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink("d/f")
        return outcomes

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        outcomes = as_user(b, meet)
    finally:
        stop.set()
        thread.join()
    assert min(outcomes.values()) >= 20, outcomes


# ---- set-user-ID and set-group-ID


def write(name):
    with open(name, "r+b", buffering=0) as f:
        f.write(b"new")
        return stat.S_IMODE(os.fstat(f.fileno()).st_mode)


def append(name):
    with open(name, "ab", buffering=0) as f:
        f.write(b"new")


def allocate(mode, offset, length):
    def change(name):
        with open(name, "r+b", buffering=0) as f:
            if libc.fallocate64(f.fileno(), mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return stat.S_IMODE(os.fstat(f.fileno()).st_mode)

    return change


def copy_within(name):
    with open(name, "r+b", buffering=0) as f:
        assert os.copy_file_range(f.fileno(), f.fileno(), 1, 1, 0) == 1


KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
CHANGES = {
    "write": write,
    "append": append,
    "truncate": lambda name: os.truncate(name, 1),
    "longer": lambda name: os.truncate(name, 100),
    "O_TRUNC": lambda name: os.close(os.open(name, os.O_WRONLY | os.O_TRUNC)),
    "O_CREAT": lambda name: os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)),
    "fallocate": allocate(0, 0, 100),
    "fallocate of what is there": allocate(0, 0, 1),
    "fallocate that keeps the size": allocate(KEEP_SIZE, 0, 100),
    "punch": allocate(KEEP_SIZE | PUNCH_HOLE, 0, 1),
    "zero": allocate(ZERO_RANGE, 0, 100),
    "copy": copy_within,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("before, after", [(0o6777, 0o777), (0o4766, 0o766), (0o2777, 0o777), (0o2767, 0o767), (0o1777, 0o1777)],
                         ids=lambda mode: oct(mode))
def test_a_change_of_contents_by_others(ab, change, before, after):
    a, b = ab
    make(a / "f", before)
    assert permissions(b / "f") == before
    as_user(b, lambda: CHANGES[change]("f"))
    assert permissions(b / "f") == after
    assert permissions(a / "f") == after


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_contents_by_root_keeps_them(ab, change):
    a, b = ab
    make(a / "f", 0o6777)
    CHANGES[change](b / "f")
    assert permissions(a / "f") == permissions(b / "f") == 0o6777


def test_they_are_gone_while_the_file_is_still_open(ab):
    a, b = ab
    make(a / "f", 0o6777)
    assert as_user(b, lambda: write("f")) == 0o777


def test_set_after_a_write_they_stay(ab):
    """The bits that are set later are not those that the write takes."""
    a, b = ab
    make(a / "f", 0o666, NOBODY)

    def write_and_set():
        with open("f", "r+b", buffering=0) as f:
            f.write(b"new")
            os.fchmod(f.fileno(), 0o4755)

    as_user(b, write_and_set)
    assert permissions(a / "f") == permissions(b / "f") == 0o4755


def test_a_change_of_owner(ab):
    a, b = ab
    for before, after in ((0o6755, 0o755), (0o2745, 0o2745), (0o4700, 0o700)):
        make(a / "f", before)
        os.chown(b / "f", NOBODY, GROUP)
        assert permissions(a / "f") == after
    (a / "d").mkdir()
    os.chmod(a / "d", 0o6755)
    os.chown(b / "d", NOBODY, GROUP)
    assert permissions(a / "d") == 0o6755
    make(a / "g", 0o6755, NOBODY, NOBODY)
    as_user(b, lambda: os.chown("g", -1, GROUP), groups=[GROUP])
    assert permissions(a / "g") == 0o755
    fails(errno.EPERM, as_user, b, lambda: os.chown("g", -1, OTHER_GROUP))
    fails(errno.EPERM, as_user, b, lambda: os.chown("g", 0, -1))


def test_file_capabilities_go_with_a_write(ab):
    a, b = ab
    for number, change in enumerate(CHANGES.values()):
        f = make(a / f"f{number}", 0o755)
        subprocess.run(["setcap", "cap_net_raw+ep", f], check=True)
        assert os.listxattr(b / f.name) == ["security.capability"]
        change(b / f.name)
        assert os.listxattr(f) == [] and os.listxattr(b / f.name) == []
    # and of a file that this mount has written before
    f = make(a / "g", 0o755)
    subprocess.run(["setcap", "cap_net_raw+ep", b / "g"], check=True)
    write(a / "g")
    assert os.listxattr(b / "g") == []


def test_chmod_by_someone_outside_the_group(ab):
    a, b = ab
    make(a / "f", 0o755, NOBODY, GROUP)
    as_user(b, lambda: os.chmod("f", 0o6755))
    assert permissions(a / "f") == 0o4755
    as_user(b, lambda: os.chmod("f", 0o6755), groups=[GROUP])
    assert permissions(a / "f") == 0o6755
    fails(errno.EPERM, as_user, b, lambda: os.chmod("f", 0o777), uid=NOBODY - 1)


def test_set_group_id_of_directories(ab):
    a, b = ab
    (a / "d").mkdir()
    os.chown(a / "d", 0, GROUP)
    os.chmod(a / "d", 0o2777)
    as_user(b, lambda: (os.mkdir("d/sub"), os.close(os.open("d/f", os.O_CREAT | os.O_WRONLY, 0o2755)), os.mkfifo("d/p"),
                        os.symlink("x", "d/l"))[1])
    for name in ("sub", "f", "p", "l"):
        assert os.lstat(a / "d" / name).st_gid == GROUP, name
        assert os.lstat(a / "d" / name).st_uid == NOBODY
    assert permissions(a / "d" / "sub") & 0o2000
    assert not permissions(a / "d" / "f") & 0o2000  # its maker is not of the group
    (a / "e").mkdir(0o777)
    os.chmod(a / "e", 0o777)
    as_user(b, lambda: open("e/f", "w").close(), gid=OTHER_GROUP)
    assert os.stat(a / "e" / "f").st_gid == OTHER_GROUP


def test_sticky_directories(ab):
    a, b = ab
    (a / "d").mkdir()
    os.chmod(a / "d", 0o1777)
    for name in ("theirs", "mine"):
        make(a / "d" / name, 0o666, NOBODY if name == "mine" else 1000)
    fails(errno.EPERM, as_user, b, lambda: os.unlink("d/theirs"))
    fails(errno.EPERM, as_user, b, lambda: os.rename("d/theirs", "d/x"))
    fails(errno.EPERM, as_user, b, lambda: os.rename("d/mine", "d/theirs"))
    as_user(b, lambda: os.rename("d/mine", "d/y"))
    as_user(b, lambda: os.unlink("d/y"))
    os.chmod(a / "d", 0o777)
    as_user(b, lambda: os.unlink("d/theirs"))
    clusters.wait_until("the directory to be empty", lambda: os.listdir(a / "d") == [], 5)
