"""surfctl sync: what is not contents: permission bits, times of modification and empty directories."""

import os
import shutil
import stat

import pytest

from test_sync import world  # noqa: F401 (a fixture)


def attributes(path):
    st = os.stat(path)
    return stat.S_IMODE(st.st_mode), st.st_mtime_ns


@pytest.fixture
def pair(world):  # noqa: F811
    """Two clients that both have f."""
    a, b = world("a"), world("b")
    (a / "f").write_text("contents")
    os.chmod(a / "f", 0o640)
    os.utime(a / "f", ns=(1, 1_234_567_890_123_456_789))
    a.sync()
    b.sync()
    return a, b, world.mount


def test_attributes_come_with_the_contents(pair):
    a, b, mount = pair
    assert attributes(a / "f") == attributes(b / "f") == attributes(mount / "f") == (0o640, 1_234_567_890_123_456_789)
    (b / "f").write_text("longer contents")
    os.chmod(b / "f", 0o755)
    os.utime(b / "f", ns=(1, -1_500_000_000))  # before 1970
    b.sync()
    a.sync()
    assert attributes(a / "f") == attributes(b / "f") == attributes(mount / "f") == (0o755, -1_500_000_000)
    assert a.report()["actions"] == b.report()["actions"] == []


def test_attributes_alone_travel_without_contents(pair):
    a, b, mount = pair
    rows = a.rows()
    os.chmod(a / "f", 0o600)
    assert [x["action"] for x in a.report()["actions"]] == ["give attributes"]
    assert [x["action"] for x in b.report()["actions"]] == ["adopt attributes"]
    assert attributes(b / "f") == attributes(mount / "f") == (0o600, 1_234_567_890_123_456_789)
    os.chmod(mount / "f", 0o4744)
    os.utime(mount / "f", ns=(5, 5))
    for client in (a, b):
        assert [x["action"] for x in client.report()["actions"]] == ["adopt attributes"]
        assert attributes(client / "f") == (0o744, 5)
    os.chmod(b / "f", 0o700)
    b.sync()
    assert attributes(mount / "f") == (0o4700, 5)  # what is not a permission stays
    assert a.rows() == b.rows() == rows and (a / "f").read_text() == "contents"
    a.sync()
    assert a.report()["actions"] == b.report()["actions"] == []


def test_when_both_have_changed_the_server_wins(pair):
    a, b, mount = pair
    os.chmod(a / "f", 0o600)
    os.chmod(mount / "f", 0o666)
    a.sync()
    assert attributes(a / "f")[0] == attributes(mount / "f")[0] == 0o666


def test_what_nobody_may_read_can_still_be_synced(pair):
    a, b, mount = pair
    os.chmod(mount / "f", 0)
    a.sync()
    assert attributes(a / "f")[0] == 0o400 and attributes(mount / "f")[0] == 0
    assert a.report()["actions"] == []


def test_a_dry_run_tells_of_attributes_and_directories(pair):
    a, _, mount = pair
    os.chmod(a / "f", 0o600)
    (a / "new").mkdir()
    (mount / "there").mkdir()
    told = {(x["action"], x["path"]) for x in a.report("--dry-run")["actions"]}
    assert told == {("give attributes", "f"), ("make there", "new"), ("make here", "there")}
    assert attributes(mount / "f")[0] == 0o640 and not (mount / "new").exists() and not (a / "there").exists()


def test_empty_directories_travel(pair):
    a, b, mount = pair
    (a / "d/e").mkdir(parents=True)
    os.chmod(a / "d", 0o750)
    (mount / "m").mkdir()
    assert {(x["action"], x["path"]) for x in a.report()["actions"]} == {("make there", "d"), ("make there", "d/e"), ("make here", "m")}
    b.sync()
    for base in (a, b, mount):
        assert (base / "d/e").is_dir() and (base / "m").is_dir() and stat.S_IMODE(os.stat(base / "d").st_mode) == 0o750
    assert a.rows()["d/e/"] == a.rows()["m/"] == (1, ["-1"]) and a.rows() == b.rows()
    assert a.report()["actions"] == b.report()["actions"] == []
    # Removed on one side: removed everywhere.
    shutil.rmtree(a / "d")
    a.sync()
    assert not (mount / "d").exists()
    (mount / "m").rmdir()
    b.sync()
    assert not (b / "d").exists() and not (b / "m").exists()
    a.sync()
    assert not (a / "m").exists() and a.rows() == b.rows() and set(a.rows()) == {"f"}
    # And made anew.
    (b / "m").mkdir()
    b.sync()
    a.sync()
    assert (a / "m").is_dir()


def test_a_directory_that_something_is_in_stays(pair):
    a, b, mount = pair
    (a / "d").mkdir()
    a.sync()
    b.sync()
    (mount / "d").rmdir()
    (a / "d/new").write_text("x")
    os.symlink("nowhere", b / "d/link")
    a.sync()
    assert (mount / "d/new").read_text() == "x"
    b.sync(check=False)
    assert (b / "d/new").read_text() == "x" and os.path.islink(b / "d/link")
    shutil.rmtree(mount / "d")
    b.sync(check=False)
    assert os.path.islink(b / "d/link") and not (b / "d/new").exists()


