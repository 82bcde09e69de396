"""The turn: look, settle, plan, act."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from whiz.core.agenda import Reckoned, agenda
from whiz.core.health import due
from whiz.core.model import Kill, Run, Start, Stop, Wait
from whiz.core.plan import plan
from whiz.core.restart import CRASH_LOOP, crash_looping, ended_how, streak
from whiz.core.settle import latest, must_scan, settle
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from whiz.core.model import Answer, Manifest, Plan, Proc, Step, Wishes
    from whiz.ports import Clock, Host, Store

LOOK = 1.0  # s between looks while something is on its way whose end may wake nobody (its chaperone was killed)


def wished(store: Store, manifest: Manifest, clock: Clock) -> tuple[Wishes, Mapping[str, Reckoned]]:
    """Return what is asked for by command and by the calendar, and what the calendar is reckoned from."""
    wishes = store.wishes()
    if all(p.schedule is None for p in manifest.values()):
        return wishes, {}
    return agenda(manifest, store.reckoned(), wishes, clock.wall(), clock.zone())


def observe(
    host: Host,
    store: Store,
    manifest: Manifest,
    clock: Clock,
    *,
    doubt: bool = False,
    answers: tuple[Answer, ...] = (),
) -> tuple[Run, ...]:
    """Look at the machine and return every Run with what that teaches; nothing is written.

    `doubt`: the records may not be all there is (the manifest changed, a record could not be read): read all of /proc.
    """
    runs = store.runs()
    seen = host.look(runs)
    if doubt or must_scan(manifest, runs, seen, wished(store, manifest, clock)[0]):
        seen = host.scan(manifest, runs)
    seen = replace(seen, answers=answers) if answers else seen
    return settle(manifest, runs, seen, clock.boot(), clock.wall())


def learn(host: Host, store: Store, manifest: Manifest, clock: Clock, *, doubt: bool = False) -> None:
    """Look, and write down what that teaches."""
    store.catch_up()
    known = {r.id: r for r in store.runs()}
    for run in observe(host, store, manifest, clock, doubt=doubt, answers=host.health.answers()):
        if known.get(run.id) != run:
            store.save(run)
            _note_end(store, run, known.get(run.id))
            if not run.live:
                host.clear(run)


def turn(
    host: Host, store: Store, manifest: Manifest, clock: Clock, *, doubt: bool = False, ending: bool = False
) -> Plan:
    """Take one turn and return the plan that was carried out. `ending`: nothing is to run any more."""
    learn(host, store, manifest, clock, doubt=doubt)
    wishes, reckoned = wished(store, manifest, clock)
    runs, wishes = store.runs(), replace(wishes, ending=ending)
    _reckon(store, runs, wishes, reckoned, clock)
    _tidy(store, manifest, runs, wishes)
    steps, last = plan(manifest, runs, wishes, clock.boot(), host.boot), latest(runs)
    for step in steps:
        _act(step, last, host, store, manifest, clock)
    if not ending:
        _ask(host, store, manifest, clock)
    return steps


def _ask(host: Host, store: Store, manifest: Manifest, clock: Clock) -> None:
    """Have the looks taken that are due."""
    if any(p.ready is not None or p.alive is not None for p in manifest.values()):
        now = clock.boot()
        host.health.ask(due(manifest, store.runs(), host.health.asked, now), now)


def _reckon(store: Store, runs: Iterable[Run], wishes: Wishes, reckoned: Mapping[str, Reckoned], clock: Clock) -> None:
    """Keep what the calendar is reckoned from; what is due while it still runs is skipped, and said."""
    late = {r.program.name for r in runs if r.live} & wishes.due
    for name in late:
        store.note(
            {"event": "skip", "program": name, "why": f"still running when it was due: {reckoned[name].schedule}"}
        )
    now = clock.wall()
    store.reckon({n: replace(r, since=now) if n in late else r for n, r in reckoned.items()})


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
        before=host.health.before(program) if program.ready is not None else "",
    )
    store.save(run)
    if program.schedule is not None:
        store.reckon({**store.reckoned(), program.name: Reckoned(program.schedule, run.at)})
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
    now, forced, again = clock.boot(), signal == "KILL", run.asked is not None or run.swept is not None
    if forced:
        run = replace(run, killed=now)
        store.save(run)
        host.raze(run)  # first: who forks without end is never all listed
    members = host.tree(run, manifest, store.runs())
    asked = run.asked if run.asked is not None or run.exited is not None else now
    swept = run.swept if run.swept is not None or run.exited is None else now
    run = replace(run, asked=asked, swept=swept, left=members)
    store.save(run)
    heard = () if forced else run.told
    main = run.proc if run.proc is not None else run.keeper
    procs = tuple(p for p in (main, *members) if p is not None and p not in heard)
    host.signal(procs, signal)
    store.save(replace(run, told=tuple({*heard, *procs})))
    if again and not forced:
        return  # who is new in a tree that is ending is told the same; that is nothing new
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
    elif before.ready is None and run.ready is not None:
        store.note({"event": "ready", "program": name, "run": run.id})
    elif before.ailing == 0 and run.ailing:
        store.note({"event": "ailing", "program": name, "run": run.id, "why": run.ails})
    elif before.live and not run.live:
        store.note(
            {
                "event": "exit",
                "program": name,
                "run": run.id,
                "state": run.state,
                "exit": run.exit,
                "why": run.error or run.unfit,
            }
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


def watched(runs: Iterable[Run]) -> list[Proc]:
    """Return whose end is worth waking for: a chaperone's comes after its program's outcome is written."""
    live = [r for r in runs if r.live]
    mains = [r.keeper if r.keeper is not None else r.proc for r in live if r.exited is None]
    return [p for p in (*mains, *(p for r in live for p in r.left)) if p is not None]
