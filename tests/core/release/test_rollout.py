"""Waves, and what a channel says while they go."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.errors import UsageError
from whiz.core.release import channel as channels
from whiz.core.release import publish as edits
from whiz.core.release import rollout
from whiz.core.release.channel import Channel, Offer, Rule, bucket, ruling, wanted
from whiz.core.release.publish import Issue
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C = (Offer(c * 64, n) for n, c in enumerate("abc"))
ISSUE = Issue(now=1000.0, last=0, root=1)
PLAIN = edits.first("repo", "stable", "one", A, ISSUE)


def part(label: str = "two", permille: int = 1000, salt: str = "s", hosts: tuple[str, ...] = ()) -> Rule:
    return Rule("rollout", label, permille=permille, salt=salt, hosts=hosts)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("100%", (100,)),
        ("1%,10%,100%", (1, 10, 100)),
        ("1, 10", (1, 10, 100)),
        ("0.5%,5%", (Fraction(1, 2), 5, 100)),
    ],
)
def test_shares(text: str, shares: tuple[Fraction, ...]) -> None:
    assert rollout.steps(text) == shares


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no share"),
        ("x%", "'x%' is no share"),
        ("-1%", "'-1%' is no share"),
        ("1e1%", "is no share"),
        ("1.x%", "is no share"),
        ("9" * 5000, "is no share"),
        ("101%", "is more than all hosts"),
        ("0%", "the first one some"),
        ("10%,10%", "more hosts than the one before"),
        ("10%,1%", "more hosts than the one before"),
    ],
)
def test_what_is_no_share(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        rollout.steps(text)


def test_a_hundredth_of_three_hosts_is_one() -> None:
    """And a wave that would add nobody is left out, but the last: it is for those that are not here now."""
    found = rollout.waves(rollout.steps("1%,10%,50%,100%"), {n: n for n in ("pi1", "pi2", "pi3")}, "s")
    assert [(int(w.percent), len(w.hosts), w.last) for w in found] == [(1, 1, False), (50, 2, False), (100, 3, True)]
    alone = rollout.waves(rollout.steps("1%,100%"), {"pi": "pi"}, "s")
    assert [w.hosts for w in alone] == [("pi",), ("pi",)]
    assert [w.permille for w in rollout.waves(rollout.steps("1%,100%"), {}, "s")] == [1000]


shares = st.lists(st.integers(1, 1000), min_size=1, max_size=5, unique=True).map(
    lambda found: rollout.steps(",".join(f"{n / 10}%" for n in sorted(found)))
)
fleets = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.text("xyz", min_size=1, max_size=4), max_size=40)


@given(shares, fleets, st.text(max_size=4))
def test_laws_of_waves(steps: tuple[Fraction, ...], hosts: dict[str, str], salt: str) -> None:
    """Each holds the one before and more, at least one host and the share it says; the last one all; as the rule does."""
    found = rollout.waves(steps, hosts, salt)
    assert found[-1].last
    assert found[-1].permille == 1000
    assert set(found[-1].hosts) == set(hosts)
    for small, large in pairwise(found):
        assert set(small.hosts) <= set(large.hosts)
        assert small.permille <= large.permille
        assert large.last or len(small.hosts) < len(large.hosts)
    for wave in found[:-1]:
        assert len(wave.hosts) >= 1
        assert len(wave.hosts) * 100 >= wave.percent * len(hosts)
    for wave in found:
        said = edits.rolled(PLAIN, B, part(permille=wave.permille, salt=salt), ISSUE)
        assert {h for h, node in hosts.items() if wanted(said, node, ()) == "two"} == set(wave.hosts)


@given(shares, fleets.filter(bool), st.integers(0, 6))
def test_a_rollout_goes_on_where_it_was(steps: tuple[Fraction, ...], hosts: dict[str, str], n: int) -> None:
    found = rollout.waves(steps, hosts, "s")
    reached = found[min(n, len(found) - 1)]
    left = rollout.rest(found, reached.permille)
    assert left[-1] == found[-1]
    assert reached in left
    assert set(reached.hosts) <= set(left[0].hosts)
    assert rollout.rest(found, 0) == found


def said(*rules: Rule, default: str = "one") -> Channel:
    return replace(PLAIN, releases=(("one", A), ("two", B), ("three", C)), default=default, rules=rules)


def test_a_rollout_of_some_hosts_is_for_them_alone() -> None:
    channel = edits.rolled(PLAIN, B, part(hosts=("cam1", "cam2")), ISSUE)
    assert [wanted(channel, h, ()) for h in ("cam1", "cam2", "gate")] == ["two", "two", "one"]
    assert channels.load(channels.dump(channel)) == channel
    assert channel.releases == (("one", A), ("two", B))
    assert ruling(channel, "gate", ()) is None
    assert ruling(channel, "cam1", ()) == part(hosts=("cam1", "cam2"))


ONE, TWO, THREE = part(salt="1", hosts=("a",)), part(salt="2", hosts=("b", "c")), part("three", salt="3")


@pytest.mark.parametrize(
    ("rules", "new", "expected"),
    [
        ((), ONE, (ONE,)),
        ((ONE,), TWO, (TWO, ONE)),
        ((ONE, TWO), part(salt="4", hosts=("b",)), (part(salt="4", hosts=("b",)), ONE, replace(TWO, hosts=("c",)))),
        ((ONE, TWO), part(salt="4", hosts=("a",)), (part(salt="4", hosts=("a",)), TWO)),
        ((ONE,), part(salt="4", permille=5, hosts=("a",)), (part(salt="4", permille=5, hosts=("a",)), ONE)),
        ((replace(TWO, permille=7), ONE), TWO, (TWO, ONE)),
        ((replace(TWO, use="old"),), TWO, (TWO,)),
        ((THREE,), ONE, (ONE, THREE)),
        ((Rule("host", "one", "x"), ONE), TWO, (Rule("host", "one", "x"), TWO, ONE)),
    ],
    ids=range(9),
)
def test_what_a_rollout_leaves_of_earlier_ones(rules: Sequence[Rule], new: Rule, expected: tuple[Rule, ...]) -> None:
    """Until its last wave all of them, behind it: who is not in it yet keeps what it has."""
    assert edits.rolled(replace(said(*rules), releases=(*said().releases, ("old", C))), B, new, ISSUE).rules == expected


def test_a_release_to_all_ends_them() -> None:
    assert edits.offered(said(ONE, TWO, THREE), "two", B, ISSUE).rules == ()


def test_taken_back_is_what_was_offered_before_and_not_the_pins_since() -> None:
    pin, old = Rule("host", "three", "x"), part("three", salt="3", hosts=("a",))
    now = edits.rolled(said(pin, old), B, part(hosts=("a",)), ISSUE)
    back = edits.restored(now, said(old), ISSUE)
    assert back.rules == (pin, old)
    assert back.releases == (("one", A), ("three", C))
    assert back.default == "one"
    assert edits.restored(edits.offered(now, "two", B, ISSUE), said(), ISSUE).default == "one"


@pytest.mark.parametrize(
    ("channel", "nodes", "expected"),
    [
        (None, None, False),
        (PLAIN, None, False),
        (said(default="two"), None, True),
        (said(ONE, default="two"), None, False),
        (said(default="two"), ("a",), True),
        (said(part("three", hosts=("a",)), default="two"), ("a",), False),
        (said(TWO), ("b",), True),
        (said(TWO), ("a", "b"), False),
        (said(replace(TWO, permille=0)), ("b",), False),
        (said(Rule("host", "one", "b"), TWO), ("b", "c"), True),
    ],
)
def test_whether_it_is_offered_already(
    channel: Channel | None, nodes: tuple[str, ...] | None, *, expected: bool
) -> None:
    assert rollout.complete(channel, "two", nodes) is expected


def test_what_was_offered_before() -> None:
    first, small, large = PLAIN, said(replace(THREE, permille=5)), said(THREE)
    rule = replace(THREE, permille=0)
    last = said(default="three")
    assert rollout.underway(small, rule) == replace(THREE, permille=5)
    assert rollout.underway(small, replace(rule, use="again")) is None
    assert rollout.underway(None, rule) is None
    assert rollout.before([first, small, large, last], rule) == first
    assert rollout.before([small, last], rule) is None
    assert rollout.before([last, first, small], rule) == first


@pytest.mark.parametrize(
    ("failed", "answered", "limit", "expected"),
    [(0, 0, 0, False), (1, 100, 2, False), (2, 100, 2, False), (3, 100, 2, True), (1, 1, 100, False), (1, 9, 0, True)],
)
def test_when_too_many_failed(failed: int, answered: int, limit: int, *, expected: bool) -> None:
    assert rollout.over(failed, answered, Fraction(limit)) is expected


def test_words() -> None:
    assert rollout.spell(rollout.percent("0.50 %")) == "0.5 %"
    assert rollout.spell(rollout.percent("10")) == "10 %"
    assert rollout.salt("0123456789abcdef" * 4) == "0123456789abcdef"
    assert 0 <= bucket(rollout.salt("f" * 64), "pi") < 1000


def test_who_else_changed_it() -> None:
    """More hosts for the same release, or another's pin, is nothing to stop for; all else is."""
    mine = part(permille=10)
    known = edits.rolled(PLAIN, B, mine, ISSUE)
    more = edits.rolled(known, B, replace(mine, permille=500), ISSUE)
    for now in (known, more, edits.pinned(known, "pi", "one", A, ISSUE)):
        assert not rollout.moved(known, now, mine)
    assert rollout.moved(None, PLAIN, mine)
    assert not rollout.moved(None, None, mine)
    back = edits.offered(known, "one", A, ISSUE)
    other = edits.rolled(known, C, part("three", 10, "t"), ISSUE)
    for theirs in (None, back, edits.offered(known, "three", C, ISSUE), other):
        assert rollout.moved(known, theirs, mine)
    assert rollout.moved(more, known, mine)
