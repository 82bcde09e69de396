"""What a person is told: each program's state and why, and the verdict over all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.model import Kill, Start, State, Stop, Wait, Want
from whiz.core.restart import crash_looping, finished
from whiz.core.settle import by_name, done, latest
from whiz.core.value import record, replace
from whiz.core.wire import digest
from whiz.core.words import spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.model import Manifest, Plan, Program, Run, Wishes

TROUBLE = frozenset({State.ERROR, State.FAILED, State.LOST, State.CRASH_LOOP})


@record
class Row:
    """One program as status shows it. `since`: wall time; `next`: CLOCK_BOOTTIME of the next attempt.

    `wish`, `made`: digests of the Program as it is wished, and as its Run was started, where they are asked for.
    """

    name: str
    want: Want
    state: State
    why: str
    pid: int | None = None
    since: float | None = None
    restarts: int = 0
    run: str | None = None
    next: float | None = None
    wish: str | None = None
    made: str | None = None


def told_apart(rows: Iterable[Row], manifest: Manifest, runs: Iterable[Run]) -> tuple[Row, ...]:
    """Return the rows with their digests."""
    wishes = {name: digest(p) for name, p in manifest.items()}
    made = {run.id: digest(run.program) for run in runs}
    return tuple(replace(r, wish=wishes.get(r.name), made=made.get(r.run or "")) for r in rows)


def report(manifest: Manifest, runs: Iterable[Run], wishes: Wishes, steps: Plan, now: float) -> tuple[Row, ...]:
    """Return a row for every program of the manifest, and for what still lives without being in it."""
    runs = tuple(runs)
    last, named = latest(runs), by_name(runs)
    waits = {s.name: s for s in steps if isinstance(s, Wait)}
    for s in steps:
        if isinstance(s, Stop | Kill):
            coming = s.run.asked is None and s.run.exited is None
            waits[s.run.program.name] = Wait(s.run.program.name, now, f"will stop: {s.why}" if coming else s.why)
    starts = {s.program.name: s for s in steps if isinstance(s, Start)}
    rows = [
        _row(p, last.get(n), named.get(n, ()), wishes, waits.get(n), starts.get(n), now) for n, p in manifest.items()
    ]
    for run in runs:
        if run.live and run.program.name not in manifest:
            why = waits[run.program.name].why if run.program.name in waits else "no longer in the whizzifest"
            rows.append(_live(run, Want.DOWN, why))
    return tuple(rows)


def _row(
    p: Program,
    run: Run | None,
    mine: Iterable[Run],
    wishes: Wishes,
    wait: Wait | None,
    start: Start | None,
    now: float,
) -> Row:
    if run is not None and run.live:
        row = _live(run, p.want, wait.why if wait is not None else _calm(run, now))
        if p.ready is None or run.state is not State.RUNNING:
            return row
        return replace(row, state=State.STARTING if run.ready is None else State.READY)
    until = None
    if p.name in wishes.held:
        state, why = State.HELD, "held down until unhold"
    elif p.want is Want.DOWN:
        state, why = State.STOPPED, "none runs, as wished"
    elif start is not None:
        state, why = _between(p, run), f"will start: {start.why}"
    elif wait is not None:
        state, why, until = _waiting(p, run, wait), _reason(wait, now), wait.until
    elif p.schedule is not None:
        state, why = (run.state, _next(p, wishes)) if run is not None else (State.WAITING, _next(p, wishes))
    elif finished(p, run) or (p.want is Want.DONE and done(p, mine, wishes)):
        state, why = State.SUCCEEDED, "has succeeded"
    else:
        state, why = State.WAITING, "not looked at yet"
    nth, run_id = (run.nth, run.id) if run is not None else (0, None)
    return Row(name=p.name, want=p.want, state=state, why=why, restarts=nth, run=run_id, next=until)


def _next(p: Program, wishes: Wishes) -> str:
    coming = dict(wishes.coming).get(p.name)
    return f"{p.schedule}" + (f": next in {spell_seconds(coming)}" if coming is not None else "")


def _waiting(p: Program, run: Run | None, wait: Wait) -> State:
    """Name the state of a program that does not run and cannot start now."""
    if run is None or (wait.until is None and not wait.failed):
        return State.WAITING
    if wait.failed:
        return run.state if run.state in TROUBLE else State.FAILED
    return _between(p, run)


def _between(p: Program, run: Run | None) -> State:
    """Name the state of a program between two Runs: it is the same when its back-off is over this moment."""
    if run is not None and run.error is not None:
        return State.ERROR
    return State.CRASH_LOOP if crash_looping(run, p) else State.WAITING


def _reason(wait: Wait, now: float) -> str:
    if wait.until is None:
        return wait.why if wait.failed else f"waiting: {wait.why}"
    return f"waiting {spell_seconds(wait.until - now)}: {wait.why}"


def _live(run: Run, want: Want, why: str) -> Row:
    return Row(
        name=run.program.name,
        want=want,
        state=run.state,
        why=why,
        pid=run.proc.pid if run.proc is not None and run.exited is None else None,
        since=run.at,
        restarts=run.nth,
        run=run.id,
    )


def _calm(run: Run, now: float) -> str:
    how = "adopted: was running already; seen for" if run.adopted else "up for"
    return f"{how} {spell_seconds(now - run.started)}"


def verdict(rows: Iterable[Row], steps: Plan) -> int:
    """Return the exit status: 0 every wish holds, 1 something failed, 3 not yet."""
    if any(row.state in TROUBLE for row in rows):
        return 1
    return 3 if steps else 0


def counts(rows: Iterable[Row]) -> Mapping[str, int]:
    """Return how many programs are in each state, in order of appearance."""
    out: dict[str, int] = {}
    for row in rows:
        out[row.state] = out.get(row.state, 0) + 1
    return out
