"""Every case runs on a SurfFS mount and on a local file system: the latter shows that the case itself is right."""

import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import cluster as clusters

numbers = itertools.count()
REFERENCES = ("ext2/ext3", "xfs", "btrfs")


def disk_type(directory):
    return subprocess.run(["stat", "-f", "-c", "%T", directory], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def mount_ext4(directory):
    """An ext4 of its own in a file, where temporary files lie on something that is no reference (tmpfs, overlay)."""
    image, mounted = directory / "local.img", directory / "local"
    mounted.mkdir()
    with open(image, "wb") as f:
        f.truncate(512 << 20)
    for command in (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, mounted]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return None
    return mounted


@pytest.fixture(scope="session")
def posix_dir():
    """Open to other users, unlike pytest's own temporary directories."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="surf-posix-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def posix_cluster(posix_dir):
    """One cluster for the whole directory, mounted as a and b. One node: what a mount does has nothing to do with their number."""
    c = clusters.Cluster(posix_dir / "cluster", 1)
    try:
        c.start()
        c.wait_formed()
        c.mount("a")
        c.mount("b")
        yield c
    finally:
        c.close()


@pytest.fixture(scope="session")
def local_root(posix_dir):
    if disk_type(posix_dir) in REFERENCES:
        path = posix_dir / "local"
        path.mkdir()
        yield path
        return
    path = mount_ext4(posix_dir)
    if path is None:
        pytest.skip("no local file system to compare with: the temporary directory is none, and there are no loop mounts")
    yield path
    subprocess.run(["umount", "-l", path])


@pytest.fixture(scope="session")
def roots(request):
    """The root of the file system of that name, made when the first case asks for it."""
    def root(name):
        if name == "local":
            return request.getfixturevalue("local_root")
        return request.getfixturevalue("posix_cluster").mounts["a"].path

    return root


@pytest.fixture(params=["surffs", "local"])
def place(request, roots):
    """A fresh directory, and the working directory of the case: its names stay short in what a failure prints."""
    base = roots(request.param)
    before, mask = os.getcwd(), os.umask(0o022)
    path = base / f"case-{next(numbers)}"
    path.mkdir()
    os.chdir(path)
    yield path
    os.umask(mask)
    os.chdir(before)


@pytest.fixture
def is_surffs(request):
    return request.node.callspec.params["place"] == "surffs"
