"""Programs that people run, on the mount: what one does through a is right through b."""

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile

import pytest

from test_trees import run


def test_git(ab):
    a, b = ab
    env = dict(os.environ, GIT_AUTHOR_NAME="n", GIT_AUTHOR_EMAIL="n@example.org", GIT_COMMITTER_NAME="n",
               GIT_COMMITTER_EMAIL="n@example.org", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    run("git", "init", "-q", a / "repo", env=env)
    for number in range(100):
        path = a / "repo" / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"file {number}\n" * number)
    run("git", "-C", a / "repo", "add", ".", env=env)
    run("git", "-C", a / "repo", "commit", "-q", "-m", "first", env=env)
    run("git", "-C", b / "repo", "-c", "safe.directory=*", "fsck", "--strict", env=env)
    run("git", "-c", "safe.directory=*", "clone", "-q", b / "repo", b / "clone", env=env)
    run("git", "-C", a / "clone", "-c", "safe.directory=*", "fsck", "--strict", env=env)
    run("diff", "-r", "-x", ".git", a / "repo", b / "clone")
    assert run("git", "-C", a / "repo", "status", "--porcelain", env=env) == ""


def test_tar_and_rsync(ab, tmp_path):
    a, b = ab
    source = tmp_path / "source"
    run("cp", "-a", "/usr/include/linux/netfilter", source)
    run("tar", "-C", tmp_path, "-cf", tmp_path / "s.tar", "source")
    run("tar", "-C", a, "-xf", tmp_path / "s.tar")
    run("diff", "-r", source, b / "source")
    run("rsync", "-a", f"{source}/", f"{b}/copy/")
    assert run("rsync", "-anic", "--delete", f"{source}/", f"{a}/copy/") == "", "nothing is left to copy"
    files = sum(len(f) for _, _, f in os.walk(source))
    assert len(run("find", b / "copy", "-type", "f").splitlines()) == files
    assert int(run("du", "-sb", "--apparent-size", b / "copy").split()[0]) > 0
    run("rm", "-rf", a / "copy")
    assert not (a / "copy").exists()


def test_a_c_project_builds(ab):
    a, b = ab
    for number in range(8):
        (a / f"part{number}.c").write_text(f"int part{number}(void);\nint part{number}(void) {{ return {number}; }}\n")
    calls = " + ".join(f"part{n}()" for n in range(8))
    declared = "\n".join(f"int part{n}(void);" for n in range(8))
    (a / "main.c").write_text(f"#include <stdio.h>\n{declared}\nint main(void) {{ printf(\"%d\\n\", {calls}); return 0; }}\n")
    objects = "main.o " + " ".join(f"part{n}.o" for n in range(8))
    (a / "Makefile").write_text(f"sum: {objects}\n\t$(CC) -o $@ {objects}\n")
    run("make", "-j4", "-C", a)
    assert run(b / "sum") == "28\n"
    assert "up to date" in run("make", "-C", a)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite(ab, journal):
    a, b = ab
    database = sqlite3.connect(a / "db")
    database.execute(f"pragma journal_mode={journal}")
    database.execute("create table t(n integer primary key, v blob)")
    for number in range(200):
        with database:
            database.execute("insert into t values(?, ?)", (number, os.urandom(300)))
    database.close()
    again = sqlite3.connect(b / "db")
    assert again.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert again.execute("select count(*) from t").fetchone() == (200,)
    again.close()


def test_rename_over_a_file_that_is_open(ab):
    a, b = ab
    (a / "old").write_bytes(b"old" * 1000)
    (a / "new").write_bytes(b"new" * 1000)
    with open(a / "old", "rb") as f:
        run("mv", a / "new", a / "old")
        assert f.read() == b"old" * 1000
    assert (a / "old").read_bytes() == (b / "old").read_bytes() == b"new" * 1000
    assert sorted(os.listdir(b)) == ["old"]


def test_unlinked_open_file_works_until_close(ab):
    a, b = ab
    with open(a / "f", "w+b", buffering=0) as f:
        f.write(b"one")
        os.unlink(a / "f")
        assert not (a / "f").exists()
        f.write(b"two")
        os.fsync(f.fileno())
        f.seek(0)
        assert f.read() == b"onetwo" and os.fstat(f.fileno()).st_nlink == 0
    assert os.listdir(b) == []


def test_tempfile(ab):
    a, _ = ab
    with tempfile.TemporaryFile(dir=a) as f:
        f.write(b"x" * 100_000)
        f.seek(0)
        assert len(f.read()) == 100_000
    with tempfile.NamedTemporaryFile(dir=a) as f:
        f.write(b"y")
        f.flush()
        assert os.path.getsize(f.name) == 1
    with tempfile.TemporaryDirectory(dir=a) as d:
        open(os.path.join(d, "z"), "w").close()
    assert os.listdir(a) == []


