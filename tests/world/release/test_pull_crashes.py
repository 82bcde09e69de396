"""kill -9 at every system call of a pull: `current` is one whole release, and the next pull ends where it should."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.outside import HOUSE
from tests.tools import figure
from tests.world.release.node import Node, camera, fingerprint
from tests.world.release.publisher import Repo
from whiz.world.release.checkup import checkup
from whiz.world.release.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLS = 5  # real ones, beside the copies
REPLAY = os.environ.get("WHIZ_SEED")


def traced(node: Node, out: Path, kill: int = 0) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    words = [sys.executable, "-P", f"{HOUSE}/tests/world/release/tracing.py", str(node.path), str(out), str(kill)]
    env = {**os.environ, "PYTHONPATH": HOUSE}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def prepared(how: str, tmp_path: Path) -> tuple[Repo, Node, set[str | None], str | None]:
    """Return a repository, a node, what may be current after a kill, and what is to be in the end."""
    repo = Repo(tmp_path / "repo")
    node = Node(tmp_path / "node", f"file://{repo.path}", keep=0)
    node.write()
    (node.path / "bystander").write_text("untouched")
    if how == "first":
        one = repo.publish(camera(1))
        return repo, node, {None, one}, one
    repo.publish(camera(0))
    node.pull()
    (node.app / "shared").mkdir()
    (node.app / "shared/data").write_text("untouched")
    one = repo.publish(camera(1))
    node.pull()
    if how == "back":
        two = repo.publish(camera(2) | {"bin/health": (b"#!/bin/sh\nexit 1\n",)}, health=("bin/health",))
        return repo, node, {one, two}, one
    two = repo.publish(camera(2))
    return repo, node, {one, two}, two


def examine(node: Node, may: set[str | None], end: str | None) -> str | None:
    """Assert what must hold after a kill; return what was current then."""
    assert (node.path / "bystander").read_text() == "untouched"
    current = node.sound()
    assert current in may
    node.pull(gate=Health())
    if node.sound() != end:  # a trial that was cut was ended, and the release is bad by now: what was before, stays
        node.pull(gate=Health())
    assert node.sound() == end
    found = checkup(node.here(), repair=False)
    assert found.problems == ()
    assert not (node.app / "staging").exists()
    assert sorted(os.listdir(node.app / "releases")) == sorted(node.store.ids())
    if (node.app / "shared").exists():
        assert (node.app / "shared/data").read_text() == "untouched"
    before = fingerprint(node.path)
    node.pull(gate=Health())
    assert fingerprint(node.path) == before, "nothing is left to do"
    return current


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory: a kill has nothing to do with disks, and each pull waits for them."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    held = Path(tempfile.mkdtemp(prefix="whiz-", dir="/dev/shm"))
    yield held
    subprocess.run(["rm", "-rf", held], check=True)


@pytest.mark.parametrize("how", ["first", "update", "back"])
def test_a_kill_at_any_system_call(how: str, room: Path) -> None:
    _, node, may, end = prepared(how, room)
    subprocess.run(["cp", "-a", node.path, room / "before"], check=True)
    told = traced(node, room / "copies")
    assert told["code"] == (1 if how == "back" else 0)
    assert told["copies"] > 50
    seen = set()
    for i in range(1, told["copies"] + 1):
        there = Node(room / "copies" / str(i), *node.mirrors, keep=0)
        try:
            seen.add(examine(there, may, end))
        except AssertionError as exc:
            exc.add_note(f"copy {i} of {told['copies']}")
            raise
        subprocess.run(["rm", "-r", there.path], check=True)
    assert seen == may, "the flip is among the moments"
    seed = REPLAY or f"{random.getrandbits(32)}"
    chance = random.Random(seed)
    for i in range(KILLS):
        there = Node(room / f"killed-{i}", *node.mirrors, keep=0)
        there.path.rmdir()
        subprocess.run(["cp", "-a", room / "before", there.path], check=True)
        kill = chance.randint(1, told["stops"] * 19 // 20)  # runs differ by a hundredth; each must be cut
        assert traced(there, room / "none", kill)["code"] is None
        try:
            examine(there, may, end)
        except AssertionError as exc:
            exc.add_note(f"WHIZ_SEED={seed}: killed at {kill} of {told['stops']}")
            raise
    figure(test="release crashes", how=how, stops=told["stops"], states=told["copies"], kills=KILLS)
