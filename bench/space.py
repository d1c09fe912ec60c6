#!/usr/bin/python3
"""make bench-space: how the space of removed files comes back. Files of incompressible bytes are written and synced, then removed with
rm -rf (or all but every Nth: what is kept lies between what goes), and the space that the block servers' files take is looked at until it
is back. Nothing is asked for: surfctl gc is not called, and the intervals are the default ones unless said."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
MIB = 1 << 20
SETTLED_SHARE = 0.05  # of what was freed may still be there when the space counts as back
LOOK_S = 5


def used(cluster):
    """Bytes on the disk for blocks. Files may go while du looks."""
    paths = [str(n.data / "blocks") for n in cluster.nodes.values()]
    done = subprocess.run(["du", "-s", "--block-size=1", *paths], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines())


def write(directory, files, file_mib, per_directory=16):
    for i in range(files):
        folder = directory / f"d{i // per_directory}"
        folder.mkdir(exist_ok=True)
        with open(folder / f"f{i}", "wb", buffering=0) as f:
            for _ in range(file_mib):
                f.write(os.urandom(MIB))
            os.fsync(f.fileno())


def remove(directory, keep_every):
    if not keep_every:
        subprocess.run(["rm", "-rf", *map(str, directory.iterdir())], check=True)
        return 0
    kept = 0
    for path in sorted(directory.glob("d*/f*")):
        if int(path.name[1:]) % keep_every == 0:
            kept += path.stat().st_size
        else:
            path.unlink()
    return kept


def epochs(cluster):
    done = cluster.surfctl("--json", "blocks", check=False)
    servers = json.loads(done.stdout)["servers"] if done.returncode == 0 else []
    return {key: min((s.get(key, 0) for s in servers), default=0) for key in ("collect_epoch", "compactions")}


def run(cluster, options):
    mount, copies = cluster.mount("m"), min(options.nodes, 3)
    files = max(1, int(options.gib * 1024 / options.file_mib))
    begun = time.monotonic()
    write(mount.path, files, options.file_mib)
    full = used(cluster)
    print(f"{files} files of {options.file_mib} MiB, {copies} copies, written in {time.monotonic() - begun:.0f} s: {full / 2**30:.2f} GiB on disk", flush=True)
    before, begun = epochs(cluster), time.monotonic()
    kept = remove(mount.path, options.keep_every)
    print(f"removed in {time.monotonic() - begun:.1f} s; {copies * kept / 2**30:.2f} GiB of copies are kept", flush=True)
    removed, last = time.monotonic(), None
    while True:
        now, at = used(cluster), time.monotonic() - removed
        if last is None or abs(now - last) > full / 200:
            print(f"  {at:6.0f} s  {now / 2**30:7.2f} GiB", flush=True)
            last = now
        # What is kept may lie among garbage, of which the store tolerates a third (REWRITE_GARBAGE_PARTS).
        enough = copies * kept * (1.5 if kept else 1) + SETTLED_SHARE * (full - copies * kept)
        if now <= enough or at > options.deadline:
            after = epochs(cluster)
            print(f"{'back' if now <= enough else 'NOT back'} after {at:.0f} s, {after['collect_epoch'] - before['collect_epoch']} epochs and "
                  f"{after['compactions'] - before['compactions']} compactions: {now / 2**30:.2f} GiB", flush=True)
            return now <= enough
        time.sleep(LOOK_S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--gib", type=float, default=10)
    parser.add_argument("--file-mib", type=int, default=32)
    parser.add_argument("--nodes", type=int, default=1, help="with three of them there are three copies")
    parser.add_argument("--keep-every", type=int, default=0, metavar="N", help="every Nth file stays")
    parser.add_argument("--collect-interval", type=int, default=60)
    parser.add_argument("--deadline", type=int, default=600, help="seconds after which the space should be back")
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    work = pathlib.Path(tempfile.mkdtemp(prefix="surf-space-", dir=os.environ.get("SURF_BENCH_DIR")))
    cluster = clusters.Cluster(work / "cluster", options.nodes, ["--collect-interval", str(options.collect_interval)])
    try:
        cluster.start()
        cluster.wait_formed()
        back = run(cluster, options)
    finally:
        cluster.close()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if back else 1)


if __name__ == "__main__":
    main()
