"""surffs -o cache=DIR: blocks on a local disk. What is there need not be fetched; what is damaged there is never returned; several mounts
share it and keep to its size together; a disk that is full or fails harms nobody."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess

import pytest

from cluster import BIN, PATIENCE, wait_until

KIB, MIB = 1024, 1024 * 1024


def options(directory, *more):
    return ["-o", ",".join([f"cache={directory}", *more])]


def blocks_in(directory):
    return sorted(p for p in directory.glob("surffs-cache/??/*") if len(p.name) == 64)


def bytes_in(directory):
    total = 0
    for p in blocks_in(directory):
        with contextlib.suppress(FileNotFoundError):
            total += (p.stat().st_size + 4095) // 4096 * 4096
    return total


def write_file(path, data):
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def again(mount, *more):
    """The same mount with nothing in memory."""
    mount.stop()
    mount.start(*more)
    return mount


@pytest.fixture(scope="module")
def one(tmp_path_factory, request):
    """A cluster of three and a mount without a cache that has written some files: name -> digest."""
    import cluster as clusters

    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3), request.session.testsfailed
    try:
        c.start()
        c.wait_formed()
        plain = c.mount("plain")
        c.manifest = {}
        for number in range(4):
            data = random.Random(number).randbytes(4 * MIB + number * 1000)
            write_file(plain / f"f{number}", data)
            c.manifest[f"f{number}"] = hashlib.sha256(data).hexdigest()
        yield c
    finally:
        c.close(check=request.session.testsfailed == failed_before)


def check_all(c, mount):
    for name, expected in c.manifest.items():
        assert digest(mount / name) == expected


def test_a_warm_cache_needs_no_servers(one, tmp_path):
    m = one.mount("warm", *options(tmp_path))
    check_all(one, m)
    count = sum((os.stat(m / name).st_size + MIB - 1) // MIB for name in one.manifest)
    wait_until("all blocks to be on the disk", lambda: len(blocks_in(tmp_path)) == count)
    again(m, *options(tmp_path))
    check_all(one, m)
    counters = m.counters()
    assert counters["blocks"] == 0 and counters["disk_hits"] >= count and counters["disk_bad"] == 0
    # What is written is there, too, as far as it is large.
    data = random.Random(99).randbytes(3 * MIB)
    write_file(m / "written", data)
    wait_until("what was written to be there", lambda: len(blocks_in(tmp_path)) == count + 3)
    assert again(m, *options(tmp_path)) and (m / "written").read_bytes() == data
    assert m.counters()["blocks"] == 0
    os.unlink(m / "written")
    m.stop()


def test_damaged_blocks_are_never_returned(one, tmp_path):
    """A flipped byte, one that is cut, one that is longer, another's bytes, nothing at all, and what is no file."""
    m = one.mount("damaged", *options(tmp_path))
    check_all(one, m)
    wait_until("the blocks to be there", lambda: len(blocks_in(tmp_path)) >= 16)
    wait_until("all of them to be written", lambda: m.counters()["disk_written"] == len(blocks_in(tmp_path)))
    m.stop()
    found = blocks_in(tmp_path)
    for number, path in enumerate(found):
        data = bytearray(path.read_bytes())
        kind = number % 7
        if kind == 0:
            data[len(data) // 2] ^= 1
        elif kind == 1:
            data = data[:-1]
        elif kind == 2:
            data += b"x" * (2 * MIB)
        elif kind == 3:
            data = random.Random(number).randbytes(len(data))
        elif kind == 4:
            data = b""
        elif kind == 5:
            path.unlink()
            path.mkdir()
            continue
        path.write_bytes(data)
    m.start(*options(tmp_path))
    check_all(one, m)
    intact = len([n for n in range(len(found)) if n % 7 == 6])
    counters = m.counters()
    assert counters["disk_hits"] == intact and counters["disk_bad"] >= len(found) - intact
    assert counters["blocks"] == len(found) - intact
    m.stop()


def test_two_mounts_share_it_and_one_is_killed(one, tmp_path):
    a = one.mount("a", *options(tmp_path, "cache_size=64M"))
    b = one.mount("b", *options(tmp_path, "cache_size=64M"))
    for name in list(one.manifest)[:2]:
        assert digest(a / name) == one.manifest[name]
    wait_until("what one has read to be there", lambda: len(blocks_in(tmp_path)) >= 8)
    assert digest(b / "f0") == one.manifest["f0"]
    assert b.counters()["disk_hits"] >= 4
    for seed in range(3):  # killed while it writes
        reader = subprocess.Popen(["cat", *[str(a / name) for name in one.manifest]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = len(blocks_in(tmp_path))
        with contextlib.suppress(AssertionError):
            wait_until("a block more", lambda: len(blocks_in(tmp_path)) > before or reader.poll() is not None, 5)
        a.process.signal(signal.SIGKILL)
        reader.wait(20 * PATIENCE)
        a.stop()
        for path in blocks_in(tmp_path):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            if random.Random(seed).randrange(3) == 0:
                path.unlink()
        a.start(*options(tmp_path, "cache_size=64M"))
    check_all(one, a)
    check_all(one, b)
    a.stop()
    b.stop()


def test_the_size_is_kept_by_all_together(one, tmp_path):
    limit = 16 * MIB
    a = one.mount("small-a", *options(tmp_path, "cache_size=16M", "cache_memory=1"))
    b = one.mount("small-b", *options(tmp_path, "cache_size=16M", "cache_memory=1"))
    for number in range(3):
        data = random.Random(100 + number).randbytes(12 * MIB)
        writer, reader = (a, b) if number % 2 else (b, a)
        write_file(writer / f"large{number}", data)
        assert bytes_in(tmp_path) <= limit
        assert hashlib.sha256(data).hexdigest() == digest(reader / f"large{number}")
        assert bytes_in(tmp_path) <= limit
    wait_until("some to have made room", lambda: a.counters()["disk_evicted"] + b.counters()["disk_evicted"] > 0)
    assert 4 * MIB < bytes_in(tmp_path) <= limit
    # The count is lost, or nonsense: the next mount counts what there is.
    for content in b"", b"nonsense", b"\xff" * 8:
        a.stop()
        b.stop()
        (tmp_path / "surffs-cache" / "usage").write_bytes(content)
        a.start(*options(tmp_path, "cache_size=16M", "cache_memory=1"))
        b.start(*options(tmp_path, "cache_size=16M", "cache_memory=1"))
        for number in range(3):
            digest(a / f"large{number}")
            assert bytes_in(tmp_path) <= limit
    for number in range(3):
        os.unlink(a / f"large{number}")
    a.stop()
    b.stop()


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], check=False).returncode:
        pytest.skip("no right to mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_harms_nobody(one, small_disk):
    m = one.mount("full", *options(small_disk))
    check_all(one, m)
    wait_until("it to be noticed", lambda: m.counters()["disk_dropped"] > 0)
    check_all(one, again(m, *options(small_disk)))
    counters = m.counters()
    assert counters["disk_hits"] > 0 and counters["disk_off"] == 0
    wait_until("one line about it", lambda: m.log.read_text().count("is full") == 2)  # of two processes
    m.stop()


def test_a_disk_that_goes_away_harms_nobody(one, tmp_path):
    m = one.mount("gone", *options(tmp_path))
    assert digest(m / "f0") == one.manifest["f0"]
    wait_until("something to be there", lambda: len(blocks_in(tmp_path)) >= 4)
    subprocess.run(["rm", "-rf", tmp_path / "surffs-cache"], check=True)
    check_all(one, m)
    wait_until("it to be off", lambda: m.counters()["disk_off"] == 1)
    check_all(one, m)
    assert m.log.read_text().count("is not used any more") == 1
    m.stop()


@pytest.mark.parametrize("how, line", [("", "is not used any more"), ("slow:", "takes over a second")])
def test_a_disk_that_fails_or_is_slow_harms_nobody(one, tmp_path, how, line):
    control = tmp_path / "control"
    m = one.mount(f"sick{how[:4]}", *options(tmp_path))
    assert digest(m / "f0") == one.manifest["f0"]
    wait_until("something to be there", lambda: len(blocks_in(tmp_path)) >= 4)
    m.stop()
    m.start(*options(tmp_path), prefix=["env", f"LD_PRELOAD={BIN.parent / 'test-bin' / 'libfail_io.so'}", f"SURF_FAIL_WHEN={control}"])
    control.write_text(f"{how}surffs-cache")
    check_all(one, m)
    wait_until("it to be noticed", lambda: line in m.log.read_text())
    before = m.counters()["disk_hits"] + m.counters()["disk_written"]
    data = random.Random(5).randbytes(2 * MIB)
    write_file(m / "f", data)
    assert (m / "f").read_bytes() == data
    check_all(one, m)
    counters = m.counters()
    assert counters["disk_hits"] + counters["disk_written"] == before and counters["disk_off"] == (how == "")
    assert m.log.read_text().count(line) == 1
    os.unlink(m / "f")
    m.stop()


def refused(one, tmp_path, text, *reasons, code=64):
    done = subprocess.run([BIN / "surffs", one.addresses, tmp_path, "-f", "-o", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60 * PATIENCE)
    assert done.returncode == code, done
    assert "surffs: " in done.stderr
    for reason in reasons:
        assert reason in done.stderr


def test_bad_options_are_refused(one, tmp_path):
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    (tmp_path / "file").write_text("")
    refused(one, mountpoint, f"cache={tmp_path}/missing", "missing", "No such file")
    refused(one, mountpoint, f"cache={tmp_path}/file", "file", "Not a directory", code=1)
    refused(one, mountpoint, "cache=/proc", "/proc", code=1)
    refused(one, mountpoint, f"cache={one.mounts['plain'].path}", "FUSE", code=1)
    for size in "15M", "1", "16383K", "-1", "x", "16MB", "", "0", "99999999999T", "9" * 40:
        refused(one, mountpoint, f"cache={tmp_path},cache_size={size}", "cache_size", size)
    refused(one, mountpoint, "cache_size=much", "cache_size=much")
    refused(one, mountpoint, "cache_memory=0", "cache_memory=0")
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        refused(one, mountpoint, f"cache={tmp_path}/locked", "denied", code=1)
