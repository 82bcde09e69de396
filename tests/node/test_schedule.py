"""Calendar work on a real node, by apply (as cron does) and with a whiz that stays. Scenario 82."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.tools import needs, with_clock

if TYPE_CHECKING:
    import subprocess

    from tests.node.conftest import Node, Resident, Until

TASK = "programs:\n  t: {{run: \"sh -c 'echo >>{path}/marker; {more}'\", want: done, schedule: {schedule}}}\n"


def task(node: Node, schedule: str, more: str = "exit 0") -> None:
    node.yaml(TASK.format(path=node.path, schedule=json.dumps(schedule), more=more))


def at(step: str, node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    return with_clock(step, sys.executable, "-m", "whiz", "--home", str(node.path), *words)


@needs("faketime")
def test_by_apply_it_runs_when_it_is_due_and_once(node: Node) -> None:
    """Each turn is a process of its own; what it is reckoned from is kept."""
    task(node, "every day at 03:00")
    assert node.apply() == "every wish holds: 1 waiting\n"
    assert "every day at 03:00: next in" in node.whiz("status")
    assert node.lines("marker") == []
    for _ in range(2):
        assert at("+1d", node, "apply").returncode == 0
    assert len(node.lines("marker")) == 1
    assert at("+5d", node, "check").stdout.startswith("+ start t (due: every day at 03:00)\n1 change pending")
    for _ in range(2):
        assert at("+5d", node, "apply").returncode == 0  # four were missed
    assert len(node.lines("marker")) == 2
    at("-50y", node, "apply")  # the clock goes back: nothing is due at once, and tomorrow is another day
    assert len(node.lines("marker")) == 2
    assert at("-18249d", node, "apply").returncode == 0
    assert len(node.lines("marker")) == 3


def test_one_that_stays_runs_it_again_and_again(node: Node, resident: Resident, until: Until) -> None:
    task(node, "every 1 seconds")
    process = resident("--every", "1h")
    until(lambda: len(node.lines("marker")) >= 3)
    process.terminate()
    process.wait()
    before = len(node.lines("marker"))
    starts = [f for f in node.facts("t") if f["event"] == "start"]
    assert {f["why"] for f in starts} == {"due: every 1 seconds"}
    assert len(starts) == before
    resident("--every", "1h")
    until(lambda: len(node.lines("marker")) > before)


def test_overlap_is_skipped_and_said(node: Node, resident: Resident, until: Until) -> None:
    task(node, "every 1 seconds", "exec sleep 1000")
    resident("--every", "1h")
    until(lambda: len([f for f in node.facts("t") if f["event"] == "skip"]) >= 2)
    assert len(node.lines("marker")) == 1
    assert "still running when it was due" in node.whiz("history")


def test_a_wrong_schedule_is_refused(node: Node) -> None:
    task(node, "every fortnight")
    done = node.command("check")
    assert done.returncode == 2
    assert "fortnight" in done.stderr
    node.yaml("programs:\n  a: {run: /bin/true, schedule: every day at 03:00}\n")
    done = node.command("check")
    assert done.returncode == 2
    assert "write want: done" in done.stderr
