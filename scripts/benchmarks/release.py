"""What it costs to bring a release to a node: whiz beside rsync, git, ansible and a plain copy, in one run.

Master and node are two network namespaces with a cable between them, and each way has a card of its own. A report, not
a test. Rounds alternate, so that a busy machine slows all alike. Needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import getting
import ground
from node import DOCS, commit, facts, install
from trees import Source
from ways import ANSIBLE, COPY, GIT, HTTP, IN_PLACE, RSYNC, SSH, Cost, Master, Place, Way, entering, mirror, publishing
from ways import ways as all_ways
from words import section, shown, table

FIRST, SAME, ONE, TENTH = "First install", "Nothing new", "One file changed", "A tenth of the files changed"
REACH = {FIRST: 1.2, SAME: 0.15, ONE: 0.5}  # of rsync's time at most, by issue 5
PUBLISH, COPIES = 1.0, 10.0  # s for 1,000 files; times fewer bytes to the card than a copy


@dataclass(frozen=True)
class Effort:
    """How much to measure: files, bytes, rounds of each stage, MB of a card."""

    files: int = 5_000
    size: int = 165_000_000
    rounds: tuple[tuple[str, int], ...] = ((FIRST, 3), (SAME, 9), (ONE, 7), (TENTH, 3))
    published: int = 1_000
    card: int = 1_200


QUICK = Effort(200, 4_000_000, ((FIRST, 1), (SAME, 2), (ONE, 1), (TENTH, 1)), 100, 120)


def main() -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="bench release", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 files, once; write to a temporary directory")
    parser.add_argument("--only", default="", metavar="WORDS", help="just the ways with these words: whiz,rsync; as --quick")
    parser.add_argument("--rounds", type=int, default=99, metavar="N", help="at most so many of each; as --quick")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return _inside(args)
    ground.needed("mkfs.ext4", "losetup", "git", "nginx")
    getting.pythons()
    getting.debian("rsync")
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        install(room)
        words = [room, "--only", args.only, "--rounds", str(args.rounds), *(["--quick"] if args.quick else [])]
        return ground.inside(__file__, words)


HEAD = """\
# A release on its way

Written by `./scripts/bench release` (about six minutes, as root); run it again to measure your machine. A tree of built
source goes from a master to a node over a cable of its own (a veth pair, on which nothing is slow), onto a card of its
own (ext4 on a loop device). Times are wall-clock: median (fastest to slowest), from the command's begin until all of it
is on the card: everybody ends with `sync -f`, whiz too, whose own flush is before that. *Wire*: bytes in both
directions, as the cable counts them. *Card*: bytes written to the device. Ways take turns within one run, so what
matters is the ratio. The master's files are in memory, and publishing and committing are not in these times."""


def _inside(args: argparse.Namespace) -> int:
    room, effort = args.inside, QUICK if args.quick else Effort()
    place_of_report = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick or args.only or args.rounds < 99 else DOCS
    began, load = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
    memory = f"{room}/memory"
    os.mkdir(memory)
    ground.prepare(memory)
    place = _placed(room, memory)
    os.environ["PATH"] = place.env["PATH"]
    node = _network(memory, place)
    source = Source(place.source, effort.files, effort.size)
    master = Master(place)
    ways = [w for w in all_ways(place, room, effort.card) if not args.only or any(o in w.name for o in args.only.split(","))]
    for stage, most in effort.rounds:
        rounds = min(most, args.rounds)
        for turn in range(rounds):
            if stage in (ONE, TENTH):
                source.change(1 if stage == ONE else effort.files // 10)
                master.publish()
            for way in _turned(ways, turn):
                if stage == FIRST:
                    _cleared(way, place, master)
                way.found.setdefault(stage, []).append(_updated(way, node, place))
            print(f"bench: {time.strftime('%H:%M:%S')} {stage.lower()}, round {turn + 1} of {rounds}", flush=True)
    _agree(ways, source)
    published = _published(place, room, effort)
    text = _report(began, load, ways, source, published, effort, _versions(place))
    Path(f"{place_of_report}/release.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {os.path.relpath(place_of_report)}")
    return 0


def _placed(room: str, memory: str) -> Place:
    path = f"{getting.commands()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PATH": path, "HOME": f"{memory}/home", "LANG": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}
    for folder in ("home", "source"):
        os.mkdir(f"{memory}/{folder}")
    return Place(f"{memory}/source", memory, f"{room}/venv/bin", getting.pythons(), env)


NGINX = """\
worker_processes 1; pid {at}/pid; error_log {at}/log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000;
  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u;
  scgi_temp_path {at}/s;
  server {{
    listen {address}:80 backlog=4096; root {repo};
    location / {{ add_header Cache-Control "public, max-age=31536000, immutable"; }}
    location /channel/ {{ add_header Cache-Control "max-age=30"; }}
  }}
}}
"""


def nginx(memory: str, repo: str) -> subprocess.Popen[bytes]:
    """Start one that hands a repository out."""
    os.mkdir(f"{memory}/nginx")
    Path(f"{memory}/nginx.conf").write_text(
        "user root; daemon off; " + NGINX.format(at=f"{memory}/nginx", repo=repo, address=ground.MASTER), encoding="ascii"
    )
    server = subprocess.Popen(["nginx", "-e", "stderr", "-c", f"{memory}/nginx.conf"])
    ground.listens(ground.MASTER, 80, server)
    return server


