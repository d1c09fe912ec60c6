"""A mount whose cluster is gone: whatever waits can be interrupted, and the mount can be removed; a mount whose process is gone says so."""

import errno
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import cluster as clusters

CALL = pathlib.Path(__file__).with_name("waiting_call.py")
CALLS = ("lookup mkdir create symlink readdir statfs unlink rename link read fsync close mmap flock lock truncate chmod xattr fallocate copy "
         "write append").split()
END_S = 2


def stop_all(cluster, how):
    for node in cluster.nodes.values():
        node.process.signal(signal.SIGSTOP if how == "stopped" else signal.SIGKILL)


@pytest.fixture(params=["stopped", "killed"])
def gone(request):
    return request.param


def programs(mount):
    d = mount.path
    return {name: words for name, *words in (
        ("ls", "ls", "-l", d / "more"), ("cat", "cat", d / "big"), ("cp from", "cp", d / "big", "/dev/null"),
        ("cp to", "cp", "/bin/sh", d / "copy"), ("rm", "rm", "-rf", d / "more"), ("mv", "mv", d / "big", d / "moved"),
        ("flock", "flock", d / "lock", "true"), ("df", "df", d), ("find", "find", d), ("dd", "dd", "if=/dev/zero", f"of={d}/zero", "bs=1M", "count=50",
                                                                                      "conv=fsync"))}


