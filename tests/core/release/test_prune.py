"""Which releases stay, and whether there is room for one more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.release.prune import Room, lacks, needed, stay
from whiz.core.release.trial import State, Trial

ON_TRIAL = Trial("t", "label", "p")
# there, state, keep, current, previous, named -> what stays
STAYS = [
    ("abc", State(), 5, "a", "b", "", "ab"),
    ("abc", State(good=("a", "b", "c")), 0, "c", None, "", "c"),
    ("abc", State(good=("a", "b", "c")), 1, "a", None, "", "ac"),
    ("abc", State(good=("a", "b", "c")), 2, "c", None, "", "bc"),
    ("abc", State(good=("a", "b", "c")), 9, None, None, "", "abc"),
    ("abc", State(good=("a", "x", "y")), 1, "c", None, "", "ac"),  # what is gone does not count
    ("cpt", State(trial=ON_TRIAL), 1, "c", None, "", "cpt"),  # R54: with one to keep, both are there
    ("abcd", State(), 0, "a", None, "d", "ad"),  # what runs still has it open
    ("", State(), 3, "a", "b", "c", ""),
]


@pytest.mark.parametrize(("there", "state", "keep", "current", "previous", "named", "expected"), STAYS)
def test_what_stays(
    there: str, state: State, keep: int, current: str | None, previous: str | None, named: str, expected: str
) -> None:
    assert stay(there, state, keep, current, previous, named) == frozenset(expected)


NAMES = st.sampled_from("abcdef")


@given(st.sets(NAMES), st.lists(NAMES, unique=True), st.integers(0, 6), NAMES, NAMES, st.sets(NAMES))
def test_laws(there: set[str], good: list[str], keep: int, current: str, previous: str, named: set[str]) -> None:
    state = State(good=tuple(good), trial=Trial("e", "", "f"))
    kept = stay(there, state, keep, current, previous, named)
    must = {current, previous, "e", "f"} | named
    assert kept <= there
    assert must & there <= kept
    assert len(kept - must) <= keep
    assert kept <= stay(there, state, keep + 1, current, previous, named), "keeping more removes nothing"
    assert stay(kept, state, keep, current, previous, named) == kept, "what stayed stays"


MB = 1_000_000
ROOMS = [
    (Room(free=100 * MB, whole=1000 * MB), 80 * MB, 10, None),
    (Room(free=100 * MB, whole=1000 * MB), 85 * MB, 10, "need 85.0 MB and 16.0 MB in reserve, have 100 MB"),
    (Room(free=3 * MB, whole=50 * MB), 2 * MB, 10, None),  # a small disk has a small reserve
    (Room(free=3 * MB, whole=50 * MB), 3 * MB, 10, "need 3.0 MB and 1.0 MB in reserve, have 3.0 MB"),
    (Room(free=100 * MB, whole=1000 * MB, inodes=200), 1, 100, None),
    (Room(free=100 * MB, whole=1000 * MB, inodes=199), 1, 100, "need 100 inodes and 100 in reserve, have 199"),
]


@pytest.mark.parametrize(("room", "size", "files", "said"), ROOMS)
def test_room(room: Room, size: int, files: int, said: str | None) -> None:
    assert lacks(room, size, files) == said


def test_files_take_whole_blocks() -> None:
    assert needed([]) == 0
    assert needed([0, 1, 4096, 4097]) == 0 + 4096 + 4096 + 8192