def test_dd_with_fsync(ab):
    a, b = ab
    run("dd", "if=/dev/zero", f"of={a}/z", "bs=4k", "count=1000", "conv=fsync", "status=none")
    assert (b / "z").stat().st_size == 4096 * 1000
    assert not any((b / "z").read_bytes())


@pytest.mark.parametrize("name", ["n" * 255, "ünïcödé-名前-🏄", "with space\tand\nnewline", "-dash", "'\"\\$(x)", "é" * 127])
def test_names(ab, name):
    a, b = ab
    (a / name).write_text(name)
    assert os.listdir(b) == [name] and (b / name).read_text() == name
    os.rename(b / name, b / "plain")
    assert (a / "plain").read_text() == name


def test_names_that_are_too_long(ab):
    a, _ = ab
    for call in (lambda p: open(p, "w"), os.mkdir, os.stat, lambda p: os.symlink("x", p)):
        with pytest.raises(OSError) as e:
            call(a / ("n" * 256))
        assert e.value.errno == 36, "ENAMETOOLONG"
    assert os.listdir(a) == []


def test_kinds_of_files(ab):
    a, b = ab
    os.mkfifo(a / "fifo", 0o640)
    os.mknod(a / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.symlink("target/" + "x" * 1000, a / "link")
    (a / "f").write_text("hello")
    os.link(a / "f", a / "hard")
    os.chmod(a / "f", 0o4751)
    os.chown(a / "fifo", 12, 34)
    os.utime(a / "hard", ns=(1_000_000_001, 2_000_000_002))
    assert stat.S_ISFIFO(os.stat(b / "fifo").st_mode) and os.stat(b / "fifo").st_uid == 12 and os.stat(b / "fifo").st_gid == 34
    assert os.stat(b / "device").st_rdev == os.makedev(1, 3)
    assert os.readlink(b / "link") == "target/" + "x" * 1000
    st = os.stat(b / "hard")
    assert st.st_ino == os.stat(b / "f").st_ino and st.st_nlink == 2 and stat.S_IMODE(st.st_mode) == 0o4751
    assert st.st_mtime_ns == 2_000_000_002 and st.st_atime_ns == 1_000_000_001


def test_rename_rules(ab):
    a, b = ab
    for d in ("d1", "d2", "d2/x"):
        (a / d).mkdir()
    (a / "f").write_text("f")
    for source, target, number in (("f", "d1", 21), ("d1", "f", 20), ("d1", "d2", 39), ("d2", "d2/x/y", 22), ("nothing", "f", 2)):
        with pytest.raises(OSError) as e:
            os.rename(a / source, a / target)
        assert e.value.errno == number, (source, target)
    os.rename(b / "d1", b / "d2" / "d1")
    assert sorted(os.listdir(a / "d2")) == ["d1", "x"]
    for d, number in (("d2", 39), ("f", 20)):
        with pytest.raises(OSError) as e:
            os.rmdir(b / d)
        assert e.value.errno == number


def test_many_entries(ab):
    a, b = ab
    names = {f"entry-{n:05}" for n in range(2000)}
    for name in names:
        open(a / name, "w").close()
    assert set(os.listdir(b)) == names
    run("rm", "-rf", b)
    assert not b.exists()


def test_df_is_honest(shared_cluster, ab):
    a, _ = ab
    space = shutil.disk_usage(a)
    here = shutil.disk_usage(shared_cluster.dir)
    assert 0 < space.free <= space.total
    # Three replicas of everything share this one disk, each on its own server: the sum of three, by three.
    assert space.total == pytest.approx(here.total, rel=0.1)
    assert "surffs" in run("df", "-T", a)


def test_what_one_closed_the_other_opens(ab):
    a, b = ab
    for number in range(200):
        (a / "f").write_text(f"version {number}")
        assert (b / "f").read_text() == f"version {number}"


def test_two_writers_of_different_bytes_lose_nothing(ab):
    a, b = ab
    (a / "f").write_bytes(bytes(8192))
    with open(a / "f", "r+b", buffering=0) as fa, open(b / "f", "r+b", buffering=0) as fb:
        fa.write(b"A" * 4096)
        fb.seek(4096)
        fb.write(b"B" * 4096)
    assert (a / "f").read_bytes() == (b / "f").read_bytes() == b"A" * 4096 + b"B" * 4096


def test_append(ab):
    a, b = ab
    for number in range(50):
        with open((a, b)[number % 2] / "log", "a") as f:
            f.write(f"line {number}\n")
    assert (b / "log").read_text() == "".join(f"line {n}\n" for n in range(50))


def test_mmap_and_exec(ab):
    a, b = ab
    shutil.copy("/bin/true", a / "true")
    subprocess.run([b / "true"], check=True)
