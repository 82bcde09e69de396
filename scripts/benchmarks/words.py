"""How a report says its figures: markdown, and times of which the middle counts."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def shown(seconds: list[float]) -> str:
    """Say some times in ms: median (fastest to slowest)."""
    ms = sorted(s * 1000 for s in seconds)
    return f"{statistics.median(ms):.1f} ({ms[0]:.1f} to {ms[-1]:.1f})"


def ratio(a: list[float], b: list[float]) -> str:
    """Say how many times the one is of the other, by medians."""
    return f"{statistics.median(a) / statistics.median(b):.1f}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a markdown table."""
    rule = ("---", *("---:" for _ in head[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def section(title: str, *parts: str) -> str:
    """Return a markdown section."""
    return "\n\n".join((f"## {title}", *parts)) + "\n"