def end_all(running, number):
    """Signals all, and gives those that are there after the time that they have, with what they wait for."""
    for p in running.values():
        p.send_signal(number)
    end = time.monotonic() + END_S * clusters.PATIENCE
    late = {}
    for name, p in running.items():
        try:
            p.wait(max(0.01, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            late[name] = p
    return late


def kernel_stack(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stack").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_waiting_programs_can_be_ended(cluster, mounts, gone, number):
    a, b = mounts
    (a / "more").mkdir()
    (a / "more" / "f").write_text("x")
    (a / "big").write_bytes(bytes(os.urandom(1000)) * 3000)
    calls = {c: subprocess.Popen([sys.executable, CALL, c, str(a.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for c in CALLS}
    running = dict(calls)
    try:
        for name, p in calls.items():
            assert p.stdout.readline() == "ready\n", name
        stop_all(cluster, gone)
        for p in calls.values():
            p.stdin.write("\n")
            p.stdin.flush()
        running.update({name: subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                        for name, words in programs(b).items()})
        # What a mount keeps under its leases it may still answer, for 2 s; then nothing is answered.
        begin = time.monotonic()
        while time.monotonic() - begin < 3:
            time.sleep(0.1)
        waiting = {name: p for name, p in running.items() if p.poll() is None}
        over = sorted(set(running) - set(waiting))
        assert len(waiting) >= len(running) - 5, over
        late = end_all(waiting, number)
        assert not late, "\n".join(f"{name} {p.pid}: {kernel_stack(p.pid)}" for name, p in late.items())
        print({"waited": sorted(waiting), "ended before": over})
    finally:
        for node in cluster.nodes.values():
            if node.running():
                node.process.signal(signal.SIGCONT)
            else:
                node.process.popen.wait()
                node.start()
        for p in running.values():
            p.kill()
            p.wait(60 * clusters.PATIENCE)
    assert (b / "big").stat().st_size == 3000000 or (b / "moved").stat().st_size == 3000000


def test_who_exits_with_unclosed_files_does_not_wait_for_ever(cluster, mounts):
    """The kernel doesn't let such a program be interrupted any more. What it has written comes when the cluster is back."""
    a, b = mounts
    p = subprocess.Popen([sys.executable, CALL, "exit", str(a.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    stop_all(cluster, "stopped")
    begin = time.monotonic()
    try:
        p.stdin.write("\n")
        p.stdin.flush()
        assert p.wait(15 * clusters.PATIENCE) == 0
        assert time.monotonic() - begin > 3  # a failover is waited for
    finally:
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGCONT)
    clusters.wait_until("what it has written", lambda: (b / "exit").stat().st_size == 3000000, 40)


def processes(path):
    """Of mounts there."""
    return [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and is_mount_of(p, path)]


def is_mount_of(process, path):
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"surffs") and os.fsencode(path) in words


def leave_dirty(mount, name):
    """A file whose bytes are still only in the mount: its writer was killed while the cluster was gone. The writer, which
    ends with us at the latest, and the inode."""
    p = subprocess.Popen([sys.executable, "-c", """
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"d" * 1000000)
print(os.fstat(fd).st_ino, flush=True)
sys.stdin.read()""", mount / name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return p, int(p.stdout.readline())


# A quarter of a minute each, most of it waiting: fewer of them with sanitizers.
COMMANDS = [("umount",), ("fusermount3", "-u")] + ([("umount", "-f"), ("umount", "-l")] if clusters.PATIENCE == 1 else [])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_unmounting_without_a_cluster(cluster, gone, command):
    """It takes a moment, the process ends within its bound, and says which file was not committed."""
    a = cluster.mount("a")
    writer, ino = leave_dirty(a, "dirty")
    stop_all(cluster, gone)
    waiting = subprocess.Popen(["ls", a / "other"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert not end_all({"writer": writer, "ls": waiting}, signal.SIGKILL)
    try:
        begin = time.monotonic()
        done = subprocess.run([*command, a.path], capture_output=True, text=True, timeout=30 * clusters.PATIENCE)
        assert done.returncode == 0, done.stderr
        assert not a.mounted()
        assert time.monotonic() - begin < 5 * clusters.PATIENCE  # umount(8) looks at the mountpoint first, for a second
        a.process.popen.wait(30 * clusters.PATIENCE)
        assert time.monotonic() - begin < 15 * clusters.PATIENCE  # 10 s for what is dirty
        assert not processes(a.path)
        assert re.search(rf"inode {ino}: written data .* lost", a.process.tail()), a.process.tail()
    finally:
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGCONT)


def test_unmounting_lazily_what_is_in_use(cluster, gone):
    """umount refuses (EBUSY) a mount that somebody waits in; detached, it goes when that one ends."""
    a = cluster.mount("a")
    (a / "d").mkdir()
    user = subprocess.Popen([sys.executable, "-c", "import os, sys; os.chdir(sys.argv[1]); print('in', flush=True); os.stat('x')\n"
                             "while True: os.path.exists('y')", a / "d"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert user.stdout.readline() == "in\n"
    user.kill()
    user.wait()
    user = subprocess.Popen(["sleep", "infinity"], cwd=a / "d")
    stop_all(cluster, gone)
    try:
        refused = subprocess.run(["umount", a.path], capture_output=True, text=True, timeout=30 * clusters.PATIENCE)
        assert refused.returncode != 0 and "busy" in refused.stderr
        subprocess.run(["umount", "-l", a.path], check=True, timeout=30 * clusters.PATIENCE)
        assert not a.mounted() and a.process.running()
        user.kill()
        user.wait(END_S * clusters.PATIENCE)
        a.process.popen.wait(30 * clusters.PATIENCE)
    finally:
        user.kill()
        user.wait()
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGCONT)


def test_sigterm_commits_what_is_dirty(cluster, mounts):
    a, b = mounts
    writer, _ = leave_dirty(a, "dirty")
    other = os.open(a / "other", os.O_CREAT | os.O_WRONLY)
    os.write(other, b"other")
    try:
        assert a.process.terminate() == 0
    finally:
        writer.kill()
        writer.wait()
        with pytest.raises(OSError):
            os.close(other)
    assert (b / "dirty").read_bytes() == b"d" * 1000000 and (b / "other").read_bytes() == b"other"
    assert "lost" not in a.process.tail() and not a.mounted()


def test_sigterm_names_what_it_could_not_commit(cluster, gone):
    a = cluster.mount("a")
    writers = [leave_dirty(a, name) for name in ("one", "two")]
    stop_all(cluster, gone)
    begin = time.monotonic()
    try:
        a.process.signal(signal.SIGTERM)
        a.process.popen.wait(30 * clusters.PATIENCE)
        assert time.monotonic() - begin < 15 * clusters.PATIENCE
        assert not a.mounted()
        for writer, ino in writers:
            assert re.search(rf"inode {ino}: written data .* lost", a.process.tail()), a.process.tail()
            writer.kill()
            writer.wait(END_S * clusters.PATIENCE)
    finally:
        for node in cluster.nodes.values():
            node.process.signal(signal.SIGCONT)


def test_a_killed_mount_answers_and_is_replaced(cluster, mounts):
    a, b = mounts
    (a / "f").write_text("x")
    with open(a / "f", "rb") as f:
        a.process.kill()  # waits for its end: nothing is under way any more
        for call in (lambda: os.stat(a / "other"), lambda: os.listdir(a.path), lambda: f.read(1), lambda: (a / "g").write_text("")):
            with pytest.raises(OSError) as e:
                call()
            assert e.value.errno == errno.ENOTCONN
    assert a.mounted()
    a.process = None
    a.start()  # on the same mountpoint
    clusters.wait_until("it to be replaced", lambda: "the mount is replaced" in a.log.read_text() and "is mounted on" in
                        a.log.read_text().partition("the mount is replaced")[2])
    assert (a / "f").read_text() == "x"
    (a / "g").write_text("new")
    assert (b / "g").read_text() == "new"


MOUNTS = int(os.environ.get("SURF_STORM_MOUNTS", "50"))


def reads_of(pid):
    """How often the process has read from something: not less than there were requests that didn't come together."""
    return int(re.search(r"syscr: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text()).group(1))


def sockets_of(pid):
    count = 0
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(fd).startswith("socket:")
        except OSError:
            pass
    return count


def test_reconnecting_is_no_storm(cluster):
    """Many mounts lose their leader at one moment: the next one has a few connections of each, and all are served soon."""
    many = [cluster.mount(f"m{i}") for i in range(MOUNTS)]
    for i, m in enumerate(many):
        (m / str(i)).write_text(str(i))
    leader = cluster.wait_leader()
    begin = time.monotonic()
    cluster.nodes[leader].kill()
    served = []

    def use(i):
        os.stat(many[i] / str((i + 1) % MOUNTS))
        (many[i] / f"{i}.again").write_text("x")
        served.append(time.monotonic() - begin)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(MOUNTS)]
    for t in threads:
        t.start()
    new = cluster.wait_leader(leader)
    pid, most, samples = cluster.nodes[new].process.pid, 0, []
    while not samples or any(t.is_alive() for t in threads) or time.monotonic() - samples[0][0] < 2:
        most = max(most, sockets_of(pid))
        samples.append((time.monotonic(), reads_of(pid)))
        time.sleep(0.02)
        assert time.monotonic() - begin < 30 * clusters.PATIENCE
    for t in threads:
        t.join()
    per_second = max(max((n - n0) for t, n in samples if t0 <= t < t0 + 1) for t0, n0 in samples)
    print({"mounts": MOUNTS, "reads of the new leader in the worst second": per_second, "served after, slowest": round(max(served), 2), "sockets of the new leader": most})
    assert len(served) == MOUNTS
    assert most <= 4 * MOUNTS + 50
    assert per_second < 100 * MOUNTS
    assert max(served) < 10 * clusters.PATIENCE


def test_surfctl_in_time_without_names(tmp_path):
    """A name server takes questions and answers none: what was asked for ends in its time all the same."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.77\noptions timeout:10 attempts:2\n")
    begin = ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        try:
            hole.bind(("127.0.0.77", 53))
        except OSError as e:
            pytest.skip(f"no port 53 here: {e}")
        if subprocess.run([*begin, "true"], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no mount namespaces here")
        begun = time.monotonic()
        done = subprocess.run([*begin, clusters.BIN / "surfctl", "-t", "2", "-m", "nowhere.test:9", "status"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=100 * clusters.PATIENCE)
    assert done.returncode == 1 and 'no name server says where "nowhere.test" is' in done.stderr
    assert time.monotonic() - begun < 5 * clusters.PATIENCE
