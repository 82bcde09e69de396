"""The gate of a trial: looks one after the other, and what comes of them."""

from __future__ import annotations

import pytest

from whiz.core.model import Program, Run, State, Want
from whiz.core.release.gate import Gate, Rule, opened, seen
from whiz.core.status import Row, told_apart
from whiz.core.value import replace
from whiz.core.wire import digest

S = State
RULE = Rule(healthy=20, within=60)


def row(name: str, state: State, run: str | None, why: str = "up") -> Row:
    return Row(name=name, want=Want.UP, state=state, why=why, run=run)


def made(name: str, state: State, run: str | None, of: str, wish: str | None = None, why: str = "up") -> Row:
    return replace(row(name, state, run, why), made=of, wish=wish or of)


def after(looks: list[tuple[float, list[Row]]], rule: Rule = RULE) -> Gate:
    """Return the gate after these looks, a flip at 0 that changes a and b (b is new)."""
    before = [made("a", S.RUNNING, "a1", "old"), row("c", S.FAILED, "c1")]
    gate = opened(
        before, [made("a", S.RUNNING, "a1", "old", "new"), row("b", S.WAITING, None), *before[1:]], "abc", 0.0
    )
    for now, rows in looks:
        assert gate.bad is None
        assert not gate.good
        gate = seen(gate, rows, rule, now)
    return gate


FINE = [row("a", S.READY, "a2"), row("b", S.RUNNING, "b1"), row("c", S.CRASH_LOOP, "c9")]
SLOW = [row("a", S.READY, "a2"), row("b", S.STARTING, "b1", "not ready yet")]


@pytest.mark.parametrize(
    ("looks", "good", "bad"),
    [
        ([(1, FINE), (20, FINE)], False, None),
        ([(1, FINE), (21, FINE)], True, None),
        ([(1, SLOW), (30, FINE), (49, FINE)], False, None),
        ([(1, SLOW), (30, FINE), (50, FINE)], True, None),
        ([(50, FINE), (65, FINE), (71, FINE)], True, None),  # well in time, and long enough after it
        ([(1, SLOW), (61, SLOW)], False, "not well within 1 min: b: not ready yet"),
        ([(1, FINE), (2, [FINE[0], row("b", S.RUNNING, "b2")])], False, "b did not keep running: up"),
        ([(1, FINE), (2, [FINE[0], row("b", S.WAITING, "b1", "exited 1")])], False, None),
        ([(1, [FINE[0], row("b", S.ERROR, "b1", "no such file")])], False, "b: no such file"),
        ([(1, [row("a", S.RUNNING, "a1"), FINE[1]]), (60, [row("a", S.RUNNING, "a1"), FINE[1]])], False, "a: up"),
        ([(1, [row("a", S.READY, "a1"), FINE[1]]), (60, [row("a", S.READY, "a1"), FINE[1]])], False, "a: up"),
        ([(1, []), (21, [])], True, None),  # what it removed is gone
        ([(1, [row("a", S.HELD, "a1"), row("b", S.SUCCEEDED, "b1")]), (21, [row("a", S.HELD, "a1")])], True, None),
    ],
)
def test_what_comes_of_looks(looks: list[tuple[float, list[Row]]], good: bool, bad: str | None) -> None:
    gate = after(looks)
    assert gate.good is good
    assert (gate.bad is None) if bad is None else bad in str(gate.bad)
    assert (gate.culprit is None) == (bad is None)


def test_restarts_may_be_allowed() -> None:
    rule = Rule(healthy=20, within=60, restarts=1)
    again = [FINE[0], row("b", S.RUNNING, "b2")]
    trouble = [row("a", S.WAITING, "a2", "after b"), row("b", S.ERROR, "b1", "refused")]
    assert after([(1, FINE), (2, again), (22, again)], rule).good
    assert after([(1, FINE), (2, again), (3, [FINE[0], row("b", S.RUNNING, "b3")])], rule).culprit == "b"
    assert after([(1, trouble)], rule).words == "b: refused"


def test_a_turn_that_began_before_the_flip_is_not_the_release_s_fault() -> None:
    """It starts what was wished then; that is ended, and what is wished now follows."""
    late, new = made("a", S.RUNNING, "a2", "old", "new"), made("a", S.RUNNING, "a3", "new")
    died = made("a", S.FAILED, "a2", "old", "new", "exited 1")
    b = row("b", S.RUNNING, "b1")
    assert after([(1, [late, b]), (2, [died, b]), (3, [new, b]), (23, [new, b])]).good
    assert after([(1, [late, b]), (3, [new, b]), (4, [made("a", S.RUNNING, "a4", "new"), b])]).culprit == "a"


@pytest.mark.parametrize(
    ("before", "now", "acts", "changed"),
    [
        ([], [made("a", S.WAITING, None, "", "new")], "a", "a"),
        ([made("a", S.RUNNING, "a1", "old")], [made("a", S.RUNNING, "a1", "old", "new")], "a", "a"),
        ([made("a", S.STOPPED, None, "", "old")], [made("a", S.STOPPED, None, "", "new")], "a", "a"),  # after a boot
        ([made("a", S.RUNNING, "a1", "old")], [], "a", "a"),  # removed
        ([made("a", S.WAITING, None, "", "old")], [made("a", S.WAITING, None, "", "new")], "", ""),  # it is not due
        ([made("a", S.RUNNING, "a1", "old")], [made("a", S.RUNNING, "a2", "new")], "", "a"),  # a whiz that stays
        ([made("a", S.FAILED, "a1", "old")], [made("a", S.FAILED, "a1", "old")], "a", ""),  # ill before
        ([made("a", S.FAILED, "a1", "old")], [made("a", S.FAILED, "a1", "old", "new")], "a", "a"),
    ],
)
def test_what_is_judged(before: list[Row], now: list[Row], acts: str, changed: str) -> None:
    assert opened(before, now, acts, 0.0).changed == frozenset(changed)


def test_digests_of_what_is_wished_and_of_what_runs() -> None:
    old, new = Program(name="a", argv=("/bin/a",)), Program(name="a", argv=("/bin/a", "-v"))
    run = Run(id="a1", program=old, boot="b", started=1.0, at=1.0)
    rows = (row("a", S.RUNNING, "a1"), row("b", S.RUNNING, "b1"), row("c", S.WAITING, None))
    told = told_apart(rows, {"a": new, "c": old}, [run])
    assert [(r.wish, r.made) for r in told] == [(digest(new), digest(old)), (None, None), (digest(old), None)]
    assert digest(new) != digest(old)
