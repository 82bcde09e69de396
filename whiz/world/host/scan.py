"""One look at every process, through psutil: who carries our mark, who belongs to whose tree, who matches."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import psutil

from whiz.core.model import Proc, Run, Want
from whiz.world.host.stat import Stat, read_stat

_PASSES = 5
_EXECS = 20
RUN, KEEPER = "WHIZ_RUN", "WHIZ_KEEPER"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the environment says: home id, program, run id, digest of the Program."""

    home: str
    name: str
    run: str
    digest: str

    def __str__(self) -> str:
        return f"{self.home}/{self.name}/{self.run}/{self.digest}"


def parse_mark(text: str) -> Mark | None:
    """Return the mark in a variable's value, None when it is not one of whiz's."""
    words = text.split("/")
    return Mark(*words) if len(words) == 4 else None  # noqa: PLR2004


@dataclass(slots=True)
class Entry:
    """One process as the scan saw it. `readable`: whether its environment could be read."""

    stat: Stat
    proc: Proc
    mark: Mark | None = None
    keeper: Mark | None = None
    readable: bool = True
    _cmdline: list[str] | None = field(default=None)

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

    def __init__(self, boot: str) -> None:
        self.entries: dict[int, Entry] = {}
        self.boot = boot
        self._own_pids = _namespace("self", "pid")
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
        entry = Entry(stat, Proc(self.boot, pid, stat.ticks))
        self._read_marks(entry)
        self.entries[pid] = entry

    def reread(self, since: float) -> None:
        """Read again, a few times, the session leaders born after `since` (ticks) that showed no mark."""
        for _ in range(_PASSES):
            young = [
                e
                for e in self.entries.values()
                if e.stat.session == e.stat.pid and e.stat.ticks >= since and e.mark is None and e.keeper is None
            ]
            if not young:
                return
            time.sleep(0.005)  # an exec in progress tells nobody when it is over
            for entry in young:
                self._read_marks(entry)

    def _read_marks(self, entry: Entry) -> None:
        try:
            process = psutil.Process(entry.proc.pid)
            environ = process.environ()
            for _ in range(_EXECS):
                if environ or process.cmdline():
                    break
                time.sleep(0.001)  # in the middle of exec the kernel shows neither; nothing announces its end
                environ = process.environ()
        except psutil.NoSuchProcess:
            return
        except (psutil.AccessDenied, OSError):
            entry.readable = False  # unknown, not absent
            return
        if RUN not in environ and KEEPER not in environ:
            return
        if self.foreign(entry.proc.pid, "pid"):
            return
        entry.mark = parse_mark(environ.get(RUN, ""))
        entry.keeper = parse_mark(environ.get(KEEPER, ""))

    def foreign(self, pid: int, kind: str) -> bool:
        """Whether a process lives in another namespace than whiz, or one that cannot be told."""
        own = self._own_pids if kind == "pid" else _namespace("self", kind)
        theirs = _namespace(str(pid), kind)
        return theirs is None or theirs != own

    def ours(self, proc: Proc | None) -> Entry | None:
        """Return the entry of exactly this process."""
        entry = self.entries.get(proc.pid) if proc is not None else None
        return entry if entry is not None and entry.proc == proc else None

    def tree(self, run: Run) -> tuple[Proc, ...]:
        """Return the living members of a Run's tree besides its main process.

        By descent, session and group while the main process lives (its number cannot mean another then), by those
        noted before, and by mark. What carries another Run's or a chaperone's mark is not a member, nor is whiz.
        """
        if run.program.want is Want.DOWN:
            return ()  # the hit list names the process, not its family
        found: dict[int, Entry] = {}
        main = self.ours(run.proc)
        if main is not None and main.stat.pid in (1, os.getpid()):
            main = None  # a record that lies: who shares init's session is not of this tree
        roots = [e for e in (main, *map(self.ours, run.left)) if e is not None]
        guests = run.program.stop.tree == "session"
        for entry in self.entries.values():
            by_mark = entry.mark is not None and entry.mark.run == run.id and not guests
            if by_mark or (main is not None and _beside(entry, main, guests=guests)):
                roots.append(entry)
        seen = set()
        while roots:
            entry = roots.pop()
            if entry.stat.pid in seen or not self._member(entry, run):
                continue
            seen.add(entry.stat.pid)
            if entry is not main:
                found[entry.stat.pid] = entry
            if not guests:
                roots += [self.entries[pid] for pid in self._children.get(entry.stat.pid, ())]
        return tuple(e.proc for e in found.values())

    def _member(self, entry: Entry, run: Run) -> bool:
        if entry.stat.pid in (1, os.getpid()) or entry.keeper is not None:
            return False
        return entry.mark is None or entry.mark.run == run.id or run.adopted


def _beside(entry: Entry, main: Entry, *, guests: bool) -> bool:
    """Whether a process shares the session or group that the main process leads."""
    pid = main.stat.pid
    if main.stat.session == pid and entry.stat.session == pid:
        return True
    return not guests and main.stat.group == pid and entry.stat.group == pid


def _namespace(pid: str, kind: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None
