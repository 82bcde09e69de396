"""whiz stop: the end of everything, once, in order, whoever is at work."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.node.conftest import WHIZ

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident, Until

ENDS = """\
#!/bin/sh
trap 'sleep $2; echo $1 >>ends; exit' TERM
echo $1 >>starts
while :; do sleep 1000 & wait; done
"""
CHAIN = """\
programs:
  db: {run: ./program db 0, cwd: .}
  web: {run: ./program web 0.3, cwd: ., after: db}
  front: {run: ./program front 0.6, cwd: ., after: web}
"""


def chain(node: Node, until: Until) -> None:
    node.script("program", ENDS)
    node.yaml(CHAIN.replace("cwd: .", f"cwd: {node.path}"))
    node.apply()
    until(lambda: len(node.lines("starts")) == 3)


def test_everything_ends_in_reverse_and_the_next_turn_starts_it_again(node: Node, until: Until) -> None:
    chain(node, until)
    said = node.whiz("stop")
    assert node.lines("ends") == ["front", "web", "db"]
    assert said.splitlines()[-1].startswith("everything has ended")
    assert not node.ours()
    assert node.whiz("stop").startswith("everything has ended")  # again, and nothing to do
    node.apply()
    until(lambda: len(node.lines("starts")) == 6)


def test_a_hold_and_a_finished_task_stay_what_they_are(node: Node) -> None:
    node.yaml("programs:\n  a: {run: sleep 1000}\n  b: {run: sleep 1001}\n  once: {run: 'true', want: done}\n")
    node.whiz("hold", "b", code=0)
    node.apply()
    node.whiz("stop")
    node.apply()
    states = {name: row["state"] for name, row in node.rows().items()}
    assert states == {"a": "running", "b": "held", "once": "succeeded"}
    assert len([f for f in node.facts("once") if f["event"] == "start"]) == 1


def test_a_whiz_that_stays_goes_first(node: Node, until: Until, resident: Resident) -> None:
    chain(node, until)
    there = resident()
    node.whiz("stop")
    assert there.wait(timeout=60) == 0
    assert node.lines("ends") == ["front", "web", "db"]
    assert not node.ours()


def test_a_broken_whizzifest_and_no_last_good_one_keep_nothing_alive(node: Node, until: Until) -> None:
    chain(node, until)
    node.yaml("programs: [")
    for kept in (node.path / "state").glob("good*"):
        kept.unlink()
    node.whiz("stop")
    assert node.lines("ends") == ["front", "web", "db"]
    assert not node.ours()


def test_what_does_not_end_in_time_is_named(node: Node) -> None:
    node.yaml("programs:\n  deaf: {run: [sh, -c, 'trap \"\" TERM; sleep 1000'], stop: {grace: 1h}}\n")
    node.apply()
    done = node.command("stop", "--wait", "0.5s")
    assert done.returncode == 1
    assert "deaf has not ended in time" in done.stderr
    assert json.loads(node.command("stop", "--wait", "0s", "--json").stdout)["left"] == ["deaf"]


def test_a_turn_of_another_is_waited_for(node: Node, until: Until) -> None:
    """While another is at work nothing is ended; when that one has gone, killed even, everything is."""
    node.yaml("programs:\n  a: {run: sleep 1000}\n  b: {run: 'false', restart: {delay: 20s}}\n")
    words = [*WHIZ, "--home", str(node.path)]
    with subprocess.Popen([*words, "apply", "-q", "--wait", "5m"], stderr=subprocess.DEVNULL) as other:
        until(lambda: (node.path / "run/runs").is_dir() and node.rows().get("a", {}).get("state") == "running")
        busy = node.command("stop", "--wait", "0.2s")
        assert busy.returncode == 75
        assert "nothing was ended" in busy.stderr
        with subprocess.Popen([*words, "stop"], stdout=subprocess.DEVNULL) as stop:
            other.send_signal(signal.SIGKILL)
            assert stop.wait(timeout=60) == 0
    assert not node.ours()
