"""Mounting as administrators do it: mount -t surffs, fstab, remount, umount. The programs are installed into a directory of the test, and a
mount namespace shows it in /usr/bin and /usr/sbin, so that this machine's own directories stay as they are."""

import errno
import json
import os
import pathlib
import signal
import subprocess

import pytest

import cluster as clusters

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")

SHOW = "mount -t overlay overlay -o lowerdir={0}/bin:/usr/bin /usr/bin && mount -t overlay overlay -o lowerdir={0}/sbin:/usr/sbin /usr/sbin"


class Machine:
    """A mount namespace in which SurfFS is installed."""

    def __init__(self, directory, cluster):
        self.dir, self.cluster = pathlib.Path(directory), cluster
        stage = self.dir / "usr"
        subprocess.run(["cmake", "--install", clusters.BIN.parent, "--prefix", stage], check=True, stdout=subprocess.DEVNULL)
        assert os.readlink(stage / "sbin" / "mount.surffs") == "../bin/surffs"
        assert {p.name for p in (stage / "share" / "man" / "man8").iterdir()} >= {"surfd.8", "surfctl.8", "surffs.8", "mount.surffs.8"}
        self.path = self.dir / "mnt"
        self.path.mkdir()
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c",
                                        SHOW.format(stage) + " && echo ready && exec sleep infinity"], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    def run(self, *command, check=True, timeout=30):
        """Output goes to a file: a mount in the background must not keep us waiting for the end of a pipe."""
        with open(self.dir / "output", "w+") as out:
            done = subprocess.run(["nsenter", "-t", str(self.holder.pid), "-m", "--", *map(str, command)], stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=timeout * clusters.PATIENCE, env=self.cluster.env)
            out.seek(0)
            done.stdout = out.read()
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def options(self):
        """What findmnt shows; None: it is not mounted."""
        done = self.run("findmnt", "-J", "-o", "FSTYPE,SOURCE,OPTIONS", self.path, check=False)
        if done.returncode != 0:
            return None
        found = json.loads(done.stdout)["filesystems"][0]
        assert found["fstype"] == "fuse.surffs" and found["source"].split(":/")[0] == self.cluster.addresses
        return set(found["options"].split(","))

    def served(self):
        """Processes of ours."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            if os.fsencode(self.path) in words and words[0].rsplit(b"/", 1)[-1] in (b"surffs", b"mount.surffs", b"mount.fuse.surffs"):
                found.append(int(entry.name))
        return found

    def umount(self, *options):
        self.run("umount", *options, self.path)
        assert self.options() is None
        clusters.wait_until("the mount's process to end", lambda: not self.served())

    def close(self):
        for _ in range(3):
            self.run("umount", "-l", self.path, check=False)
        self.holder.kill()
        self.holder.wait()
        clusters.wait_until("the mount's process to end", lambda: not self.served(), 40)


@pytest.fixture
def machine(cluster, tmp_path):
    m = Machine(tmp_path, cluster)
    yield m
    m.close()


def test_mount_and_remount(machine):
    servers = machine.cluster.addresses
    machine.run("mount", "-t", "surffs", servers, machine.path, "-o", "noatime,nosuid,_netdev,nofail,x-systemd.automount,x-gvfs-hide")
    shown = machine.options()
    assert {"rw", "noatime", "nosuid", "allow_other", "default_permissions"} <= shown
    machine.run("touch", machine.path / "f")
    for target in ([machine.path], ["-t", "surffs", machine.path], ["-t", "surffs", servers, machine.path]):
        machine.run("mount", "-o", "remount,ro", *target)
        assert {"ro", "noatime", "nosuid"} <= machine.options()
        assert "Read-only file system" in machine.run("touch", machine.path / "f", check=False).stdout
        machine.run("mount", "-o", "remount,rw", *target)
        assert machine.options() == shown
        machine.run("touch", machine.path / "f")
    machine.run("mount", "-t", "surffs", "-o", "remount,ro,nodev", machine.path)
    assert {"ro", "nodev", "nosuid"} <= machine.options()
    machine.run("surffs", servers, machine.path, "-o", "remount,suid,rw")
    assert {"rw", "nodev", "noatime"} <= machine.options() and "nosuid" not in machine.options()
    machine.umount()


def test_fstab(machine):
    tab = machine.dir / "fstab"
    tab.write_text(f"{machine.cluster.addresses}:/default {machine.path} surffs _netdev,nofail,ro,noatime,allow_other,"
                   "x-systemd.requires=network-online.target,x-systemd.mount-timeout=30,comment=x 0 0\n"
                   f"127.0.0.1:1 {machine.dir}/missing surffs noauto,_netdev 0 0\n")
    for _ in range(2):  # the second finds it mounted
        machine.run("mount", "-a", "-T", tab)
        assert {"ro", "noatime", "allow_other"} <= machine.options()
        assert len(machine.served()) == 1
    machine.run("mount", "-T", tab, "-o", "remount,rw", machine.path)
    assert {"rw", "noatime"} <= machine.options()
    machine.umount()
    machine.run("mount", "-T", tab, machine.path)
    assert "ro" in machine.options()
    machine.run("fusermount3", "-u", machine.path)
    assert machine.options() is None
    assert machine.run("findmnt", "--verify", "--tab-file", tab, check=False).stdout.count("[E]") <= 1  # of the directory that is missing


def test_fstab_of_a_cluster_that_is_down(machine):
    """nofail is the boot's business; mount itself says what is wrong, within the time that it was given."""
    for node in machine.cluster.nodes.values():
        node.kill()
    tab = machine.dir / "fstab"
    tab.write_text(f"{machine.cluster.addresses} {machine.path} surffs _netdev,nofail,mount_timeout=1 0 0\n")
    done = machine.run("mount", "-a", "-T", tab, check=False, timeout=15)
    assert done.returncode != 0 and machine.cluster.nodes[1].address in done.stdout
    assert machine.options() is None and not machine.served()


