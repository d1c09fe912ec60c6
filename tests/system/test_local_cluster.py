"""make run, start, stop, reset: what a new user does first (packaging/local_cluster.py, in a directory of the test's own)."""

import os
import pathlib
import signal
import socket
import subprocess

import pytest

import cluster as clusters
from cluster import BIN, ROOT


@pytest.fixture
def local(tmp_path):
    base = clusters.free_port_run(3) - 1
    env = dict(os.environ, SURFFS_BASE_PORT=str(base))
    run_dir = tmp_path / "run"

    def command(word, ok=True):
        done = subprocess.run(["/usr/bin/python3", str(ROOT / "packaging" / "local_cluster.py"), word, "--bin", str(BIN), "--run", str(run_dir)],
                              env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120 * clusters.PATIENCE)
        assert (done.returncode == 0) == ok, done.stdout
        return done.stdout

    command.run = run_dir
    command.base = base
    yield command
    command("reset")


def pid(path):
    return int(pathlib.Path(path).read_text())


def test_run_start_stop_reset(local):
    out = local("run")
    assert "took over" in out and "make stop" in out
    run = local.run
    assert (run / "a" / "hello-2").read_bytes() == (run / "b" / "hello-2").read_bytes()
    for name in ("node1", "node2", "node3", "a", "b"):
        os.kill(pid(run / f"{name}.pid"), 0)
    sourced = subprocess.run(["sh", "-c", f". {run}/env; surfctl --json status"], stdout=subprocess.PIPE, text=True, check=True)
    assert '"leader"' in sourced.stdout

    assert "running already" in local("run")
    os.kill(pid(run / "node2.pid"), signal.SIGKILL)
    clusters.wait_until("node 2 to be gone", lambda: "node 2" in local("start"), 10)
    assert "nothing to start" in local("start")

    # What README suggests to break, in its order: two of three are gone then, and one start brings a majority back.
    crash = "surfctl crash 3 && surfctl crash --kill 2"
    subprocess.run(["sh", "-c", f". {run}/env; {crash}"], stdout=subprocess.DEVNULL, check=True)
    clusters.wait_until("node 2 to be gone", lambda: "node 2" in local("start"), 10)
    (run / "a" / "two-of-three").write_text("x")
    subprocess.run(["sh", "-c", f". {run}/env; surfctl restore 3"], stdout=subprocess.DEVNULL, check=True)

    assert "mount a" in local("stop")
    assert not os.path.ismount(run / "a") and "not running" in local("stop")
    local("start")
    assert (run / "b" / "hello-1").stat().st_size == 3 << 20
    local("reset")
    assert not run.exists()


def test_make_run_builds_what_it_runs_and_says_little(tmp_path):
    """Of a build that works the output is a line at most; of one that fails, all of it. cmake is a script here."""
    for name in ("Makefile", "packaging"):
        (tmp_path / name).symlink_to(ROOT / name)
    cmake = tmp_path / "tools" / "cmake"
    cmake.parent.mkdir()
    env = dict(os.environ, PATH=f"{cmake.parent}:{os.environ['PATH']}")

    def make(*targets):
        return subprocess.run(["make", "-C", tmp_path, "--no-print-directory", *targets], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60 * clusters.PATIENCE)

    def cmake_is(last):
        cmake.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nseq -f "[%g/1400] cc" 1400\n{last}\n')
        cmake.chmod(0o755)

    cmake_is("exit 0")
    done = make("programs")
    assert done.returncode == 0 and done.stdout.count("\n") <= 1 and "[1/1400]" not in done.stdout, done.stdout
    configured, built = (tmp_path / "calls").read_text().splitlines()
    assert "--preset release" in configured and built.endswith("--target surfd surffs surfctl")
    cmake_is("echo no such header >&2; exit 1")
    done = make("programs")
    assert done.returncode != 0 and "[1/1400]" in done.stdout and "no such header" in done.stdout
    for target in ("run", "run-both", "run-meta", "run-block"):
        told = make("--dry-run", target).stdout
        assert "--target surfd surffs surfctl" in told and told.count("cmake --build") == 1, told


def test_a_port_in_use_is_named(local):
    with socket.socket() as s:
        s.bind(("127.0.0.1", local.base + 2))
        s.listen()
        assert str(local.base + 2) in local("run", ok=False)
