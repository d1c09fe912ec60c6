import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import cluster as clusters  # noqa: E402


def pytest_collection_modifyitems(items):
    reason = None
    if not os.path.exists("/dev/fuse"):
        reason = "/dev/fuse is missing"
    elif subprocess.run(["fusermount3", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        reason = "fusermount3 is missing"
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def make_cluster(tmp_path):
    """make_cluster(count, extra flags): a started cluster of one's own."""
    made = []

    def make(count=3, extra=(), start=True):
        c = clusters.Cluster(tmp_path / f"cluster{len(made)}", count, extra)
        made.append(c)
        if start:
            c.start()
        return c

    yield make
    for c in made:
        c.close()


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
def shared_cluster(tmp_path_factory):
    """Three nodes and two mounts for a whole module, whose tests keep to directories of their own and break nothing."""
    c = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3)
    try:
        c.start()
        c.wait_formed()
        c.mount("a")
        c.mount("b")
        yield c
    finally:
        c.close()


@pytest.fixture
def ab(shared_cluster, request):
    """The same fresh directory through mount a and through mount b of the module's cluster."""
    name = "".join(ch if ch.isalnum() else "-" for ch in request.node.name)[:100]
    a, b = shared_cluster.mounts["a"] / name, shared_cluster.mounts["b"] / name
    a.mkdir()
    clusters.wait_until("the directory on the other mount", b.is_dir, 5)
    return a, b
