"""Each example in manifests/ is executed: it converges, it is quiet then, and it can be stopped."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.conftest import Sandbox

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
EXAMPLES = sorted(p.name for p in MANIFESTS.iterdir() if p.is_file())
# name of the example -> state of each of its programs once every wish holds
STATES = {
    "camera-web.whizzifest": {"camera": "running", "web": "running", "sensor": "running"},
    "camera-web.yaml": {"camera": "running", "web": "running", "sensor": "running"},
    "health.yaml": {"web": "ready", "camera": "running"},
    "hitlist.yaml": {"web": "running", "miner": "stopped", "hitlist/example-miner.sh": "stopped"},
    "include.yaml": {"camera": "running", "attic": "running", "cellar": "running"},
    "instances.yaml": {"sensor:1": "running", "sensor:2": "running", "sensor:3": "running", "web": "running"},
    "task.yaml": {"web": "running", "report": "succeeded"},
}


@pytest.fixture
def examples(sandbox: Sandbox) -> Sandbox:
    shutil.copytree(MANIFESTS, sandbox.path / "manifests")
    return sandbox


@pytest.fixture
def miners(examples: Sandbox) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start by hand what the hit list of the example names: by path, and by basename elsewhere."""
    by_path = examples.path / "manifests" / "programs" / "miner.sh"
    by_name = examples.path / "elsewhere" / "example-miner.sh"
    by_name.parent.mkdir()
    shutil.copy(by_path, by_name)
    started = [subprocess.Popen([path], start_new_session=True) for path in (by_path, by_name)]
    try:
        yield started
    finally:
        for child in started:
            child.kill()
            child.wait()


def test_every_example_is_listed_here() -> None:
    assert sorted(STATES) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_converges_and_is_quiet_then(name: str, examples: Sandbox) -> None:
    words = ("-m", f"manifests/{name}")
    done = examples.whiz(*words, "apply", "--wait", "60s")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(examples.whiz(*words, "status", "--json").stdout)
    assert {p["name"]: p["state"] for p in shown["programs"]} == STATES[name]
    again = examples.whiz(*words, "apply", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["steps"] == []
    pids = {p["name"]: p["pid"] for p in json.loads(examples.whiz(*words, "status", "--json").stdout)["programs"]}
    assert pids == {p["name"]: p["pid"] for p in shown["programs"]}


def test_instances_know_their_number(examples: Sandbox) -> None:
    assert examples.whiz("-m", "manifests/instances.yaml", "apply").returncode == 0
    assert examples.whiz("logs", "-m", "manifests/instances.yaml", "sensor:2").stdout == "sensor 2 on wall 2\n"


def test_the_hit_list_ends_what_others_started(examples: Sandbox, miners: list[subprocess.Popen[bytes]]) -> None:
    # by path the interpreter must have reached the script, which takes a moment after the fork
    end = time.monotonic() + 30
    while any(child.poll() is None for child in miners) and time.monotonic() < end:
        done = examples.whiz("-m", "manifests/hitlist.yaml", "apply")
        assert done.returncode == 0, done.stdout + done.stderr
    assert [child.returncode for child in miners] == [-signal.SIGTERM, -signal.SIGTERM]
