"""A soak in miniature; ./scripts/soak is the long one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.faults.outside import HOUSE


@pytest.mark.timeout(900)
def test_a_soak_in_miniature(tmp_path: os.PathLike[str]) -> None:
    """WHIZ_SEED replays one: a failure prints it."""
    seed = os.environ.get("WHIZ_SEED", os.urandom(4).hex())
    command = [sys.executable, "-m", "tests.faults.soak", "--seconds", "20", "--programs", "24", "--seed", seed]
    done = subprocess.run(
        command, cwd=HOUSE, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
