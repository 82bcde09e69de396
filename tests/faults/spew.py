"""Programs that write without end, at a rate that is measured, and how large their logs become meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.outside import ENV, WHIZ, clear, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# writes so many bytes a second, in lines, and notes how many it has written
SPEW = """
import os, sys, time
rate, note = int(sys.argv[1]), sys.argv[2]
piece, begin, done = b"x" * 63 + b"\\n", time.monotonic(), 0
while True:
    while done < rate * (time.monotonic() - begin):
        done += os.write(1, piece * 2048)
    with open(note, "w") as f:
        f.write(str(done))
    time.sleep(0.01)
"""


@dataclass
class Spewed:
    """What was written in how long, and the most that all logs together had meanwhile (bytes)."""

    seconds: float
    written: int
    most: int
    samples: int

    @property
    def rate(self) -> float:
        return self.written / self.seconds


class Spewing:
    """A home whose programs write together `rate` bytes a second, each into a log of up to `cap` bytes."""

    def __init__(self, home: Path, programs: int, rate: int, cap: int) -> None:
        self.home, self.programs = home, programs
        (home / "spew.py").write_text(SPEW)
        entries = {
            f"s{i}": {
                "run": [
                    "/usr/bin/python3",
                    "-I",
                    "-S",
                    str(home / "spew.py"),
                    str(rate // programs),
                    str(home / f"n{i}"),
                ],
                "env": {"FAULT": str(home)},
                "files": [],
                "log": {"max": str(cap)},
            }
            for i in range(programs)
        }
        (home / "whizzifest.yaml").write_text(json.dumps({"version": 1, "programs": entries}))

    def under_run(self, written: int) -> Spewed:
        """Let a whiz that stays keep them until they have written so much."""
        whiz = subprocess.Popen([*WHIZ, "--home", str(self.home), "run"], env=ENV, stdout=subprocess.DEVNULL)
        try:
            return self._sample(written, lambda: None)
        finally:
            whiz.kill()
            whiz.wait()
            clear(f"FAULT={self.home}\0")

    def under_cron(self, written: int, every: float) -> Spewed:
        """Apply once in so many seconds instead."""
        due = 0.0

        def apply() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + every
                subprocess.run([*WHIZ, "--home", str(self.home), "--quiet", "apply"], env=ENV, check=False)

        try:
            return self._sample(written, apply)
        finally:
            clear(f"FAULT={self.home}\0")

    def _sample(self, written: int, meanwhile: Callable[[], None]) -> Spewed:
        meanwhile()
        until(lambda: self._written() > 0, "they write", 60)
        begin, before, most, samples = time.monotonic(), self._written(), 0, 0
        while (now := self._written() - before) < written:
            meanwhile()
            most, samples = max(most, self._sizes()), samples + 1
            assert time.monotonic() - begin < 240, f"only {now} bytes were written"
            time.sleep(0.02)
        return Spewed(time.monotonic() - begin, now, most, samples)

    def _written(self) -> int:
        notes = (self.home / f"n{i}" for i in range(self.programs))
        return sum(int(n.read_text() or 0) for n in notes if n.exists())

    def _sizes(self) -> int:
        with os.scandir(self.home / "log") as found:
            return sum(e.stat().st_size for e in found if e.name.endswith(".log"))
