"""What the threads of a process that does not end wait for: read before it is killed, since nobody can ask afterwards."""

import pathlib
import shutil
import subprocess


def of(pid):
    """A text: each thread's stack if there is a debugger, and what the kernel says of it in any case."""
    lines = []
    for task in sorted(pathlib.Path("/proc", str(pid), "task").glob("*"), key=lambda t: int(t.name)):
        lines.append(" ".join([f"thread {task.name}", *(_read(task / name) for name in ("comm", "stat", "wchan", "syscall"))]))
    if shutil.which("gdb"):
        command = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "set print frame-arguments none", "-ex", "thread apply all backtrace 20"]
        try:
            lines.append(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60).stdout)
        except subprocess.TimeoutExpired:
            lines.append("gdb does not end, either")
    return "\n".join(lines)


def _read(file):
    try:
        return file.read_text(errors="replace").strip()
    except OSError as e:
        return str(e)
