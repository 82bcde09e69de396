"""The only loop: look, settle, plan, act; and again until every wish holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, assert_never

from whiz.core.model import Kill, Outcome, Run, Start, Stop, Wait, Want
from whiz.core.plan import plan
from whiz.core.restart import CRASH_LOOP, crash_looping, ended_how, streak
from whiz.core.settle import latest, must_scan, settle
from whiz.core.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from whiz.core.model import Manifest, Plan, Proc, Seen, Step, Wishes

LULL = 1.0  # s that the starts of one turn leave its polite stops to finish, so that check tells the order
LOOK = 1.0  # s between looks while something is on its way whose end may wake nobody (its chaperone was killed)
YOUNG = 0.1  # s that a start must have lived before every wish is said to hold


class Host(Protocol):
    """All the loop knows about processes."""

    boot: str

    def look(self, runs: Sequence[Run]) -> Seen:
        """Look at the recorded processes alone."""

    def scan(self, manifest: Manifest, runs: Sequence[Run]) -> Seen:
        """Look at every process: whose trees they are in, who carries our mark, who matches an entry."""

    def tree(self, run: Run, manifest: Manifest, runs: Sequence[Run]) -> tuple[Proc, ...]:
        """Return the living members of a Run's tree besides its main process."""

    def start(self, run: Run) -> Outcome:
        """Start the program; return its process, its chaperone's (`keeper`), or the error."""

    def signal(self, procs: Iterable[Proc], name: str) -> None:
        """Signal exactly these processes, and nobody who has their numbers by now."""

    def wait(self, procs: Iterable[Proc], seconds: float) -> None:
        """Sleep until one of these ends, or so long."""


class Store(Protocol):
    """All the loop knows about memory."""

    def runs(self) -> tuple[Run, ...]:
        """Return every Run on record."""

    def save(self, run: Run) -> None:
        """Write one Run down."""

    def forget(self, names: Iterable[str]) -> None:
        """Drop the ended Runs of these services."""

    def wishes(self) -> Wishes:
        """Return what is asked for by command."""

    def granted(self, name: str, run_id: str) -> None:
        """Drop a restart wish that has come true."""

    def note(self, facts: dict[str, object]) -> None:
        """Append one fact to the history."""


@value
class Clock:
    """The moments a turn is told. `boot`: CLOCK_BOOTTIME, for decisions; `wall`: for people; `name`: a new Run's id."""

    boot: Callable[[], float]
    wall: Callable[[], float]
    name: Callable[[], str]


def observe(host: Host, store: Store, manifest: Manifest, clock: Clock, *, doubt: bool = False) -> tuple[Run, ...]:
    """Look at the machine and return every Run with what that teaches; nothing is written.

    `doubt`: the records may not be all there is (the manifest changed, a record could not be read): read all of /proc.
    """
    runs = store.runs()
    seen = host.look(runs)
    if doubt or must_scan(manifest, runs, seen, store.wishes()):
        seen = host.scan(manifest, runs)
    return settle(manifest, runs, seen, clock.boot(), clock.wall())


def learn(host: Host, store: Store, manifest: Manifest, clock: Clock, *, doubt: bool = False) -> None:
    """Look, and write down what that teaches."""
    known = {r.id: r for r in store.runs()}
    for run in observe(host, store, manifest, clock, doubt=doubt):
        if known.get(run.id) != run:
            store.save(run)
            _note_end(store, run, known.get(run.id))


def turn(
    host: Host, store: Store, manifest: Manifest, clock: Clock, *, doubt: bool = False, ending: bool = False
) -> Plan:
    """Take one turn and return the plan that was carried out. `ending`: nothing is to run any more."""
    learn(host, store, manifest, clock, doubt=doubt)
    runs, wishes = store.runs(), replace(store.wishes(), ending=ending)
    _tidy(store, manifest, runs, wishes)
    steps, last = plan(manifest, runs, wishes, clock.boot(), host.boot), latest(runs)
    for step in steps:
        _act(step, last, host, store, manifest, clock)
    return steps


def _act(step: Step, last: Mapping[str, Run], host: Host, store: Store, manifest: Manifest, clock: Clock) -> None:
    match step:
        case Start():
            _start(step, last.get(step.program.name), host, store, clock)
        case Stop(run, why):
            rule = manifest[run.program.name].stop if run.program.name in manifest else run.program.stop
            _end(run, rule.signal, why, host, store, manifest, clock)
        case Kill(run, why):
            _end(run, "KILL", why, host, store, manifest, clock)
        case Wait():
            pass
        case _:
            assert_never(step)


def _start(step: Start, last: Run | None, host: Host, store: Store, clock: Clock) -> None:
    """Write the Run down, then start it: a crash between the two is found by the mark in the child's environment."""
    program, now = step.program, clock.boot()
    run = Run(
        id=clock.name(),
        program=program,
        boot=host.boot,
        started=now,
        at=clock.wall(),
        nth=last.nth + 1 if last is not None else 0,
        streak=streak(last, program) if last is not None and last.boot == host.boot else 0,
    )
    store.save(run)
    got = host.start(run)
    if got.error is not None:
        run = replace(run, error=got.error, exited=now, ended=now)
    elif got.keeper:
        run = replace(run, keeper=got.proc)
    else:
        run = replace(run, proc=got.proc, up=now)
    store.save(run)
    pid = got.proc.pid if got.proc is not None and not got.keeper else None
    store.note({"event": "start", "program": program.name, "run": run.id, "pid": pid, "why": step.why})
    if got.error is not None:
        store.note({"event": "error", "program": program.name, "run": run.id, "why": got.error})


