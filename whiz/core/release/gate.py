"""Whether a new release may stay: what its flip changed must run, and go on running, for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.model import State
from whiz.core.status import TROUBLE
from whiz.core.value import record, replace
from whiz.core.words import spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.status import Row

WELL = frozenset({State.RUNNING, State.READY, State.SUCCEEDED, State.HELD, State.STOPPED})
_LIVE = frozenset({State.RUNNING, State.READY})  # of which it must be the new one that does


@record
class Rule:
    """What is asked of a release. Times in seconds."""

    healthy: float = 20.0  # for so long all must be well
    within: float = 120.0  # until then they must have been, counted from the flip
    restarts: int = 0  # of each program, beyond the one that the flip makes


@record
class Gate:
    """A trial as it stands. `runs`: (program, its Run, how often it was followed by another); `bad`: why it failed."""

    changed: frozenset[str]
    old: tuple[tuple[str, str | None], ...]  # program -> its Run before the flip
    flipped: float
    runs: tuple[tuple[str, str, int], ...] = ()
    well: float | None = None  # since when all are
    words: str = "nothing was seen yet"
    good: bool = False
    bad: str | None = None
    culprit: str | None = None


def opened(before: Iterable[Row], after: Iterable[Row], acts: Iterable[str], now: float) -> Gate:
    """Return the gate of a flip: of programs that it changes and that something is to be done, or was done, for.

    `before`, `after`: how things are on both sides of it, with digests; `acts`: what whiz is about to act on.
    """
    was = {r.name: r for r in before}
    here = {r.name: r for r in after}
    wished = {n: (was[n].wish if n in was else "", here[n].wish if n in here else "") for n in was.keys() | here.keys()}
    begun = {r.name for r in here.values() if r.made == r.wish and (r.name not in was or r.run != was[r.name].run)}
    names = {n for n, (old, new) in wished.items() if old != new} & ({*acts} | begun)
    return Gate(changed=frozenset(names), old=tuple((n, was[n].run) for n in names if n in was), flipped=now)


def seen(gate: Gate, rows: Iterable[Row], rule: Rule, now: float) -> Gate:
    """Return the gate after another look."""
    here = {r.name: r for r in rows if r.name in gate.changed}
    runs = _followed(gate, here)
    gate = replace(gate, runs=tuple(runs.values()))
    for name, _, times in gate.runs:
        if times > rule.restarts:
            return _failed(gate, name, f"{name} did not keep running: {here[name].why}")
    ill = [r for r in here.values() if r.state not in WELL or (r.name not in runs and r.state in _LIVE)]
    if worst := next((r for r in ill if r.state in TROUBLE and r.made == r.wish), None):
        if rule.restarts == 0:
            return _failed(gate, worst.name, f"{worst.name}: {worst.why}")
        ill = [worst]
    well = None if ill else now if gate.well is None else gate.well
    words = f"{ill[0].name}: {ill[0].why}" if ill else "all is well"
    gate = replace(gate, well=well, words=words)
    if well is not None and now - well >= rule.healthy:
        return replace(gate, good=True)
    if now - gate.flipped >= rule.within and well is None:
        return _failed(gate, ill[0].name, f"not well within {spell_seconds(rule.within)}: {words}")
    return gate


def _failed(gate: Gate, name: str, why: str) -> Gate:
    return replace(gate, bad=why, culprit=name, well=None)


def _followed(gate: Gate, here: dict[str, Row]) -> dict[str, tuple[str, str, int]]:
    """Return each program's Run of the new release, and how many came after the first."""
    old, known = dict(gate.old), {name: (run, times) for name, run, times in gate.runs}
    found: dict[str, tuple[str, str, int]] = {}
    for name, row in here.items():
        if row.run is None or row.run == old.get(name) or row.made != row.wish:
            continue  # or a turn that began before the flip has started what was wished then
        run, times = known.get(name, (row.run, 0))
        found[name] = (name, row.run, times + (run != row.run))
    return found
