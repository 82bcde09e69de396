"""Processes as seen from outside, and the end of exactly those that descend from one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING

import subjects
from sleeps import pids

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36


def beneath(work: Callable[[], int]) -> int:
    """Do something in a child, inherit and reap every orphan below, and at the end kill exactly what descends from us.

    As init would: a dead orphan that nobody reaps looks alive to who asks by its pid.
    """
    adopt()
    child = os.fork()
    if child == 0:
        os._exit(work())
    try:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == child:
                return os.waitstatus_to_exitcode(status)
    finally:
        end()


def adopt() -> None:
    """Inherit what is orphaned below us."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end() -> None:
    """Kill what descends from us, until nothing does."""
    while left := descendants(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)  # who is left may be nobody's child yet: looked for anew


def descendants(of: int) -> set[int]:
    """Return every living process that descends from one."""
    parents = {}
    for pid in pids():
        with contextlib.suppress(OSError, IndexError):
            state, parent = _stat(pid)
            if state not in "ZX":
                parents[pid] = parent
    found = {of}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found - {of}


def _stat(pid: int) -> tuple[str, int]:
    with open(f"/proc/{pid}/stat", "rb") as f:
        words = f.read().rpartition(b")")[2].split()
    return words[0].decode(), int(words[1])


def parent_of(pid: int) -> int:
    """Return its parent, or nothing when it is gone."""
    try:
        return _stat(pid)[1]
    except (OSError, IndexError):
        return 0


def lives(pid: int) -> bool:
    """Whether it has not ended; one that nobody has reaped has."""
    try:
        return _stat(pid)[0] not in "ZX"
    except (OSError, IndexError):
        return False


def comm(pid: int) -> str:
    """Return its name."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def is_program(pid: int, word: str, path: str) -> bool:
    """Whether a process is a program: its script in the hands of an interpreter, or what that became."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            argv = f.read().decode(errors="replace").split("\0")[:-1]
        script = argv[2:3] if argv[1:2] == [subjects.ISOLATED] else argv[1:2]
        return (argv[-1:] == [word] or (path != "" and script == [path])) and lives(pid)
    except OSError:
        return False
