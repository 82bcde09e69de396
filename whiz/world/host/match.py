"""Whether a process that we did not start is what an entry means: by file identity and every argument."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from whiz.core.model import Found, Want
from whiz.world.host.command import Command, looks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.model import Manifest, Proc, Program
    from whiz.world.host.scan import Entry, Table

_DELETED = " (deleted)"


def matches(
    table: Table, manifest: Manifest, uid_of: dict[str, int | None], mains: frozenset[Proc | None]
) -> Iterator[Found]:
    """Yield every process in our namespaces that an entry names.

    `uid_of`: who each program runs as; `mains`: the main processes of Runs, which the hit list does not reach.
    """
    wanted = [(p, looks(p), uid_of.get(p.name)) for p in manifest.values() if p.want is not Want.DOWN]
    hits = [p for p in manifest.values() if p.want is Want.DOWN]
    lengths = {len(c.argv) for _, commands, _ in wanted for c in commands}
    for entry in table.entries.values():
        ours = entry.mark is not None or entry.keeper is not None
        if (ours and not hits) or entry.keeper is not None or entry.helper:
            continue
        if not hits and (lengths and len(entry.cmdline()) not in lengths):
            continue
        if not entry.readable:
            yield from _closed(entry, wanted)
            continue
        if _own(entry.stat.pid, table) or table.foreign(entry.stat.pid, "pid") or table.foreign(entry.stat.pid, "mnt"):
            continue
        uid = _uid(entry.stat.pid)
        for program, commands, who in wanted:
            if not ours and uid == who and any(_is(entry, c) for c in commands):
                yield Found(program.name, entry.proc)
        if os.getuid() in (0, uid) and entry.proc not in mains:
            for program in hits:
                if _hit(entry, program):
                    yield Found(program.name, entry.proc)


def _closed(entry: Entry, wanted: list[tuple[Program, tuple[Command, ...], int | None]]) -> Iterator[Found]:
    """Yield a set-user-id program of ours whose record is lost: its environment and executable are closed to us.

    It has our real uid, leads a session as only what a supervisor starts does, and has every argument.
    """
    if entry.stat.session != entry.stat.pid:
        return
    uid = real_uid(entry.stat.pid)
    for program, commands, who in wanted:
        if uid == who and any(tuple(entry.cmdline()) == c.argv for c in commands):
            yield Found(program.name, entry.proc)


def real_uid(pid: int) -> int | None:
    """Return who started a process, whoever it became since."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Uid:"))
    except (OSError, StopIteration, ValueError):
        return None


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
    for i, (have, want) in enumerate(zip(argv, form.argv, strict=True)):
        if i and i != form.script and have != want:
            return False
    names = {os.path.basename(form.argv[0]), os.path.basename(os.path.realpath(form.exe))}
    if os.path.basename(argv[0]) not in names:
        return False
    if form.script is not None and not _same_path(pid, argv[form.script], form.argv[form.script]):
        return False
    return _same_exe(pid, form.exe)


def textual(entry: Entry, program: Program) -> bool:
    """Whether the arguments alone fit: all there is to see of a process whose environment is closed to us."""
    return any(tuple(entry.cmdline()) == c.argv for c in looks(program)) and real_uid(entry.stat.pid) == os.getuid()


def _hit(entry: Entry, program: Program) -> bool:
    """Whether the hit list names this process: its executable or its script, by resolved path or whole basename."""
    word, *rest = program.argv
    argv, pid = entry.cmdline(), entry.stat.pid
    if not argv:
        return False
    at = script_of(os.path.basename(_exe(pid)[0]), argv)
    if "/" in word:
        alias = os.path.basename(os.path.realpath(word)) != os.path.basename(word)  # such as a name of busybox
        as_exe = _same_exe(pid, word) and (not alias or os.path.basename(argv[0]) == os.path.basename(word))
        as_script = at is not None and _same_path(pid, argv[at], word)
    else:
        as_exe = os.path.basename(_exe(pid)[0]) == word or (
            os.path.basename(argv[0]) == word and "/" in argv[0] and _same_exe(pid, argv[0])
        )
        as_script = at is not None and os.path.basename(argv[at]) == word
    if not rest:
        return as_exe or as_script
    return (as_exe and argv[1:] == rest) or (as_script and at is not None and argv[at + 1 :] == rest)


# by interpreter: option letters after which no script follows, and options that take the next word
_OPTIONS = (
    (re.compile(r"(python|pypy)[0-9.]*"), "cm", {"-W", "-X", "--check-hash-based-pycs"}),
    (re.compile(r"(ba|da|a|z|k)?sh[0-9.]*"), "cs", {"-o", "-O", "+o", "+O", "--rcfile", "--init-file"}),
    (re.compile(r"perl[0-9.]*"), "eE", {"-I"}),
    (re.compile(r"ruby[0-9.]*"), "e", {"-I", "-r", "-C", "-E"}),
    (re.compile(r"(node|nodejs)[0-9.]*"), "ep", {"-r", "--require", "--import", "--loader", "-C"}),
    (re.compile(r"lua[0-9.]*"), "e", {"-l"}),
    (re.compile(r"php[0-9.]*"), "rBRE", {"-d", "-c", "-z"}),
)
_LONG = {"--norc", "--noprofile", "--login", "--posix", "--verbose", "--isolated"}


def script_of(exe: str, argv: list[str]) -> int | None:
    """Return which word is an interpreter's script; None when it runs none, or when that cannot be told for sure."""
    known = next(((ending, valued) for names, ending, valued in _OPTIONS if names.fullmatch(exe)), None)
    if known is None:
        return None
    ending, valued = known
    i = 1
    while i < len(argv):
        word = argv[i]
        if word == "--":
            return i + 1 if i + 1 < len(argv) else None
        if word[:1] not in ("-", "+") or word == "+":
            return i
        if word == "-" or (word.startswith("--") and word.partition("=")[0] not in valued | _LONG):
            return None  # rather miss than kill
        if word in valued:
            i += 2
            continue
        if not word.startswith("--") and any(letter in ending for letter in word[1:]):
            return None
        i += 1
    return None
