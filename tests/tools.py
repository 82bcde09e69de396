"""What some tests need of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_CLOCK = Path(__file__).parent / "clock"


def needs(tool: str) -> pytest.MarkDecorator:
    """Skip where a tool is missing; CI must have it."""
    missing = shutil.which(tool) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(missing, reason=f"{tool} is not installed (apt-get install {tool})")


def with_clock(step: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command with another wall clock ("+50y"); CLOCK_MONOTONIC and CLOCK_BOOTTIME stay."""
    env = {**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": str(_CLOCK)}
    return subprocess.run(["faketime", "-f", step, *argv], check=False, capture_output=True, text=True, env=env)
