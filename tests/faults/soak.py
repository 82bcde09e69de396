"""A soak: a storm over many programs for a long time; at the end the machine is the whizzifest.

    python -m tests.faults.soak [--minutes 30 | --seconds N] [--programs 300] [--seed S] [--record]

Exits 0 when everything held. In the first half whiz itself is killed, too; in the second it lives, and is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from statistics import median

import psutil

from tests.faults.outside import HOUSE, until
from tests.faults.storm import Storm

DISK = "24m"  # of the file system that run, state and log share
PAUSE = 0.25  # s between two blows, on the average
EVERY = 5.0  # s between two samples of what whiz holds
SAY = 20.0  # s between two words on what is not yet as it is wished
FLAT = 50.0  # kB/min that its memory may seem to grow by: what a minute's storm makes it hold differs


@dataclass
class Sample:
    """What whiz held at a moment. `memory`: kB that are its own (RssAnon, proc(5))."""

    at: float
    descriptors: int
    threads: int
    memory: int


@dataclass
class Figures:
    """What came of a soak."""

    seconds: float
    programs: int
    seed: str
    blows: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    lives: int = 0
    rest_before: Sample | None = None
    rest_after: Sample | None = None
    highest: int = 0
    slope: float = 0.0
    converged: float = 0.0
    left: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--seed", default=os.urandom(4).hex(), help="the same blows in the same order")
    parser.add_argument("--record", action="store_true", help="write docs/benchmarks/soak.md")
    args = parser.parse_args()
    seconds = args.minutes * 60 if args.seconds is None else args.seconds
    room = tempfile.mkdtemp(prefix="whiz-soak-")
    os.chmod(room, 0o755)
    mounted = _mount(f"{room}/node")
    storm = Storm(room, args.programs, args.seed, _faketime())
    print(f"seed {args.seed}, {args.programs} programs, {seconds:.0f} s, in {room}", flush=True)
    try:
        figures = soak(storm, seconds)
    except BaseException:
        print(f"{storm.autopsy()}\nsoak: broken with --seed {args.seed}; see {room}", flush=True)
        storm.end()
        raise
    storm.end()
    if mounted:
        subprocess.run(["umount", "--lazy", f"{room}/node"], check=True)
    shutil.rmtree(room)
    print(json.dumps(asdict(figures), indent=1))
    if args.record:
        with open(f"{HOUSE}/docs/benchmarks/soak.md", "w", encoding="utf-8") as f:
            f.write(report(figures, full=mounted, clock=storm.faketime is not None))
    return 0


def soak(storm: Storm, seconds: float) -> Figures:
    """Let it storm for so long, then demand that the machine is as it is wished."""
    figures = Figures(seconds, len(storm.entries), storm.seed)
    storm.begin()
    until(storm.stays, "whiz stays", 120)
    rage(storm, seconds * 0.4, spare=False)
    converge(storm)
    os.unlink(f"{storm.room}/calm")  # what fails by nature may fail again
    figures.rest_before = resting(storm)
    samples = rage(storm, seconds * 0.6, spare=True)
    begin = time.monotonic()
    converge(storm)
    figures.converged = time.monotonic() - begin
    figures.rest_after = resting(storm)
    figures.blows = dict(storm.did)
    figures.slope, figures.highest = slope(samples), max((s.descriptors for s in samples), default=0)
    figures.lives = storm.lives
    figures.starts = storm.starts()
    finish(storm, figures)
    return figures


def rage(storm: Storm, seconds: float, *, spare: bool) -> list[Sample]:
    """Strike at random; `spare`: whiz itself is not struck, and is sampled."""
    end, samples = time.monotonic() + seconds, [] if not spare else [sample(storm.whiz)]
    looked = 0.0
    while (now := time.monotonic()) < end:
        storm.strike(spare=spare)
        storm.reap()
        if now - looked > EVERY:
            looked = now
            storm.check()
            if spare:
                samples.append(sample(storm.whiz))
        time.sleep(storm.random.expovariate(1 / PAUSE))
    return samples


def converge(storm: Storm) -> None:
    """End the storm, and wait until the machine is as it is wished."""
    storm.calm()
    wished = storm.wished()
    end, told = time.monotonic() + 600, time.monotonic()
    while (wrong := differences(storm, wished)) or storm.undone():
        now = time.monotonic()
        assert now < end, f"not the whizzifest: {wrong}; tasks: {storm.undone()}"
        if now - told > SAY:
            told = now
            print(
                f"not yet: {len(wrong)} programs, such as {dict(list(wrong.items())[:3])}; {storm.undone()[:3]}",
                flush=True,
            )
        time.sleep(0.1)
    storm.check()


def differences(storm: Storm, wished: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return program -> (how it runs, how it should), where these differ."""
    shown = storm.shown()
    return {n: (shown.get(n), wished.get(n)) for n in shown.keys() | wished if shown.get(n) != wished.get(n)}


