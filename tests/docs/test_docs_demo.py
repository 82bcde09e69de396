"""`./scripts/demo` shows the main job and leaves nothing, also when it is interrupted."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest


@pytest.fixture
def installed(root: Path) -> Path:
    """Return the project's directory; fail where running the demo would remake .venv under the other tests."""
    stamp = subprocess.run(
        "cat pyproject.toml scripts/dev.lock | cksum", shell=True, cwd=root, check=True, capture_output=True, text=True
    ).stdout
    held = root / ".venv" / "stamp"
    if not held.exists() or held.read_text().strip() != stamp.strip():
        pytest.skip("the workshop changed since scripts/install made .venv")
    return root


def left(trial: Path) -> list[str]:
    """Return the command lines that mention a place."""
    found = []
    for name in (n for n in os.listdir("/proc") if n.isdigit()):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue  # gone meanwhile
        if str(trial).encode() in words:
            found.append(words.decode(errors="replace").replace("\0", " "))
    return found


def test_without_a_terminal(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["./scripts/demo"],
        cwd=installed,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    for said in ("3 changes pending", "every wish holds: 3 running", "web still has pid", "held", "Everything was"):
        assert said in done.stdout
    restarted = done.stdout.partition("5. ")[2].partition("6. ")[0]
    assert "+ start camera" in restarted
    assert "start web" not in restarted
    assert "+ start web" in done.stdout.partition("6. ")[2].partition("7. ")[0]
    assert left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_interrupted_on_a_terminal(installed: Path, tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(installed)
        os.execve("./scripts/demo", ["demo"], {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "TERM": "xterm"})
    said, sent, end = b"", False, time.monotonic() + 90
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break  # the other side closed
            said += piece
        if not sent and b"4. What runs" in said:
            os.write(terminal, b"\x03")
            sent = True
    if time.monotonic() >= end:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert sent, said.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) in (130, -signal.SIGINT), said.decode(errors="replace")
    assert b"\x1b[1m" in said
    assert b"Everything was stopped" in said
    assert left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