@pytest.mark.parametrize("option, named", [("nonsense", "nonsense"), ("rw,nonsense=5", "nonsense=5"), ("cache_size=much", "cache_size=much"), ("dirty=0", "dirty=0"),
                                           ("timeo=5", "timeo"), ("max_read=4096", "max_read=4096")])
def test_bad_options_are_named(machine, option, named):
    done = machine.run("mount", "-t", "surffs", machine.cluster.addresses, machine.path, "-o", option, check=False)
    assert done.returncode == 64 and "surffs: " in done.stdout and named in done.stdout
    assert machine.options() is None and not machine.served()


def test_fake(machine):
    machine.run("mount", "-f", "-t", "surffs", machine.cluster.addresses, machine.path)
    assert machine.options() is None and not machine.served()


def test_a_mount_whose_process_was_killed_is_replaced(machine):
    servers = machine.cluster.addresses
    machine.run("mount", "-t", "surffs", servers, machine.path)
    machine.run("sh", "-c", f"echo kept > {machine.path}/f")
    busy = machine.run("mount", "-t", "surffs", servers, machine.path, check=False)
    assert busy.returncode != 0 and "mounted there already" in busy.stdout
    pid, = machine.served()
    os.kill(pid, signal.SIGKILL)
    clusters.wait_until("its end", lambda: not machine.served())
    # What is asked while it ends is answered "connection abort".
    clusters.wait_until("ENOTCONN", lambda: os.strerror(errno.ENOTCONN) in machine.run("ls", machine.path, check=False).stdout)
    done = machine.run("mount", "-t", "surffs", servers, machine.path)
    assert "the mount is replaced" in done.stdout
    assert machine.run("cat", machine.path / "f").stdout == "kept\n"
    assert len(machine.served()) == 1
    machine.umount()


def test_a_mount_whose_process_was_killed_can_be_detached(machine):
    servers = machine.cluster.addresses
    machine.run("mount", "-t", "surffs", servers, machine.path)
    pid, = machine.served()
    os.kill(pid, signal.SIGKILL)
    clusters.wait_until("its end", lambda: not machine.served())
    machine.run("umount", "-l", machine.path)
    done = machine.run("mount", "-t", "surffs", servers, machine.path)
    assert "replaced" not in done.stdout
    machine.run("ls", machine.path)
    machine.umount()
