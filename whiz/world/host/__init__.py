"""Processes of this machine: looks, starts and signals. The rooms of this package are one outside thing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from whiz.core.model import Manifest, Outcome, Proc, Program, Run, Seen, Want
from whiz.core.value import replace
from whiz.world import disk
from whiz.world.host.children import Children
from whiz.world.host.health import Health
from whiz.world.host.stat import alive, boot_id, identify, read_stat
from whiz.world.host.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from whiz.core.model import Found
    from whiz.world.host.scan import Table

_TICKS = os.sysconf("SC_CLK_TCK")


class LocalHost:
    """Starts, watches and signals processes of this machine for one home."""

    def __init__(self, home_id: str, logs: str, records: str, tasks: str) -> None:
        self._home = home_id
        self._logs, self._records, self._tasks = logs, records, tasks
        self._table: Table | None = None
        self.boot = boot_id()
        self.children = Children(self.boot)
        self.waker = Waker(self.boot)
        self.health = Health(self.children, self.waker, logs, f"{os.path.dirname(records)}/said")

    def look(self, runs: Sequence[Run]) -> Seen:
        """Look at the recorded processes alone."""
        self._table = None
        self.children.reap()
        self.health.living = tuple(r.id for r in runs if r.live)
        procs = {p for r in runs if r.live for p in (r.proc, r.keeper, *r.left) if p is not None}
        living = frozenset(p for p in procs if self.children.lives(p) or alive(p, self.boot))
        outcomes = {r.id: o for r in runs if r.live and (o := self._outcome(r, living)) is not None}
        whole = self.children.ended_whole(runs)
        return Seen(
            boot=self.boot,
            alive=living,
            outcomes=tuple(outcomes.items()),
            trees=tuple((i, ()) for i in whole),
            witnessed=self.children.witnessed(runs),
        )

    def scan(self, manifest: Manifest, runs: Sequence[Run]) -> Seen:
        """Look at every process of the machine."""
        from whiz.world.host.match import matches  # noqa: PLC0415  psutil costs 20 ms; a quiet turn needs none
        from whiz.world.host.scan import Table  # noqa: PLC0415

        table = Table(self.boot)
        found = [*self._marked(table, runs), *self._orphans({r.id for r in runs})]
        uids = {p.name: self._uid(p) for p in manifest.values() if p.want is not Want.DOWN}
        mains = frozenset(r.proc for r in runs if r.live and r.program.want is not Want.DOWN)
        found += matches(table, manifest, uids, mains)
        seen = self.look(runs)
        self._table = table
        # the table is older than the outcomes: a member that has ended in between was not left behind
        trees = tuple((r.id, tuple(p for p in table.tree(r) if alive(p, self.boot))) for r in runs if r.live)
        return replace(seen, trees=trees, found=tuple(found))

    def _uid(self, program: Program) -> int | None:
        from whiz.world.host.spawn import who  # noqa: PLC0415

        try:
            return who(program).uid
        except (OSError, ValueError, OverflowError):
            return None

    def _marked(self, table: Table, runs: Sequence[Run]) -> Iterable[Found]:
        """Yield what carries this home's mark, and what may be a start of ours behind a closed environment."""
        from whiz.core.model import Found  # noqa: PLC0415
        from whiz.world.host.match import textual  # noqa: PLC0415

        unsure = [r for r in runs if r.live and r.proc is None and r.keeper is None and r.boot == self.boot]
        known = {r.id for r in runs}
        for entry in table.entries.values():
            leader = entry.stat.session == entry.stat.pid
            for mark, keeper in ((entry.keeper, True), (entry.mark, False)):
                if mark is None or mark.home != self._home:
                    continue
                parent = table.entries.get(entry.stat.ppid)
                if keeper and parent is not None and parent.keeper == mark:
                    continue  # the program to be, which looks like its chaperone until its exec
                if mark.run in known or not table.foreign(entry.stat.pid, "mnt"):
                    yield Found(mark.name, entry.proc, mark.run, keeper, mark.digest, leader)
            if leader and not entry.readable:
                for run in unsure:
                    if entry.stat.ticks / _TICKS >= run.started - 1 and textual(entry, run.program):
                        yield Found(run.program.name, entry.proc, run.id)

    def _orphans(self, known: set[str]) -> Iterable[Found]:
        """Yield what a chaperone wrote an outcome for while the Run's record could not be written."""
        from whiz.core.model import Found  # noqa: PLC0415
        from whiz.core.wire import load_proc  # noqa: PLC0415
        from whiz.world.host.mark import parse_mark  # noqa: PLC0415

        for folder in sorted({self._records, self._tasks}):
            for name in disk.names(folder, ".outcome"):
                if name.rpartition("@")[2] in known:
                    continue
                try:
                    held = disk.read_json(f"{folder}/{name}.outcome")
                    if not isinstance(held, dict):
                        continue
                    proc = load_proc(held["proc"])
                    mark = parse_mark(str(held["mark"]))
                except (OSError, ValueError, KeyError, TypeError):
                    continue
                if mark is not None and (mark.home, f"{disk.quoted(mark.name)}@{mark.run}") == (self._home, name):
                    yield Found(mark.name, proc, mark.run, digest=mark.digest)

    def name_of(self, pid: int) -> Proc | None:
        """Return the kernel's name for a process that lives now."""
        return identify(pid, self.boot)

    def lives(self, proc: Proc) -> bool:
        """Whether exactly this process runs."""
        return alive(proc, self.boot)

    def tree(self, run: Run, manifest: Manifest, runs: Sequence[Run]) -> tuple[Proc, ...]:
        """Return the living members of a Run's tree besides its main process, from this turn's scan."""
        if self._table is None:
            self.scan(manifest, runs)
        assert self._table is not None  # noqa: S101  scan sets it
        return self._table.tree(run)

    def start(self, run: Run) -> Outcome:
        """Start a Run's program; its chaperone is told apart by `Outcome.ended` being False and no proc."""
        from whiz.core.wire import digest  # noqa: PLC0415
        from whiz.world.host.mark import Mark  # noqa: PLC0415
        from whiz.world.host.spawn import spawn  # noqa: PLC0415

        name = run.program.name
        mark = str(Mark(self._home, name, run.id, digest(run.program)))
        try:
            pid, keeper = spawn(
                run.program,
                mark,
                f"{self._logs}/{disk.quoted(name)}.log",
                self._outcome_path(run),
                self.health.prepared(run),
            )
        except (OSError, ValueError, OverflowError) as exc:
            return Outcome(error=_said(exc), ended=True)
        proc = self.children.adopt(pid)
        if proc is None:
            return Outcome(error="it vanished before it could be looked at", ended=True)
        return Outcome(proc=proc, keeper=keeper)

    def signal(self, procs: Iterable[Proc], name: str) -> None:
        """Signal exactly these processes, through pidfds: the number of one that is gone may be another's by now."""
        number = signal.Signals[f"SIG{name}"]
        for proc in procs:
            if proc.boot != self.boot or proc.pid in (1, os.getpid()):
                continue
            try:
                fd = os.pidfd_open(proc.pid)
            except OSError:
                continue
            try:
                now = read_stat(proc.pid)
                if now is not None and now.ticks == proc.ticks and not now.kernel:
                    signal.pidfd_send_signal(fd, number)
            except (ProcessLookupError, PermissionError):
                continue
            finally:
                os.close(fd)

    def wait(self, procs: Iterable[Proc], seconds: float) -> None:
        """Sleep until one of these processes ends, or so long; a resident host also until its bell rings."""
        procs = [p for p in procs if self.waker.bell is None or not self.children.lives(p)]
        more, soonest = self.health.awaited()
        self.waker.wait(procs + more if self.waker.bell is None else procs, min(seconds, soonest))

    def _outcome(self, run: Run, living: frozenset[Proc]) -> Outcome | None:
        """Return what the parent or the chaperone knows of a Run."""
        from whiz.core.wire import load_proc  # noqa: PLC0415

        if (code := self.children.code(run.proc)) is not None:
            return Outcome(exit=code, ended=True)
        if not run.program.kept or run.adopted or (run.proc in living and run.proc is not None):
            return None
        try:
            held = disk.read_json(self._outcome_path(run))
        except (OSError, ValueError):
            return None
        if not isinstance(held, dict):
            return None
        try:
            proc = load_proc(held["proc"]) if "proc" in held else None
            error, code = held.get("error"), held.get("exit")
            if not isinstance(error, str | None) or not isinstance(code, int | None):
                return None
            return Outcome(proc, error, code, held["ended"] is True)
        except (KeyError, TypeError, ValueError):
            return None

    def _outcome_path(self, run: Run) -> str:
        folder = self._tasks if run.program.want is Want.DONE else self._records
        return f"{folder}/{disk.quoted(run.program.name)}@{run.id}.outcome"


def _said(exc: Exception) -> str:
    """Return the system's words, with the file they are about."""
    if not isinstance(exc, OSError):
        return str(exc)
    words, name = exc.strerror or str(exc), os.fsdecode(exc.filename) if exc.filename else ""
    return words if not name or name in words else f"{name}: {words}"
