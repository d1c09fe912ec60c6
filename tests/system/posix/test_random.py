"""A random model at mount level: the same calls on two mounts of one SurfFS, in turn, and on the local file system; every result,
errno and attribute must be the same, and at the end the whole tree through each of the mounts.

SURF_SOAK_SECONDS makes it long, SURF_SEED=N repeats one seed, SURF_ONLY=1,5,9 only these calls of it."""

import os
import random
import tempfile
import time

import pytest

import cluster as clusters
from random_calls import Root, sequence

SECONDS = float(os.environ.get("SURF_SOAK_SECONDS", "12"))
SEED = os.environ.get("SURF_SEED")
ONLY = os.environ.get("SURF_ONLY")
LENGTH = 150
# Symbolic links to above the root lead to the same nothing everywhere.
ROOM = "1/2/3/4/5/6/7/8"
# Who has a file open sees what another mount wrote "within milliseconds" (docs/POSIX.md); more on a busy machine.
VISIBLE_SECONDS = 2 * clusters.PATIENCE


def difference(calls, only, mounted, local):
    """What differs first, or None. `only`: the numbers of the calls that are made; each keeps its turn of the mounts."""
    for n in only:
        want, got = local.do(calls[n], n), mounted.do(calls[n], n)
        end = time.monotonic() + VISIBLE_SECONDS
        while got != want and calls[n][0] == "pread" and time.monotonic() < end:
            got = mounted.do(calls[n], n)
        if got != want:
            return f"call {n} {calls[n]} by mount {n % 2}: {got!r:.300}, but {want!r:.300} on the local file system"
    for turn in range(2):
        got, want = mounted.tree(turn), local.tree(turn)
        for path in sorted(set(got) | set(want)):
            if got.get(path) != want.get(path):
                return f"{path} at the end by mount {turn}: {got.get(path)!r:.300}, but {want.get(path)!r:.300}"
    return None


@pytest.fixture
def run(posix_cluster, local_root):
    """run(calls, only): in fresh directories."""
    a, b = (posix_cluster.mounts[name].path for name in "ab")
    before, mask = os.getcwd(), os.umask(0o022)

    def run_once(calls, only):
        name = os.path.join(os.path.basename(tempfile.mkdtemp(dir=a)), ROOM)
        reference = os.path.join(tempfile.mkdtemp(dir=local_root), ROOM)
        os.makedirs(a / name)
        os.makedirs(reference)
        mounted, local = Root(a / name, b / name), Root(reference)
        try:
            return difference(calls, only, mounted, local)
        finally:
            mounted.close()
            local.close()

    yield run_once
    os.umask(mask)
    os.chdir(before)


def shrink(run, calls, only):
    """Leaves calls out, by ever smaller runs of them, for as long as something differs."""
    size = len(only) // 2
    while size > 0:
        at = 0
        while at < len(only):
            fewer = only[:at] + only[at + size:]
            if run(calls, fewer):
                only = fewer
            else:
                at += size
        size //= 2
    return only


def test_random(run):
    seeds = [int(SEED)] if SEED else iter(lambda: random.randrange(1 << 32), None)
    end, done = time.monotonic() + SECONDS, 0
    for seed in seeds:
        calls = sequence(seed, LENGTH)
        only = [int(n) for n in ONLY.split(",")] if ONLY else list(range(LENGTH))
        if run(calls, only):
            only = shrink(run, calls, only)
            steps = "\n".join(f"  {n}: {calls[n]}" for n in only)
            pytest.fail(f"SURF_SEED={seed} SURF_ONLY={','.join(map(str, only))}\n{steps}\n{run(calls, only)}")
        done += 1
        if time.monotonic() > end:
            break
    print(f"{done} sequences of {LENGTH} calls")
