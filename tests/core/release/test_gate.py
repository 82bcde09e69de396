"""The gate of a trial: looks one after the other, and what comes of them."""

from __future__ import annotations

import pytest

from whiz.core.model import State, Want
from whiz.core.release.gate import Gate, Rule, opened, seen
from whiz.core.status import Row

S = State
RULE = Rule(healthy=20, within=60)


def row(name: str, state: State, run: str | None, why: str = "up") -> Row:
    return Row(name=name, want=Want.UP, state=state, why=why, run=run)


def after(looks: list[tuple[float, list[Row]]], rule: Rule = RULE) -> Gate:
    """Return the gate after these looks, a flip at 0 that changes a and b (b is new)."""
    gate = opened({"a", "b"}, [row("a", S.RUNNING, "a1"), row("c", S.FAILED, "c1")], 0.0)
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
