"""What a mount asks its servers for, and what it need not ask."""

import pathlib
import signal

import cluster as clusters

FILES = 1200  # more than the 1,024 that were once kept


def test_small_files_that_are_opened_again_cost_no_call(cluster):
    a, b = cluster.mount("a", "-o", "noatime"), cluster.mount("b")
    contents = {f"f{n}": b"%d" % n * 100 for n in range(FILES)}
    for name, data in contents.items():
        (b / name).write_bytes(data)

    def read_all():
        """How many calls that took."""
        before = a.counters()["calls"]
        for name, data in contents.items():
            assert (a / name).read_bytes() == data
        return a.counters()["calls"] - before

    assert read_all() >= FILES
    # A machine that is busy elsewhere may let a lease end; then all is asked once more.
    clusters.wait_until("a round without a call", lambda: read_all() == 0, 60)
    for name in ("f7", f"f{FILES - 1}"):
        contents[name] = b"of b"
        (b / name).write_bytes(contents[name])
        (b / name).write_bytes(contents[name])
        assert (a / name).read_bytes() == contents[name]
    clusters.wait_until("a round without a call", lambda: read_all() == 0, 60)


def test_counters_that_are_asked_for_before_the_mount_is_there(make_cluster):
    """It prints them once it is: nobody waits for a line that never comes."""
    c = make_cluster(1, start=False)
    mount = c.mounts["a"] = clusters.Mount(c, "a")
    mount.launch()
    status = pathlib.Path(f"/proc/{mount.process.popen.pid}/status")

    def blocks_the_signal():
        mount.assert_running()
        masks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigBlk")]
        return int(masks[0], 16) >> (signal.SIGUSR2 - 1) & 1

    clusters.wait_until("surffs to be ready for signals", blocks_the_signal)
    mount.process.signal(signal.SIGUSR2)
    assert not mount.counter_lines()
    c.start()
    clusters.wait_until("the counters", mount.counter_lines)
    assert (mount.path / ".").is_dir()
