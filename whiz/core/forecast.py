"""What would happen: the plan played forward, letting every start and stop succeed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from whiz.core.model import Kill, Proc, Run, Start, Stop, Wait, Want
from whiz.core.plan import plan
from whiz.core.settle import latest
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.core.model import Manifest, Plan, Wishes


def forecast(manifest: Manifest, runs: Iterable[Run], wishes: Wishes, now: float, boot: str) -> Iterator[Plan]:
    """Yield the plan of every turn until one has nothing left to do; waits are slept through."""
    known = {r.id: r for r in runs}
    while True:
        steps = plan(manifest, known.values(), wishes, now, boot)
        yield steps
        moments = [s.until for s in steps if isinstance(s, Wait) and s.until is not None]
        if all(isinstance(s, Wait) for s in steps):
            if moments:
                now = max(now, min(moments))
                known = {i: _through(r, now) for i, r in known.items()}
                continue
            tasks = [r for r in known.values() if r.live and r.program.want is Want.DONE]
            if not tasks:
                return
            known |= {r.id: replace(r, exited=now, exit=0, ended=now) for r in tasks}
            continue
        started = {s.program.name for s in steps if isinstance(s, Start)}
        wishes = replace(wishes, due=wishes.due - started)
        for step in steps:
            for run in _assumed(step, latest(known.values()), now, boot, len(known)):
                known[run.id] = run


def _assumed(step: Start | Stop | Kill | Wait, last: dict[str, Run], now: float, boot: str, n: int) -> Iterator[Run]:
    """Return the Run after a step that went well."""
    match step:
        case Start(program):
            before = last.get(program.name)
            run = Run(
                id=f"forecast-{n}",
                program=program,
                boot=boot,
                started=now,
                nth=before.nth + 1 if before else 0,
                proc=Proc(boot, -1 - n, 0),
                ready=now if program.ready is not None else None,
            )
            yield replace(run, exited=now, exit=0, ended=now) if program.want is Want.DONE else run
        case Stop(run) | Kill(run):
            yield _ended(run, now)
        case Wait():
            return
        case _:
            assert_never(step)


def _ended(run: Run, now: float) -> Run:
    if run.exited is not None:
        return replace(run, ended=now, left=())
    return replace(run, asked=run.asked if run.asked is not None else now, exited=now, ended=now, left=())


def _through(run: Run, now: float) -> Run:
    """Let time pass for one Run: what was stopping has stopped, what was starting has started and is well."""
    if not run.live:
        return run
    if run.asked is not None or run.exited is not None:
        return _ended(run, now)
    if run.proc is None:
        started = replace(run, proc=Proc(run.boot, -1, 0))
        return replace(started, exited=now, exit=0, ended=now) if run.program.want is Want.DONE else started
    return replace(run, ready=now if run.ready is None else run.ready, ailing=0)
