"""Large programs on the mount, for minutes: git with this project's history, its build, databases. Only with SURF_SOAK_SECONDS (make soak);
what each says of itself is printed (-s)."""

import concurrent.futures
import functools
import glob
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import cluster as clusters
import sqlite_writers
from test_trees import run

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOBODY = 65534
POSTGRES = max(glob.glob("/usr/lib/postgresql/*/bin"), default=None)
ENVIRONMENT = dict(os.environ, GIT_AUTHOR_NAME="n", GIT_AUTHOR_EMAIL="n@example.org", GIT_COMMITTER_NAME="n", GIT_COMMITTER_EMAIL="n@example.org",
                   GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")

pytestmark = pytest.mark.timeout(1800)
git = functools.partial(run, "git", "-c", "safe.directory=*", env=ENVIRONMENT)


def timed(what, call):
    begun = time.monotonic()
    value = call()
    print(f"  {what}: {time.monotonic() - begun:.1f} s")
    return value


@pytest.fixture
def clone(ab):
    """This project's history, cloned onto mount a: its way there and through b."""
    a, b = ab
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone of a repository")
    timed("git clone", lambda: git("clone", "-q", "--no-local", ROOT, a / "clone"))
    return a / "clone", b / "clone"


# ---- git


def test_git_with_a_whole_history(clone):
    a, b = clone
    commits = git("-C", a, "rev-list", "--count", "--all")
    timed("git fsck on the other mount", lambda: git("-C", b, "fsck", "--strict"))
    for where in (a, b, a):
        assert timed("git status", lambda: git("-C", where, "status", "--porcelain")) == ""
    timed("git gc", lambda: git("-C", a, "gc", "-q", "--prune=now"))
    git("-C", b, "fsck", "--strict")
    assert git("-C", b, "rev-list", "--count", "--all") == commits
    assert git("-C", b, "status", "--porcelain") == ""
    (a / "README.md").write_text("changed\n")
    os.unlink(a / "Makefile")
    assert git("-C", b, "status", "--porcelain").splitlines() == [" D Makefile", " M README.md"]
    git("-C", b, "commit", "-q", "-a", "-m", "on the other mount")
    assert git("-C", a, "status", "--porcelain") == ""
    assert git("-C", a, "log", "-1", "--format=%s") == "on the other mount\n"
    git("-C", a, "checkout", "-q", "HEAD~1")
    assert (b / "Makefile").read_bytes() == (ROOT / "Makefile").read_bytes() or git("-C", ROOT, "status", "--porcelain") != ""
    git("-C", b, "fsck", "--strict")


# ---- builds


def test_this_project_builds(clone):
    """Configured and built with make -j4 through a, in a directory of its own; run through b."""
    a, b = clone
    timed("cmake", lambda: run("cmake", "-S", a, "-B", a / "build", "-G", "Unix Makefiles", "-DCMAKE_BUILD_TYPE=Release"))
    timed("make -j4", lambda: run("make", "-C", a / "build", "-j4", "surf_base", "surf_raft", "unit_raft_scripts"))
    program = b / "build" / "test-bin" / "unit_raft_scripts"
    run(program, *sorted((b / "tests" / "unit" / "raft" / "script").glob("*.txt")))
    again = timed("make again", lambda: run("make", "-C", b / "build", "unit_raft_scripts"))
    assert "Building" not in again, again
    os.utime(a / "raft" / "raft.c")
    assert len(re.findall("Building", run("make", "-C", b / "build", "unit_raft_scripts"))) == 1


def test_two_hundred_files_build(ab):
    a, b = ab
    for number in range(200):
        (a / f"part{number}.h").write_text(f"int part{number}(int);\n")
        called = f"part{number - 1}(n) + 1" if number else "n"
        (a / f"part{number}.c").write_text(f'#include "part{number}.h"\n#include "part{max(number - 1, 0)}.h"\n#include <stdio.h>\n'
                                           f"int part{number}(int n) {{ return {called}; }}\n")
    (a / "main.c").write_text('#include "part199.h"\n#include <stdio.h>\nint main(void) { printf("%d\\n", part199(1)); return 0; }\n')
    (a / "Makefile").write_text("objects := $(patsubst %.c,%.o,$(wildcard *.c))\nsum: $(objects)\n\t$(CC) -o $@ $^\n-include *.d\nCFLAGS := -MMD\n")
    timed("200 files, make -j4", lambda: run("make", "-j4", "-C", a))
    assert run(b / "sum") == "200\n"
    assert "up to date" in run("make", "-C", b)
    (b / "part7.h").write_text("#define seven 7\nint part7(int);\n")
    assert len(re.findall("-c -o", run("make", "-C", a))) == 2
    run("make", "-C", b, "-n", "-q")


# ---- npm


def npm(directory, *arguments):
    return run("npm", "--no-audit", "--no-fund", "--prefer-offline", "--prefix", directory, *arguments, cwd=directory)


def test_npm(ab, tmp_path):
    """Some 200 packages, installed beside the mount first: what was chosen and fetched there is installed on it."""
    a, b = ab
    (tmp_path / "package.json").write_text('{"name": "large", "version": "1.0.0", "private": true}')
    if not shutil.which("npm") or subprocess.run(["npm", "ping"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("npm is missing, or has no registry here")
    npm(tmp_path, "install", "webpack", "express", "eslint")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(tmp_path / name, a / name)
    timed("npm ci", lambda: npm(b, "ci"))
    run("diff", "-r", "--no-dereference", tmp_path / "node_modules", a / "node_modules")
    run("node", "-e", "for (const p of ['webpack', 'express', 'eslint']) require(p)", cwd=a)
    (a / "index.js").write_text("module.exports = require('./part') + 1;\n")
    (a / "part.js").write_text("module.exports = 41;\n")
    timed("webpack", lambda: run("node", "-e", "require('webpack')({mode: 'development', context: process.cwd(), entry: './index.js'}, "
                                 "(e, s) => process.exit(e || s.hasErrors() ? 1 : 0))", cwd=a))
    assert (b / "dist" / "main.js").stat().st_size > 0
    timed("npm uninstall", lambda: npm(a, "uninstall", "webpack", "express", "eslint"))
    assert {path.name for path in (b / "node_modules").rglob("*") if not path.is_dir()} <= {".package-lock.json"}


# ---- stress-ng

STRESSORS = """access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify fallocate fanotify fcntl fiemap file-ioctl filename flock
    fpunch fsize fstat getdent handle hdd inotify io iomix lease link locka lockf lockofd mknod mmap open readahead rename seek sendfile splice
    symlink sync-file touch utime xattr""".split()


@pytest.mark.skipif(not shutil.which("stress-ng"), reason="stress-ng is missing: packaging/deps.sh soak")
@pytest.mark.parametrize("stressor", STRESSORS)
def test_stress_ng(ab, stressor):
    """What it finds wrong by itself, on both mounts at once; and that it can clean up."""
    running = [subprocess.Popen(["stress-ng", "--temp-path", where, f"--{stressor}", "2", "--timeout", "3", "--verify", "--oomable"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for where in ab]
    for process in running:
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said
    assert list(ab[1].iterdir()) == []


# ---- sqlite


def test_sqlite_from_two_mounts(ab):
    count = 10_000
    timed(f"{count} transactions from each of two mounts", lambda: sqlite_writers.insert(*ab, count, 1700))
    for mount in ab:
        sqlite_writers.check(mount, count)


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist", "wal"])
def test_sqlite_with_every_journal(ab, journal):
    """Two processes of one mount (wal is for one machine); the other mount checks what they leave."""
    count = 1000
    a, b = ab
    with sqlite3.connect(a / "db") as db:
        assert db.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
        db.execute("create table t (who int, n int)")
    db.close()
    insert = sqlite_writers.INSERT.replace("for i in", f"db.execute('pragma journal_mode={journal}')\nfor i in", 1)

    def both():
        writers = [subprocess.Popen([sys.executable, "-c", insert, a / "db", str(i), str(count)]) for i in range(2)]
        assert [w.wait(1700) for w in writers] == [0, 0]

    timed(f"{journal}: {count} transactions of each of two processes", both)
    db = sqlite3.connect(b / "db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert db.execute("select who, count(*), count(distinct n) from t group by who order by who").fetchall() == [(0, count, count), (1, count, count)]
    db.close()


# ---- postgres, which doesn't run as root


@pytest.fixture
def open_cluster():
    """Three nodes and two mounts, which other users can reach, unlike those in pytest's directories."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="surf-programs-"))
    directory.chmod(0o755)
    c = clusters.Cluster(directory / "cluster", 3)
    try:
        c.start()
        c.wait_formed()
        c.mount("a")
        c.mount("b")
        yield c
    finally:
        c.close()
        shutil.rmtree(directory)


class Postgres:
    """A server on data/, reached through a socket in a local directory only."""

    def __init__(self, directory):
        self.sockets = directory / "sockets"
        self.sockets.mkdir()
        os.chown(self.sockets, NOBODY, NOBODY)

    def run(self, program, *arguments):
        return run(f"{POSTGRES}/{program}", *arguments, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env=dict(os.environ, PGHOST=str(self.sockets)))

    def start(self, data):
        self.run("pg_ctl", "-D", data, "-w", "-t", 120, "-l", self.sockets / "log", "-o", f"-c listen_addresses='' -k {self.sockets}", "start")

    def stop(self, data, mode):
        self.run("pg_ctl", "-D", data, "-w", "-t", 120, "-m", mode, "stop")

    def ask(self, query):
        return [line.split("|") for line in self.run("psql", "-U", "nobody", "-d", "postgres", "-AtX", "-c", query).splitlines()]

    def check(self, at_least):
        """What pgbench leaves adds up, and no transaction that was answered is missing."""
        sums = self.ask("select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches), "
                        "(select sum(tbalance) from pgbench_tellers), (select sum(delta) from pgbench_history)")[0]
        assert len(set(sums)) == 1, sums
        count = int(self.ask("select count(*) from pgbench_history")[0][0])
        assert count >= at_least, f"{at_least} transactions were answered, {count} are there"
        self.run("pg_amcheck", "-U", "nobody", "-d", "postgres", "--install-missing", "--heapallindexed")


@pytest.mark.skipif(POSTGRES is None, reason="postgresql is missing: packaging/deps.sh soak")
def test_postgres(open_cluster):
    """pgbench while leaders are killed; then the server is killed, recovers through the other mount, and all is there."""
    c = open_cluster
    a, b = c.mounts["a"] / "data", c.mounts["b"] / "data"
    seconds = 20
    server = Postgres(c.dir)
    a.mkdir()
    os.chown(a, NOBODY, NOBODY)
    print(server.run("postgres", "--version"))
    timed("initdb", lambda: server.run("initdb", "-D", a, "-U", "nobody", "-k", "--no-locale", "-E", "UTF8"))
    server.start(a)
    try:
        timed("pgbench -i -s 2", lambda: server.run("pgbench", "-U", "nobody", "-i", "-q", "-s", 2, "postgres"))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            bench = pool.submit(server.run, "pgbench", "-U", "nobody", "-c", 4, "-T", seconds, "postgres")
            killed = 0
            while not bench.done():
                threading.Event().wait(seconds / 4)
                node = c.nodes[c.wait_leader()]
                node.kill()
                c.wait_leader(node.id)
                node.start()
                killed += 1
            said = bench.result()
        done = int(re.search(r"actually processed: (\d+)", said)[1])
        assert "number of failed transactions: 0" in said and killed >= 2
        print(f"  pgbench -c 4 -T {seconds}, {killed} leaders killed: {done} transactions, {re.search(r'tps = ([0-9.]+)', said)[1]}/s")
        server.check(done)
    finally:
        server.stop(a, "immediate")
    timed("recovery on the other mount", lambda: server.start(b))
    try:
        server.check(done)
    finally:
        server.stop(b, "fast")
    server.run("pg_checksums", "--check", "-D", a)