def test_files_and_directories_change_places(pair):
    a, b, mount = pair
    (a / "x").mkdir()
    a.sync()
    b.sync()
    (a / "x").rmdir()
    (a / "x").write_text("a file now")
    a.sync()
    assert (mount / "x").read_text() == "a file now"
    b.sync()
    assert (b / "x").read_text() == "a file now"
    (b / "x").unlink()
    (b / "x").mkdir()
    b.sync()
    a.sync(check=False)
    a.sync()
    assert (a / "x").is_dir() and (mount / "x").is_dir()
    assert a.report()["actions"] == b.report()["actions"] == []


def test_directories_of_a_removed_tree_go(pair):
    a, b, mount = pair
    (a / "t/u/v").mkdir(parents=True)
    (a / "t/u/file").write_text("x")
    (a / "t/w").mkdir()
    a.sync()
    b.sync()
    assert (b / "t/u/v").is_dir() and (b / "t/w").is_dir()
    shutil.rmtree(mount / "t")
    a.sync()
    b.sync()
    assert not (a / "t").exists() and not (b / "t").exists() and not (mount / "t").exists()
    assert a.report()["actions"] == b.report()["actions"] == []


@pytest.mark.parametrize("row", ["d/,2,-1 ", "d/,1,0 ", "d//,1,-1 ", "/,1,-1 ", "../,1,-1 ", "d/,1," + "0" * 64 + " "])
def test_rows_of_directories_are_read_strictly(pair, row):
    a, _, _ = pair
    with open(a / "index.txt", "a") as f:
        f.write(row + "\n")
    done = a.sync(check=False)
    assert done.returncode == 1 and "index.txt:2" in done.stderr


# ---- symbolic links, when asked

def links_of(base):
    return {name: os.readlink(base / name) for name in ("l", "d/up", "d/dangling") if os.path.islink(base / name)}


def test_links_travel_as_links_when_asked(pair):
    a, b, mount = pair
    (a / "d").mkdir()
    os.symlink("f", a / "l")
    os.symlink("../f", a / "d/up")
    assert a.sync(check=False).returncode == 0 and not os.path.lexists(mount / "l")  # not asked, and told
    a.sync("--links")
    os.symlink("nothing", mount / "d/dangling")
    b.sync("--links")
    a.sync("--links")
    assert links_of(a) == links_of(b) == links_of(mount) == {"l": "f", "d/up": "../f", "d/dangling": "nothing"}
    assert a.report("--links")["actions"] == b.report("--links")["actions"] == []
    assert a.rows() == b.rows() and a.rows()["l"][0] == 1
    # Changed here, changed there, removed.
    (a / "l").unlink()
    os.symlink("d", a / "l")
    (mount / "d/up").unlink()
    os.symlink("..", mount / "d/up")
    (b / "d/dangling").unlink()
    for client in (a, b, a):
        client.sync("--links")
    assert links_of(a) == links_of(b) == links_of(mount) == {"l": "d", "d/up": ".."}
    # A run that is not asked leaves them alone.
    (a / "l").unlink()
    a.sync()
    assert os.readlink(mount / "l") == "d"
    a.sync("--links")
    b.sync("--links")
    assert links_of(b) == links_of(mount) == {"d/up": ".."}
    assert a.report("--links")["actions"] == b.report("--links")["actions"] == []


def test_links_and_files_change_places(pair):
    a, b, mount = pair
    os.symlink("f", a / "x")
    a.sync("--links")
    b.sync("--links")
    (b / "x").unlink()
    (b / "x").write_text("a file")
    b.sync("--links")
    a.sync("--links")
    assert not os.path.islink(a / "x") and (a / "x").read_text() == (mount / "x").read_text() == "a file"
    (a / "x").unlink()
    os.symlink("f", a / "x")
    a.sync("--links")
    b.sync("--links")
    assert os.readlink(b / "x") == os.readlink(mount / "x") == "f"
    assert (b / "f").read_text() == "contents"  # what a link leads to is never written
    assert a.report("--links")["actions"] == b.report("--links")["actions"] == []


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../outside", "d/../../outside", "d/..", "./../x"])
def test_links_that_may_lead_out_are_left_alone(pair, target):
    a, b, mount = pair
    os.symlink(target, mount / "evil")
    os.symlink(target, b / "own")
    for client in (a, b):
        done = client.sync("--links", check=False)
        assert done.returncode == 1 and "symbolic link" in done.stderr
    assert not os.path.lexists(a / "evil") and not os.path.lexists(mount / "own")
    assert os.readlink(mount / "evil") == os.readlink(b / "own") == target


def test_a_conflict_of_links_is_the_servers(pair):
    a, b, mount = pair
    os.symlink("f", a / "l")
    os.symlink("elsewhere", b / "l")
    a.sync("--links")
    report = b.report("--links")
    assert os.readlink(b / "l") == os.readlink(mount / "l") == "f"
    assert [(x["action"], x["discards_local_edit"]) for x in report["actions"]] == [("download", True)]
