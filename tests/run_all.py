#!/usr/bin/python3
"""make test: everything that gates, in order of how fast it tells. One line per stage, the log of what failed, and at the
end a count of passed, failed and skipped tests."""

import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"
JOBS = str(os.cpu_count() or 2)
# What stages below run without sanitizers. All else is built with them, and by `make`.
RELEASE = ("surfd", "surffs", "surfctl", "sim", "sim_planted", "raft_sim", "raft_sim_planted", "gc_sim", "gc_sim_planted",
           "repair_sim", "repair_sim_planted", "unit_raft_scripts_planted", "unit_raftlog_planted")


def count_ctest(text):
    found = re.search(r"(\d+)% tests passed, (\d+) tests failed out of (\d+)", text)
    if not found:
        return (0, 1, 0)
    failed, total = int(found[2]), int(found[3])
    skipped = len(re.findall(r"\*\*\*Skipped", text))
    return (total - failed - skipped, failed, skipped)


def count_pytest(text):
    lines = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|error|errors|skipped)\b.* in ", line)]
    line = lines[-1] if lines else ""
    number = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error|errors|skipped)", line)}
    return (number.get("passed", 0), number.get("failed", 0) + number.get("error", 0) + number.get("errors", 0), number.get("skipped", 0))


def build(preset, *targets):
    return [["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset, "-j", JOBS, *(["--target", *targets] if targets else [])]]


def stages(environment):
    asan = dict(environment, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99", UBSAN_OPTIONS="print_stacktrace=1")
    asan["LSAN_OPTIONS"] = f"suppressions={ROOT / 'tests' / 'lsan.supp'}:print_suppressions=0"
    suppressions = ROOT / "tests" / "tsan.supp"
    tsan = dict(environment, TSAN_OPTIONS=f"suppressions={suppressions}:halt_on_error=0:exitcode=66")
    system = dict(asan, SURF_BIN=str(ROOT / "build" / "asan" / "bin"), SURF_PATIENCE="3")
    yield "lint", [[PYTHON, "-m", "pytest", "tests/lint", "-q"]], environment, count_pytest
    yield "build release (gcc)", build("release", *RELEASE), environment, None
    yield "build asan (clang, ASan+UBSan)", build("asan"), environment, None
    yield "build tsan (clang, TSan)", build("tsan", "threaded_tests"), environment, None
    yield "unit, model and fuzz smoke under ASan+UBSan", \
        [["ctest", "--test-dir", "build/asan", "--output-on-failure", "-j", JOBS, "-LE", "sim"]], asan, count_ctest
    yield "simulations under ASan+UBSan, some seeds", \
        [["build/asan/test-bin/raft_sim", "--seeds", "1", "60"], ["build/asan/test-bin/sim", "--seeds", "1", "40"],
         ["build/asan/test-bin/gc_sim", "--seeds", "1", "200"]], asan, None
    yield "simulations: 1,000 seeds of whole metastores, and every planted bug must be found", \
        [["ctest", "--test-dir", "build/release", "--output-on-failure", "-j", JOBS, "-L", "sim"]], environment, count_ctest
    yield "threaded units under TSan", \
        [["ctest", "--test-dir", "build/tsan", "--output-on-failure", "-j", JOBS, "-L", "threads"]], tsan, count_ctest
    release = dict(environment, SURF_BIN=str(ROOT / "build" / "release" / "bin"), SURF_PATIENCE="3")
    yield "memory of real nodes, without sanitizers", \
        [[PYTHON, "-m", "pytest", "tests/system/test_memory.py", "-q"]], release, count_pytest
    yield "the page that nodes serve, in a browser", \
        [["packaging/deps.sh", "browser"], [PYTHON, "-m", "pytest", "tests/system/test_page.py", "-q"]], release, count_pytest
    yield "system tests, real processes and mounts, ASan+UBSan", \
        [[PYTHON, "-m", "pytest", "tests/system", "-q", "-n", str(2 * int(JOBS) + 1), "--dist", "loadfile", "--durations=25"]], system, count_pytest


def main():
    environment = dict(os.environ, CTEST_OUTPUT_ON_FAILURE="1")
    environment.pop("SURFFS_META", None)
    logs = ROOT / "build" / "test-logs"
    logs.mkdir(parents=True, exist_ok=True)
    totals = [0, 0, 0]
    broken = False
    for number, (name, commands, env, count) in enumerate(stages(environment)):
        begun = time.monotonic()
        log = logs / f"{number}.log"
        code = 0
        with open(log, "wb") as out:
            for command in commands:
                code = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
                if code:
                    break
        text = log.read_text(errors="replace")
        counted = count(text) if count else (0, 0, 0)
        if code and counted[1] == 0:
            counted = (counted[0], 1, counted[2])
        totals = [t + c for t, c in zip(totals, counted)]
        took = time.monotonic() - begun
        figures = f": {counted[0]} passed, {counted[1]} failed, {counted[2]} skipped" if count else ""
        print(f"{'FAILED' if code else 'ok':6} {name}{figures} ({took:.0f} s)", flush=True)
        if code:
            broken = True
            print(text[-12000:], flush=True)
            if count is None:
                break
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped", flush=True)
    return 1 if broken or totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
