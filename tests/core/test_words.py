"""Durations, sizes, signals and ends in words."""

from __future__ import annotations

import re

import pytest

from whiz.core import words


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("500ms", 0.5), ("7", 7), (" 3 d ", 259200)]
)
def test_duration(text: str, seconds: float) -> None:
    assert words.duration(text) == seconds


@pytest.mark.parametrize("text", ["s", "1x", "1..2s", ".", "-1s", "1 2s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        words.duration(text)


@pytest.mark.parametrize(
    ("text", "count"), [("64MB", 64_000_000), ("1.5GiB", 1610612736), ("10k", 10_000), ("5", 5), ("2 kb", 2000)]
)
def test_size(text: str, count: int) -> None:
    assert words.size(text) == count


@pytest.mark.parametrize(("text", "part"), [("50%", 0.5), ("250 %", 2.5), ("1%", 0.01)])
def test_share(text: str, part: float) -> None:
    assert words.share(text) == part


@pytest.mark.parametrize("text", ["50", "0%", "%", "200000%", "5m"])
def test_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        words.share(text)


def test_no_size() -> None:
    with pytest.raises(ValueError, match="5XB"):
        words.size("5XB")
    with pytest.raises(ValueError, match=r"^$"):
        words.size("")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.25, "0.2 s"), (3, "3 s"), (12.4, "12 s"), (185, "3 min 5 s"), (187200, "2 d 4 h"), (3600, "1 h"), (-5, "0 s")],
)  # fmt: skip
def test_spell_seconds(seconds: float, said: str) -> None:
    assert words.spell_seconds(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(812, "812 B"), (3400, "3.4 kB"), (123_456_789, "123 MB"), (5_000_000_000_000, "5000 GB")]
)
def test_spell_bytes(count: int, said: str) -> None:
    assert words.spell_bytes(count) == said


@pytest.mark.parametrize(
    ("code", "said"), [(None, "ended unseen"), (3, "exited 3"), (-15, "killed by SIGTERM"), (-34, "killed by SIG34")]
)
def test_spell_exit(code: int | None, said: str) -> None:
    assert words.spell_exit(code) == said


def test_spell_times_and_near() -> None:
    assert [words.spell_times(n) for n in (1, 2, 3, 12)] == ["once", "twice", "three times", "12 times"]
    assert words.near("camra", ["camera", "web"]) == "camera"
    assert words.near("zzz", ["camera", "web"]) is None
