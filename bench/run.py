#!/usr/bin/python3
"""make bench: one set of workloads on a plain directory, on libfuse's passthrough example over a plain directory, and on
SurfFS (three nodes and the mount, all on this machine and this disk), in turn in one run. Prints a table with ratios and
writes bench-results/latest.json. Absolute figures move from machine to machine; compare ratios.

Each workload runs on the three one right after the other, `--rounds` times; the medians are shown. The passthrough runs
with cache=always and SurfFS's kernel timeouts."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
EXAMPLE = pathlib.Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
KERNEL_TIMEOUT_S = 2.0  # the lease term: the longest that surffs gives the kernel for names and attributes


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Target:
    """A directory to work in; fresh() empties caches so that the next read is cold."""

    def __init__(self, name, path, processes=(), mount=None):
        self.name, self.path, self.processes, self.mount = name, pathlib.Path(path), processes, mount

    def rpcs(self):
        """How often the mount has asked its servers something so far, as it logs at SIGUSR2; 0 for others."""
        if not self.mount:
            return 0
        counters = self.mount.counters()
        return counters["calls"] + counters["blocks"]

    def cold(self):
        if self.mount:
            self.mount.stop()
            self.mount.start()
        subprocess.run(["sync"], check=True)
        try:
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
        except OSError:
            pass  # without the right, cold is as cold as it gets

    def copies(self, count):
        """Of each block; a mount that begins goes by it at once."""
        if self.mount:
            self.mount.cluster.surfctl("blocks", "replicas", count)
        self.cold()


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.bin = options.bin.resolve()
        self.results = {}
        self.calls = []

    def files(self, target, workload, count, processes=1, sub=None):
        directory = target.path / (sub or workload)
        directory.mkdir(exist_ok=True)
        done = subprocess.run([str(self.bin / "surf-bench-files"), workload, str(directory), str(count), str(processes)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{target.name} {workload}: {done.stderr}")
        return float(done.stdout)

    def lookup_cold(self, target, count):
        """Names come along with each other. A name that is not there is one call to the leader and a request of the kernel: so how long that
        takes is told together with such a call, measured before and after."""
        target.cold()
        calls = target.rpcs()
        rate = self.files(target, "stat", count, sub="list")
        if target.mount:
            calls = target.rpcs() - calls
            before = self.rpc_us(target)
            absent = self.files(target, "absent", count, sub="list")
            self.calls.append({"lookup_us": 1e6 / absent, "rpc_us": (before + self.rpc_us(target)) / 2, "calls": calls / count})
        return rate

    def rpc_us(self, target):
        if not target.mount:
            return 0.0
        cluster = target.mount.cluster
        done = subprocess.run([str(self.bin / "surf-bench-rpc"), cluster.nodes[cluster.leader()].address, "5000"], stdout=subprocess.PIPE,
                              text=True, check=True)
        return 1e6 / float(done.stdout)

    def calls_table(self):
        if not self.calls:
            return {}
        median = {name: statistics.median(c[name] for c in self.calls) for name in ("lookup_us", "rpc_us", "calls")}
        median["ratio"] = statistics.median(c["lookup_us"] / c["rpc_us"] for c in self.calls)
        print(f"\ncold lookup of an absent name {median['lookup_us']:.1f} us, one call to the leader {median['rpc_us']:.1f} us: {median['ratio']:.2f} times; "
              f"{median['calls']:.3f} calls for each of those that are there")
        return median

    def fio(self, target, mode, seconds):
        directory = target.path / "fio"
        directory.mkdir(exist_ok=True)
        command = ["fio", "--name=f", f"--directory={directory}", f"--rw={mode}", "--bs=4k", "--size=64m", "--ioengine=psync",
                   f"--runtime={seconds}", "--time_based", "--output-format=json"]
        if mode == "randwrite":
            command.append("--fsync=1")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{target.name} fio {mode}: {done.stderr}")
        return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write" if mode == "randwrite" else "read"]["iops"]

    def git_status(self, count):
        """The repository is made once, and copied to each target: its objects are in a pack."""
        source = self.work / "git-source"

        def git(directory, *arguments):
            subprocess.run(["git", "-C", str(directory), "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0", *arguments],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def measure(target):
            if not source.exists():
                source.mkdir()
                git(source, "init")
                for n in range(count):
                    (source / f"d{n % 100}").mkdir(exist_ok=True)
                    (source / f"d{n % 100}" / f"f{n}.c").write_text(f"int number_{n};\n")
                git(source, "add", ".")
                git(source, "commit", "-m", "all")
                git(source, "gc")
            copy = target.path / "git"
            shutil.copytree(source, copy)
            times = []
            for _ in range(4):  # the first one reads all files: their inodes are others than those of the index
                begun = time.monotonic()
                git(copy, "status")
                times.append(time.monotonic() - begun)
            return min(times[1:])

        return measure

    def workloads(self):
        def cached(name, unit, call):
            """The best of three, after a first one; calls to the servers are counted from there on."""
            yield name, unit, lambda t: max(call(t) for _ in range(3)), call

        quick = self.options.quick
        n = 300 if quick else 2000
        listed = 1000 if quick else 10000
        tree = 500 if quick else 5000
        mib = 64 if quick else 512
        seconds = 2 if quick else 5
        yield "mkdir", "ops/s", lambda t: self.files(t, "mkdir", n)
        yield f"create {listed} empty files", "ops/s", lambda t: self.files(t, "create", listed, sub="list")
        yield "looked up and stat, cold", "ops/s", lambda t: self.lookup_cold(t, listed)
        yield from cached("stat again", "ops/s", lambda t: self.files(t, "stat", listed, sub="list"))
        yield from cached("names that are not there, again", "ops/s", lambda t: self.files(t, "absent", 1000, sub="list"))
        yield f"ls -l of {listed}, cold", "s", lambda t: (t.cold(), 1 / self.files(t, "list", 1, sub="list"))[1]
        yield f"ls -l of {listed}, warm", "s", lambda t: 1 / self.files(t, "list", 1, sub="list")
        yield "create 1,000 more to list", "ops/s", lambda t: self.files(t, "create", 1000, sub="names")
        yield from cached("ls of 1,000, again", "listings/s", lambda t: self.files(t, "names", 50, sub="names"))
        yield "unlink", "ops/s", lambda t: self.files(t, "unlink", listed, sub="list")
        yield "create+write 4K+fsync+close, 1 process", "ops/s", lambda t: self.files(t, "durable", n)
        yield "create+write 4K+fsync+close, 8 processes", "ops/s", lambda t: self.files(t, "durable", n // 4, 8, sub="durable8")
        yield f"{tree} files of 1-15 KiB written", "files/s", lambda t: self.files(t, "tree-write", tree, sub="tree")
        yield "and read back, cold", "files/s", lambda t: (t.cold(), self.files(t, "tree-read", tree, sub="tree"))[1]
        yield from cached("and again", "files/s", lambda t: self.files(t, "tree-read", tree, sub="tree"))
        yield f"git status of {listed} files, warm", "s", self.git_status(listed)
        yield f"{mib} MiB written + fsync", "MB/s", lambda t: self.files(t, "stream-write", mib, sub="stream") / 1e6
        yield "read cold", "MB/s", lambda t: (t.cold(), self.files(t, "stream-read", mib, sub="stream") / 1e6)[1]
        yield "read warm", "MB/s", lambda t: self.files(t, "stream-read", mib, sub="stream") / 1e6
        yield "4 KiB random read (fio)", "IOPS", lambda t: self.fio(t, "randread", seconds)
        yield "4 KiB random write, fsync each (fio)", "IOPS", lambda t: self.fio(t, "randwrite", seconds)
        yield "200-byte append, fsync each", "ops/s", lambda t: self.files(t, "append", n, sub="append")
        yield f"{mib} MiB written + fsync, one copy", "MB/s", lambda t: (t.copies(1), self.files(t, "stream-write", mib, sub="single") / 1e6)[1]
        yield "read cold, one copy", "MB/s", lambda t: (t.cold(), self.files(t, "stream-read", mib, sub="single") / 1e6, t.copies(3))[1]

    def run(self, targets):
        for name, unit, call, *first in self.workloads():
            if self.options.only and not any(part in name for part in self.options.only):
                continue
            entry = self.results.setdefault(name, {"unit": unit, "rpcs": [], **{t.name: [] for t in targets}})
            for target in targets:
                if not first:
                    entry[target.name].append(call(target))
                    continue
                first[0](target)
                before = target.rpcs()
                entry[target.name].append(call(target))
                if target.mount:
                    entry["rpcs"].append(target.rpcs() - before)
            print(f"{name}: " + ", ".join(f"{t.name} {entry[t.name][-1]:,.4g}" for t in targets), file=sys.stderr, flush=True)

    def table(self, targets):
        names = [t.name for t in targets]
        print(f"{'work':42} {'unit':8}" + "".join(f"{n:>13}" for n in names) + f"{'/passthrough':>13}{'RPCs':>8}")
        for name, entry in self.results.items():
            medians = [statistics.median(entry[n]) for n in names]
            last, passthrough = medians[-1], medians[1]
            ratio = passthrough / last if entry["unit"] == "s" else last / passthrough
            print(f"{name:42} {entry['unit']:8}" + "".join(f"{m:13,.4g}" if m < 100 else f"{m:13,.0f}" for m in medians) + f"{ratio:13.2f}" +
                  "".join(f"{r:8}" for r in entry["rpcs"][-1:]))
            entry["ratio_to_passthrough"] = ratio


def measure_idle(processes, seconds):
    """CPU and memory of processes that have nothing to do, over some seconds: the one place where time itself is awaited."""
    before = {name: ticks(pid) for name, pid in processes.items()}
    time.sleep(seconds)
    return {name: {"rss_mib": round(rss_mib(pid, "VmRSS"), 1), "cpu_percent": round(100 * (ticks(pid) - before[name]) / seconds, 2)}
            for name, pid in processes.items()}


def start_passthrough(work):
    """libfuse's example, compiled here from Debian's documentation of libfuse3-dev."""
    if not EXAMPLE.exists():
        raise SystemExit(f"{EXAMPLE} is missing: packaging/deps.sh installs libfuse3-dev")
    program = work / "passthrough_ll"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    subprocess.run(["cc", "-O2", "-w", "-o", str(program), str(EXAMPLE), *flags], check=True)
    source, point = work / "passthrough-source", work / "passthrough"
    source.mkdir()
    point.mkdir()
    process = subprocess.Popen([str(program), "-f", "-o", f"source={source},cache=always,timeout={KERNEL_TIMEOUT_S}", str(point)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    import cluster as clusters
    clusters.wait_until("the passthrough mount", lambda: os.path.ismount(point))
    return process, point


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--quick", action="store_true", help="small counts, under 60 s")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", help="workloads whose name contains this; several times for what builds on others' files")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "bench-results", help="on the disk to measure")
    options = parser.parse_args()
    os.environ["SURF_BIN"] = str(options.bin.resolve())
    import cluster as clusters

    options.directory.mkdir(exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=options.directory))
    bench = Bench(options, work)
    cluster = clusters.Cluster(work / "cluster", 3)
    passthrough = None
    try:
        passthrough, point = start_passthrough(work)
        cluster.start()
        cluster.wait_formed()
        mount = cluster.mount("m")

        (work / "plain").mkdir()
        targets = [Target("ext4" if "ext" in fs_type(work) else fs_type(work), work / "plain"), Target("passthrough", point),
                   Target("surffs", mount.path, mount=mount)]
        idle = measure_idle({**{f"surfd {n.id}": n.process.pid for n in cluster.nodes.values()}, "surffs": mount.process.pid},
                            3 if options.quick else 10)
        for number in range(options.rounds):
            for target in targets:
                target.top, target.path = target.path, target.path / f"round{number}"
                target.path.mkdir()
                target.cold()  # the passthrough has a file open for each inode that the kernel remembers
            bench.run(targets)
            for target in targets:
                target.path = target.top
        bench.table(targets)
        calls = bench.calls_table()
        processes = {f"surfd {n.id}": n.process.pid for n in cluster.nodes.values()}
        processes["surffs"], processes["passthrough"] = mount.process.pid, passthrough.pid
        usage = {name: {"peak_rss_mib": round(rss_mib(pid, "VmHWM"), 1), "cpu_s": round(ticks(pid), 2)} for name, pid in processes.items()}
        print("\n" + "\n".join(f"{name:14} peak RSS {u['peak_rss_mib']:7.1f} MiB   CPU {u['cpu_s']:7.2f} s" for name, u in usage.items()))
        print("\nidle, before the work")
        for name, figures in idle.items():
            print(f"{name:14} RSS {figures['rss_mib']:7.1f} MiB   CPU {figures['cpu_percent']:5.2f} %")
        out = options.directory / "latest.json"
        out.write_text(json.dumps({"workloads": bench.results, "calls": calls, "processes": usage, "idle": idle, "cores": os.cpu_count()}, indent=1) + "\n")
        print(f"\n{out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")
    finally:
        cluster.close()
        if passthrough:
            subprocess.run(["fusermount3", "-u", str(work / "passthrough")], check=False)
            passthrough.wait(10)
        shutil.rmtree(work, ignore_errors=True)


def fs_type(path):
    return subprocess.run(["stat", "-f", "-c", "%T", str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
