#!/usr/bin/python3
"""make scenarios: the tests that docs/SCENARIOS.md names, and a line for each of its checks."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROW = re.compile(r"\| (S\d\.\d+[^|]*) \| ([^|]*) \| ([^|]*) \|")


def checks():
    """check -> (what it says, its tests), in the order of the page."""
    found = {}
    for line in (ROOT / "docs" / "SCENARIOS.md").read_text().splitlines():
        row = ROW.match(line)
        if row:
            found[row[1]] = (row[2], re.findall(r"((?:\w+/)*\w+\.py::\w+)", row[3]))
    return found


def results(path):
    """test function -> [how each of its cases went]"""
    went = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname').split('.')[-1]}.py::{case.get('name').split('[')[0]}"
        kinds = {child.tag for child in case}
        went.setdefault(name, []).append("FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "ok")
    return went


def main(only):
    wanted = {check: row for check, row in checks().items() if not only or check in only}
    unknown = set(only) - set(wanted)
    if unknown:
        print(f"no such check in docs/SCENARIOS.md: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 64
    tests = sorted({f"tests/system/{test}" for _, names in wanted.values() for test in names})
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "3", "--dist", "loadfile", f"--junitxml={report}", *tests]
        log = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(
            os.environ, SURF_ALL_SIZES="1", SURF_PATIENCE=os.environ.get("SURF_PATIENCE", "2")))
        went = results(report) if report.exists() else {}
    bad = 0
    for check, (says, names) in wanted.items():
        outcomes = [outcome for name in names for outcome in went.get(name.split("/")[-1], ["FAILED"])]
        outcome = "FAILED" if "FAILED" in outcomes else "skipped" if "skipped" in outcomes else "ok" if outcomes else "not built"
        bad += outcome == "FAILED"
        print(f"{outcome:10} {check:6} {says}")
    if bad:
        print(log.stdout)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
