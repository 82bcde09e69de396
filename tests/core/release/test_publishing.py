"""What a channel says next, and what is doubtful in a tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.errors import UsageError
from whiz.core.release import doubts
from whiz.core.release import publish as edits
from whiz.core.release.channel import WEEKS, Channel, Offer, Rule, wanted
from whiz.core.release.publish import Issue
from whiz.core.value import replace

A, B, C = (Offer(c * 64, n) for n, c in enumerate("abc"))


def issue(now: float = 1000.0, last: int = 0, note: str = "") -> Issue:
    return Issue(now=now, last=last, root=1, by="me@here", note=note)


def channel() -> Channel:
    return edits.first("repo", "stable", "one", A, issue(note="first"))


def test_a_first_channel_offers_its_release_to_all() -> None:
    said = channel()
    assert (said.repo, said.name, said.default, said.releases) == ("repo", "stable", "one", (("one", A),))
    assert (said.seq, said.issued, said.expires, said.root, said.by, said.note) == (
        1000, 1000, 1000 + WEEKS, 1, "me@here", "first",
    )  # fmt: skip


@given(st.integers(0, 1 << 40), st.floats(0, 1 << 40))
def test_a_number_is_never_given_twice_whatever_the_clock_says(last: int, now: float) -> None:
    assert edits.issued(channel(), issue(now, last)).seq == max(last + 1, int(now))


def test_an_offer_ends_waves_and_leaves_pins_and_groups() -> None:
    rules = (Rule("host", "one", "attic"), Rule("group", "one", "garden"), Rule("rollout", "two", permille=10))
    before = replace(channel(), releases=(("one", A), ("two", B)), rules=rules)
    said = edits.offered(before, "three", C, issue())
    assert said.rules == rules[:2]
    assert said.releases == (("one", A), ("three", C)), "what is named for nobody goes"
    assert wanted(said, "other", ()) == "three"
    assert wanted(said, "attic", ()) == "one"


def test_a_pin_holds_until_it_is_undone() -> None:
    said = edits.pinned(edits.pinned(channel(), "attic", "two", B, issue()), "attic", "three", C, issue())
    assert said.rules == (Rule("host", "three", "attic"),)
    assert said.releases == (("one", A), ("three", C))
    assert wanted(edits.offered(said, "two", B, issue()), "attic", ()) == "three"
    free = edits.unpinned(said, "attic", issue())
    assert (free.rules, free.releases) == ((), (("one", A),))


def test_undoing_a_pin_that_is_not_there_says_which_are() -> None:
    with pytest.raises(UsageError, match=r"attic is not pinned in stable\nhint: pinned there: no host is"):
        edits.unpinned(channel(), "attic", issue())
    with pytest.raises(UsageError, match="pinned there: cellar"):
        edits.unpinned(edits.pinned(channel(), "cellar", "one", A, issue()), "attic", issue())


def test_labels_count_the_publishes_of_a_day() -> None:
    assert edits.label_for("2026-11-25", ()) == "2026-11-25.1"
    known = ["2026-11-24.7", "2026-11-25.9", "2026-11-25.10", "2026-11-25.x", "rc1", "12"]
    assert edits.label_for("2026-11-25", known) == "2026-11-25.11"


@pytest.mark.parametrize(
    ("path", "patterns", "fits"),
    [
        ("a/b.o", ("*.o",), True),
        ("tests/x.py", ("tests",), True),
        ("src/tests/x.py", ("tests/",), True),
        ("src/tests", ("src/tests",), True),
        ("x/src/tests", ("src/tests",), False),
        ("src/a.py", ("src/*.py",), True),
        ("src/a.py", (), False),
        ("A.O", ("*.o",), False),
    ],
)
def test_patterns_fit_a_part_or_with_a_slash_the_whole(path: str, patterns: tuple[str, ...], fits: bool) -> None:
    assert doubts.matches(path, patterns) is fits


@pytest.mark.parametrize(
    ("path", "head", "said"),
    [
        (".env", b"", "looks like an environment file"),
        ("a/prod.env", b"", "looks like an environment file"),
        (".env.local", b"", "looks like an environment file"),
        (".env.example", b"", None),
        ("keys/id_ed25519", b"", "looks like a private key"),
        ("id_ed25519.pub", b"", None),
        ("x.pem", b"-----BEGIN CERTIFICATE-----", None),
        ("x.pem", b"\n-----BEGIN RSA PRIVATE KEY-----", "holds a private key"),
        ("x", b"-----BEGIN OPENSSH PRIVATE KEY-----", "holds a private key"),
        ("x", b"-----BEGIN PGP PRIVATE KEY BLOCK-----", "holds a private key"),
        ("environment.py", b"import os", None),
    ],
)
def test_secrets_are_known_by_name_and_by_content(path: str, head: bytes, said: str | None) -> None:
    assert doubts.secret(path, head) == said


def test_bytecode_is_told_by_what_it_goes_by() -> None:
    assert doubts.timed_bytecode("a.pyc", b"magi\0\0\0\0time")
    assert not doubts.timed_bytecode("a.pyc", b"magi\1\0\0\0hash")
    assert not doubts.timed_bytecode("a.pyc", b"magi\3\0\0\0hash")
    assert not doubts.timed_bytecode("a.py", b"magi\0\0\0\0time")
