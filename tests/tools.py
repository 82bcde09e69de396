"""What some tests need of the machine."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

_CLOCK = Path(__file__).parent / "clock"


def needs(tool: str) -> pytest.MarkDecorator:
    """Skip where a tool is missing; CI must have it."""
    missing = shutil.which(tool) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(missing, reason=f"{tool} is not installed (apt-get install {tool})")


def figure(**facts: object) -> None:
    """Tell ./scripts/bench what was tried, where it asks (WHIZ_FIGURES)."""
    path = os.environ.get("WHIZ_FIGURES")
    if path is not None:
        with open(path, "a", encoding="utf-8") as f:
            f.write(json.dumps(facts) + "\n")


def stepping(clock: str) -> dict[str, str]:
    """Return the environment of a wall clock that is off by what this file says just now ("+3600")."""
    forget_clocks()
    asked = subprocess.run(
        ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], check=True, capture_output=True, text=True
    )
    keep = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    path = os.pathsep.join(filter(None, (str(_CLOCK), os.environ.get("PYTHONPATH"))))
    file = {"FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": "1"}
    return {**os.environ, **keep, **file, "LD_PRELOAD": asked.stdout.strip(), "PYTHONPATH": path}


def forget_clocks() -> None:
    """Remove what libfaketime left of processes that are dead: the next one with such a number refuses to run."""
    for path in glob.glob("/dev/shm/*faketime_s[eh]m_*"):
        if not os.path.exists(f"/proc/{path.rpartition('_')[2]}"):
            with suppress(FileNotFoundError):
                os.unlink(path)


def with_clock(step: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command with another wall clock ("+50y"); CLOCK_MONOTONIC and CLOCK_BOOTTIME stay."""
    forget_clocks()
    env = {**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": str(_CLOCK)}
    return subprocess.run(["faketime", "-f", step, *argv], check=False, capture_output=True, text=True, env=env)
