"""The manual pages tell of every option and command that the programs take, and their help fits a terminal."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def manual(program):
    """As it is read: without the markup in words."""
    text = (ROOT / "docs" / f"{program}.8").read_text()
    return re.sub(r"\\f[A-Z]|\"", "", text).replace("\\-", "-")


def missing(words, page):
    return [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", page)]


def long_options(path):
    return ["--" + name for name in re.findall(r'^    \{"([a-z-]+)", ', (ROOT / path).read_text(), re.M)]


def test_surfd():
    options = long_options("daemon/main.c")
    assert len(options) > 30
    assert missing(options, manual("surfd")) == []


def help_of_surffs():
    """The lines of -o in its help, as the compiler puts them together."""
    text = (ROOT / "fusefs" / "options.c").read_text()
    text = text[text.index("static const char doc[]"):text.index("static const struct argp_option argp_options")]
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)).replace("\\n", "\n")


def test_surffs():
    listed = help_of_surffs()
    options = [name for line in re.findall(r"^  (\S[^ ]*) ", listed, re.M) for name in re.findall(r"([a-z_]+)(?:=|,|$)", line)]
    assert "mount_timeout" in options and "timeo" in options
    assert missing(options, manual("surffs")) == []
    assert [line for line in listed.splitlines()[1:] if len(line) > 77] == []


def test_surfctl():
    page = manual("surfctl")
    assert missing(long_options("admin/main.c"), page) == []
    source = "".join(path.read_text() for path in sorted((ROOT / "admin").glob("*.c")))
    commands = re.findall(r'const struct admin_command command_\w+ = \{\s*"(\w+)",\s*"((?:[^"\\]|\\.)*)"', source)
    assert len(commands) > 20
    for name, arguments in commands:
        assert re.search(rf"^\.BR? {name}\b|^\.BI {name}\b", page, re.M), f"surfctl.8 has no entry for {name}"
        assert missing(re.findall(r"--[a-z-]+", arguments), page) == []
    for name, arguments in re.findall(r'const struct kv_command kv_command_\w+ = \{\s*"(\w+)",\s*"((?:[^"\\]|\\.)*)"', source):
        assert missing([name, *re.findall(r"--[a-z-]+", arguments)], page) == []


def test_words_keep_their_spaces():
    """The macros that change fonts from argument to argument put nothing between them: words outside of quotes run together."""
    wrong = []
    for path in sorted((ROOT / "docs").glob("*.8")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r"\.(?:B[IR]|I[BR]|R[BI]) ", line):
                unquoted = re.sub(r'"[^"]*"', '""', line[4:])
                if re.search(r"[a-z]{2,},? [a-z]{2,},? [a-z]{2,}", unquoted):
                    wrong.append(f"{path.name}:{number}: {line}")
    assert wrong == []
