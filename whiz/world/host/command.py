"""What the kernel is asked to run for a Program: the file, its arguments, and what a process of it looks like."""

from __future__ import annotations

import errno
import math
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whiz.core.model import Program

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Command(NamedTuple):
    """A file to execute and its arguments. `script`: which argument is the script, where one is."""

    exe: str
    argv: tuple[str, ...]
    script: int | None = None


def find(word: str) -> str:
    """Return the file that a destination means; raise OSError in words that help.

    Symlinks in its directory are resolved now, so that a later flip of `current` never reaches a running program;
    the file's own name stays, because programs such as busybox or a venv's python act on it.
    """
    if "/" in word:
        return os.path.join(os.path.realpath(os.path.dirname(word)), os.path.basename(word))
    for folder in PATH.split(":"):
        path = os.path.join(folder, word)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(
        errno.ENOENT, f"not found on the PATH {PATH}; write ./{word} for a file beside the whizzifest", word
    )


def command(program: Program) -> Command:
    """Return what to execute; raise OSError when it plainly cannot be."""
    path = find(program.argv[0])
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    st = os.stat(path)
    executable = st.st_mode & 0o111 != 0
    if path.endswith(".py") and not executable:
        return Command(python(), (python(), path, *program.argv[1:]), 1)
    if not executable:
        raise PermissionError(errno.EACCES, "is not executable: chmod +x it", path)
    interpreter = shebang(path)
    if interpreter is not None and interpreter[-1].endswith("\r"):
        raise OSError(errno.ENOEXEC, "its first line ends in a carriage return: save it with Unix line ends", path)
    if interpreter is not None and not os.path.exists(interpreter[0]):
        raise FileNotFoundError(errno.ENOENT, f"its interpreter {interpreter[0]} does not exist", path)
    return Command(path, (path, *program.argv[1:]))


def bounded(form: Command, seconds: float) -> Command:
    """Return a command that ends by itself after so long: should whiz, which would have ended it, be gone by then."""
    try:
        timeout = find("timeout")
    except OSError:
        return form  # coreutils' and busybox's; who has neither relies on whiz
    return Command(timeout, (timeout, "-s", "KILL", str(math.ceil(seconds)), form.exe, *form.argv[1:]))


def python() -> str:
    """Return the Python for scripts: the machine's own; whiz's where there is none."""
    try:
        return find("python3")
    except OSError:
        return sys.executable


def shebang(path: str) -> tuple[str, ...] | None:
    """Return the interpreter and its one argument from a script's first line, None for anything else."""
    try:
        with open(path, "rb") as f:
            head = f.read(256)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    words = os.fsdecode(head[2:].partition(b"\n")[0]).strip(" \t").split(" ", 1)
    return tuple(w.strip(" \t") for w in words) if words[0] else None


def looks(program: Program) -> tuple[Command, ...]:
    """Return every form in which a process of this Program may appear: itself, or under its interpreter."""
    try:
        first = command(program)
    except OSError:
        return ()
    forms = [first]
    for _ in range(4):  # an interpreter may be a script itself; the kernel allows four
        exe, argv, script = forms[-1]
        line = shebang(exe)
        if line is None:
            break
        forms.append(
            Command(line[0], (*line, exe, *argv[1:]), len(line))
            if script is None
            else forms[-1]._replace(exe=line[0], argv=(*line, *argv), script=script + len(line))
        )
        forms += _through_env(forms[-1])
    return tuple(forms)


def _through_env(form: Command) -> list[Command]:
    """Return what `env python3 script` becomes once env has found its program."""
    if os.path.basename(form.exe) != "env" or form.script is None:
        return []
    words = " ".join(form.argv[1 : form.script]).removeprefix("-S").split()
    if not words or "=" in words[0] or words[0].startswith("-"):
        return []
    try:
        return [Command(find(words[0]), (*words, *form.argv[form.script :]), len(words))]
    except OSError:
        return []
