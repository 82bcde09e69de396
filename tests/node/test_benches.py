"""The benches with hosts of their own still run, end with a report that has its figures, and leave nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools import needs

BENCHES = Path(__file__).resolve().parents[2] / "scripts/benchmarks"
WORDS = [sys.executable, str(BENCHES / "release.py"), "--quick", "--only", "whiz"]
root = pytest.mark.skipif(
    os.getuid() != 0 and os.environ.get("CI") != "true", reason="namespaces and loop devices need root"
)


def loops() -> set[str]:
    """Return what the loop devices of this machine stand on."""
    return {p.read_text() for p in Path("/sys/block").glob("loop*/loop/backing_file")}


def ours(tmp_path: Path) -> list[str]:
    return [path for path in loops() if path.startswith(str(tmp_path))]


@root
@needs("nginx")
@pytest.mark.timeout(300)
def test_whiz_alone_has_its_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        WORDS, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for way in ("http", "ssh"):
        rows = re.findall(
            rf"^\| \*\*whiz, {way}\*\* \| [\d.]+ \(.*\) \| [\d.]+ \| [\d,.]+ \| [\d,.]+ \|$", done.stdout, re.MULTILINE
        )
        assert len(rows) == 4, done.stdout
    assert [p.name for p in tmp_path.iterdir() if "report" not in p.name] == []
    assert ours(tmp_path) == []


@root
@needs("nginx")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_cut_short_leaves_no_process_and_no_device(tmp_path: Path, signum: signal.Signals) -> None:
    running = subprocess.Popen(WORDS, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert running.stdout is not None
    for line in running.stdout:  # until cards are mounted, servers run and releases are on their way
        if b"first install" in line:
            break
    assert ours(tmp_path) != []
    running.send_signal(signum)
    running.wait()
    running.stdout.read()  # until all who have it open have ended
    running.stdout.close()
    end = time.monotonic() + 60
    while ours(tmp_path):
        assert time.monotonic() < end, ours(tmp_path)  # the kernel lets go of devices when it comes to it
        time.sleep(0.05)
    if signum == signal.SIGTERM:
        assert [p.name for p in tmp_path.iterdir() if "report" not in p.name] == []


@root
@needs("nginx")
@pytest.mark.timeout(300)
def test_nodes_that_poll_have_their_figures(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHES / "polls.py"), "--quick"]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("304", "channel", "release", "pack"):
        assert re.search(rf"^\| {kind} \| [\d,]+ \| [\d,]+ \| [\d,]+ \|$", done.stdout, re.MULTILINE), done.stdout
    assert [p.name for p in tmp_path.iterdir() if "report" not in p.name] == []


@root
@pytest.mark.timeout(300)
def test_whiz_beside_ssh_has_its_figures(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHES / "fleet.py"), "--quick", "--bare"]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\| `.*`.* \| [\d.]+ \(.*\) \|", done.stdout, re.MULTILINE)) == 4, done.stdout
    assert [p.name for p in tmp_path.iterdir() if "report" not in p.name] == []
