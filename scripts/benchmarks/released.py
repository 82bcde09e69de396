"""The report of `./scripts/bench release`: what each way cost, what was reached, and where whiz loses."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ways import ANSIBLE, COPY, FIRST, GIT, HTTP, IN_PLACE, ONE, RSYNC, SAME, SSH, TENTH
from words import section, shown, table

if TYPE_CHECKING:
    from ways import Way

REACH = {FIRST: 1.2, SAME: 0.15, ONE: 0.5}  # of rsync's time at most, by issue 5
PUBLISH, COPIES = 1.0, 10.0  # s for 1,000 files; times fewer bytes to the card than a copy

HEAD = """\
# A release on its way

Written by `./scripts/bench release` (about six minutes, as root); run it again to measure your machine. A tree of built
source goes from a master to a node over a cable of its own (a veth pair, on which nothing is slow), onto a card of its
own (ext4 on a loop device). Times are wall-clock: median (fastest to slowest), from the command's begin until all of it
is on the card: everybody ends with `sync -f`, whiz too, whose own flush is before that. *Wire*: bytes in both
directions, as the cable counts them. *Card*: bytes written to the device. Ways take turns within one run, so what
matters is the ratio. The master's files are in memory, and publishing and committing are not in these times."""


def report(facts: list[str], ways: list[Way], published: dict[str, list[float]]) -> str:
    """Return it."""
    parts = [_stage(stage, ways) for stage in (FIRST, SAME, ONE, TENTH)]
    rows = [(title, shown(times)) for title, times in published.items()]
    slowest = statistics.median(next(iter(published.values())))
    said = f"{_held(slowest < PUBLISH)}: we reach for less than {PUBLISH:g} s for 1,000 files."
    intro = "`quesofiesta publish` of a first release into a fresh repository on this machine's disk, with its flush."
    parts.append(section("Publishing", intro, table(("", "ms"), rows), said))
    parts.append(section("What was reached", "\n".join([*_reached(ways), *_losing(ways)])))
    parts.append(section("How each does it", "\n".join(f"- {w.name}: {w.note}." for w in ways)))
    return "\n".join([HEAD, "", *facts, "", *parts])


def _stage(stage: str, ways: list[Way]) -> str:
    base = next((w for w in ways if w.name == RSYNC), ways[0])
    rows = []
    for w in ways:
        costs = w.found[stage]
        share = _seconds(w, stage) / _seconds(base, stage)
        seconds = shown([c.seconds for c in costs])
        rows.append((w.name, seconds, f"{share:.2f}", _kb([c.wire for c in costs]), _kb([c.card for c in costs])))
    head = ("", "ms", f"times {base.name}", "wire, kB", "card, kB")
    return section(stage, table(head, rows), f"{len(base.found[stage])} rounds.")


def _seconds(way: Way, stage: str) -> float:
    return statistics.median(c.seconds for c in way.found[stage])


def _bytes(way: Way, stage: str) -> float:
    return statistics.median(c.card for c in way.found[stage])


def _kb(values: list[int]) -> str:
    return f"{statistics.median(values) / 1000:,.1f}"


def _held(reached: bool) -> str:  # noqa: FBT001  a word for it
    return "reached" if reached else "**not reached**"


def _reached(ways: list[Way]) -> list[str]:
    by = {w.name: w for w in ways}
    lines = []
    for name in (HTTP, SSH):
        if name not in by:
            continue
        for stage, most in REACH.items():
            if RSYNC in by:
                share = _seconds(by[name], stage) / _seconds(by[RSYNC], stage)
                words = f"{share:.2f} of the time of {RSYNC}"
                lines.append(f"- {stage}, {name}: {words} (we reach for {most:g}): {_held(share <= most)}.")
        if COPY in by:
            times = _bytes(by[COPY], ONE) / max(1.0, _bytes(by[name], ONE))
            words = f"{times:.0f} times fewer bytes to the card than a full copy"
            lines.append(f"- {ONE}, {name}: {words} (we reach for {COPIES:g}): {_held(times >= COPIES)}.")
    return lines


def _losing(ways: list[Way]) -> list[str]:
    """Say where others are better than whiz."""
    by = {w.name: w for w in ways}
    lines = []
    for name in (n for n in (HTTP, SSH) if n in by):
        for what, said in (("seconds", "in time"), ("wire", "on the wire"), ("card", "on the card")):
            worse = [words for stage in REACH | {TENTH: 0.0} if (words := _behind(by, name, stage, what))]
            if worse:
                lines.append(f"- {name} loses {said}: {'; '.join(worse)}.")
    return lines or ["- Nobody here is better than whiz in time, on the wire or on the card at any of it."]


def _behind(by: dict[str, Way], name: str, stage: str, what: str) -> str:
    def of(way: str) -> float:
        return statistics.median(float(getattr(c, what)) for c in by[way].found[stage])

    others = [o for o in (RSYNC, IN_PLACE, COPY, GIT, ANSIBLE) if o in by and of(o) < of(name)]
    held = [f"{o} ({of(name) / of(o):.1f} times)" if of(o) else o for o in others]
    return f"{stage.lower()}, to {', '.join(held)}" if held else ""
