"""What it costs to bring a release to a node: whiz beside rsync, git, ansible and a plain copy, in one run.

Master and node are two network namespaces with a cable between them, and each way has a card of its own. A report, not
a test. Rounds alternate, so that a busy machine slows all alike. Needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import getting
import ground
from node import DOCS, commit, facts, install
from released import report
from trees import Source
from ways import (
    ANSIBLE,
    FIRST,
    GIT,
    HTTP,
    NAMES,
    ONE,
    SAME,
    SSH,
    TENTH,
    Cost,
    Master,
    Place,
    Way,
    entering,
    mirror,
    publishing,
)
from ways import ways as all_ways


@dataclass(frozen=True)
class Effort:
    """How much to measure: files, bytes, rounds of each stage, MB of a card."""

    files: int = 5_000
    size: int = 165_000_000
    rounds: tuple[tuple[str, int], ...] = ((FIRST, 3), (SAME, 9), (ONE, 7), (TENTH, 3))
    published: int = 1_000
    card: int = 1_200


QUICK = Effort(200, 4_000_000, ((FIRST, 2), (SAME, 1), (ONE, 1), (TENTH, 1)), 100, 120)


def main() -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="bench release", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 files, once; write to a temporary directory")
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="just the ways with these words: whiz,rsync; as --quick"
    )
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="at most so many of each; as --quick")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return _inside(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    names = _chosen(args.only)
    ground.needed("mkfs.ext4", "losetup", "nginx", *(["git"] if GIT in names else []))
    if ANSIBLE in names:
        getting.pythons()
    if any("rsync" in name or name == ANSIBLE for name in names):
        getting.debian("rsync")
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        install(room)
        words = [room, "--only", args.only, "--rounds", str(args.rounds), *(["--quick"] if args.quick else [])]
        return ground.inside(__file__, words)


def _chosen(only: str) -> list[str]:
    names = [name for name in NAMES if not only or any(word in name for word in only.split(","))]
    if not names:
        raise SystemExit(f"bench: no way has {only!r} in its name; there are {', '.join(NAMES)}")
    return names


def _inside(args: argparse.Namespace) -> int:
    room, effort = args.inside, QUICK if args.quick else Effort()
    place_of_report = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick or args.only or args.rounds else DOCS
    began, load = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
    memory = f"{room}/memory"
    os.mkdir(memory)
    ground.prepare(memory)
    place = _placed(room, memory)
    os.environ["PATH"] = place.env["PATH"]
    node = _network(memory, place)
    source = Source(place.source, effort.files, effort.size)
    names = _chosen(args.only)
    master = Master(place, git=GIT in names)
    ways = all_ways(place, room, effort.card, names)
    for stage, most in effort.rounds:
        rounds = min(most, args.rounds or most)
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
    size = sum(os.path.getsize(p) for p in source.files)
    held = [*facts(began), f"- {_versions(place, ways)}", f"- {len(source.files):,} files, {size / 1e6:,.0f} MB"]
    held.append(f"- load average before and after: {load:.1f}, {os.getloadavg()[0]:.1f}")
    text = report(held, ways, published)
    Path(f"{place_of_report}/release.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {os.path.relpath(place_of_report)}")
    return 0


def _placed(room: str, memory: str) -> Place:
    path = f"{getting.commands()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PATH": path, "HOME": f"{memory}/home", "LANG": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}
    for folder in ("home", "source"):
        os.mkdir(f"{memory}/{folder}")
    return Place(f"{memory}/source", memory, f"{room}/venv/bin", f"{getting.cache()}/pythons/bin", env)


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
        "user root; daemon off; " + NGINX.format(at=f"{memory}/nginx", repo=repo, address=ground.MASTER),
        encoding="ascii",
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
        for turn in range(1 if effort is QUICK else 5):
            repo = f"{room}/repo{n}-{turn}"
            init = [f"{place.bin}/quesofiesta", "init", repo, "--app", "bench", "--keys", f"{place.memory}/keys"]
            place.run(*init, "--key", f"{place.memory}/keys/publish.pub", "--root-key", f"{place.memory}/keys/root.pub")
            begin = time.perf_counter()
            place.run(*publishing(place, f"{place.memory}/published{n}", repo))
            found.setdefault(title, []).append(time.perf_counter() - begin)
    return found


def _versions(place: Place, ways: list[Way]) -> str:
    there = [name for name in ("rsync", "git") if any(name in w.name for w in ways)]
    first = [place.run(name, "--version").splitlines()[0] for name in there]
    held = [re.sub(r" +protocol.*| version +", " ", line).strip() for line in first]
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    server = (
        subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.rpartition("/")[2].strip()
    )
    pythons = getting.PYTHONS[0].replace("==", " ")
    return ", ".join([*held, pythons, re.split(r"[ ,]", ssh)[0], f"nginx {server}", f"whiz at {commit()}"])


if __name__ == "__main__":
    sys.exit(main())