def _end(run: Run, signal: str, why: str, host: Host, store: Store, manifest: Manifest, clock: Clock) -> None:
    """Signal what is left of a Run. The asking is written down first: who exits after it was stopped, did not fail."""
    now, forced = clock.boot(), signal == "KILL"
    members = host.tree(run, manifest, store.runs())
    asked = run.asked if run.asked is not None or run.exited is not None else now
    swept = run.swept if run.swept is not None or run.exited is None else now
    run = replace(run, asked=asked, swept=swept, killed=now if forced else run.killed, left=members)
    store.save(run)
    heard = () if forced else run.told
    main = run.proc if run.proc is not None else run.keeper
    procs = tuple(p for p in (main, *members) if p is not None and p not in heard)
    host.signal(procs, signal)
    store.save(replace(run, told=tuple({*heard, *procs})))
    pids = [p.pid for p in procs]
    store.note(
        {"event": "kill" if forced else "stop", "program": run.program.name, "run": run.id, "pids": pids, "why": why}
    )


def _note_end(store: Store, run: Run, before: Run | None) -> None:
    """Tell the history what the look taught."""
    name = run.program.name
    if before is None:
        store.note(
            {
                "event": "adopt" if run.adopted else "find",
                "program": name,
                "run": run.id,
                "pid": run.proc.pid if run.proc else None,
            }
        )
    elif before.live and not run.live:
        store.note(
            {"event": "exit", "program": name, "run": run.id, "state": run.state, "exit": run.exit, "why": run.error}
        )
        if run.streak == CRASH_LOOP - 1 and crash_looping(run, run.program):
            store.note({"event": "crash_loop", "program": name, "run": run.id, "why": ended_how(run)})


def _tidy(store: Store, manifest: Manifest, runs: Sequence[Run], wishes: Wishes) -> None:
    """Drop wishes that are granted and records that nothing needs."""
    last = latest(runs)
    for name, run_id in wishes.restarts:
        if name not in last or last[name].id != run_id:
            store.granted(name, run_id)
    store.forget({r.program.name for r in runs} - manifest.keys())


def converge(
    host: Host,
    store: Store,
    manifest: Manifest,
    clock: Clock,
    patience: float,
    tell: Callable[[Step], None],
    *,
    doubt: bool = False,
) -> Plan:
    """Take turns until nothing is left to do or `patience` (s) is over; return the last plan.

    `tell` hears each step once.
    """
    end = clock.boot() + max(patience, YOUNG)
    told: set[str] = set()
    while True:
        steps = turn(host, store, manifest, clock, doubt=doubt)
        doubt = False
        for step in steps:
            _tell_once(step, told, tell)
        now = clock.boot()
        if any(isinstance(s, Stop | Kill) for s in steps):
            _lull(host, store, clock, min(end, now + LULL))
        elif all(isinstance(s, Wait) for s in steps):
            moment = pause(steps, store.runs(), now, end)
            if moment is None:
                return steps
            host.wait(watched(store.runs()), moment - now)
        if clock.boot() >= end:
            learn(host, store, manifest, clock)
            return plan(manifest, store.runs(), store.wishes(), clock.boot(), host.boot)


def pause(steps: Plan, runs: Iterable[Run], now: float, end: float) -> float | None:
    """Return until when to sleep, None when nothing more will come of waiting until `end`."""
    live = [r for r in runs if r.live]
    young = [r.up + YOUNG for r in live if r.up is not None and r.up + YOUNG > now]
    moments = [s.until for s in steps if isinstance(s, Wait) and s.until is not None] + young
    moving = any(r.asked is not None or r.exited is not None or r.program.want is Want.DONE for r in live)
    soonest = min(moments, default=end + 1)
    if now >= end or (soonest > end and not moving):
        return None
    return min(soonest, end, now + LOOK if moving else end)


def watched(runs: Iterable[Run]) -> list[Proc]:
    """Return whose end is worth waking for: a chaperone's comes after its program's outcome is written."""
    live = [r for r in runs if r.live]
    mains = [r.keeper if r.keeper is not None else r.proc for r in live]
    return [p for p in (*mains, *(p for r in live for p in r.left)) if p is not None]


def _lull(host: Host, store: Store, clock: Clock, end: float) -> None:
    """Wait until everything that was told to stop is gone, or so long."""
    while clock.boot() < end:
        ending = [r for r in store.runs() if r.live and (r.asked is not None or r.exited is not None)]
        seen = host.look(ending)
        left = [p for p in (q for r in ending for q in (r.proc, *r.left)) if p is not None and p in seen.alive]
        if not left:
            return
        host.wait(left, end - clock.boot())


def _tell_once(step: Step, told: set[str], tell: Callable[[Step], None]) -> None:
    """Tell every act, and a wait when its reason is new."""
    if isinstance(step, Wait):
        key = f"{step.name}: {step.why}"
        if key in told or step.why == "starting":
            return
        told.add(key)
    tell(step)
