"""Processes of this machine: looks, starts and signals. The rooms of this package are one outside thing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from whiz.core.limits import grips, needed
from whiz.core.model import Manifest, Outcome, Proc, Program, Run, Seen, Want
from whiz.core.value import replace
from whiz.world import disk
from whiz.world.host.cgroup import Cgroups
from whiz.world.host.children import Children
from whiz.world.host.health import Health
from whiz.world.host.stat import alive, boot_id, identify, read_stat
from whiz.world.host.waker import Waker
from whiz.world.host.watchful import Watchful

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from whiz.core.limits import Grip
    from whiz.core.model import Found
    from whiz.world.host.scan import Table

_TICKS = os.sysconf("SC_CLK_TCK")


class LocalHost:
    """Starts, watches and signals processes of this machine for one home."""

    def __init__(self, home_id: str, logs: str, records: str, tasks: str, *, installed: bool = False) -> None:
        self._home = home_id
        self.cgroups = Cgroups(installed=installed)
        self.watchful = Watchful(self.cgroups)
        self._logs, self._records, self._tasks = logs, records, tasks
        self._table: Table | None = None
        self.boot = boot_id()
        self.children = Children(self.boot)
        self.waker = Waker(self.boot)
        self.health = Health(self.children, self.waker, logs, f"{os.path.dirname(records)}/said")

    def look(self, runs: Sequence[Run]) -> Seen:
        """Look at the recorded processes alone."""
        self._table = None
        self.cgroups.look()
        self.children.reap()
        self.health.living = tuple(r.id for r in runs if r.live)
        procs = {p for r in runs if r.live for p in (r.proc, r.keeper, *r.left) if p is not None}
        living = frozenset(p for p in procs if self.children.lives(p) or alive(p, self.boot))
        outcomes = {r.id: o for r in runs if r.live and (o := self._outcome(r, living)) is not None}
        trees: dict[str, tuple[Proc, ...]] = dict.fromkeys(self.children.ended_whole(runs), ())
        trees |= {r.id: inside for r in runs if _ends(r, living) and (inside := self._inside(r))}
        here = [r for r in runs if r.live and r.boot == self.boot]
        return Seen(
            boot=self.boot,
            alive=living,
            outcomes=tuple(outcomes.items()),
            trees=tuple(trees.items()),
            witnessed=self.children.witnessed(runs),
            usage=self.watchful.usage(here, living),
            felled=tuple(self.watchful.felled(here, living, outcomes)),
        )

    def _inside(self, run: Run) -> tuple[Proc, ...]:
        """Return who lives in a Run's own cgroup besides its main process: a tree that need not be looked for."""
        if run.program.stop.tree == "session" or run.boot != self.boot:
            return ()
        found = (identify(pid, self.boot) for pid in self.cgroups.members(run) if pid not in (1, os.getpid()))
        return tuple(p for p in found if p is not None and p != run.proc)

    def scan(self, manifest: Manifest, runs: Sequence[Run]) -> Seen:
        """Look at every process of the machine."""
        from whiz.world.host.match import matches  # noqa: PLC0415  psutil costs 20 ms; a quiet turn needs none
        from whiz.world.host.scan import Table  # noqa: PLC0415

        table = Table(self.boot, self._home)
        found = [*self._marked(table, runs), *self._orphans({r.id for r in runs})]
        known = tuple(f.run for f in found if f.run is not None)
        uids = {p.name: self._uid(p) for p in manifest.values() if p.want is not Want.DOWN}
        mains = frozenset(r.proc for r in runs if r.live and r.program.want is not Want.DOWN)
        found += matches(table, manifest, uids, mains)
        seen = self.look(runs)
        self.health.living += known  # whose records are lost say how they do all the same
        self._table = table
        # the table is older than the outcomes: a member that has ended in between was not left behind
        trees = {r.id: self._tree(table, r) if _ends(r, seen.alive) else table.tree(r) for r in runs if r.live}
        living = {i: tuple(p for p in tree if alive(p, self.boot)) for i, tree in trees.items()}
        return replace(seen, trees=tuple(living.items()), found=tuple(found))

    def _tree(self, table: Table, run: Run) -> tuple[Proc, ...]:
        """Return a Run's tree: as the table has it, and who came into its cgroup since."""
        inside = self._inside(run)
        known = table.tree(run, frozenset(p.pid for p in inside))
        return (*known, *(p for p in inside if p.pid not in table.entries))

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
        return self._tree(self._table, run)

    def raze(self, run: Run) -> None:
        """End by force, all at once, whoever is in the Run's own cgroup; guests are not."""
        if run.boot == self.boot and run.program.stop.tree != "session":
            self.cgroups.raze(run)

    def clear(self, run: Run) -> None:
        """Remove the cgroup of a Run that has ended."""
        self.cgroups.clear(run)

    def grips(self, program: Program, run: Run | None = None) -> tuple[Grip, ...]:
        """Return how the limits of a program are held: of this Run, or of one that started now."""
        lives = run is not None and run.proc is not None and run.exited is None
        ground = self.cgroups.ground((run,) if run is not None and lives else ())
        if run is None or not lives:
            return grips(
                program.limits, needed(program.limits) & ground.controllers, ground, root=self._uid(program) == 0
            )
        held = self.cgroups.held(run)
        return grips(run.program.limits, held, ground, root=self._uid(run.program) == 0, adopted=run.adopted)

    def start(self, run: Run) -> Outcome:
        """Start a Run's program; its chaperone is told apart by `Outcome.ended` being False and no proc."""
        from whiz.core.wire import digest  # noqa: PLC0415
        from whiz.world.host.mark import Mark  # noqa: PLC0415
        from whiz.world.host.spawn import spawn  # noqa: PLC0415

        name = run.program.name
        mark = str(Mark(self._home, name, run.id, digest(run.program)))
        seat = self.cgroups.seat(run)
        try:
            log, said = f"{self._logs}/{disk.quoted(name)}.log", self.health.prepared(run)
            pid, keeper = spawn(run.program, mark, log, self._outcome_path(run), seat, said)
        except (OSError, ValueError, OverflowError) as exc:
            if seat is not None:
                self.cgroups.clear(run)
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


def _ends(run: Run, living: Container[Proc]) -> bool:
    """Whether a Run is on its way out, as far as is known."""
    return run.live and (run.asked is not None or run.exited is not None or run.proc not in living)


def _said(exc: Exception) -> str:
    """Return the system's words, with the file they are about."""
    if not isinstance(exc, OSError):
        return str(exc)
    words, name = exc.strerror or str(exc), os.fsdecode(exc.filename) if exc.filename else ""
    return words if not name or name in words else f"{name}: {words}"
