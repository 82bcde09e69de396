"""A host and a store made of memory. They pass the same contract as the real ones (tests/world)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from whiz.core.model import Answer, Found, Manifest, Outcome, Proc, Run, Seen, Want, Wishes
from whiz.core.wire import digest
from whiz.ports import Clock
from whiz.world.store import _kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from whiz.core.agenda import Reckoned
    from whiz.core.model import Ask, Program

BOOT = "boot-1"


@dataclass
class Process:
    name: str
    run: str | None  # the mark; None for what was started by hand
    digest: str
    ends: float
    code: int
    parent: Proc | None = None  # set: a member of that process's tree
    stubborn: bool = False


@dataclass
class FakeHealth:
    """`slow`: name -> s from its start until it is ready; `sick`: until it is not alive any more."""

    slow: dict[str, float] = field(default_factory=dict)
    sick: dict[str, float] = field(default_factory=dict)
    asked: dict[tuple[str, str], float] = field(default_factory=dict)
    found: list[Answer] = field(default_factory=list)
    rung: bool = False

    def before(self, program: Program) -> str:
        del program
        return ""

    def ask(self, asks: Iterable[Ask], now: float) -> None:
        for ask in asks:
            self.asked[ask.run.id, ask.kind] = now
            self.rung = True
            age, name = now - ask.run.started, ask.run.program.name
            well = age >= self.slow.get(name, 0.0) if ask.kind == "ready" else age < self.sick.get(name, 1e12)
            self.found.append(Answer(ask.run.id, ask.kind, well, "" if well else "refused"))

    def answers(self) -> tuple[Answer, ...]:
        found, self.found = tuple(self.found), []
        return found

    def asking(self) -> bool:
        return bool(self.found)


@dataclass
class FakeHost:
    """`lives`: name -> (seconds, exit code). `stubborn`: ignores everything but KILL. `litters`: leaves a child behind."""

    lives: dict[str, tuple[float, int]] = field(default_factory=dict)
    stubborn: frozenset[str] = frozenset()
    litters: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset({"/missing"})
    boot: str = BOOT
    now: float = 1000.0
    procs: dict[Proc, Process] = field(default_factory=dict)
    codes: dict[Proc, int] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    razed: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    pid: int = 100
    ids: int = 0
    health: FakeHealth = field(default_factory=FakeHealth)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now, self._id, lambda: UTC)

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids:06d}"

    def _pass(self) -> None:
        for proc, p in list(self.procs.items()):
            if p.ends <= self.now:
                self.end(proc, p.code)

    def end(self, proc: Proc, code: int) -> None:
        p = self.procs.pop(proc)
        self.codes[proc] = code
        if p.parent is None and p.name in self.litters and p.run is not None:
            self._put(Process(p.name, p.run, p.digest, 1e12, 0, parent=proc))

    def _put(self, p: Process) -> Proc:
        self.pid += 1
        proc = Proc(self.boot, self.pid, int(self.now * 100))
        self.procs[proc] = p
        return proc

    def by_hand(self, name: str) -> Proc:
        return self._put(Process(name, None, "", 1e12, 0))

    def alive(self, name: str) -> list[Proc]:
        return [proc for proc, p in self.procs.items() if p.name == name and p.parent is None]

    def look(self, runs: Sequence[Run]) -> Seen:
        self._pass()
        outcomes = tuple(
            (r.id, Outcome(exit=self.codes[r.proc], ended=True)) for r in runs if r.live and r.proc in self.codes
        )
        known = {p for r in runs if r.live for p in (r.proc, r.keeper, *r.left) if p is not None}
        return Seen(boot=self.boot, alive=frozenset(known & self.procs.keys()), outcomes=outcomes)

    def scan(self, manifest: Manifest, runs: Sequence[Run]) -> Seen:
        seen = self.look(runs)
        trees = tuple((r.id, self.tree(r, manifest, runs)) for r in runs if r.live)
        found = []
        for proc, p in self.procs.items():
            if p.run is not None:
                found.append(Found(p.name, proc, p.run, digest=p.digest, leader=p.parent is None))
            elif p.run is None and p.name in manifest:
                found.append(Found(p.name, proc))
        return Seen(boot=self.boot, alive=seen.alive, outcomes=seen.outcomes, trees=trees, found=tuple(found))

    def tree(self, run: Run, manifest: Manifest, runs: Sequence[Run]) -> tuple[Proc, ...]:
        del manifest, runs
        return tuple(proc for proc, p in self.procs.items() if p.parent is not None and p.run == run.id)

    def start(self, run: Run) -> Outcome:
        program = run.program
        if program.argv[0] in self.missing:
            return Outcome(error="No such file or directory", ended=True)
        span, code = self.lives.get(program.name, (0.0, 0) if program.want is Want.DONE else (1e12, 0))
        stubborn = program.name in self.stubborn
        proc = self._put(Process(program.name, run.id, digest(program), self.now + span, code, stubborn=stubborn))
        self.starts.append(program.name)
        self.most[program.name] = max(self.most.get(program.name, 0), len(self.alive(program.name)))
        return Outcome(proc=proc)

    def signal(self, procs: Iterable[Proc], name: str) -> None:
        for proc in procs:
            if proc in self.procs and (name == "KILL" or not self.procs[proc].stubborn):
                self.end(proc, -9 if name == "KILL" else -15)

    def raze(self, run: Run) -> None:
        self.razed.append(run.id)

    def clear(self, run: Run) -> None:
        self.cleared.append(run.id)

    def wait(self, procs: Iterable[Proc], seconds: float) -> None:
        if self.health.rung:
            self.health.rung = False
            return
        ends = [self.procs[p].ends for p in procs if p in self.procs]
        self.now = max(self.now, min([self.now + seconds, *ends]))
        self._pass()


@dataclass
class FakeStore:
    held: set[str] = field(default_factory=set)
    restarts: set[tuple[str, str]] = field(default_factory=set)
    rows: dict[str, tuple[Run, ...]] = field(default_factory=dict)
    facts: list[dict[str, object]] = field(default_factory=list)
    known: dict[str, Reckoned] = field(default_factory=dict)

    def runs(self) -> tuple[Run, ...]:
        return tuple(r for runs in self.rows.values() for r in runs)

    def save(self, run: Run) -> None:
        name = run.program.name
        self.rows[name] = _kept((*(r for r in self.rows.get(name, ()) if r.id != run.id), run))

    def catch_up(self) -> None:
        return

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            runs = self.rows.get(name, ())
            if all(not r.live and r.program.want is not Want.DONE for r in runs):
                self.rows.pop(name, None)

    def wishes(self) -> Wishes:
        return Wishes(frozenset(self.held), frozenset(self.restarts))

    def granted(self, name: str, run_id: str) -> None:
        self.restarts.discard((name, run_id))

    def reckoned(self) -> dict[str, Reckoned]:
        return self.known

    def reckon(self, reckoned: Mapping[str, Reckoned]) -> None:
        self.known = dict(reckoned)

    def note(self, facts: dict[str, object]) -> None:
        self.facts.append(facts)
