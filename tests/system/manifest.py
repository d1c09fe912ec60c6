"""What was fsynced, and that it is all there in the end, whoever was killed meanwhile."""

import contextlib
import hashlib
import os
import random
import threading

import cluster as clusters
from cluster import wait_until

KIB = 1024
fsynced = {}  # directory of a cluster -> {path below a mount: SHA-256}, of all files that write_files wrote


def write_files(directory, count, size=64 * KIB, seed=1, prefix="f"):
    """Synced files of one block each, directly below a mount or in a directory of it; name -> SHA-256."""
    manifest = {}
    source = random.Random(seed)
    for i in range(count):
        data = source.randbytes(size)
        with open(directory / f"{prefix}{i}", "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        manifest[f"{prefix}{i}"] = hashlib.sha256(data).hexdigest()
    mount = next(p for p in (directory, *directory.parents) if os.path.ismount(p))
    below = directory.relative_to(mount)
    fsynced.setdefault(mount.parent, {}).update({str(below / name): digest for name, digest in manifest.items()})
    return manifest


def check_files(directory, manifest):
    for name, digest in manifest.items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest, name


def start_again(node):
    """With the options that it had; but it drops nothing."""
    command = [argument for argument in node.process.command if not argument.startswith("--rebuild")]
    node.process = clusters.Process(f"node{node.id}", command, node.log, env=node.cluster.env)
    wait_until(f"node {node.id} to listen", node.listening)


def kill_all_and_check(c):
    """All nodes are killed at once and started again: a fresh mount, which has nothing in memory, must read all that was synced."""
    manifest, running = fsynced.pop(c.dir, {}), [n for n in c.nodes.values() if n.running()]
    mounts = [m for m in c.mounts.values() if m.process]
    if not manifest or not mounts or len(running) != len([n for n in c.nodes.values() if n.process]):
        return
    for node in running:
        node.process.signal(9)
    for node in running:
        node.process.popen.wait(20 * clusters.PATIENCE)
        start_again(node)
    fresh = c.mounts["after-the-kill"] = clusters.Mount(c, "after-the-kill")
    fresh.start(servers=mounts[0].process.command[1])
    check_files(fresh.path, manifest)


@contextlib.contextmanager
def kills(nodes, seed, most_seconds=1.0):
    """While it lasts: one node after the other, whichever, is killed at some moment and started again. Told is how many were."""
    over, source, done, failure = threading.Event(), random.Random(seed), [], []

    def run():
        try:
            while not over.wait(source.uniform(0.05, most_seconds) * clusters.PATIENCE):
                victim = source.choice(nodes)
                victim.kill()
                over.wait(source.uniform(0, 0.3))
                start_again(victim)
                done.append(victim.id)
        except BaseException as e:  # the test tells it
            failure.append(e)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join(60 * clusters.PATIENCE)
        assert not thread.is_alive()
    if failure:
        raise failure[0]