def _network(memory: str, place: Place) -> str:
    node = ground.host(2, ground.NODE, master="")
    os.mkdir(f"{memory}/ssh", 0o700)
    ground.keys(f"{memory}/ssh", "host", "user")
    ground.client(f"{memory}/ssh", [ground.MASTER, ground.NODE])
    ground.sshd(f"{memory}/ssh", ground.MASTER)
    ground.sshd(f"{memory}/ssh", ground.NODE, node)
    os.makedirs(f"{place.memory}/repo")
    nginx(memory, f"{place.memory}/repo")
    return node


# -- measuring


def _turned(ways: list[Way], turn: int) -> list[Way]:
    k = turn % len(ways)
    return [*ways[k:], *ways[:k]]


def _cleared(way: Way, place: Place, master: Master) -> None:
    way.card.clear()
    if way.name in (HTTP, SSH):
        master.settle(f"{way.card.at}/home", mirror(way.name, place))
    subprocess.run(["sync", "-f", way.card.at], check=True)


def _updated(way: Way, node: str, place: Place) -> Cost:
    """Do one update; return what it cost."""
    words = entering(way, node)
    wire, card, begin = ground.wire(2), way.card.written(), time.perf_counter()
    done = subprocess.run(words, env=place.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"bench: {way.name}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return Cost(took, ground.wire(2) - wire, way.card.written() - card)


def _agree(ways: list[Way], source: Source) -> None:
    """See that each card has the source at the end: a figure of who did something else is worth nothing."""
    for way in ways:
        found = next(
            p for p in ("tree", "current", "home/state/apps/bench/current") if os.path.exists(f"{way.card.at}/{p}")
        )
        for path in source.files:
            there = f"{way.card.at}/{found}/{os.path.relpath(path, source.path)}"
            if Path(there).read_bytes() != Path(path).read_bytes():
                raise SystemExit(f"bench: {way.name}: {there} is not what was released")


def _published(place: Place, room: str, effort: Effort) -> dict[str, list[float]]:
    """Publish fresh trees into fresh repositories, on this machine's disk."""
    trees = {
        f"{effort.published:,} files, {mb:,.0f} MB": (effort.published, int(mb * 1e6))
        for mb in (effort.size / effort.files * effort.published / 1e6, effort.published * 0.0082)
    }
    found: dict[str, list[float]] = {}
    for n, (title, (files, size)) in enumerate(trees.items()):
        Source(f"{place.memory}/published{n}", files, size)
        for turn in range(2 if effort is QUICK else 5):
            repo = f"{room}/repo{n}-{turn}"
            init = [f"{place.bin}/quesofiesta", "init", repo, "--app", "bench", "--keys", f"{place.memory}/keys"]
            place.run(*init, "--key", f"{place.memory}/keys/publish.pub", "--root-key", f"{place.memory}/keys/root.pub")
            begin = time.perf_counter()
            place.run(*publishing(place, f"{place.memory}/published{n}", repo))
            found.setdefault(title, []).append(time.perf_counter() - begin)
    return found


def _versions(place: Place) -> str:
    first = [place.run(name, "--version").splitlines()[0] for name in ("rsync", "git")]
    held = [re.sub(r" +protocol.*| version", "", line).strip() for line in first]
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    server = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.rpartition("/")[2].strip()
    pythons = getting.PYTHONS[0].replace("==", " ")
    return ", ".join([*held, pythons, re.split(r"[ ,]", ssh)[0], f"nginx {server}", f"whiz at {commit()}"])


# -- saying


def _report(  # noqa: PLR0913, PLR0917  what a report is made of
    began: str,
    load: float,
    ways: list[Way],
    source: Source,
    published: dict[str, list[float]],
    effort: Effort,
    versions: str,
) -> str:
    size = sum(os.path.getsize(p) for p in source.files)
    lines = [*facts(began), f"- {versions}", f"- {len(source.files):,} files, {size / 1e6:,.0f} MB"]
    lines += [f"- load average before and after: {load:.1f}, {os.getloadavg()[0]:.1f}", ""]
    parts = [_stage(stage, ways) for stage, _ in effort.rounds]
    rows = [(title, shown(times)) for title, times in published.items()]
    slowest = statistics.median(next(iter(published.values())))
    said = f"{_held(slowest < PUBLISH)}: we reach for less than {PUBLISH:g} s for 1,000 files."
    intro = "`quesofiesta publish` of a first release into a fresh repository on this machine's disk, with its flush."
    parts.append(section("Publishing", intro, table(("", "ms"), rows), said))
    parts.append(section("What was reached", "\n".join([*_reached(ways), *_losing(ways)])))
    parts.append(section("How each does it", "\n".join(f"- {w.name}: {w.note}." for w in ways)))
    return "\n".join([HEAD, "", *lines, *parts])


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


if __name__ == "__main__":
    sys.exit(main())
