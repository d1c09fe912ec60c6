"""Fragmented files are merged in the background: no byte is ever lost or changed by it, whoever writes, shares blocks or is killed
meanwhile, and in the end files are of few extents again and nothing is left behind."""

import contextlib
import json
import os
import random
import signal
import threading
import time

import pytest

from cluster import PATIENCE, wait_until

KIB, MIB = 1024, 1024 * 1024
PAGE = 4 * KIB
QUICK = ["--collect-interval", "1", "--repair-delay", "5", "--repair-interval", "5", "--stray-age", "1", "--repair-rate", "0", "--scrub-rate", "0"]
FEW = 33  # of a block's length that was written to a little after it had been merged: one more merge would save fewer than 32
AT_MOST = 3  # extents of a block's length that was merged: long ones at both ends are left as they are
SOON, NEVER = ("-o", "merge_after=0.2"), ("-o", "merge_after=0")


def extents(c):
    """Of all files, by the leader's own check of its state."""
    done = c.surfctl("--json", "fsck", "--metadata-only", check=False, timeout=200)
    members = json.loads(done.stdout)["metadata"]["members"] if done.stdout.strip() else []
    return max([m["extents"] for m in members if m["checked"]], default=None)


def wait_extents(c, most, seconds=60):
    def few():
        count = extents(c)
        return count is not None and count <= most

    wait_until(f"at most {most} extents", few, seconds)


