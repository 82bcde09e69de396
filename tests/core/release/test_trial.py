"""A release on trial: what a node remembers, whatever comes between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.errors import NewerFormat
from whiz.core.release.trial import (
    Bad,
    State,
    Trial,
    begun,
    dump,
    following,
    hopeless,
    kept,
    known_bad,
    load,
    refused,
    started,
    taken_back,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_a_trial_that_goes_well() -> None:
    state = begun(State(good=(B, A), bad=(Bad(C, "3", "broke"), Bad(B, "2", "once"))), B, "2", A)
    assert state.trial == Trial(B, "2", A)
    after = kept(state)
    assert (after.trial, after.good, after.bad) == (None, (A, B), (Bad(C, "3", "broke"),))


def test_a_trial_that_fails_is_bad_until_it_is_published_again() -> None:
    state = taken_back(begun(State(good=(A, B)), B, "2", A), "it exits at once")
    assert (state.trial, state.good) == (None, (A,))
    assert known_bad(state, B, "2") == Bad(B, "2", "it exits at once")
    assert known_bad(state, B, "2 again") is None, "a forced publish has another label"
    assert known_bad(state, A, "2") is None
    again = refused(state, B, "4", "still")
    assert again.bad == (Bad(B, "4", "still"),), "said once"


def test_a_trial_that_does_not_end_is_taken_back_at_the_second_start() -> None:
    state = begun(State(), B, "2", A)
    assert not hopeless(state)
    state = started(state)
    assert not hopeless(state), "one cut: it is tried again"
    assert hopeless(started(state))


def test_who_is_not_on_trial_has_nothing_to_end() -> None:
    state = State(good=(A,))
    assert started(state) == kept(state) == taken_back(state, "no") == state
    assert not hopeless(state)


def test_there_is_no_way_back_to_itself() -> None:
    assert begun(State(), B, "2", B).trial == Trial(B, "2", None)
    assert begun(State(), B, "2", None).trial == Trial(B, "2", None)


def test_another_channel_has_numbers_of_its_own_another_repository_also_keys() -> None:
    state = State(repo="r", channel="stable", seq=57, root=3, good=(A,))
    assert following(state, "r", "stable") is state
    assert following(state, "r", "beta") == State(repo="r", channel="beta", seq=0, root=3, good=(A,))
    assert following(state, "s", "beta") == State(repo="s", channel="beta", good=(A,))


IDS = st.text("0123456789abcdef", min_size=64, max_size=64)
STATES = st.builds(
    State,
    repo=st.text(),
    channel=st.text(),
    seq=st.integers(0, 2**53),
    root=st.integers(0, 99),
    trial=st.none() | st.builds(Trial, IDS, st.text(), st.none() | IDS, st.integers(0, 3)),
    bad=st.lists(st.builds(Bad, IDS, st.text(), st.text()), max_size=3, unique_by=lambda b: b.id).map(tuple),
    good=st.lists(IDS, max_size=3).map(tuple),
    last=st.just(()) | st.just((("at", 3), ("did", "updated"), ("label", "x"), ("why", ""))),
)


@given(STATES)
def test_what_is_remembered_is_read_back(state: State) -> None:
    assert load(dump(state)) == state


@given(STATES, IDS)
def test_nothing_grows_without_end(state: State, name: str) -> None:
    for i in range(120):
        state = kept(begun(refused(state, f"{i:064x}", "x", "y"), f"{i + 500:064x}", "l", name))
    assert len(state.bad) <= 50
    assert len(state.good) <= 50


WHOLE: dict[str, Any] = dump(begun(State(bad=(Bad(A, "1", "x"),), good=(C,)), B, "2", A))
WRONG: list[object] = [
    None,
    [],
    {},
    {"format": "1"},
    {"format": 1},
    WHOLE | {"trial": {"id": "x", "label": "", "previous": None, "attempts": 0}},
    WHOLE | {"trial": {"id": B, "label": "", "previous": "../..", "attempts": 0}},
    WHOLE | {"bad": {"x": {"label": "", "why": ""}}},
    WHOLE | {"bad": []},
    WHOLE | {"good": ["x"]},
    WHOLE | {"seq": "many"},
    WHOLE | {"last": {"at": 3}},
    WHOLE | {"last": {"at": "3", "did": "updated", "label": "x", "why": ""}},
    WHOLE | {"last": {"at": 3, "did": "updated", "label": "x", "why": None}},
]


@pytest.mark.parametrize("held", WRONG)
def test_a_state_that_is_none(held: object) -> None:
    with pytest.raises(ValueError, match=r"state of a node|not as it should be"):
        load(held)


def test_a_state_of_a_newer_whiz() -> None:
    with pytest.raises(NewerFormat, match="update whiz"):
        load(WHOLE | {"format": 2})
