"""What whole trees have in memory, for ceilings that nothing else holds; and whom the kernel killed for want of it."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from whiz.core import oom
from whiz.world import disk
from whiz.world.host.mark import read_marks
from whiz.world.host.stat import Stat, read_stat

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")
_KMSG = "/dev/kmsg"
_FIRST = "pid:[4026531836]"  # the pid namespace that the kernel's log speaks of (PROC_PID_INIT_INO)


class Families:
    """Who descends from whom. Environments are read only of those that somebody left behind, as none of `known` was."""

    def __init__(self, known: Container[int]) -> None:
        self._stats = {s.pid: s for s in map(read_stat, _pids()) if s is not None and not s.dead and not s.kernel}
        self._children: dict[int, list[int]] = {}
        for pid, stat in self._stats.items():
            self._children.setdefault(stat.ppid, []).append(pid)
        self._left = dict(self._orphans(known))

    def _orphans(self, known: Container[int]) -> Iterator[tuple[int, str]]:
        """Yield who was left to init or to us, and whose Run each is marked with."""
        for pid in (p for above in {1, os.getpid()} for p in self._children.get(above, ()) if p not in known):
            stat = self._stats[pid]
            marks = read_marks(stat)
            if marks.mark is not None and marks.keeper is None:
                yield stat.pid, marks.mark.run

    def of(self, pid: int, run: str) -> set[int]:
        """Return the tree of a main process: by descent, session and group, and by mark."""
        roots = [p for p, s in self._stats.items() if p == pid or self._beside(s, pid)]
        roots += [p for p, marked in self._left.items() if marked == run]
        found: set[int] = set()
        while roots:
            at = roots.pop()
            if at not in found and at != os.getpid():
                found.add(at)
                roots += self._children.get(at, ())
        return found

    def _beside(self, stat: Stat, pid: int) -> bool:
        main = self._stats.get(pid)
        return main is not None and ((stat.session == main.session == pid) or (stat.group == main.group == pid))


def measure(pids: Iterable[int], limit: int) -> int:
    """Return how many bytes these have in memory; what they share is told apart only where it matters."""
    pids = tuple(pids)
    whole = sum(map(_resident, pids))
    return whole if whole <= limit else sum(_share(p) for p in pids)


def _resident(pid: int) -> int:
    words = _read(f"/proc/{pid}/statm").split()
    return int(words[1]) * _PAGE if len(words) > 1 else 0


def _share(pid: int) -> int:
    """Return its part of what it shares (PSS); all of it where that is closed to us."""
    found = re.search(r"^Pss: +(\d+) kB", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 if found is not None else _resident(pid)


def felled(pid: int, started: float) -> str | None:
    """Say how a process that lived since then (CLOCK_BOOTTIME) was killed, if the kernel's log says it, and to us."""
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()  # which the log's clock does not count
    try:
        if os.readlink("/proc/self/ns/pid") != _FIRST:
            return None  # the log would speak of another with this number
        return oom.from_log(_log(), pid, started - asleep, time.monotonic())
    except OSError:
        return None


def _log() -> Iterator[str]:
    """Yield what is in the kernel's log now."""
    fd = os.open(_KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                yield os.read(fd, 8192).decode(errors="replace")
            except BrokenPipeError:
                continue  # that record was overwritten meanwhile
            except OSError:
                return  # no more for now
    finally:
        os.close(fd)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(path: str) -> str:
    try:
        return (disk.read(path) or b"").decode(errors="replace")
    except OSError:
        return ""
