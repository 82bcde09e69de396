"""What `./scripts/bench conformance` holds against whiz and its peers, whiz passes whole. The peers are tried by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import needs

BENCH = Path(__file__).resolve().parents[2] / "scripts/benchmarks/conform.py"


@needs("faketime")
@pytest.mark.timeout(600)  # a busy machine took 150 s
def test_whiz_passes_every_behaviour(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCH), "--only", "whiz", "--quick", "--jobs", "6"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}  # where the report goes
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^\| passed \| (\d+) of (\d+) \|$", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert passed[1] == passed[2] == str(len(re.findall(r"^bench: .* whiz, .*: pass \(", done.stdout, re.MULTILINE)))


def test_an_unknown_peer_or_behaviour_is_named() -> None:
    for option in ("--only", "--behaviour"):
        done = subprocess.run([sys.executable, str(BENCH), option, "wizz"], check=False, capture_output=True, text=True)
        assert done.returncode == 2
        assert "unknown 'wizz'; choose from " in done.stderr
