"""Whole trees and big files, written through one mount and read through the other."""

import os
import pathlib
import stat
import subprocess

import cluster as clusters
import workload

QUICK = clusters.PATIENCE == 1  # without sanitizers: then more of it


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


def entries(top):
    """path -> what must be the same on both mounts."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            found[os.path.relpath(path, top)] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns,
                                                 0 if stat.S_ISDIR(st.st_mode) else st.st_nlink,
                                                 os.readlink(path) if stat.S_ISLNK(st.st_mode) else st.st_size if stat.S_ISREG(st.st_mode) else 0)
    return found


def test_usr_include_is_the_same_on_the_other_mount(ab):
    a, b = ab
    source = pathlib.Path("/usr/include" if QUICK else "/usr/include/linux")
    run("cp", "-a", source, a / "copy")
    run("diff", "-r", "--no-dereference", source, b / "copy")
    assert entries(source) == entries(b / "copy")


def test_a_large_file_has_the_same_sum_on_the_other_mount(ab):
    a, b = ab
    size = 1 << 30 if QUICK else 1 << 28
    with open(a / "big", "wb") as f:
        for _ in range(size >> 24):
            f.write(os.urandom(16 << 20))
    assert workload.sha256(a / "big") == workload.sha256(b / "big")
    assert os.stat(b / "big").st_size == size


def test_holes_overwrites_and_truncation(ab):
    a, b = ab
    expected = bytearray(5_000_000)
    with open(a / "f", "w+b", buffering=0) as f:
        f.truncate(len(expected))
        for offset, size in ((0, 10), (1 << 20, 4096), ((1 << 20) - 7, 14), (3_000_000, 1_500_000), (4_999_999, 1), (3_100_000, 33)):
            data = os.urandom(size)
            f.seek(offset)
            f.write(data)
            expected[offset:offset + size] = data
        f.truncate(4_000_000)
        f.truncate(4_500_000)
        expected[4_000_000:] = bytes(500_000)
        assert f.seek(0) == 0 and f.read() == bytes(expected)
    assert (b / "f").read_bytes() == bytes(expected)
    assert os.stat(b / "f").st_blocks * 512 < 3_000_000, "holes take no space"


def test_one_write_over_very_many_small_extents(ab):
    """More extents than one command may touch: the commit is refused as too large and must go in parts."""
    a, b = ab
    with open(a / "f", "w+b", buffering=0) as f:
        for start in (0, 256):  # two passes, or neighbours would gather into one range
            for offset in range(start, 1 << 20, 512):
                os.pwrite(f.fileno(), b"s" * 256, offset)
            os.fsync(f.fileno())
        data = os.urandom(1 << 20)
        assert os.pwrite(f.fileno(), data, 0) == len(data)
        os.fsync(f.fileno())
    assert (b / "f").read_bytes() == data
