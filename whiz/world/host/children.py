"""Our own children: each reaped by its number, its exit code kept; and orphans, where we inherit them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.model import Proc
from whiz.world.host.stat import identify, read_stat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.model import Run

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER (linux/prctl.h)


class Children:
    """Who was started here and has not been reaped, and how those ended who were."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._living: dict[int, Proc] = {}
        self._codes: dict[Proc, int] = {}
        self._orphans: dict[Proc, str | None] = {}  # whose Run each is of, "" of none, None where nothing tells
        self._helpers: set[Proc] = set()  # whose codes somebody will ask for
        self._heads: set[Proc] = set()  # who takes his process group along when he ends
        self._witnessed: set[str] = set()  # Runs that ended under our eyes with all of their tree
        self.reaper = False

    def add(self, proc: Proc) -> None:
        """Remember one that was just started."""
        self._living[proc.pid] = proc

    def become_reaper(self, procs: Iterable[Proc]) -> None:
        """Inherit the orphans of all we start; take up those of these processes whose parent we are already.

        We are after an exec of ourselves. Where the system refuses, as qemu-user does, who is left behind is looked for
        in /proc, as a turn of cron does.
        """
        import ctypes  # noqa: PLC0415  2 ms that a turn of cron does not have

        self.reaper = ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0) == 0
        for proc in procs:
            stat = read_stat(proc.pid)
            if stat is not None and stat.ticks == proc.ticks and stat.ppid == os.getpid():
                self.add(proc)

    def __len__(self) -> int:
        return len(self._living)

    def adopt(self, pid: int) -> Proc | None:
        """Take up a child that was just started; None when it is gone already."""
        proc = identify(pid, self._boot)
        if proc is not None:
            self.add(proc)
        return proc

    def helped(self, pid: int, *, whole: bool = False) -> Proc | None:
        """Take up a child that is no program's, and whose end will be asked for. `whole`: its group ends with it."""
        proc = self.adopt(pid)
        if proc is not None:
            self._helpers.add(proc)
            if whole:
                self._heads.add(proc)
        return proc

    def fell(self, proc: Proc) -> None:
        """End a helper with its process group; nobody, once it has been reaped: its number may be another's then."""
        if self.lives(proc):
            with suppress(ProcessLookupError):
                os.killpg(proc.pid, signal.SIGKILL)

    def ended(self, proc: Proc) -> int | None:
        """Return how such a helper ended, None while it runs."""
        self.reap()
        if self.lives(proc):
            return None
        self._helpers.discard(proc)
        return self._codes.pop(proc, 0)

    def forget(self, proc: Proc) -> None:
        """Ask no more how a helper ends; it is reaped all the same."""
        self._helpers.discard(proc)

    def lives(self, proc: Proc | None) -> bool:
        """Whether this is a child that has not been reaped: its number cannot be another's."""
        return proc is not None and self._living.get(proc.pid) == proc

    def code(self, proc: Proc | None) -> int | None:
        """Return how a reaped child ended: its exit code, or minus its signal."""
        return self._codes.get(proc) if proc is not None else None

    def reap(self) -> None:
        """Collect who has ended: our children by their numbers, and, as their reaper, orphans."""
        if not self.reaper:
            for pid in tuple(self._living):
                self._collect(pid)
            return
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            self._collect(info.si_pid)

    def _collect(self, pid: int) -> None:
        proc = self._living.get(pid)
        try:
            if proc is not None and proc in self._heads:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return
                self.fell(proc)
                self._heads.discard(proc)
            info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            info = None  # a foreign wait took it: how it ended is not known
        else:
            if info is None:
                return
        self._living.pop(pid, None)
        if info is not None and proc is not None:
            self._codes[proc] = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status

    def ended_whole(self, runs: Iterable[Run]) -> set[str]:
        """Return the Runs that ended here and left nobody behind: whoever they started would be our child by now."""
        ended = [
            r for r in runs if r.live and (r.proc in self._codes or (r.keeper in self._codes and r.exited is None))
        ]
        if not self.reaper or not ended:
            return set()
        owners = set(self._owners())
        whole = set() if None in owners else {r.id for r in ended if r.id not in owners}
        self._witnessed |= whole
        return whole

    def witnessed(self, runs: Iterable[Run]) -> frozenset[str]:
        """Return those of these Runs that ended under our eyes; forget what concerns no other."""
        runs = tuple(runs)
        self._witnessed &= {r.id for r in runs}
        if len(self._codes) > len(runs):
            known = {p for r in runs for p in (r.proc, r.keeper)} | self._helpers
            self._codes = {p: c for p, c in self._codes.items() if p in known}
        return frozenset(self._witnessed)

    def _owners(self) -> Iterable[str | None]:
        """Yield whose Run each orphan belongs to."""
        from whiz.world.host.mark import read_marks  # noqa: PLC0415  a turn of cron inherits nobody

        now: dict[Proc, str | None] = {}
        for pid in self._inherited():
            stat = read_stat(pid)
            if stat is None or stat.dead:
                continue
            proc = Proc(self._boot, pid, stat.ticks)
            if self._orphans.get(proc) is not None:
                now[proc] = self._orphans[proc]
                continue
            marks = read_marks(stat)
            now[proc] = marks.mark.run if marks.mark is not None else "" if marks.helper else None
        self._orphans = now
        return now.values()

    def _inherited(self) -> set[int]:
        """Return the numbers of children that we did not start."""
        found: set[int] = set()
        for thread in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{thread}/children", encoding="ascii") as f:
                    found |= {int(word) for word in f.read().split()}
            except FileNotFoundError:
                continue  # a helper thread that has ended
        return found - self._living.keys()
