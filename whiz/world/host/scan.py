"""One look at every process, through psutil: who carries our mark, who belongs to whose tree, who matches."""

from __future__ import annotations

import os

import psutil

from whiz.core.model import Proc, Run, Want
from whiz.world.host.mark import Mark, Marks, read_marks
from whiz.world.host.stat import Stat, places, read_stat

_PASSES = 5


class Entry:
    """One process as the scan saw it. `readable`: whether its environment could be read."""

    __slots__ = ("_cmdline", "helper", "keeper", "mark", "proc", "readable", "stat")

    def __init__(self, stat: Stat, proc: Proc, marks: Marks) -> None:
        self.stat, self.proc = stat, proc
        self.mark, self.keeper, self.readable, self.helper = marks
        self._cmdline: list[str] | None = None

    def cmdline(self) -> list[str]:
        """Return its arguments, empty when it is gone."""
        if self._cmdline is None:
            try:
                self._cmdline = psutil.Process(self.proc.pid).cmdline()
            except psutil.Error:
                self._cmdline = []
        return self._cmdline


class Table:
    """Every process of one instant."""

    def __init__(self, boot: str, home: str) -> None:
        self.entries: dict[int, Entry] = {}
        self.boot, self._home = boot, home
        self._own_pids = _namespace(os.getpid(), "pid")
        listed: set[int] = set()
        for _ in range(_PASSES):  # what was forked while we read is read too
            new = set(psutil.pids()) - listed
            if not new:
                break
            listed |= new
            for pid in sorted(new):
                self._read(pid)
        self._children: dict[int, list[int]] = {}
        for pid, entry in self.entries.items():
            self._children.setdefault(entry.stat.ppid, []).append(pid)

    def _read(self, pid: int) -> None:
        stat = read_stat(pid)
        if stat is None or stat.dead or stat.kernel:
            return
        marks = read_marks(stat)
        if (marks.mark is not None or marks.keeper is not None) and self.foreign(pid, "pid"):
            marks = Marks()
        self.entries[pid] = Entry(stat, Proc(self.boot, pid, stat.ticks), marks)

    def foreign(self, pid: int, kind: str) -> bool:
        """Whether a process lives in another namespace than whiz, or one that cannot be told."""
        own = self._own_pids if kind == "pid" else _namespace(os.getpid(), kind)
        theirs = _namespace(pid, kind)
        return theirs is None or theirs != own

    def ours(self, proc: Proc | None) -> Entry | None:
        """Return the entry of exactly this process."""
        entry = self.entries.get(proc.pid) if proc is not None else None
        return entry if entry is not None and entry.proc == proc else None

    def tree(self, run: Run, inside: frozenset[int] = frozenset()) -> tuple[Proc, ...]:
        """Return the living members of a Run's tree besides its main process. `inside`: who lives in its cgroup.

        By descent, session and group while the main process lives (its number cannot mean another then), by those
        noted before, by cgroup, and by mark. What carries another Run's or a chaperone's mark is not a member, nor is
        whiz; and a Run of another home is another, also where a copied or forged record gives both one number.
        """
        if run.program.want is Want.DOWN:
            return ()  # the hit list names the process, not its family
        found: dict[int, Entry] = {}
        main = self.ours(run.proc)
        if main is not None and main.stat.pid in (1, os.getpid()):
            main = None  # a record that lies: who shares init's session is not of this tree
        homes = {self._home, main.mark.home if main is not None and main.mark is not None else self._home}
        roots = [e for e in (main, *map(self.ours, run.left)) if e is not None]
        guests = run.program.stop.tree == "session"
        for entry in self.entries.values():
            by_mark = entry.mark is not None and _marked(entry.mark, run, homes) and not guests
            if by_mark or entry.stat.pid in inside or (main is not None and _beside(entry, main, guests=guests)):
                roots.append(entry)
        seen = set()
        while roots:
            entry = roots.pop()
            if entry.stat.pid in seen or not self._member(entry, run, homes):
                continue
            seen.add(entry.stat.pid)
            if entry is not main:
                found[entry.stat.pid] = entry
            if not guests:
                roots += [self.entries[pid] for pid in self._children.get(entry.stat.pid, ())]
        return tuple(e.proc for e in found.values())

    def _member(self, entry: Entry, run: Run, homes: set[str]) -> bool:
        if entry.stat.pid in (1, os.getpid()) or entry.keeper is not None:
            return False
        return entry.mark is None or _marked(entry.mark, run, homes) or run.adopted


def _marked(mark: Mark, run: Run, homes: set[str]) -> bool:
    return mark.run == run.id and mark.home in homes


def _beside(entry: Entry, main: Entry, *, guests: bool) -> bool:
    """Whether a process shares the session or group that the main process leads."""
    pid = main.stat.pid
    if main.stat.session == pid and entry.stat.session == pid:
        return True
    return not guests and main.stat.group == pid and entry.stat.group == pid


def _namespace(pid: int, kind: str) -> str | None:
    try:
        for place in places(pid):
            try:
                return os.readlink(f"{place}/ns/{kind}")
            except FileNotFoundError:
                continue  # this thread has exited
    except OSError:
        return None
    return None
