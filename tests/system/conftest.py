import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import cluster as clusters  # noqa: E402

# Who was started in the background by a shell ignores it, and so would the programs that are to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs that take minutes each: make soak.
collect_ignore = [] if "SURF_SOAK_SECONDS" in os.environ else ["test_large_programs.py"]
# The files that take minutes come first, and the thousands of short tests last: then no worker is left alone with a long file at the end.
LONG = ["test_linearizable", "test_partitions", "test_root_squash", "test_blocks", "test_look_ahead", "test_never_hangs", "test_locks", "test_gc",
        "test_slow_servers", "test_programs", "test_inline", "test_chaos", "test_requests",
        "test_coherence", "test_membership", "test_divergence", "test_upgrade", "test_extents", "test_failover", "test_listings",
        "test_snapshots", "test_http", "test_counters", "test_fsck", "test_disks", "test_disk_errors", "test_early_puts", "test_kv",
        "test_surfstore_checks"]

# AddressSanitizer keeps memory by its own rules: tests/run_all.py has a stage of its own for this.
if "asan" in str(clusters.BIN):
    collect_ignore.append("test_memory.py")
    collect_ignore.append("test_page.py")  # needs a browser, and has a stage of its own


def pytest_collection_modifyitems(config, items):
    # It ends the whole worker, and must not be the first of all waits to be over.
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = marker.args[0] if marker else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(seconds * max(1, clusters.PATIENCE)), append=False)
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG) + ("posix" in item.path.parts))
    reason = None
    if not os.path.exists("/dev/fuse"):
        reason = "/dev/fuse is missing"
    elif subprocess.run(["fusermount3", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        reason = "fusermount3 is missing"
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def make_cluster(tmp_path, request):
    """make_cluster(count, extra flags): a started cluster of one's own, which is checked at the end."""
    made, failed_before = [], request.session.testsfailed

    def make(count=3, extra=(), start=True):
        c = clusters.Cluster(tmp_path / f"cluster{len(made)}", count, extra)
        made.append(c)
        if start:
            c.start()
        return c

    yield make
    for c in made:
        c.close(check=request.session.testsfailed == failed_before)


@pytest.fixture
def cluster(make_cluster):
    """Three nodes of one's own, with a leader."""
    c = make_cluster(3)
    c.wait_formed()
    return c


@pytest.fixture
def mounts(cluster):
    """Two mounts, a and b, of a cluster of one's own."""
    return cluster.mount("a"), cluster.mount("b")


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory, request):
    """Three nodes and two mounts for a whole module, whose tests keep to directories of their own and break nothing."""
    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3), request.session.testsfailed
    try:
        c.start()
        c.wait_formed()
        c.mount("a")
        c.mount("b")
        yield c
    finally:
        c.close(check=request.session.testsfailed == failed_before)


@pytest.fixture
def ab(shared_cluster, request):
    """The same fresh directory through mount a and through mount b of the module's cluster."""
    name = "".join(ch if ch.isalnum() else "-" for ch in request.node.name)[:100]
    a, b = shared_cluster.mounts["a"] / name, shared_cluster.mounts["b"] / name
    a.mkdir()
    clusters.wait_until("the directory on the other mount", b.is_dir, 5)
    return a, b
