"""Whether a process that we did not start is what an entry means: by file identity and every argument."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from whiz.core.model import Found, Want
from whiz.world.host.command import Command, looks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.model import Manifest, Program
    from whiz.world.host.scan import Entry, Table

_INTERPRETERS = re.compile(r"(python|pypy|perl|ruby|node|nodejs|bash|sh|dash|ash|zsh|ksh|lua|php)[0-9.]*")
_DELETED = " (deleted)"


def matches(table: Table, manifest: Manifest, uid_of: dict[str, int | None]) -> Iterator[Found]:
    """Yield every unmarked process in our namespaces that an entry names. `uid_of`: who each program runs as."""
    wanted = [(p, looks(p), uid_of.get(p.name)) for p in manifest.values() if p.want is not Want.DOWN]
    hits = [p for p in manifest.values() if p.want is Want.DOWN]
    lengths = {len(c.argv) for _, commands, _ in wanted for c in commands}
    for entry in table.entries.values():
        if entry.mark is not None or entry.keeper is not None or not entry.readable:
            continue
        if not hits and (lengths and len(entry.cmdline()) not in lengths):
            continue
        if _own(entry.stat.pid, table) or table.foreign(entry.stat.pid, "pid") or table.foreign(entry.stat.pid, "mnt"):
            continue
        uid = _uid(entry.stat.pid)
        for program, commands, who in wanted:
            if uid == who and any(_is(entry, c) for c in commands):
                yield Found(program.name, entry.proc)
        if os.getuid() in (0, uid):
            for program in hits:
                if _hit(entry, program):
                    yield Found(program.name, entry.proc)


def _own(pid: int, table: Table) -> bool:
    """Whether this is whiz, one of its ancestors, or init."""
    at: int = os.getpid()
    while at > 1 and at != pid:
        above = table.entries.get(at)
        at = above.stat.ppid if above is not None else 1
    return pid in (1, at)


def _uid(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _exe(pid: int) -> tuple[str, tuple[int, int] | None]:
    """Return the executable's path as the kernel tells it, and its device and inode unless it was deleted."""
    try:
        path = os.readlink(f"/proc/{pid}/exe")
        st = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return "", None
    return path.removesuffix(_DELETED), None if path.endswith(_DELETED) else (st.st_dev, st.st_ino)


def _file(path: str) -> tuple[int, int] | None:
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_dev, st.st_ino


def _same_exe(pid: int, path: str) -> bool:
    shown, ident = _exe(pid)
    return ident == _file(path) if ident is not None else shown == os.path.realpath(path)


def _same_path(pid: int, word: str, path: str) -> bool:
    """Whether a process's word names this file, seen from its working directory; a replaced file counts by its name."""
    try:
        whole = os.path.join(os.readlink(f"/proc/{pid}/cwd"), word)
    except OSError:
        return False
    ident = _file(path)
    return (ident is not None and _file(whole) == ident) or os.path.realpath(whole) == os.path.realpath(path)


def _is(entry: Entry, form: Command) -> bool:
    argv, pid = entry.cmdline(), entry.stat.pid
    if len(argv) != len(form.argv):
        return False
    names = {os.path.basename(form.argv[0]), os.path.basename(os.path.realpath(form.exe))}
    if os.path.basename(argv[0]) not in names:
        return False
    for i, (have, want) in enumerate(zip(argv, form.argv, strict=True)):
        if i and i != form.script and have != want:
            return False
    if form.script is not None and not _same_path(pid, argv[form.script], form.argv[form.script]):
        return False
    return _same_exe(pid, form.exe)


def textual(entry: Entry, program: Program) -> bool:
    """Whether the arguments alone fit: all there is to see of a process whose environment is closed to us."""
    return any(tuple(entry.cmdline()) == c.argv for c in looks(program))


def _hit(entry: Entry, program: Program) -> bool:
    """Whether the hit list names this process: its executable or its script, by resolved path or whole basename."""
    word, *rest = program.argv
    argv, pid = entry.cmdline(), entry.stat.pid
    if not argv:
        return False
    at = _script(argv, pid)
    tail = argv[1:] if at is None else argv[at + 1 :]
    if "/" in word:
        named = {os.path.basename(word), os.path.basename(os.path.realpath(word))}
        as_exe = _same_exe(pid, word) and os.path.basename(argv[0]) in named
        as_script = at is not None and _same_path(pid, argv[at], word)
    else:
        as_exe = os.path.basename(_exe(pid)[0]) == word
        as_script = at is not None and os.path.basename(argv[at]) == word
    if not rest:
        return as_exe or as_script
    return (as_exe and argv[1:] == rest) or (as_script and tail == rest)


def _script(argv: list[str], pid: int) -> int | None:
    """Return which argument of an interpreter is its script, None when this process runs none."""
    if not _INTERPRETERS.fullmatch(os.path.basename(_exe(pid)[0])):
        return None
    i = 1
    while i < len(argv):
        word = argv[i]
        if not word.startswith("-"):
            return i
        if word[:2] in ("-c", "-m", "-e") or word == "-":
            return None
        i += 2 if word in ("-W", "-X") else 1
    return None
