"""The report of `./scripts/bench polls`: what one answer costs, how that grows, and what follows for all nodes."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field

from words import section, table

POLL, NODES = 300.0, 100_000  # s; what is extrapolated to


@dataclass
class Heard:
    """What a slice's nodes heard: when each poll began, the answers' status, and how long each poll took."""

    at: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """Of a slice or a kind: requests, seconds, bytes over the wire, seconds of nginx's processor."""

    requests: int
    seconds: float
    wire: int
    cpu: float


HEAD = f"""\
# {NODES:,} nodes and one nginx

Written by `./scripts/bench polls` (about two minutes, as root). A real repository and a real nginx with one worker;
nodes are simulated on the other side of a cable (veth): each poll is a connection of its own with the request that
`quesofiesta pull` sends, by plain http. https was not measured: it adds a handshake to each poll. *CPU* is that of
nginx's worker alone, which a busy machine does not change much; *wire* is all that the cable carried in both
directions."""


def report(facts: list[str], each: dict[str, Cost], slices: dict[int, tuple[Cost, Heard]], poll: float) -> str:
    """Return it. `poll`: s between the polls of a slice's nodes."""
    return "\n".join([HEAD, "", *facts, "", _kinds(each), _grown(slices, poll), _all(each)])


def _kinds(each: dict[str, Cost]) -> str:
    rows = [
        (kind, f"{c.cpu / c.requests * 1e6:,.0f}", f"{c.requests / c.cpu:,.0f}", f"{c.wire / c.requests:,.0f}")
        for kind, c in each.items()
    ]
    head = ("answer", "CPU, µs", "a core could answer, /s", "wire, bytes")
    return section("What one answer costs", table(head, rows))


def _grown(slices: dict[int, tuple[Cost, Heard]], poll: float) -> str:
    rows = []
    for n, (cost, heard) in slices.items():
        first, last = min(heard.at) + poll, max(heard.at)  # the first polls find news
        seconds = Counter(int(t - first) for t in heard.at if t >= first)
        whole = [seconds[s] for s in range(int(last - first))] or [0]
        late = sorted(heard.took)[int(len(heard.took) * 0.99)] * 1000
        mean, cpu = statistics.mean(whole), cost.cpu / cost.requests * 1e6
        polls = (f"{n:,}", f"{n / poll:,.0f}", f"{mean:,.0f}", f"{max(whole):,}")
        rows.append((*polls, f"{cost.wire / cost.seconds / 1000:,.0f}", f"{cpu:,.0f}", f"{late:.0f}"))
    head = ("nodes", "polls/s expected", "measured", "busiest s", "wire, kB/s", "CPU a request, µs", "p99, ms")
    words = (
        f"Each node polls every {poll:g} s, times 0.5 to 1.5 by chance. Its first poll finds news, so it",
        "fetches a release's text and a pack then, which is in wire and CPU, not in polls. The nodes need the",
        "machine's processor too, so how long the slowest polls take (p99) is theirs as much as nginx's.",
    )
    return section("How it grows", table(head, rows), "\n".join(words))


def _all(each: dict[str, Cost]) -> str:
    rate = NODES / POLL
    busiest = rate + 4 * math.sqrt(rate)
    cpu = {kind: c.cpu / c.requests for kind, c in each.items()}
    wire = {kind: c.wire / c.requests for kind, c in each.items()}
    news, sent = (sum(of[k] for k in ("channel", "release", "pack")) for of in (cpu, wire))
    rows = [
        ("polls/s", f"{rate:,.0f}", f"{rate:,.0f}"),
        ("polls in the busiest second", f"{busiest:,.0f}", f"{busiest:,.0f}"),
        ("MB/s on the wire", f"{rate * wire['304'] / 1e6:,.2f}", f"{rate * sent / 1e6:,.1f}"),
        ("CPU, % of a core", f"{rate * cpu['304'] * 100:.1f}", f"{rate * news * 100:.1f}"),
        ("GB in 5 minutes", f"{NODES * wire['304'] / 1e9:,.2f}", f"{NODES * sent / 1e9:,.1f}"),
    ]
    words = (
        "Extrapolated, not measured. Nodes wait by chance and each for itself, so the polls of all in a",
        f"second are nearly those of a Poisson process: {rate:.0f} on average, and {busiest:.0f} (4 standard",
        "deviations more) in a few seconds of a day. nginx keeps nothing of a node once its connection has",
        "ended, so an answer costs the same whoever asks, and requests, bytes and CPU grow as the nodes do:",
        "that is what the slices are to show. *News*: a release was published, and in the next round every",
        "node gets a channel, a release's text and a pack instead of a 304; then it is quiet again. With",
        f"nothing new one core is full at {POLL / cpu['304']:,.0f} nodes. What runs out first is the line, when",
        "there is news. Not in these figures: lost packets, slow lines that hold connections open (memory,",
        "not CPU), and nodes that all come up at once after a power cut.",
    )
    return section(
        f"{NODES:,} nodes, a poll every 5 minutes", table(("", "nothing new", "news"), rows), "\n".join(words)
    )
