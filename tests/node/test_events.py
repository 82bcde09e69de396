"""Facts as they happen: `whiz events`, and the commands of `on:`. Scenario 89."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.node.conftest import WHIZ
from whiz.world import hooks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.node.conftest import Node, Resident, Until

HEAR = '#!/bin/sh\nread -r line\necho "$WHIZ_EVENT $line" >>{path}/heard\n'


def heard(node: Node) -> list[tuple[str, dict[str, Any]]]:
    return [(w.partition(" ")[0], json.loads(w.partition(" ")[2])) for w in node.lines("heard")]


def test_events_are_followed(node: Node, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    out = node.path / "out"
    with out.open("wb") as f:
        following = subprocess.Popen([*WHIZ, "--home", str(node.path), "events", "-f"], stdout=f)
    try:
        node.apply()
        node.whiz("hold", "a")
        until(lambda: out.read_text().count("\n") >= 4)
        facts = [json.loads(line) for line in out.read_text().splitlines()]
        assert [f["event"] for f in facts] == ["start", "hold", "stop", "exit"]
        assert {f["program"] for f in facts} == {"a"}
        assert {f["format"] for f in facts} == {1}
    finally:
        following.terminate()
        following.wait()


@pytest.mark.parametrize("stays", [False, True])
def test_commands_are_told(node: Node, resident: Resident, until: Until, stays: bool) -> None:
    node.script("hear.sh", HEAR.format(path=node.path))
    events = ", ".join(f"{e}: ./hear.sh" for e in ("start", "exit", "error", "crash_loop", "hold", "stop", "kill"))
    node.yaml(
        f"on: {{{events}}}\nprograms:\n"
        "  a: {run: /bin/sleep 1000}\n"
        "  no: {run: /nowhere, restart: {attempts: 1}}\n"
        "  bad: {run: /bin/false, restart: {delay: 1ms, max_delay: 2ms}}\n"
    )
    if stays:
        resident()
    node.whiz("apply", "--wait", "3", code=1)
    node.command("hold", "a", "bad", "--wait", "3")
    until(lambda: {e for e, _ in heard(node)} == {"start", "exit", "error", "crash_loop", "hold", "stop"})
    assert [f["program"] for e, f in heard(node) if e == "crash_loop"] == ["bad"]
    assert [f["program"] for e, f in heard(node) if e == "hold"] == ["a", "bad"]
    assert all(e == f["event"] for e, f in heard(node))


@pytest.mark.parametrize("stays", [False, True])
def test_a_command_that_hangs_or_fails_blocks_nothing(
    node: Node, resident: Resident, until: Until, stays: bool
) -> None:
    node.script("hang.sh", "#!/bin/sh\nsleep 91234.1 &\nexec sleep 91234.2\n")
    node.yaml(
        "on: {start: ./hang.sh, stop: /bin/false, exit: /nowhere}\n"
        "programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001, after: a}\n"
    )
    if stays:
        resident()
        node.whiz("apply")  # returns while they hang
        assert {r["state"] for r in node.rows().values()} == {"running"}
        node.whiz("restart", "b")
        said = node.path / "said"
        until(lambda: "took longer than 10 s and was killed" in said.read_text())
        words = said.read_text()
    else:
        words = node.command("apply").stderr
        assert "took longer than 10 s and was killed" in words
        words += node.command("hold", "b").stderr
    assert f"{node.path}/hang.sh" in words
    assert "on stop: /bin/false: exited 1" in words
    assert "on exit: /nowhere: No such file or directory" in words


def test_a_storm_of_facts_is_bounded(tmp_path: Path) -> None:
    class Reaper:
        def helped(self, pid: int) -> None:
            raise AssertionError(pid)

        def ended(self, proc: object) -> None:
            raise AssertionError(proc)

    teller = hooks.Hooks(str(tmp_path), {}, Reaper(), time.monotonic)
    teller.commands = {"start": (("/nowhere",),)}
    for n in range(hooks.WAITING + 7):
        teller.hear({"event": "start", "n": n})
    assert teller.tend() is None
    assert teller.troubles[-1].startswith("7 facts came too fast")


def test_a_wrong_event_is_refused(node: Node) -> None:
    node.yaml("on: {strat: /bin/true}\nprograms:\n  a: {run: /bin/true}\n")
    done = node.command("check")
    assert done.returncode == 2
    assert "did you mean 'start'?" in done.stderr


def test_a_command_that_is_told_is_never_taken_for_a_program(node: Node, resident: Resident, until: Until) -> None:
    node.yaml("on: {exit: /bin/sleep 91234.7}\nprograms:\n  a: {run: /bin/sleep 91234.7, restart: {delay: 3s}}\n")
    resident()
    node.whiz("apply")
    first = node.pid("a")
    os.kill(first, signal.SIGKILL)
    until(lambda: [f for f in node.facts("a") if f["event"] == "exit"])
    node.yaml(
        "on: {exit: /bin/sleep 91234.7}\nprograms:\n  a: {run: /bin/sleep 91234.7, restart: {delay: 2s}}\n"
        "  b: {run: /bin/sleep 91234.8}\n"
    )
    until(lambda: node.rows()["b"]["state"] == "running")
    assert not [f for f in node.facts() if f["event"] == "adopt"]


def test_the_last_facts_are_told_too_and_failures_of_it(node: Node, resident: Resident) -> None:
    node.script("hear.sh", HEAR.format(path=node.path) + "exit 7\n")
    node.yaml("on: {exit: ./hear.sh}\nprograms:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001}\n")
    process = resident("--stop")
    node.whiz("apply")
    process.terminate()
    assert process.wait(30) == 0
    assert {f["program"] for _, f in heard(node)} == {"a", "b"}
    assert (node.path / "said").read_text().count("hear.sh: exited 7") == 2
