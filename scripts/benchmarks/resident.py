"""Supervisors that stay, measured beside each other: coming up, bringing back what dies, and doing nothing."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import chart
from costs import Cost, costs, files, grown, pss, since
from peers import PEERS, Absent, Whiz
from sleeps import Late, alive, ended, new_tag, pids, seconds, wait_up
from words import section, table

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

    from peers import Peer

MEMORY = ("/dev/shm", "/run")  # noqa: S108  where records cost no disk
FEW, MANY = 200, 1_000
SETTLE = 1.0  # s from the last program's start until the memory is looked at
CALM = 5.0  # s until the rest is
APART = 0.35  # s at least between two kills: longer than whiz's `stable`
GIVEN_UP = 15.0  # s until a program that does not come back is given up


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    few: int = 5  # rounds
    many: int = 1
    kills: int = 60
    killing: float = 30.0  # s for all kills of one supervisor
    idle: float = 60.0


QUICK = Effort(few=2, many=0, kills=10, killing=12.0, idle=10.0)


@dataclass
class Found:
    """What was measured of one supervisor; times are seconds, memory is MB."""

    few: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    lost: int = 0
    processes: int = 0
    cost: Cost | None = None
    idle: float = 1.0
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """A figure of which less is better. Below `least` it is as good as nothing: nobody is better by less than that."""

    title: str
    unit: str
    digits: int
    least: float
    of: Callable[[Found], float | None]
    losing: str

    def value(self, found: Found) -> float | None:
        """Return the figure, if it was measured."""
        value = self.of(found)
        return None if value is None else max(value, self.least)

    def said(self, found: Found) -> str:
        """Return the figure with its unit."""
        value = self.of(found)
        return "-" if value is None else f"{value:,.{self.digits}f}"


def _median(values: Sequence[float], times: float = 1.0) -> float | None:
    return statistics.median(values) * times if values else None


def _p99(values: Sequence[float]) -> float | None:
    return sorted(values)[math.ceil(len(values) * 0.99) - 1] * 1000 if values else None


COLUMNS = (
    Column(f"{FEW} up", "ms", 0, 1.0, lambda f: _median(f.few, 1000), f"in bringing up {FEW}"),
    Column(f"{MANY:,} up", "ms", 0, 1.0, lambda f: _median(f.many, 1000), f"in bringing up {MANY:,}"),
    Column("back, median", "ms", 1, 0.1, lambda f: _median(f.restarts, 1000), "in bringing back what died (median)"),
    Column("back, p99", "ms", 1, 0.1, lambda f: _p99(f.restarts), "in bringing back what died (p99)"),
    Column("memory", "MB", 1, 0.1, lambda f: _median(f.memory), "in memory"),
    Column("idle CPU", "ms/min", 1, 0.1, lambda f: _rate(f, "cpu", 60_000), "in processor time while idle"),
    Column("idle wake-ups", "/s", 2, 0.01, lambda f: _rate(f, "switches", 1), "in wake-ups while idle"),
    Column("idle writes", "B/min", 0, 1.0, lambda f: _rate(f, "written", 60), "in bytes written while idle"),
)


def _rate(found: Found, what: str, times: float) -> float | None:
    return None if found.cost is None else float(getattr(found.cost, what)) / found.idle * times


def resident(room: str, whiz: str, commit: str, plot: str, *, quick: bool, only: Sequence[str]) -> str:
    """Measure all, draw the plot and return the section."""
    effort = QUICK if quick else Effort()
    wanted: list[Peer] = [peer for peer in (Whiz(whiz, commit), *(p() for p in PEERS)) if not only or peer.name in only]
    peers, absent = installed(wanted, room)
    with in_memory() as memory:
        found = measured(peers, memory, effort)
    measures = [column for column in COLUMNS if any(column.of(f) is not None for f in found.values())]
    with open(plot, "w", encoding="utf-8") as f:
        f.write(drawn(found, measures))
    kills = f"{effort.kills} kills, or as many as fit into {effort.killing:.0f} s"
    nothing = ", ".join(f"{c.title} {c.least:g} {c.unit}" for c in measures if c.title.startswith("idle"))
    return section(
        "Staying: `whiz run` beside other supervisors",
        f"![Bars of the table below]({os.path.basename(plot)})",
        table(("", *(f"{c.title}, {c.unit}" for c in measures)), _rows(found, measures)),
        "Less is better; in brackets, times the best, or times what counts as nothing where the best is below that"
        f" ({nothing}). Every supervisor keeps the same `/bin/sleep` programs, {FEW}"
        f" where nothing else is said, with its files in memory ({os.path.dirname(memory)}). *Up*: from the launch of"
        f" the command until all live, {effort.few} rounds ({effort.many} of {MANY:,}) in turns. *Back*: from `kill -9`"
        f" until the successor lives; {kills}, each of another program. *Memory*: proportional (PSS), of all its"
        f" processes but the programs. *Idle*: {effort.idle:.0f} s with nothing to do; wake-ups are context switches"
        " of all threads, writes are those to disks and the growth of its files.",
        verdict(found, measures),
        table(
            ("", "version", f"{FEW} up, ms", f"{MANY:,} up, ms", "memory, MB", "processes", "came back"),
            _spans(peers, found),
        ),
        _remarks(peers, found, absent),
    )


def installed(wanted: Sequence[Peer], room: str) -> tuple[list[Peer], dict[str, str]]:
    """Install what can be; return it, and why others are absent."""
    peers, absent = [], {}
    for peer in wanted:
        tell(f"installing {peer.name}")
        try:
            peer.install(room)
            peers.append(peer)
        except Absent as exc:
            absent[peer.name] = str(exc)
    return peers, absent


@contextlib.contextmanager
def in_memory() -> Iterator[str]:
    """Lend a directory on a tmpfs."""
    place = next((p for p in MEMORY if os.path.ismount(p) and os.access(p, os.W_OK)), None)
    if place is None:
        raise SystemExit(f"bench: none of {', '.join(MEMORY)} is a tmpfs that can be written")
    memory = tempfile.mkdtemp(prefix="whiz-bench-", dir=place)
    try:
        yield memory
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def tell(words: str) -> None:
    """Say how far we are."""
    print(f"bench: {time.strftime('%H:%M:%S')} {words}", flush=True)


# -- measuring


def measured(peers: Sequence[Peer], memory: str, effort: Effort) -> dict[str, Found]:
    """Let all take turns: another one is first in each round."""
    found = {peer.name: Found() for peer in peers}
    rounds = [FEW] * effort.few + [MANY] * effort.many
    for n, programs in enumerate(rounds):
        for peer in _turned([p for p in peers if not p.slow], n):
            tell(f"round {n + 1} of {len(rounds)}, {programs} programs, {peer.name}")
            _guarded(peer, f"{memory}/up{n:02d}-{peer.name}", programs, found[peer.name], None)
    for peer in peers:
        tell(f"idling and killing, {peer.name}")
        _guarded(peer, f"{memory}/stay-{peer.name}", FEW, found[peer.name], effort)
    return found


def _turned(peers: Sequence[Peer], n: int) -> list[Peer]:
    k = n % max(1, len(peers))
    return [*peers[k:], *peers[:k]]


def _guarded(peer: Peer, base: str, n: int, found: Found, effort: Effort | None) -> None:
    try:
        with trial(peer, base, n) as (tag, took, command):
            if effort is None:
                (found.few if n == FEW else found.many).append(took)
                if n == FEW:
                    _settled(command, peer, SETTLE)
                    _looked(peer, base, tag, found)
            else:
                _settled(command, peer, CALM)
                if peer.slow:
                    found.few.append(took)
                    _looked(peer, base, tag, found)
                idling(peer, base, tag, found, effort.idle)
                found.restarts, found.lost = killing(tag, effort)
    except Late as exc:
        found.troubles.append(f"{n:,} programs: {exc}")


def _looked(peer: Peer, base: str, tag: str, found: Found) -> None:
    own = peer.supervisors(base, tag)
    found.memory.append(pss(own))
    found.processes = len(own)


@contextlib.contextmanager
def trial(peer: Peer, base: str, n: int) -> Iterator[tuple[str, float, subprocess.Popen[bytes]]]:
    """Bring n programs up and end everything afterwards; yield their tag and how long it took."""
    tag = new_tag()
    os.makedirs(base)
    peer.write(base, seconds(tag, n))
    before = pids()
    with ended(tag):
        begin = time.perf_counter()
        command = peer.start(base)
        try:
            yield tag, wait_up(tag, n, before) - begin, command
        finally:
            peer.stop(base, command, tag)
    shutil.rmtree(base, ignore_errors=True)


def _settled(command: subprocess.Popen[bytes], peer: Peer, calm: float) -> None:
    if peer.name == "pm2":
        command.wait(60)  # the command is not the supervisor, and still prints
    time.sleep(calm)  # what a start costs is not to be counted as idling


def idling(peer: Peer, base: str, tag: str, found: Found, idle: float) -> None:
    """Measure what doing nothing costs."""
    own = peer.supervisors(base, tag)
    kept, before, begin = files(base), costs(own), time.monotonic()
    time.sleep(idle)  # this is what is measured
    after = costs(peer.supervisors(base, tag))
    found.idle = time.monotonic() - begin
    cost = since(before, after)
    found.cost = Cost(cost.cpu, cost.switches, cost.written + grown(kept, files(base)))


def killing(tag: str, effort: Effort) -> tuple[list[float], int]:
    """Kill program after program; return how long each was missing, and how many did not come back."""
    living = {argument: pid for pid, argument in alive(tag, set())}
    took, lost = [], 0
    end = time.monotonic() + effort.killing
    for argument in sorted(living)[: effort.kills]:
        seen = pids()
        begin = time.perf_counter()
        os.kill(living[argument], signal.SIGKILL)
        missing = _missing(argument, seen, begin)
        if missing is None:
            lost += 1
        else:
            took.append(missing)
        if time.monotonic() > end:
            break
        time.sleep(max(0.0, APART - (time.perf_counter() - begin)))  # so that no back-off is measured
    return took, lost


def _missing(argument: str, seen: set[int], begin: float) -> float | None:
    """Return how long it took until a program lives again; looks 50 times in that time, so within 2 %."""
    while (now := time.perf_counter() - begin) < GIVEN_UP:
        if next(alive(argument, seen), None):
            return time.perf_counter() - begin
        time.sleep(min(0.02, max(0.0003, now / 50)))  # a look costs time, too
    return None


# -- saying


def _rows(found: dict[str, Found], columns: Sequence[Column]) -> list[tuple[str, ...]]:
    rows = []
    for name, f in found.items():
        cells = []
        for column in columns:
            value, best = column.value(f), _best(found, column)
            cells.append("-" if value is None else f"{column.said(f)} ({times(value / best)})")
        rows.append((f"**{name}**" if name == "whiz" else name, *cells))
    return rows


def _best(found: dict[str, Found], column: Column) -> float:
    return min(value for f in found.values() if (value := column.value(f)) is not None)


def times(ratio: float) -> str:
    """Say a ratio, as exactly as it is worth."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"  # noqa: PLR2004