def write_whole(path, data):
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def page_of(number):
    return number.to_bytes(8, "big") * (PAGE // 8)


def write_pages(path, shadow, numbers, count, sync_each=100, until=None):
    """Random ones of these pages anew, in the file and in its shadow; as many as that, and then until the time is over."""
    source = random.Random(len(shadow) + count)
    fd = os.open(path, os.O_RDWR)
    try:
        written = 0
        while written < count or (until and time.monotonic() < until):
            written += 1
            number = source.choice(numbers)
            page = page_of(source.getrandbits(60))
            assert os.pwrite(fd, page, number * PAGE) == PAGE
            shadow[number * PAGE:(number + 1) * PAGE] = page
            if written % sync_each == 0:
                os.fsync(fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def fragment(path, size, count=2000):
    """A file of random pages in a whole one; what is in it."""
    shadow = bytearray(random.Random(size).randbytes(size))
    write_whole(path, shadow)
    write_pages(path, shadow, range(size // PAGE), count, sync_each=500)
    return shadow


def same(path, shadow):
    data = path.read_bytes()
    if data == shadow:
        return True
    wrong = next(i for i in range(len(shadow)) if i >= len(data) or data[i] != shadow[i])
    raise AssertionError(f"{path}: {len(data)} bytes, byte {wrong} is wrong (page {wrong // PAGE})")


@pytest.fixture(scope="module")
def lazy(tmp_path_factory, request):
    """One cluster for those tests that break nothing: `writer` merges nothing, `merger` all of it and soon."""
    import cluster as clusters

    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3, QUICK), request.session.testsfailed
    try:
        c.start()
        c.wait_formed()
        c.mount("writer", *NEVER)
        c.mount("merger", *SOON)
        yield c
    finally:
        c.close(check=request.session.testsfailed == failed_before)


@contextlib.contextmanager
def held_back(c):
    """The merging mount is stopped meanwhile: of what it merges between two writes it would leave what is written behind that, if it is little."""
    process = c.mounts["merger"].process
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def remove(c, *paths):
    for path in paths:
        path.unlink()
    wait_extents(c, 0)


def test_merges_are_seen_and_change_nothing(lazy):
    """Of somebody else's file: size, times and bytes stay, and the pages that kernels have."""
    writer, merger = lazy.mounts["writer"], lazy.mounts["merger"]
    with held_back(lazy):
        shadow = fragment(writer / "f", 8 * MIB)
        before = os.stat(writer / "f")
    reader = os.open(merger / "f", os.O_RDONLY)
    assert os.pread(reader, MIB, 0) == shadow[:MIB]
    wait_extents(lazy, 8)
    wait_until("the merges to be counted", lambda: (lambda n: n["merged_parts"] >= 8 and n["merged_extents"] > 1000)(merger.counters()))
    after = os.stat(writer / "f")
    assert (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_blocks) == \
        (after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_blocks)
    assert same(writer / "f", shadow) and same(merger / "f", shadow)
    os.close(reader)
    # Whoever has known the extents from before writes on as if nothing had happened.
    with held_back(lazy):
        write_pages(writer / "f", shadow, range(2048), 300)
    assert same(merger / "f", shadow)
    wait_extents(lazy, 8 * AT_MOST)
    assert same(lazy.mount("fresh", *NEVER) / "f", shadow)
    lazy.mounts["fresh"].stop()
    remove(lazy, writer / "f")


def test_two_writers_while_merging_runs(lazy):
    """Each has its own pages, interleaved; both, and a reader, see at the end exactly what was written."""
    writer, merger = lazy.mounts["writer"], lazy.mounts["merger"]
    size = 4 * MIB
    shadow = bytearray(random.Random(7).randbytes(size))
    write_whole(writer / "f", shadow)
    problems, until = [], time.monotonic() + 3

    def write(mount, numbers, sync_each):
        try:
            write_pages(mount / "f", shadow, numbers, 300, sync_each, until)
        except BaseException as e:
            problems.append(repr(e))

    # The merging mount writes in bursts, so that parts are quiet for moments, and the other one always.
    threads = [threading.Thread(target=write, args=(writer, range(0, size // PAGE, 2), 20)),
               threading.Thread(target=write, args=(merger, range(1, size // PAGE, 2), 200))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems, problems
    assert same(writer / "f", shadow) and same(merger / "f", shadow)
    wait_extents(lazy, 4 * FEW)
    assert same(writer / "f", shadow) and same(merger / "f", shadow)
    remove(lazy, writer / "f")


def test_holes_stay_holes(lazy):
    writer, merger = lazy.mounts["writer"], lazy.mounts["merger"]
    parts = merger.counters()["merged_parts"]
    shadow = bytearray(2 * MIB)
    with held_back(lazy):
        with open(writer / "f", "wb") as f:
            f.truncate(len(shadow))
        write_pages(writer / "f", shadow, range(0, 512, 3), 600, sync_each=50)
        before = os.stat(writer / "f").st_blocks
    wait_until("both parts to be merged", lambda: merger.counters()["merged_parts"] >= parts + 2)
    assert os.stat(writer / "f").st_blocks == before
    with open(lazy.mounts["merger"] / "f", "rb") as f:
        data = os.lseek(f.fileno(), 0, os.SEEK_DATA)
        assert data % (3 * PAGE) == 0 and os.lseek(f.fileno(), data, os.SEEK_HOLE) == data + PAGE
    assert same(lazy.mounts["merger"] / "f", shadow)
    remove(lazy, writer / "f")


def test_clones_share_what_is_merged(lazy):
    """A copy that shares the blocks of a file keeps its own bytes when the original is merged, and written, and the other way round."""
    writer = lazy.mounts["writer"]
    with held_back(lazy):
        shadow = fragment(writer / "f", 4 * MIB, 1000)
        with open(writer / "f", "rb") as source, open(writer / "copy", "wb") as target:
            while os.copy_file_range(source.fileno(), target.fileno(), 4 * MIB):
                pass
        copied = bytearray(shadow)
        write_pages(writer / "f", shadow, range(1024), 200)
        write_pages(writer / "copy", copied, range(0, 1024, 5), 100)
    wait_extents(lazy, 8 * AT_MOST)
    for mount in lazy.mounts["writer"], lazy.mounts["merger"]:
        assert same(mount / "f", shadow) and same(mount / "copy", copied)
    remove(lazy, writer / "f", writer / "copy")


def test_small_appends_are_merged(lazy):
    """As of a log with fsync for each record; what is long already is not written again for each of them."""
    writer, merger = lazy.mounts["writer"], lazy.mounts["merger"]
    shadow = bytearray()
    with held_back(lazy), open(writer / "log", "ab", buffering=0) as f:
        for number in range(300):
            record = number.to_bytes(8, "big") * 25
            f.write(record)
            os.fsync(f.fileno())
            shadow += record
    wait_extents(lazy, 1)
    assert same(merger / "log", shadow)
    remove(lazy, writer / "log")


def test_garbage_is_collected(lazy):
    writer = lazy.mounts["writer"]
    with held_back(lazy):
        shadow = fragment(writer / "f", 4 * MIB, 1500)
    wait_extents(lazy, 4)

    def blocks():
        done = lazy.surfctl("--json", "gc", check=False, timeout=120)
        servers = json.loads(lazy.surfctl("--json", "blocks").stdout)["servers"] if done.returncode == 0 else []
        return [s["collect_blocks"] for s in servers]

    wait_until("only the blocks that are named to be left", lambda: (lambda left: len(left) == 3 and max(left) <= 4)(blocks()), 60)
    assert same(lazy.mounts["merger"] / "f", shadow)
    remove(lazy, writer / "f")


def test_who_merges_is_killed(make_cluster):
    """The writer first, before anything was merged, and then whoever has begun; the next one goes on and ends it."""
    c = make_cluster(3, QUICK)
    c.wait_formed()
    writer = c.mount("writer", *NEVER)
    shadow = fragment(writer / "f", 12 * MIB, 3000)
    before = wait_until("the extents to be counted", lambda: extents(c), 30)
    assert before > 2000
    writer.process.signal(signal.SIGKILL)
    left = before
    for number in range(10):  # one that was quicker than we are is followed by another one
        if left <= 12 * AT_MOST:
            again = c.mount(f"again{number}", *NEVER)
            write_pages(again / "f", shadow, range(12 * MIB // PAGE), 3000, sync_each=500)
            again.stop()
        merger = c.mount(f"merger{number}", *SOON)
        wait_until("some to be merged", lambda: merger.counters()["merged_parts"] >= 2, 30)
        merger.process.signal(signal.SIGKILL)
        left = wait_until("the extents to be counted", lambda: extents(c), 30)
        if number > 0 and 12 * AT_MOST < left < before:
            break
    assert 12 * AT_MOST < left < before
    last = c.mount("last", *SOON)
    wait_extents(c, 12 * AT_MOST)
    assert same(last / "f", shadow)


def test_a_reader_goes_on_while_a_server_is_away(make_cluster):
    """It has known the extents since before the merge, and their blocks are gone: it must not wait for them."""
    c = make_cluster(3, QUICK)
    c.wait_formed()
    writer, reader = c.mount("writer", *NEVER), c.mount("reader", *NEVER, "-o", "cache_size=1")
    shadow = fragment(writer / "f", 4 * MIB, 1000)
    with open(reader / "f", "rb") as f:
        assert f.read() == shadow
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        c.mount("merger", *SOON)
        wait_extents(c, 4)

        def collected():
            done = c.surfctl("--json", "gc", check=False, timeout=120)
            servers = json.loads(c.surfctl("--json", "blocks").stdout)["servers"] if done.returncode == 0 else []
            return len(servers) == 3 and max(s["collect_blocks"] for s in servers) <= 4

        wait_until("the old blocks to be gone", collected, 60)
        c.nodes[next(i for i in c.nodes if i != c.wait_leader())].kill()
        begun = time.monotonic()
        f.seek(0)
        assert f.read() == shadow
        assert time.monotonic() - begun < 20 * PATIENCE
    with contextlib.suppress(OSError):
        c.mounts["merger"].stop()


def test_many_pieces_are_read_at_random_with_few_calls(lazy):
    """As by a database: what is known of one place is kept when another is read or written. What is merged meanwhile is found."""
    pages = 16 * MIB // PAGE
    with held_back(lazy):
        shadow = fragment(lazy.mounts["writer"] / "f", 16 * MIB, 3000)
        count = extents(lazy)
        assert count > 2048, "more than an answer has"
        reader = lazy.mount("reader", *NEVER)
        fd = os.open(reader / "f", os.O_RDWR)
        source = random.Random(3)

        def read_some():
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(1000):
                number = source.randrange(pages)
                assert os.pread(fd, PAGE, number * PAGE) == shadow[number * PAGE:(number + 1) * PAGE]

        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        before = reader.counters()["calls"]
        read_some()
        # An answer has 1,024 of them: those, as many again that overlap, and what every mount asks by itself.
        assert reader.counters()["calls"] - before < 2 * count // 1024 + 60
        before = reader.counters()["calls"]
        for _ in range(200):
            number = source.randrange(pages)
            page = page_of(source.getrandbits(60))
            assert os.pwrite(fd, page, number * PAGE) == PAGE
            shadow[number * PAGE:(number + 1) * PAGE] = page
        os.fsync(fd)
        read_some()
        assert reader.counters()["calls"] - before < 60
    wait_extents(lazy, 16 * AT_MOST + FEW)
    fetched = reader.counters()["blocks"]
    read_some()
    assert reader.counters()["blocks"] - fetched >= 8, "the reader goes on with the small blocks that it has"
    os.close(fd)
    reader.stop()
    same(lazy.mounts["writer"] / "f", shadow)
    remove(lazy, lazy.mounts["writer"] / "f")


@pytest.mark.parametrize("bad", ["-1", "x", "", "0.01", "1e9"])
def test_bad_values_are_refused(bad, tmp_path):
    import subprocess

    from cluster import BIN

    done = subprocess.run([BIN / "surffs", "127.0.0.1:1", tmp_path, "-o", f"merge_after={bad}"], capture_output=True, text=True,
                          timeout=20 * PATIENCE)
    assert done.returncode == 64 and "merge_after" in done.stderr
