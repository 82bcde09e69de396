"""The clock steps by decades at random instants, again and again: what happens is what happens without. Scenario 80."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.node.conftest import WHIZ, Node, announced
from tests.tools import figure, needs, stepping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.node.conftest import Until

STEP = 50 * 365 * 86400  # s
STEPS = [0]  # taken
REPLAY = os.environ.get("WHIZ_SEED")
PROGRAMS: dict[str, dict[str, Any]] = {  # that nobody else runs: it would be adopted
    # five quick failures make a crash loop, the seventh attempt is the last
    "crash": {"run": ["/bin/sh", "-c", "exit 3"], "restart": {"delay": "20ms", "max_delay": "40ms", "attempts": 7}},
    # past `stable` it begins anew, also when it fails; it is ended by the scenario
    "steady": {"run": ["/bin/sleep", f"1000.5{os.getpid()}"], "restart": {"delay": "10ms", "stable": "400ms"}},
    # slow to come back: must neither come at once nor never
    "backoff": {"run": ["/bin/sh", "-c", "exit 1"], "restart": {"delay": "700ms", "max_delay": "700ms", "attempts": 3}},
    "deaf": {"run": ["/bin/sh", "-c", "trap '' TERM; touch up; exec sleep 1000"], "stop": {"grace": "600ms"}},
    "kept": {"run": ["/bin/sleep", f"1001.5{os.getpid()}"], "restart": {"on": "failure"}},
    "task": {"run": ["/bin/sleep", "0.2"], "want": "done"},
    "after": {"run": ["/bin/sleep", f"1002.5{os.getpid()}"], "after": ["task", "steady"]},
}


@contextmanager
def steps(clock: Path, seed: str | None) -> Iterator[dict[str, str]]:
    """Yield the environment of a clock that steps at random instants, or of one that does not."""

    def put(seconds: int) -> None:
        new = clock.with_suffix(".new")
        new.write_text(f"{seconds:+}\n")
        new.rename(clock)

    over = threading.Event()

    def storm(dice: random.Random) -> None:
        while not over.wait(dice.expovariate(20)):
            put(dice.randint(-STEP, STEP))
            STEPS[0] += 1

    put(0)
    thread = threading.Thread(target=storm, args=(random.Random(seed),))
    if seed is not None:
        thread.start()
    try:
        yield stepping(str(clock))
    finally:
        over.set()
        if seed is not None:
            thread.join()


def trace(node: Node, *, codes: bool) -> dict[str, list[tuple[Any, ...]]]:
    """Return what happened to each program, without times and numbers. `codes`: with reasons and exit codes."""
    out: dict[str, list[tuple[Any, ...]]] = {}
    for fact in node.facts():
        why = re.sub(r"[0-9.]+ (ms|s)\b", "… s", str(fact.get("why")))
        told = (fact.get("state"), fact.get("exit"), len(fact.get("pids", ())), why) if codes else ()
        # a command notes what it asked for after it has asked: whiz may be faster
        who = "asked" if fact["event"] in ("hold", "unhold", "restart") else "done"
        out.setdefault(f"{fact['program']} {who}", []).append((fact["event"], *told))
    return out


def write(node: Node, kept: str = "1001") -> None:
    programs = {**PROGRAMS, "kept": {**PROGRAMS["kept"], "run": ["/bin/sleep", f"{kept}.5{os.getpid()}"]}}
    text = json.dumps({"version": 1, "defaults": {"cwd": str(node.path)}, "programs": programs})
    node.yaml(text)


def scenario(node: Node, look: Until, whiz: Callable[..., object]) -> None:
    """Go through the whole of it, each step awaiting what comes of the one before."""

    def count(name: str, event: str) -> int:
        return sum(f["event"] == event for f in node.facts(name))

    def run(name: str) -> dict[str, Any]:
        folder = "state/tasks" if name == "task" else "run/runs"
        found: dict[str, Any] = json.loads((node.path / folder / f"{name}.json").read_text())["runs"][-1]
        return found

    look(lambda: count("crash", "exit") == 7 and count("backoff", "exit") == 3)
    look(lambda: count("after", "start") == 1 and (node.path / "up").exists())
    look(lambda: run("steady").get("stable"))
    os.kill(run("steady")["proc"]["pid"], signal.SIGKILL)
    look(lambda: count("steady", "start") == 2)
    whiz("hold", "deaf")
    look(lambda: count("deaf", "exit") == 1)
    (node.path / "up").unlink()
    whiz("unhold", "deaf")
    look((node.path / "up").exists)
    os.kill(run("kept")["proc"]["pid"], signal.SIGKILL)
    look(lambda: count("kept", "start") == 2)
    whiz("restart", "after")
    look(lambda: count("after", "start") == 2)
    write(node, kept="1003")
    whiz("apply")
    look(lambda: count("kept", "start") == 3)


def stays(node: Node, until: Until, seed: str | None) -> dict[str, list[tuple[Any, ...]]]:
    """Let one whiz that stays go through it."""
    with steps(node.path / "clock", seed) as env, (node.path / "said").open("w") as out:
        command = [*WHIZ, "--home", str(node.path), "run"]
        faults = {"PYTHONFAULTHANDLER": "1"}  # it tells where its threads are, should it be aborted
        process = subprocess.Popen(command, env=env | faults, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            until(lambda: announced(node).get("proc", {}).get("pid") == process.pid)
            scenario(node, lambda c: until(c, 180), lambda *words: node.command(*words, "--wait", "0", env=env))
            assert process.poll() is None
        except AssertionError as exc:
            process.send_signal(signal.SIGABRT)
            process.wait(30)
            exc.add_note(f"{'stepped' if seed else 'still'}: {(node.path / 'said').read_text()[-6000:]}")
            raise
        finally:
            process.kill()
            process.wait()
    return trace(node, codes=True)


def comes(node: Node, until: Until, seed: str | None) -> dict[str, list[tuple[Any, ...]]]:
    """Let a whiz that comes and goes, as cron calls it, go through it: it sees no exit codes, or some."""
    with steps(node.path / "clock", seed) as env:

        def whiz(*words: str) -> bool:
            done = node.command(*words, "--wait", "0", env=env)
            assert done.returncode in (0, 1, 3), done.stderr
            return True

        scenario(node, lambda c: until(lambda: whiz("apply") and c(), 180), whiz)
    return trace(node, codes=False)


@needs("faketime")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [stays, comes])
def test_steps_at_random_instants_change_nothing(
    how: Callable[..., dict[str, list[tuple[Any, ...]]]], tmp_path: Path, until: Until
) -> None:
    """WHIZ_SEED replays the steps."""
    seed = REPLAY or f"{random.getrandbits(32)}"
    traces, STEPS[0] = [], 0
    for name, stepped in (("still", None), ("stepped", seed)):
        node = Node(tmp_path / name)
        node.path.mkdir()
        write(node)
        try:
            traces.append(how(node, until, stepped))
        finally:
            node.kill_all()
    assert traces[1] == traces[0], f"WHIZ_SEED={seed}"
    figure(test="clock", how=how.__name__, steps=STEPS[0], events=sum(map(len, traces[0].values())))
