"""What one look teaches: Runs gain facts, and processes without a Run get one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.agenda import at_rest
from whiz.core.health import heard
from whiz.core.limits import breach
from whiz.core.model import Found, Outcome, Program, Run, State, Want, same_process
from whiz.core.restart import finished
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.core.model import Manifest, Proc, Seen, Wishes


_UNKNOWN = Outcome()


def latest(runs: Iterable[Run]) -> dict[str, Run]:
    """Return the last Run of every name."""
    last: dict[str, Run] = {}
    for run in sorted(runs, key=_age):
        last[run.program.name] = run
    return last


def by_name(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the Runs of every name, in the order given."""
    named: dict[str, list[Run]] = {}
    for run in runs:
        named.setdefault(run.program.name, []).append(run)
    return named


def _age(run: Run) -> tuple[int, float, str]:
    return run.nth, run.started, run.id


def done(program: Program, runs: Iterable[Run], wishes: Wishes) -> bool:
    """Whether a task has succeeded with just this value, and nobody asked to run it again."""
    mine = (r for r in runs if (program.name, r.id) not in wishes.restarts)
    return any(r.state is State.SUCCEEDED and same_process(r.program, program) for r in mine)


def must_scan(manifest: Manifest, runs: tuple[Run, ...], seen: Seen, wishes: Wishes) -> bool:
    """Whether the recorded processes alone cannot answer: something is missing, ending, unknown or on the hit list."""
    if not runs:
        return True  # nothing is on record: perhaps because the records are lost
    last, live, named, told = latest(runs), set(), by_name(runs), dict(seen.trees)
    for run in runs:
        if run.live:
            live.add(run.program.name)
            if (run.proc not in seen.alive or run.asked is not None or run.exited is not None) and run.id not in told:
                return True
    for name, program in manifest.items():
        if program.want is Want.DOWN:
            return True
        if name in live or name in wishes.held or finished(program, last.get(name)):
            continue
        if name in last and last[name].id in seen.witnessed:
            continue  # it is not missing: it ended before our eyes
        if at_rest(program, last.get(name), wishes):
            continue
        if program.want is Want.UP or not done(program, named.get(name, ()), wishes):
            return True
    return False


def settle(manifest: Manifest, runs: tuple[Run, ...], seen: Seen, now: float, at: float = 0.0) -> tuple[Run, ...]:
    """Return every Run with what the look adds, new Runs for found processes included."""
    seen = replace(seen, alive=seen.alive.union(f.proc for f in seen.found or ()))  # what was just found lives
    outcomes, trees, answers = dict(seen.outcomes), dict(seen.trees), {a.run: a for a in seen.answers}
    usage, felled = dict(seen.usage), dict(seen.felled)
    none_left = None if seen.found is None else ()  # who has read all of /proc knows of every tree
    marked = {f.run: f for f in seen.found or () if f.run is not None and f.leader and not f.keeper}
    keepers = {f.run: f for f in seen.found or () if f.run is not None and f.keeper}
    result = []
    for run in runs:
        if run.live:
            run = _located(run, marked.get(run.id), keepers.get(run.id), now)  # noqa: PLW2901
            run = _learned(run, seen, outcomes.get(run.id, _UNKNOWN), now)  # noqa: PLW2901
            if (program := manifest.get(run.program.name)) is not None:
                run = heard(program, run, answers.get(run.id), now)  # noqa: PLW2901
            run = _fitting(run, usage.get(run.id), felled.get(run.id))  # noqa: PLW2901
            if run.exited is not None or run.asked is not None:
                run = _ending(run, seen, trees.get(run.id, none_left), now)  # noqa: PLW2901
        result.append(run)
    return (*result, *_new(manifest, result, seen, now, at))


def _located(run: Run, marked: Found | None, keeper: Found | None, now: float) -> Run:
    if run.keeper is None and keeper is not None:
        run = replace(run, keeper=keeper.proc)
    if run.proc is None and marked is not None:
        run = replace(run, proc=marked.proc, up=now)
    return run


