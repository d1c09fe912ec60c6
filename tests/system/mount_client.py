"""One client of a history that works through a mount, with system calls: random operations on a few names in a few
directories, and a line for every call and answer (tests/lin/lin.h), as surf-lin-client writes them. An inode's owner is its
tag.

    mount_client.py MOUNT OUT NAME NUMBER SEED OBJECTS NAMES LOOKS_PERCENT

Ends at SIGTERM. One thread."""

import ctypes
import errno
import os
import random
import signal
import stat
import sys
import time

NUMBERS = 2048  # tags are made of the number, which no other client of the history has
libc = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE = 1
# Answers that the model knows, by verb; another error means that nothing has happened, or that nobody knows.
KNOWN = {"lookup": {errno.ENOENT}, "create": {errno.EEXIST}, "mkdir": {errno.EEXIST}, "open": {errno.EISDIR},
         "unlink": {errno.ENOENT, errno.EISDIR}, "rmdir": {errno.ENOENT, errno.ENOTDIR},
         "rename": {errno.ENOENT, errno.EISDIR, errno.ENOTDIR}, "rename-new": {errno.ENOENT, errno.EEXIST}}


def as_owner(tag, function):
    libc.setfsuid(tag)
    try:
        return function()
    finally:
        libc.setfsuid(0)


def rename2(root, old, new, flags):
    if libc.renameat2(root, old.encode(), root, new.encode(), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Client:
    def __init__(self, mount, out, name, number, seed, objects, names, looks):
        self.name, self.number, self.looks = name, number, looks
        # Paths begin there: owners that are not root may not get to it through the directories above.
        self.root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
        self.objects, self.names = objects, names
        self.rng = random.Random(seed * NUMBERS + number)
        self.out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.tags = 0
        for number in range(objects):
            try:
                os.mkdir(f"d{number}", dir_fd=self.root)
                os.chmod(f"d{number}", 0o777, dir_fd=self.root)
            except FileExistsError:
                pass

    def note(self, kind, what, more=""):
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.write(self.out, f"{now} {self.name} {kind} {what}{' ' + more if more else ''}\n".encode())

    def call(self, verb, arguments, function):
        what = f"{verb} {arguments}"
        self.note("invoke", what)
        try:
            answer = function()
        except OSError as e:
            if e.errno in KNOWN[verb]:
                self.note("fail", what, errno.errorcode[e.errno][1:])
            else:
                self.note("info", what, "# " + errno.errorcode.get(e.errno, str(e.errno)))
            return
        self.note("ok", what, answer or "")

    def tag(self):
        self.tags += 1
        return self.tags * NUMBERS + self.number

    def operate(self):
        directory = f"d{self.rng.randrange(self.objects)}"
        name, other = (f"{directory}/n{self.rng.randrange(self.names)}" for _ in range(2))
        if self.rng.randrange(100) < self.looks:
            self.call("lookup", name, lambda: self.look(name))
            return
        verb = self.rng.choice(["create", "create", "mkdir", "unlink", "unlink", "rmdir", "rename", "rename", "rename-new"])
        tag = self.tag()
        if verb == "create":
            self.call(verb, f"{name} {tag}", lambda: as_owner(tag, lambda: os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self.root))))
        elif verb == "mkdir":
            self.call(verb, f"{name} {tag}", lambda: as_owner(tag, lambda: os.mkdir(name, dir_fd=self.root)))
        elif verb == "unlink":
            self.call(verb, name, lambda: os.unlink(name, dir_fd=self.root))
        elif verb == "rmdir":
            self.call(verb, name, lambda: os.rmdir(name, dir_fd=self.root))
        else:
            # The kernel looks both names up, one after the other, and says "done" without asking anybody when they lead to one
            # inode: as they seem to when another mount renames just this one to just there in between. So each client
            # renames a name of its own away, and nobody exchanges two.
            name = f"{directory}/n{self.number % self.names}"
            if name != other:
                self.call(verb, f"{name} {other}", lambda: rename2(self.root, name, other, RENAME_NOREPLACE if verb == "rename-new" else 0))

    def look(self, name):
        st = os.stat(name, dir_fd=self.root, follow_symlinks=False)
        return f"{st.st_uid}" if stat.S_ISDIR(st.st_mode) else f"{st.st_uid} {st.st_nlink}"


class Stopped(Exception):
    pass


def on_terminate(number, frame):
    """A call that is under way is left without an answer: the interpreter would make an interrupted one again, which is another call."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def main():
    mount, out, name = sys.argv[1:4]
    signal.signal(signal.SIGTERM, on_terminate)
    client = Client(mount, out, name, *map(int, sys.argv[4:]))
    try:
        while True:
            client.operate()
    except Stopped:
        pass
    os._exit(0)  # the interpreter's own way out takes the handler away before the process has ended


if __name__ == "__main__":
    main()
