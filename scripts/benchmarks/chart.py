"""Bars side by side, as SVG by hand: it needs nothing, and a difference of two plots can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE, NAMES, FIGURES, BAR, GAP, ACROSS = 400, 86, 84, 15, 5, 2
INK, GREY, OURS, THEIRS = "#1f2328", "#59636e", "#d1480b", "#8fa3b8"


@dataclass(frozen=True)
class Bar:
    """One figure; `said` is written beside it."""

    name: str
    value: float
    said: str
    ours: bool


@dataclass(frozen=True)
class Panel:
    """Figures that can be compared."""

    title: str
    bars: Sequence[Bar]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the picture."""
    most = max((len(panel.bars) for panel in panels), default=0)
    tall = 40 + most * (BAR + GAP)
    width, height = WIDE * ACROSS + 20, 40 + tall * math.ceil(len(panels) / ACROSS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"',
        f' viewBox="0 0 {width} {height}" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="14" y="26" fill="{GREY}">{title}</text>',
    ]
    for i, panel in enumerate(panels):
        lines += _panel(panel, 14 + i % ACROSS * WIDE, 40 + i // ACROSS * tall)
    return "\n".join((*lines, "</svg>\n"))


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    lines = [f'<text x="{left}" y="{top + 18}" font-weight="bold" fill="{INK}">{panel.title}</text>']
    values = [bar.value for bar in panel.bars]
    low, high = math.log(min(values) / 1.5), math.log(max(values))
    room = WIDE - NAMES - FIGURES
    for i, bar in enumerate(panel.bars):
        y = top + 28 + i * (BAR + GAP)
        length = max(2.0, room * (math.log(bar.value) - low) / (high - low))
        bold = ' font-weight="bold"' if bar.ours else ""
        fill = OURS if bar.ours else THEIRS
        end = left + NAMES
        lines += [
            f'<text x="{end - 6}" y="{y + 12}" text-anchor="end" fill="{INK}"{bold}>{bar.name}</text>',
            f'<rect x="{end}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{fill}"/>',
            f'<text x="{end + length + 6:.1f}" y="{y + 12}" fill="{GREY}"{bold}>{bar.said}</text>',
        ]
    return lines