def _learned(run: Run, seen: Seen, known: Outcome, now: float) -> Run:
    """Add what the chaperone, the parent or the process table says of the main process."""
    if known.proc is not None and run.proc is None:
        run = replace(run, proc=known.proc, up=now)
    if run.exited is not None:
        return run
    if known.error is not None:
        return replace(run, error=known.error, exited=now)
    if known.ended:
        return replace(run, exited=now, exit=known.exit)
    if run.boot != seen.boot:
        return replace(run, exited=now)
    if run.keeper in seen.alive:  # it will say how its program ended
        return _grown(run, now) if run.proc in seen.alive else run
    if run.proc is None:
        return run if seen.found is None else replace(run, exited=now)
    return _grown(run, now) if run.proc in seen.alive else replace(run, exited=now)


def _fitting(run: Run, usage: int | None, felled: str | None) -> Run:
    """Note that a Run takes too much memory, or was killed because it, or all together, did."""
    if run.asked is not None or run.unfit is not None:
        return run
    if run.exited is not None:
        return run if felled is None else replace(run, unfit=felled)
    words = None if usage is None else breach(run.program.limits, usage)
    return run if words is None else replace(run, unfit=words)


def _grown(run: Run, now: float) -> Run:
    """Note once that a Run has been alive long enough to count as stable."""
    if run.stable or now - run.started < run.program.restart.stable:
        return run
    return replace(run, stable=True)


def _ending(run: Run, seen: Seen, tree: tuple[Proc, ...] | None, now: float) -> Run:
    """Follow a Run that is on its way out until nothing of its tree is left."""
    if run.boot != seen.boot:
        return replace(run, ended=now, left=())
    if tree is None:
        return run
    tree = tuple(sorted((p for p in tree if p != run.proc), key=lambda p: (p.ticks, p.pid)))
    if run.exited is not None and not tree:
        return replace(run, ended=now, left=())
    return run if tree == run.left else replace(run, left=tree)


def _new(manifest: Manifest, runs: list[Run], seen: Seen, now: float, at: float) -> Iterator[Run]:
    """Give a Run to what carries our mark but lost its record, and to what matches an entry exactly."""
    known = {r.id for r in runs}
    taken = {p for r in runs if r.live for p in (r.proc, r.keeper, *r.left)}
    busy = {r.program.name for r in runs if r.live}
    lost: dict[str, Run] = {}
    nth = {name: run.nth + 1 for name, run in latest(runs).items()}
    ours = [f for f in seen.found or () if f.run is not None and f.run not in known]
    for found in sorted(ours, key=lambda f: (f.proc.ticks, f.proc.pid)):
        assert found.run is not None  # noqa: S101  by the filter above
        run = lost.get(found.run) or Run(
            id=found.run,
            program=_as_started(manifest, found),
            boot=seen.boot,
            started=now,
            at=at,
            nth=nth.get(found.name, 0),
        )
        if found.keeper:
            run = replace(run, keeper=found.proc)
        elif run.proc is None and found.leader:
            run = replace(run, proc=found.proc)
        lost[found.run] = run
        taken.add(found.proc)
        busy.add(found.name)
    for run in lost.values():  # one without a leader has only left something behind
        yield run if run.proc is not None or run.keeper is not None else replace(run, exited=now)
    for found in sorted((f for f in seen.found or () if f.run is None), key=lambda f: (f.proc.ticks, f.proc.pid)):
        program = manifest.get(found.name)
        if program is None or found.proc in taken or (program.want is not Want.DOWN and found.name in busy):
            continue
        taken.add(found.proc)
        busy.add(found.name)
        run_id = f"adopted-{found.proc.pid}-{found.proc.ticks}"
        yield Run(
            id=run_id,
            program=program,
            boot=seen.boot,
            started=now,
            at=at,
            nth=nth.get(found.name, 0),
            adopted=True,
            proc=found.proc,
        )


def _as_started(manifest: Manifest, found: Found) -> Program:
    """Return the Program that a marked process was started for, or one that no manifest will equal."""
    from whiz.core.wire import digest  # noqa: PLC0415  hashing is needed only here

    program = manifest.get(found.name)
    if program is not None and digest(program) == found.digest:
        return program
    return Program(name=found.name, argv=())


def strangers(manifest: Manifest, runs: Iterable[Run], seen: Seen) -> tuple[Found, ...]:
    """Return the processes that match an entry but are not its Run."""
    taken = {p for r in runs if r.live for p in (r.proc, r.keeper, *r.left)}
    return tuple(f for f in seen.found or () if f.run is None and f.proc not in taken and f.name in manifest)
