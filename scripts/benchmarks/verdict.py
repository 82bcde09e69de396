"""What came of a behaviour."""

from __future__ import annotations

from dataclasses import dataclass

PASS, FAIL, LACKS, ODD = "pass", "fail", "n/a", "?"


@dataclass(frozen=True)
class Verdict:
    """One cell of the table, with what was observed."""

    word: str
    seen: str


def judged(holds: bool, seen: str) -> Verdict:  # noqa: FBT001  a verdict is one bit
    """Return pass or fail."""
    return Verdict(PASS if holds else FAIL, seen)


def lacking(why: str) -> Verdict:
    """Say why a supervisor cannot be asked."""
    return Verdict(LACKS, why)


def many(n: int, one: str, more: str = "") -> str:
    """Say how many."""
    return f"{n} {one if n == 1 else more or one + 's'}"


def counted(copies: dict[str, list[int]]) -> str:
    """Say how many copies of each program live."""
    return ", ".join(f"{name} {len(found)}" for name, found in sorted(copies.items()))
