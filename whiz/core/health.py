"""Whether a program is ready, and still does its work: when to look, and what the answer makes of its Run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.model import Ask, Want, same_process
from whiz.core.value import replace
from whiz.core.words import spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from whiz.core.model import Answer, Check, Manifest, Program, Run

QUICK, SLOW, SOON = 0.1, 1.0, 2.0  # s between looks at a program that is not ready: QUICK until SOON after its start
NEAR = 1e-6  # of a step: so near to a moment is at that moment
STEP = 1.0  # s that two clocks may drift apart before the wall clock counts as set


def is_ready(program: Program, run: Run) -> bool:
    """Whether what comes after a running program may start."""
    return program.ready is None or run.ready is not None


def due(manifest: Manifest, runs: Iterable[Run], asked: Mapping[tuple[str, str], float], now: float) -> Iterator[Ask]:
    """Yield the looks that are to be taken now. `asked`: (run id, kind) -> when that was asked last."""
    for run, kind, check, base in _looked_at(manifest, runs):
        if now >= base and asked.get((run.id, kind), -1.0) < _slot(kind, check, base, now)[0]:
            yield Ask(run, kind, check)


def coming(manifest: Manifest, runs: Iterable[Run], now: float) -> Iterator[float]:
    """Yield when the next looks are to be taken."""
    for _, kind, check, base in _looked_at(manifest, runs):
        yield _slot(kind, check, base, now)[1] if now >= base else base


def heard(program: Program, run: Run, answer: Answer | None, now: float) -> Run:
    """Return the Run with what an answer teaches; unfit where that is enough."""
    found = _look(program, run)
    if found is None:
        return replace(run, ailing=0, ails="") if run.ailing else run
    kind, check, base = found
    if run.adopted and check.way in ("notify", "fd"):  # it was given nothing to say it with
        return replace(run, ready=now) if kind == "ready" else run
    if answer is None or answer.kind != kind:
        return run
    if not answer.taken:  # neither `within` nor `failures` can be held against it
        return run if run.ailing else replace(run, ails=answer.words)
    if answer.over:
        return replace(run, ailing=run.ailing + 1, ails=answer.words, unfit=f"not {kind}: {answer.words}")
    if kind == "ready":
        if answer.well:
            return replace(run, ready=now, ails="")
        late = now >= base + check.within
        words = f"not ready within {spell_seconds(check.within)}: {answer.words}"
        return replace(run, ails=answer.words, unfit=words if late else None)
    if answer.well:
        return replace(run, ailing=0, ails="") if run.ailing or run.ails else run
    n = run.ailing + 1
    return replace(
        run, ailing=n, ails=answer.words, unfit=_ill(n, check, answer.words) if n >= check.failures else None
    )


def unwell(program: Program, run: Run, now: float) -> tuple[float, str] | None:
    """Return when to look again at a Run that is not as it should be, and what is the matter; None when it is well."""
    found = _look(program, run)
    if found is None or (run.ailing == 0 and not run.ails and found[0] == "alive"):
        return None
    kind, check, base = found
    again = _slot(kind, check, base, max(now, base))[1]
    if kind == "ready":
        return again, f"not ready yet: {run.ails}" if run.ails else "not ready yet"
    return again, _ill(run.ailing, check, run.ails) if run.ailing else f"not known whether it is alive: {run.ails}"


def beat(check: Check, age: float, kept: float, still: float) -> tuple[bool, str]:
    """Judge a sign of life, with words. Times in s of which none may be trusted alone.

    `age`: between its wall time and now's; `kept`: by how much the wall clock has gone astray of the clock since boot
    while the program ran; `still`: for how long this whiz has seen it unchanged.
    """
    believed = abs(kept) <= STEP and age >= -STEP  # who set the clock, or the file's time, has made its age a lie
    silent = age if believed else still
    return silent <= check.timeout, f"no sign of life for {spell_seconds(max(silent, 0.0))}"


def _ill(n: int, check: Check, words: str) -> str:
    times = f" {n} of {check.failures} times" if check.failures > 1 else ""
    return f"not alive{times}: {words}"


def _looked_at(manifest: Manifest, runs: Iterable[Run]) -> Iterator[tuple[Run, str, Check, float]]:
    for run in runs:
        program = manifest.get(run.program.name)
        if program is not None and (found := _look(program, run)) is not None:
            yield (run, *found)


def _look(program: Program, run: Run) -> tuple[str, Check, float] | None:
    """Return what is looked at in a Run that is to go on: ready or alive, by which check, from when on."""
    if (program.ready is None and program.alive is None) or run.proc is None:
        return None
    if not all(x is None for x in (run.unfit, run.asked, run.exited, run.ended)):
        return None
    if program.want is Want.DOWN or not same_process(program, run.program):
        return None
    if program.ready is not None and run.ready is None:
        return "ready", program.ready, _begun(run)
    if program.alive is not None:
        at_once = program.alive.way == "notify"  # it may give itself up during the delay
        return "alive", program.alive, _begun(run) + (0.0 if at_once else program.alive.delay)
    return None


def _begun(run: Run) -> float:
    """Return since when a Run is looked at: whether it is ready, and then, but for a delay, whether it is alive."""
    if run.ready is not None:
        return run.ready
    return run.up if run.up is not None else run.started


def spared(run: Run, check: Check, now: float) -> bool:
    """Whether it is too early to hold it against a Run that it gives no sign of life."""
    return now < _begun(run) + check.delay


def _slot(kind: str, check: Check, base: float, now: float) -> tuple[float, float]:
    """Return from when on a look counts as taken, of the row that begins at `base`; and the moment of the next.

    Those whether it is alive are at the same moments for all: to wake for many at once costs little more than for one.
    """
    alive = kind == "alive"
    step, zero = (check.every, 0.0) if alive else (QUICK if now - base < SOON else SLOW, base)
    n = int((now - zero) / step + NEAR)  # a moment that was slept to exactly has come
    return max(base, zero + n * step) - NEAR * step, zero + (n + 1) * step
