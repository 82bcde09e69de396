"""A trial home with the examples' programs in it, from which nothing runs on after the test."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whiz.world.home import home

if TYPE_CHECKING:
    from collections.abc import Iterator

WHIZ = Path(sys.executable).parent / "whiz"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# what differs from one day and machine to the next, in this order
LOOSE = (
    (re.compile(r"\d{4}-\d\d-\d\d"), "DATE"),
    (re.compile(r"\d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (B|kB|MB|GB)\b"), "SIZE"),
    (re.compile(r"\b\d+(\.\d+)? (s|min|h|d)\b( \d+ (s|min|h)\b)?"), "SPAN"),
    (re.compile(r"\b(pid|chaperone|process) \d+"), r"\1 PID"),
    (re.compile(r"\brun [0-9a-f]{12}\b"), "run ID"),
    (re.compile(r"\btick \d+"), "tick N"),
    (re.compile(r"(?<=  )\d{2,8}(?=  )"), "PID"),
    (re.compile(r" {2,}"), "  "),
)


@dataclass(frozen=True)
class Sandbox:
    """A directory that is the home of a whiz and the place where commands run."""

    path: Path

    @property
    def env(self) -> dict[str, str]:
        """Return an environment in which `whiz` is the one under test, with this home."""
        return {"PATH": f"{self.path}/.bin:{PATH}", "HOME": str(self.path), "LANG": "C.UTF-8", "TERM": "dumb"}

    def whiz(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run whiz here."""
        return subprocess.run(
            [self.path / ".bin" / "whiz", *words],
            cwd=self.path,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def put(self, name: str, text: str) -> None:
        """Write a file of this home."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def typed(self, commands: list[str]) -> list[str]:
        """Type these commands into one shell; return what each printed, with this place shown as /etc/whiz."""
        cut = "-- next command --"
        here = [c.replace("/etc/whiz/", f"{self.path}/") for c in commands]
        script = "".join(f"{c}\nlast=$?; echo '{cut}'; (exit $last)\n" for c in here)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.path,
            env=self.env,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.stdout.replace(str(self.path), "/etc/whiz").split(cut + "\n")[:-1]

    def loosened(self, text: str) -> list[str]:
        """Return lines without what differs from run to run."""
        for pattern, word in LOOSE:
            text = pattern.sub(word, text)
        return [line.rstrip() for line in text.strip("\n").splitlines()]

    def homes(self) -> Iterator[Path]:
        """Yield every whiz home below this place."""
        for records in self.path.rglob("run/runs"):
            yield records.parent.parent

    def empty(self) -> list[str]:
        """Stop everything that was started from here; return what could not be stopped politely."""
        nothing = self.path / ".nothing"
        nothing.write_text("")
        rest = []
        for place in set(self.homes()):
            done = subprocess.run(
                [WHIZ, "--home", place, "-m", nothing, "apply", "--allow-empty", "--wait", "30s"],
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
            mark = home(str(place)).id.encode() + b"/"
            left = marked(mark)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if done.returncode or left:
                rest.append(f"{place}: exit {done.returncode}, pids {left}: {done.stdout}{done.stderr}")
        return rest


def marked(mark: bytes) -> list[int]:
    """Return the processes whose environment carries a home's mark."""
    found = []
    for pid in (int(n) for n in os.listdir("/proc") if n.isdigit()):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone, or not ours
        if any(word.startswith((b"WHIZ_RUN=" + mark, b"WHIZ_KEEPER=" + mark)) for word in environ):
            found.append(pid)
    return found


@pytest.fixture
def root() -> Path:
    """Return the project's directory."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def sandbox(tmp_path: Path, root: Path) -> Iterator[Sandbox]:
    place = Sandbox(tmp_path.resolve() / "home")
    (place.path / ".bin").mkdir(parents=True)
    shim = place.path / ".bin" / "whiz"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(str(WHIZ))} --home {shlex.quote(str(place.path))} "$@"\n')
    shim.chmod(0o755)
    shutil.copytree(root / "manifests" / "programs", place.path / "programs")
    try:
        yield place
    finally:
        rest = place.empty()
    assert not rest, "\n".join(rest)


@pytest.fixture
def project(root: Path) -> list[Path]:
    """Return every file that belongs to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, check=False, capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:
        files = [root / name for name in listed.stdout.split("\0") if name]
    else:
        files = [p for p in root.rglob("*") if not {*p.relative_to(root).parts} & IGNORED]
    return sorted(p for p in files if p.is_file())


IGNORED = frozenset({
    ".git", ".venv", "dist", "build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
    ".import_linter_cache",
})  # fmt: skip
