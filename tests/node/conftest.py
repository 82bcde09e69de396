"""A node in a temporary home, driven through the real command, and ended whole when the test is over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.world.release.node import Node as Puller
from tests.world.release.publisher import Repo
from whiz.world.home import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Until = Callable[..., Any]
    Spawn = Callable[..., subprocess.Popen[bytes]]
    Resident = Callable[..., subprocess.Popen[str]]

WHIZ = [sys.executable, "-m", "whiz"]


@dataclass
class Node:
    """One home. `path`: the directory that holds everything; `prefix`: what starts whiz."""

    path: Path
    manifest: str = "whizzifest"
    prefix: tuple[str, ...] = ()

    def write(self, text: str, name: str = "whizzifest") -> Path:
        """Write a file under the home in one step, as editors that care do."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.rename(path)
        return path

    def yaml(self, text: str) -> Path:
        (self.path / "whizzifest").unlink(missing_ok=True)
        return self.write(text, "whizzifest.yaml")

    def script(self, name: str, text: str, mode: int = 0o755) -> Path:
        path = self.write(text, name)
        path.chmod(mode)
        return path

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run whiz and return what it said."""
        words = ("--home", str(self.path), *words)
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run([*self.prefix, *WHIZ, *words], check=False, **options)

    def whiz(self, *words: str, code: int = 0, **options: Any) -> str:
        """Run whiz, expect this exit status, return stdout."""
        done = self.command(*words, **options)
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def apply(self, *words: str, code: int = 0) -> str:
        """Apply until this exit status: on a busy machine a program that fails at once may still be starting."""
        end, said = time.monotonic() + 30, ""
        while True:
            done = self.command("apply", *words)
            said += done.stdout
            if code in (0, done.returncode) or time.monotonic() > end:
                assert done.returncode == code, f"exit {done.returncode}, not {code}\n{said}\n{done.stderr}"
                return said

    def rows(self) -> dict[str, Any]:
        """Return status as name -> row."""
        return {p["name"]: p for p in json.loads(self.command("status", "--json").stdout)["programs"]}

    def pid(self, name: str) -> int:
        pid = self.rows()[name]["pid"]
        assert isinstance(pid, int), self.rows()[name]
        return pid

    def facts(self, name: str | None = None) -> list[dict[str, Any]]:
        facts = json.loads(self.whiz("history", "--json", "-n", "10000"))["history"]
        return [f for f in facts if name in (None, f["program"])]

    def lines(self, name: str) -> list[str]:
        """Return the lines of a marker file under the home."""
        path = self.path / name
        return path.read_text().splitlines() if path.exists() else []

    def ours(self) -> list[psutil.Process]:
        """Return every process that carries this home's mark, looked for from outside.

        Looked for twice: in the middle of exec a process shows no environment, or half of one.
        """
        found: dict[int, psutil.Process] = {}
        for _ in range(2):
            for pid in psutil.pids():  # process_iter() would hand out what it remembers of a number
                try:
                    process = psutil.Process(pid)
                    env = process.environ()
                    marks = (env.get("WHIZ_RUN", ""), env.get("WHIZ_KEEPER", ""))
                    if any(m.startswith(f"{home(str(self.path)).id}/") for m in marks):
                        found[pid] = process
                except psutil.Error:
                    continue
        return [p for p in found.values() if not gone(p.pid)]

    def kill_all(self) -> None:
        deadline = time.monotonic() + 20
        while (left := self.ours()) and time.monotonic() < deadline:
            for process in left:
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    tmp_path.chmod(0o755)
    made = Node(tmp_path)
    yield made
    made.kill_all()


@pytest.fixture
def until() -> Until:
    """Poll a condition to a deadline: no sleep stands for an event."""

    def wait(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds
        while True:
            if value := condition():
                return value
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.01)

    return wait


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start processes by hand; they are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "start_new_session": True, **options}
        started.append(subprocess.Popen(argv, **options))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def resident(node: Node, until: Until) -> Iterator[Resident]:
    """Start whiz run, wait until it stays, and kill it with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, wait: bool = True, **options: Any) -> subprocess.Popen[str]:
        with (node.path / "said").open("a") as said:
            options = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said, **options}
            command = [*node.prefix, *WHIZ, "--home", str(node.path), "run", *words]
            started.append(subprocess.Popen(command, text=True, start_new_session=True, **options))
        if wait:
            until(lambda: announced(node).get("proc", {}).get("pid") == started[-1].pid)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def following(node: Node, repo: Repo, within: str) -> Puller:
    """Have a node follow a repository; a release must be well for a second, by then."""
    found = Puller(node.path, f"file://{repo.path}")
    found.write()
    with (node.path / "quesofiesta.yaml").open("a") as f:
        f.write(f"gate: {{healthy: 1s, within: {within}}}\n")
    return found


def announced(node: Node) -> dict[str, Any]:
    try:
        held: dict[str, Any] = json.loads((node.path / "run/resident.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return held


def lengths(node: Node) -> set[str]:
    """Return the last words of what runs here, such as how long each sleeps."""
    found = set()
    for process in node.ours():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.cmdline()[-1])
    return found


def said(node: Node) -> str:
    return (node.path / "said").read_text()


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == "zombie"
    except psutil.NoSuchProcess:
        return True