def finish(storm: Storm, figures: Figures) -> None:
    """Demand that the machine is the whizzifest and nothing besides, seen with other eyes than before, and stays so."""
    code, said = storm.command("apply", "--allow-empty")
    assert code == 0, said
    before = {p.pid for p in storm.family()}
    code, said = storm.command("apply", "--allow-empty")
    assert code == 0, said
    storm.check()
    assert not [line for line in said.splitlines() if line[:2] in ("+ ", "- ", "! ")], said
    assert {p.pid for p in storm.family()} == before, "a machine that is as wished is left alone"
    assert not storm.overlaps(), f"ran beside their predecessors: {storm.overlaps()}"
    below = psutil.Process().children(recursive=True)
    reapers = (storm.whiz, os.getpid())  # a program that does not reap its own is no matter of ours
    zombies = [p for p in below if p.status() == psutil.STATUS_ZOMBIE and p.ppid() in reapers]
    assert not zombies, f"zombies: {zombies}"
    below = [p for p in below if p.status() != psutil.STATUS_ZOMBIE]
    strays = {p.pid for p in below} - before - {storm.whiz, *storm.strangers}
    assert not strays, f"nobody knows of {strays}"
    mains = storm.mains()
    named = sorted(p.environ()["WHIZ_NAME"] for p in below if p.pid in mains)
    assert named == sorted(storm.wished()), "psutil sees the same"
    for entry in storm.entries:
        if entry.name in storm.wished():
            assert storm.last_start(entry) in before, f"{entry.name}: its last mark is of nobody who lives"
    figures.left = storm.droppings()
    assert not figures.left, f"left over: {figures.left}"
    assert figures.rest_before is not None
    assert figures.rest_after is not None
    for what in ("descriptors", "threads"):
        was, now = getattr(figures.rest_before, what), getattr(figures.rest_after, what)
        assert now <= was, f"{what}: {was} before, {now} after"
    assert figures.seconds < 300 or figures.slope < FLAT, f"memory grows by {figures.slope:.0f} kB/min"


# -- what whiz holds


def sample(pid: int) -> Sample:
    whiz = psutil.Process(pid)
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        own = next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))
    return Sample(round(time.monotonic(), 1), whiz.num_fds(), whiz.num_threads(), own)


def resting(storm: Storm) -> Sample:
    """Return what whiz holds once that no longer changes."""
    while True:
        one = sample(storm.whiz)
        time.sleep(2)  # in which nothing is to happen
        two = sample(storm.whiz)
        if (one.descriptors, one.threads) == (two.descriptors, two.threads):
            return two


def slope(samples: list[Sample]) -> float:
    """Return by how many kB its memory grows in a minute: the median of all pairs of samples (Theil and Sen).

    The first third is left out, in which what is loaded once comes in.
    """
    late = samples[len(samples) // 3 :]
    pairs = [
        (b.memory - a.memory) / (b.at - a.at) * 60 for i, a in enumerate(late) for b in late[i + 1 :] if b.at > a.at
    ]
    return round(median(pairs), 1) if pairs else 0.0


# -- around it


def _mount(folder: str) -> bool:
    """Give the node a small disk of its own, where that is allowed."""
    os.makedirs(folder)
    if os.getuid() != 0:
        print("soak: no full disk without root", flush=True)
        return False
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "soak", folder], check=True)
    return True


def _faketime() -> str | None:
    """Return the library that fakes clocks, None where it is not installed."""
    if shutil.which("faketime") is None:
        print("soak: no clock steps without faketime (apt-get install faketime)", flush=True)
        return None
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def report(figures: Figures, *, full: bool, clock: bool) -> str:
    before, after = figures.rest_before, figures.rest_after
    assert before is not None
    assert after is not None
    commit = subprocess.run(
        ["git", "-C", HOUSE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    missing = [w for w, there in (("full disk", full), ("clock steps", clock)) if not there]
    blows = ", ".join(f"{n} {words}" for words, n in sorted(figures.blows.items(), key=lambda kv: -kv[1]))
    return f"""\
# A soak

Written by `./scripts/soak --record`; run it again to soak your machine. {figures.programs} programs of eight kinds (plain, with
children, with a child in a session of its own, deaf to SIGTERM, failing, with a chaperone, with limits, tasks) under one
`whiz run`, and at random: kill -9 of any process of theirs, edits, half-written whizzifests, holds and their undoing,
restarts, clock steps of up to fifty years, a disk filled to its last byte and freed, questions. In the first two fifths
whiz itself is killed, told to leave and renewed as well; in the rest it lives and is measured. Nothing is reported here
unless, at the end, every wished program ran exactly once (by their own marks, by `/proc` and by psutil), none had ever
run beside its predecessor, no look-alike had heard a signal, and there was no zombie, no stray and no temporary file.

- {time.strftime("%Y-%m-%d %H:%M")}, whiz at commit {commit}, seed {figures.seed}, {figures.seconds / 60:.1f} minutes{"" if not missing else ", without " + " and ".join(missing)}
- {os.cpu_count()} cores ({platform.machine()}), Linux {platform.release()}, Python {platform.python_version()}
- blows: {blows}
- {figures.starts:,} starts of programs, {figures.lives} lives of whiz
- the machine was the whizzifest {figures.converged:.1f} s after the storm

| whiz at rest | before the second part | after it |
| --- | ---: | ---: |
| descriptors | {before.descriptors} | {after.descriptors} |
| threads | {before.threads} | {after.threads} |
| memory of its own, kB | {before.memory:,} | {after.memory:,} |

At most {figures.highest} descriptors in the storm. Memory by the median of all slopes: {figures.slope:+.1f} kB/min.
"""


if __name__ == "__main__":
    sys.exit(main())
