"""House rules that a machine can see: size of files, formatting, no generated or binary files, no open ends."""

import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 800


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return [ROOT / p for p in out.decode().split("\0") if p and (ROOT / p).is_file()]


def code():
    return [p for p in tracked() if p.suffix in (".c", ".h")]


def test_files_are_one_thing_each():
    long = [f"{p.relative_to(ROOT)}: {n} lines" for p in tracked() if p.suffix in (".c", ".h", ".py")
            for n in [len(p.read_text().splitlines())] if n > MAX_LINES]
    assert not long, "\n".join(long)


def test_headers_are_guarded_and_say_what_they_are_for():
    wrong = []
    for path in code():
        text = path.read_text()
        if path.suffix == ".h":
            if "#pragma once" not in text:
                wrong.append(f"{path.relative_to(ROOT)}: no #pragma once")
            if not text.startswith("/*"):
                wrong.append(f"{path.relative_to(ROOT)}: does not start with what it is for")
    assert not wrong, "\n".join(wrong)


def test_no_open_ends():
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [f"{p.relative_to(ROOT)}:{n}: {line.strip()}" for p in code()
             for n, line in enumerate(p.read_text().splitlines(), 1) if words.search(line)]
    assert not wrong, "\n".join(wrong)


def test_code_is_formatted():
    if shutil.which("clang-format") is None:
        raise AssertionError("clang-format is missing: packaging/deps.sh installs it")
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, code())], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, "run `make format`:\n" + done.stderr[:4000]


def test_no_binary_or_generated_files():
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    wrong = [str(p.relative_to(ROOT)) for p in tracked()
             if corpus not in p.parents and not (p.suffix == ".png" and p.parent == ROOT / "docs") and (b"\0" in p.read_bytes()[:8192] or p.name.endswith((".pb-c.c", ".pb-c.h", ".o", ".so")))]
    assert not wrong, "\n".join(wrong)


def test_every_error_has_a_class_and_a_unique_number():
    rows = re.findall(r"X\((\w+),\s*(\d+),\s*(\w+),", (ROOT / "base" / "err.h").read_text())
    numbers = [n for _, n, _ in rows]
    assert len(rows) > 30 and len(set(numbers)) == len(numbers)
    assert {c for _, _, c in rows} <= {"NONE", "FINAL", "RETRY", "LEADER", "WAIT", "GIVE_UP"}


def test_the_scenario_book_names_tests_that_exist():
    for name in re.findall(r"((?:\w+/)*\w+\.py)::(\w+)", (ROOT / "docs" / "SCENARIOS.md").read_text()):
        file = ROOT / "tests" / "system" / name[0]
        assert file.exists() and f"def {name[1]}(" in file.read_text(), "::".join(name)
