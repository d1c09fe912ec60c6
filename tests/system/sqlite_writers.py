"""Two processes, one on each mount, that insert rows into one database, each row in a transaction of its own."""

import sqlite3
import subprocess
import sys

INSERT = """
import sqlite3, sys
path, who, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path, timeout=600, isolation_level=None)
for i in range(count):
    db.execute("begin immediate")
    db.execute("insert into t values (?, ?)", (who, i))
    db.execute("commit")
db.close()
"""


def insert(a, b, count, seconds):
    db = sqlite3.connect(a / "db")
    db.execute("create table t (who int, n int)")
    db.commit()
    db.close()
    writers = [subprocess.Popen([sys.executable, "-c", INSERT, str(m / "db"), str(i), str(count)]) for i, m in enumerate((a, b))]
    assert [w.wait(seconds) for w in writers] == [0, 0]


def check(mount, count):
    """The database is sound and has all rows."""
    db = sqlite3.connect(mount / "db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    rows = db.execute("select who, count(*), count(distinct n) from t group by who order by who").fetchall()
    assert rows == [(0, count, count), (1, count, count)]
    db.close()
