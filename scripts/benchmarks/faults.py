"""What a node that is left alone costs its card, and what power cuts and clock steps do to it, in figures.

The power cuts and clock steps are the project's own tests, with more of everything; where one breaks, no report.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from node import DOCS, ROOT, facts
from words import section, table

from tests.faults.quiet import Idle, card
from tests.faults.spew import Spewing
from whiz.world.logs import TOTAL

RATE, CAP, SPEWING = 50_000_000, 60_000_000, 4  # bytes a second of all, bytes of each log, programs
PROGRAMS, CALLS = 50, 10


def main() -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="bench faults", description=__doc__)
    parser.add_argument("--idle", type=float, default=3600, metavar="SECONDS", help="how long nothing is to happen")
    parser.add_argument("--cuts", type=int, default=1000, help="of power")
    parser.add_argument("--quick", action="store_true", help="a little of everything, to a temporary directory")
    args = parser.parse_args()
    if args.quick:
        args.idle, args.cuts = 10, 12
    if os.getuid() != 0:
        print("bench faults: mounting cards takes root", file=sys.stderr)
        return 1
    place = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick else DOCS
    began = time.strftime("%Y-%m-%d %H:%M")
    with ThreadPoolExecutor() as aside:  # who waits for an hour may as well be beside the others
        waiting = aside.submit(idle, args.idle)
        others = [spew(quick=args.quick), power(args.cuts), pulls(args.cuts), clock()]
        parts = [waiting.result(), *others]
    text = "\n".join([HEAD.format(shlex.join(["", *sys.argv[1:]]).removeprefix("''")), "", *facts(began), "", *parts])
    with open(f"{place}/faults.md", "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    print(f"written to {os.path.relpath(place)}")
    return 0


HEAD = """\
# Card, power and clock

Written by `./scripts/bench faults{}`; run it again (as root) to try your machine."""


def idle(seconds: float) -> str:
    """Measure what reaches a card while nothing happens."""
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room, card(Path(room)) as home:
        stays = Idle(home, PROGRAMS).resident(seconds)
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room, card(Path(room)) as home:
        cron = Idle(home, PROGRAMS).cron(CALLS)
    rows = [
        (f"`whiz run`, {seconds / 60:.1f} minutes", f"{stays.card}", f"{stays.whiz}"),
        (f"`whiz apply --quiet`, {CALLS} calls", f"{cron.card}", "-"),
    ]
    return section(
        f"Idle: {PROGRAMS} programs run and nothing happens",
        table(("", "bytes that reached the card", "bytes the kernel counts for whiz"), rows),
        "Everything of the home, its run directory too, lies on a loop-mounted ext4 card of its own, mounted as "
        "Debian does; "
        "counted are the sectors written to that device. "
        "That a program has become stable is noted once, and that the note was read for the first time is noted by the "
        "kernel (relatime); both are over when counting begins.",
    )


def spew(*, quick: bool) -> str:
    """Measure how large logs become."""
    much = 300_000_000 if quick else 1_500_000_000
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        stays = Spewing(Path(room), SPEWING, RATE, CAP).under_run(much)
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        cron = Spewing(Path(room), SPEWING, RATE, CAP).under_cron(much, 10)
    rows = [
        (how, f"{s.rate / 1e6:.1f}", f"{s.seconds:.0f}", f"{s.most / 1e6:.0f}", f"{(s.most - TOTAL) / s.rate:.1f}")
        for how, s in (("`whiz run`", stays), ("`whiz apply` every 10 s", cron))
    ]
    heads = ("", "written, MB/s", "for, s", "all logs at most, MB", "over the cap, seconds of writing")
    return section(
        f"Output: {SPEWING} programs write without end",
        table(heads, rows),
        f"The cap of all logs is {TOTAL / 1e6:.0f} MB, of each of these {CAP / 1e6:.0f} MB. A whiz that stays "
        f"looks four times a "
        "second while logs grow fast. One that comes and goes holds the cap only when it comes: between two "
        "calls, a minute "
        "from cron, logs grow by what is written in that time, which at this rate is 3 GB. Who has such a "
        "program lets whiz stay.",
    )


def power(cuts: int) -> str:
    """Cut the power as often as asked, and count."""
    rows = []
    for got in tried("power", "tests/faults/test_power.py", {"WHIZ_CUTS": str(cuts)}):
        at = f"system call ({got['states']} states of the card)" if got["states"] else "random instant"
        mount = "noauto_da_alloc, data=writeback" if got["careless"] else "as Debian does"
        rows.append((at, got["run"], mount, str(got["cuts"]), "0"))
    return section(
        "Power: the card is copied at an instant, and the machine boots from the copy",
        table(("cut at", "run directory", "mounted", "cuts", "promises broken"), sorted(rows)),
        "A life is a handful of commands (apply, hold, unhold, restart, edits, also by an editor that syncs "
        "nothing, tasks, "
        "one of them scheduled); the kernel is made to write back in between, with and without the data. After "
        "each cut, in "
        "namespaces of its own with another boot id and a clock that begins anew: every wish that a command had "
        "promised is "
        "there; a task that history had told of is not run again, one that never ended well is, once; one of the two "
        "whizzifests is in force; what is corrupt is set aside and named; a second turn is quiet. What a disk "
        "does that "
        "acknowledges what it has not written is not shown by this.",
    )


def pulls(cuts: int) -> str:
    """Cut the power of pulls as often as asked, and count."""
    (got,) = tried("release power", "tests/faults/test_release_power.py", {"WHIZ_RELEASE_CUTS": str(cuts)})
    return section(
        "Power: cut amid a pull of quesofiesta",
        table(("updates", "cuts", "broken"), [(str(got["updates"]), str(got["cuts"]), "0")]),
        "The card is an ext4 image, mounted noauto_da_alloc, data=writeback, and copied at random instants of each "
        "update. Each copy is mounted under another boot id: `current` is the old release or the new one, bit for "
        "bit, and the next pull ends at the new one with nothing damaged and nothing left over. By itself: "
        f"`WHIZ_RELEASE_CUTS={cuts} ./scripts/test tests/faults/test_release_power.py`.",
    )


def clock() -> str:
    """Step the clock and count."""
    words = {"stays": "`whiz run`", "comes": "`whiz apply`, again and again"}
    rows = [
        (words[got["how"]], str(got["steps"]), str(got["events"]), "0")
        for got in tried("clock", "tests/node/test_clock_steps.py", {})
    ]
    return section(
        "Clock: steps between -50 and +50 years at random instants",
        table(("", "steps", "events", "events that differ"), sorted(rows)),
        "A crash loop that gives up, back-offs, a stable run, a stop with its grace, holds, restarts and an "
        "edit; the events "
        "in history are those of the same scenario without steps. `schedule:` is by the calendar, and is not "
        "part of it.",
    )


def tried(test: str, path: str, env: dict[str, str]) -> list[dict[str, Any]]:
    """Run tests that tell what they tried; exit where one fails."""
    with tempfile.NamedTemporaryFile(prefix="whiz-figures-") as figures:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--timeout=0", "-n", "2", path]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env, "WHIZ_FIGURES": figures.name}, check=False)
        if done.returncode:
            raise SystemExit(f"bench faults: {path} fails")
        lines = figures.read().decode().splitlines()
    with suppress(ValueError):
        return [got for got in map(json.loads, lines) if got["test"] == test]
    raise SystemExit(f"bench faults: {path} told rubbish")


if __name__ == "__main__":
    sys.exit(main())
