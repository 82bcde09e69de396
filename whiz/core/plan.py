"""Decide what to do next: the manifest, the Runs and the moment in; ordered steps, each with its why, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.agenda import at_rest
from whiz.core.diff import changes
from whiz.core.health import is_ready, unwell
from whiz.core.model import Kill, Run, Start, State, Stop, Wait, Want, same_process
from whiz.core.order import ordered
from whiz.core.restart import ended_how, finished, next_start
from whiz.core.settle import by_name, done, latest
from whiz.core.value import value
from whiz.core.words import spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.core.model import Ending, Manifest, Plan, Program, Step, Wishes

STARTING = 0.02  # s between looks at a chaperone that has not yet said how the start went
INSISTING = 1.0  # s between two SIGKILLs to what will not go


@value
class _Board:
    """Everything one plan looks at."""

    manifest: Manifest
    wishes: Wishes
    now: float
    boot: str
    runs: dict[str, list[Run]]
    live: dict[str, list[Run]]
    last: dict[str, Run]


def plan(manifest: Manifest, runs: Iterable[Run], wishes: Wishes, now: float, boot: str) -> Plan:
    """Return the steps that bring the runs nearer to the manifest: ends in reverse `after` order, then starts."""
    runs = sorted(runs, key=lambda r: (r.started, r.id))
    live = by_name(r for r in runs if r.live)
    board = _Board(manifest, wishes, now, boot, by_name(runs), live, latest(runs))
    steps = list(_ends(board))
    for name in ordered({n: p.after for n, p in manifest.items()}):
        steps += _begin(board, manifest[name])
    return tuple(steps)


def satisfied(board: _Board, program: Program) -> bool:
    """Whether what comes after this program may start."""
    live = board.live.get(program.name, [])
    if program.want is Want.DOWN or program.name in board.wishes.held:
        return program.want is Want.DOWN and not live
    if program.want is Want.DONE:
        return done(program, board.runs.get(program.name, ()), board.wishes)
    fit = any(
        r.state is State.RUNNING and r.unfit is None and same_process(r.program, program) and is_ready(program, r)
        for r in live
    )
    return fit or (not live and finished(program, board.last.get(program.name)))


def _ends(board: _Board) -> Iterator[Step]:
    """End every live Run that nothing wants, what depends on it first."""
    unwanted = {
        run.id: (run, why) for runs in board.live.values() for run in runs if (why := _unwanted(board, run, runs))
    }
    names = {run.program.name: board.manifest.get(run.program.name, run.program).after for run, _ in unwanted.values()}
    place = {name: i for i, name in enumerate(ordered(names))}
    behind: dict[str, set[str]] = {}
    for name, after in names.items():
        for other in after:
            if place[name] > place.get(other, len(place)):
                behind.setdefault(other, set()).add(name)
    by_place = sorted(unwanted.values(), key=lambda pair: (-place[pair[0].program.name], -pair[0].started, pair[0].id))
    for run, why in by_place:
        name = run.program.name
        before = sorted(behind.get(name, ()))
        if before and run.asked is None and run.exited is None:
            yield Wait(name, None, f"stops after {', '.join(before)}")
        else:
            yield from _end(board, run, why)


def _unwanted(board: _Board, run: Run, live: list[Run]) -> str:
    """Return why this live Run must end, or nothing."""
    program = board.manifest.get(run.program.name)
    if board.wishes.ending:
        return "whiz was told to end them"
    if program is None:
        return "no longer in the whizzifest"
    if program.want is Want.DOWN:
        return "the whizzifest wants it down"
    if run.exited is not None:
        return f"left behind when the program {ended_how(run)}" if run.asked is None else "told to stop"
    if program.name in board.wishes.held:
        return "held"
    if run.unfit is not None:
        return run.unfit
    if run.asked is not None:
        return "told to stop"
    if (program.name, run.id) in board.wishes.restarts:
        return "restart asked for"
    if not same_process(run.program, program):
        return f"changed: {changes(run.program, program)}"
    fit = [r for r in live if r.asked is None and r.exited is None and same_process(r.program, program)]
    return "" if run is fit[0] else "one run is enough"


def _end(board: _Board, run: Run, why: str) -> Iterator[Step]:
    """Bring one Run nearer to its end: ask, wait for the grace, force, insist."""
    now = board.now
    since = run.swept if run.exited is not None and run.asked is None else run.asked
    if since is None:
        yield Stop(run, why)
        return
    unheard = {p for p in (run.proc if run.exited is None else None, *run.left) if p is not None} - set(run.told)
    if run.killed is not None:
        again = run.killed + INSISTING
        if unheard or now >= again:
            yield Kill(run, "still alive after SIGKILL")
        else:
            yield Wait(run.program.name, again, f"killed; {_remaining(run)} still there")
    elif now >= since + (rule := _rule(board, run)).grace:
        yield Kill(run, f"ignored SIG{rule.signal} for {spell_seconds(rule.grace)}")
    elif unheard:
        yield Stop(run, f"new in its tree: {len(unheard)} more")
    else:
        yield Wait(run.program.name, since + rule.grace, f"stopping: {why}; {_remaining(run)} still there")


def _remaining(run: Run) -> str:
    pids = [p.pid for p in ((run.proc,) if run.exited is None and run.proc else ()) + run.left]
    return f"pid {', '.join(map(str, pids[:4]))}{' …' if len(pids) > 4 else ''}" if pids else "it"  # noqa: PLR2004


def _rule(board: _Board, run: Run) -> Ending:
    """Return the stop rule in force: today's where the entry still means this process."""
    program = board.manifest.get(run.program.name)
    return program.stop if program is not None and same_process(program, run.program) else run.program.stop


def _begin(board: _Board, program: Program) -> Iterator[Step]:
    """Start one program, or say what it waits for; nothing where the wish holds."""
    name, live = program.name, board.live.get(program.name, [])
    if program.want is Want.DOWN or name in board.wishes.held or board.wishes.ending:
        return
    if live:
        if any(r.state is State.STARTING for r in live):
            yield Wait(name, board.now + STARTING, "starting")
        elif (ill := next((u for r in live if (u := unwell(program, r, board.now)) is not None), None)) is not None:
            yield Wait(name, *ill)
        elif program.want is Want.DONE and all(r.state is State.RUNNING for r in live):
            yield Wait(name, None, "running until it has succeeded")
        return
    last = board.last.get(name)
    asked_again = last is not None and (name, last.id) in board.wishes.restarts
    if not asked_again and at_rest(program, last, board.wishes):
        return
    due = program.schedule is not None and name in board.wishes.due
    if not (asked_again or due) and (
        finished(program, last) or (program.want is Want.DONE and done(program, board.runs.get(name, ()), board.wishes))
    ):
        return
    if blockers := [n for n in program.after if not satisfied(board, board.manifest[n])]:
        yield Wait(name, None, f"after {', '.join(_blocker(board, n) for n in blockers)}")
        return
    at, why = next_start(program, last, board.boot)
    if asked_again or due:
        at, why = 0, "restart asked for" if asked_again else f"due: {program.schedule}"
    if at is None:
        yield Wait(name, None, why, failed=True)
    elif at <= board.now:
        yield Start(program, why)
    else:
        yield Wait(name, at, why)


def _blocker(board: _Board, name: str) -> str:
    return f"{name} (held)" if name in board.wishes.held else name
