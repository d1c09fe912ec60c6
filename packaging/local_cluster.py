#!/usr/bin/python3
"""A three-node cluster and two mounts on this machine, below ./run: make run, start, stop, reset.

Ends exactly the processes that it started: a pid file counts only while that process still runs our binary on our
directory."""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
NODES = (1, 2, 3)
HTTP_OFFSET = 10
MOUNTS = ("a", "b")


class Failure(Exception):
    pass


def wait_until(what, condition, seconds):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what}")
        time.sleep(0.02)


class LocalCluster:
    def __init__(self, run_dir, bin_dir, base_port):
        self.run = run_dir
        self.bin = bin_dir
        self.base_port = base_port

    # -- names

    def address(self, node):
        return f"127.0.0.1:{self.base_port + node}"

    def http_port(self, node):
        """Where it serves HTTP; None when somebody else has that port, which is no reason not to start."""
        port = self.base_port + HTTP_OFFSET + node
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return None
        return port

    @property
    def addresses(self):
        return ",".join(self.address(n) for n in NODES)

    def mountpoint(self, name):
        return self.run / name

    def pid_file(self, name):
        return self.run / f"{name}.pid"

    def log_file(self, name):
        return self.run / f"{name}.log"

    # -- processes

    def pid(self, name):
        """The pid of a process that we started and that still runs, else None."""
        try:
            pid = int(self.pid_file(name).read_text())
            exe = os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        ours = exe in ("surfd", "surffs") and str(self.run) in command
        return pid if ours else None

    def spawn(self, name, command):
        with open(self.log_file(name), "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.run,
                                       start_new_session=True)
        self.pid_file(name).write_text(f"{process.pid}\n")
        return process

    def last_log(self, name):
        try:
            return "".join(self.log_file(name).read_text(errors="replace").splitlines(keepends=True)[-5:])
        except OSError:
            return ""

    def start_node(self, node):
        name = f"node{node}"
        if self.pid(name):
            return False
        peers = ",".join(f"{n}={self.address(n)}" for n in NODES)
        process = self.spawn(name, [str(self.bin / "surfd"), "-s", "both", "-l", "-p", str(self.base_port + node), "--id", str(node),
                                    "--data", str(self.run / f"data{node}"), "--peers", peers, "--http-port", str(self.http_port(node) or 0)])

        def listening():
            if process.poll() is not None:
                raise Failure(f"node {node} ended with exit code {process.returncode}:\n{self.last_log(name)}")
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.base_port + node)) == 0

        wait_until(f"node {node} to listen on {self.address(node)}", listening, 20)
        return True

    def mounted(self, name):
        point = str(self.mountpoint(name)).replace(" ", "\\040")
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == point for line in f)

    def start_mount(self, name):
        if self.pid(name) and self.mounted(name):
            return False
        point = self.mountpoint(name)
        if self.mounted(name):  # a mount whose daemon is gone
            self.unmount(name)
        point.mkdir(parents=True, exist_ok=True)
        process = self.spawn(name, [str(self.bin / "surffs"), self.addresses, str(point), "-f"])

        def up():
            if process.poll() is not None:
                raise Failure(f"mount {name} ended with exit code {process.returncode}:\n{self.last_log(name)}")
            return self.mounted(name)

        wait_until(f"the mount at {point}", up, 20)
        return True

    def unmount(self, name):
        if not self.mounted(name):
            return
        point = str(self.mountpoint(name))
        if subprocess.run(["fusermount3", "-u", point], stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["fusermount3", "-u", "-z", point], check=False)

    def end(self, name):
        pid = self.pid(name)
        if pid:
            os.kill(pid, signal.SIGTERM)
            try:
                wait_until(f"{name} to end", lambda: not self.pid(name) or self.zombie(pid), 20)
            except Failure:
                os.kill(pid, signal.SIGKILL)
        self.pid_file(name).unlink(missing_ok=True)
        return bool(pid)

    @staticmethod
    def zombie(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    # -- surfctl

    def surfctl(self, *args, check=True):
        done = subprocess.run([str(self.bin / "surfctl"), "-m", self.addresses, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if check and done.returncode != 0:
            raise Failure(f"surfctl {' '.join(args)}: exit code {done.returncode}: {done.stdout}{done.stderr}".strip())
        return done

    def status(self):
        done = self.surfctl("--json", "status", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def leader(self):
        return self.status().get("leader") or None

    def formed(self):
        """A leader, and every block server registered: a node that is crashed on purpose must not hold up `start`."""
        status = self.status()
        return status.get("leader") and len(status.get("block_servers", [])) == len(NODES)

    # -- commands

    def ports_are_free(self):
        for node in NODES:
            if self.pid(f"node{node}"):
                continue
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", self.base_port + node))
                except OSError as e:
                    raise Failure(f"port {self.base_port + node} is in use ({e.strerror}); "
                                  f"choose others with SURFFS_BASE_PORT={self.base_port + 100}") from e

    def start(self):
        self.run.mkdir(exist_ok=True)
        self.ports_are_free()
        started = [f"node {n}" for n in NODES if self.start_node(n)]
        wait_until("a leader and all block servers", self.formed, 20)
        started += [f"mount {m}" for m in MOUNTS if self.start_mount(m)]
        (self.run / "env").write_text(f'export SURFFS_META="{self.addresses}"\nexport PATH="{self.bin}:$PATH"\n')
        return started

    def stop(self):
        ended = []
        for name in MOUNTS:
            was_there = self.pid(name) or self.mounted(name)
            self.unmount(name)  # ends the process too, in its own time
            self.end(name)
            if was_there:
                ended.append(f"mount {name}")
        ended += [f"node {n}" for n in NODES if self.end(f"node{n}")]
        return ended

    def is_running(self):
        return all(self.pid(f"node{n}") for n in NODES) and all(self.pid(m) and self.mounted(m) for m in MOUNTS)

    def prove(self):
        def copy(name, size):
            data = os.urandom(size)
            (self.mountpoint("a") / name).write_bytes(data)
            read = (self.mountpoint("b") / name).read_bytes()
            if read != data:
                raise Failure(f"{name}: {len(data)} bytes written through run/a, other bytes read through run/b")
            return hashlib.sha256(data).hexdigest()

        digest = copy("hello-1", 3 * 1024 * 1024)
        print(f"  wrote 3 MiB to run/a/hello-1, read the same from run/b/hello-1 (sha256 {digest[:16]}...)")
        old = wait_until("a leader", self.leader, 10)
        self.surfctl("crash", str(old))
        begun = time.monotonic()
        try:
            digest = copy("hello-2", 3 * 1024 * 1024)
            took = time.monotonic() - begun
            new = wait_until("another leader", lambda: self.leader() not in (None, old) and self.leader(), 10)
            print(f"  crashed node {old}, the leader; node {new} took over; run/a/hello-2 written and read from run/b, "
                  f"{took:.2f} s after the crash (sha256 {digest[:16]}...)")
        finally:
            self.surfctl("restore", str(old))

        def caught_up():
            nodes = {n["id"]: n for n in self.status().get("nodes", [])}
            states = [nodes.get(n, {}) for n in NODES]
            return all(s.get("state") in ("LEADER", "FOLLOWER") for s in states) and \
                len({s.get("applied") for s in states}) == 1

        wait_until(f"node {old} to catch up", caught_up, 20)
        print(f"  restored node {old}; it has caught up")


def main():
    parser = argparse.ArgumentParser(prog="local_cluster.py", description=__doc__)
    parser.add_argument("command", choices=["run", "start", "stop", "reset"])
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="where surfd, surffs and surfctl are")
    parser.add_argument("--run", type=pathlib.Path, default=ROOT / "run", help="where it lives (default: run/)")
    options = parser.parse_args()
    try:
        base_port = int(os.environ.get("SURFFS_BASE_PORT", "8080"))
        if not 1024 <= base_port <= 65000:
            raise ValueError
    except ValueError:
        print(f"local_cluster.py: SURFFS_BASE_PORT={os.environ['SURFFS_BASE_PORT']!r}: not a port from 1024 to 65000",
              file=sys.stderr)
        return 64
    cluster = LocalCluster(options.run.resolve(), options.bin.resolve(), base_port)

    if options.command != "stop" and options.command != "reset" and not (cluster.bin / "surfd").exists():
        raise Failure(f"{cluster.bin}/surfd is not there: make run builds it")
    if options.command == "run":
        if cluster.is_running():
            print("It is running already. `make stop` ends it; `surfctl status` after `. run/env` shows it.")
            return 0
        cluster.start()
        print(f"Three nodes ({cluster.addresses}) and two mounts (run/a, run/b) are up.")
        cluster.prove()
        print("It is left running:\n"
              "  ls run/a run/b              the same tree, twice\n"
              "  . run/env; surfctl status   the cluster\n"
              f"  http://127.0.0.1:{base_port + HTTP_OFFSET + 1}/      the same as a page\n"
              "  run/*.log, run/data*        logs and data\n"
              "  make stop                   ends it and keeps the data; make start goes on; make reset removes all")
    elif options.command == "start":
        started = cluster.start()
        print("started: " + ", ".join(started) if started else "It is running already; nothing to start.")
    elif options.command == "stop":
        ended = cluster.stop()
        print("ended: " + ", ".join(ended) if ended else "It is not running.")
    else:
        cluster.stop()
        if any(cluster.mounted(m) for m in MOUNTS):
            raise Failure("run/a or run/b is still mounted; nothing removed")
        shutil.rmtree(cluster.run, ignore_errors=True)
        print(f"ended and removed {cluster.run}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"local_cluster.py: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted. What has been started runs on; `make stop` ends it.", file=sys.stderr)
        sys.exit(130)