def verdict(found: dict[str, Found], columns: Sequence[Column]) -> str:
    """Say where whiz loses, to whom and by how much, and where it does not."""
    if "whiz" not in found or len(found) == 1:
        return "There is nobody to compare with."
    lines = []
    for column in columns:
        ours = column.value(found["whiz"])
        if ours is None:
            continue
        others = {name: v for name, f in found.items() if name != "whiz" and (v := column.value(f)) is not None}
        ahead = sorted((v, name) for name, v in others.items() if v < ours)
        if ahead:
            named = ", ".join(f"{name} ({times(ours / v)} times)" for v, name in ahead)
            lines.append(f"- whiz loses {column.losing} to {named}: place {len(ahead) + 1} of {len(others) + 1}.")
        else:
            lines.append(f"- Nobody beats whiz {column.losing}.")
    return "\n".join(lines)


def _spans(peers: Sequence[Peer], found: dict[str, Found]) -> list[tuple[str, ...]]:
    rows = []
    for peer in peers:
        f = found[peer.name]
        spans = [_span(f.few, 1000, 0), _span(f.many, 1000, 0), _span(f.memory, 1, 1)]
        rows.append(
            (peer.name, peer.version, *spans, str(f.processes), f"{len(f.restarts)} of {len(f.restarts) + f.lost}")
        )
    return rows


def _span(values: Sequence[float], by: float, digits: int) -> str:
    if not values:
        return "-"
    return " to ".join(f"{v * by:,.{digits}f}" for v in (min(values), max(values)))


def _remarks(peers: Sequence[Peer], found: dict[str, Found], absent: dict[str, str]) -> str:
    lines = [f"- {peer.name}: {peer.note}." for peer in peers if peer.note]
    lines += [f"- {name} had trouble: {words}." for name, f in found.items() for words in f.troubles]
    lines += [f"- {name} is absent: {why}." for name, why in absent.items()]
    return "\n".join(lines)


def drawn(found: dict[str, Found], columns: Sequence[Column]) -> str:
    """Return the plot."""
    panels = []
    for column in columns:
        bars = [
            chart.Bar(name, value, column.said(f), ours=name == "whiz")
            for name, f in found.items()
            if (value := column.value(f)) is not None
        ]
        if len({bar.value for bar in bars}) == 1:
            continue  # nothing to see
        panels.append(chart.Panel(f"{column.title}, {column.unit}", sorted(bars, key=lambda bar: bar.value)))
    return chart.svg("Less is better; each scale is logarithmic", panels)
