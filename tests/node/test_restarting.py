"""Restart policies, back-off and crash loops, tasks, wishes. Scenarios 18-34, 39-40, 49, 75."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.node.conftest import WHIZ

if TYPE_CHECKING:
    from tests.node.conftest import Node, Until


@pytest.mark.parametrize(
    ("policy", "ending", "starts", "state", "code"),
    [
        ("on: always", "exit 0", 3, "running", 0),
        ("on: always", "exit 1", 3, "running", 0),
        ("on: failure", "exit 0", 1, "succeeded", 0),
        ("on: failure", "exit 1", 3, "running", 0),
        ("on: failure", "kill -9 $$", 3, "running", 0),
        ("on: failure, success_codes: [130, 143]", "exit 143", 1, "succeeded", 0),
        ("on: never", "exit 0", 1, "succeeded", 0),
        ("on: never", "exit 5", 1, "failed", 1),
        ("on: always, attempts: 2", "exit 1", 2, "failed", 1),
    ],
)
def test_policies(node: Node, policy: str, ending: str, starts: int, state: str, code: int) -> None:
    """The program ends as told, but for its third start, which stays."""
    node.script(
        "p.sh",
        f"#!/bin/sh\necho >>{node.path}/starts\n[ $(wc -l <{node.path}/starts) -ge 3 ] && exec sleep 1000\n{ending}\n",
    )
    node.yaml(f"programs:\n  p: {{run: ./p.sh, restart: {{{policy}, delay: 50ms}}}}\n")
    node.apply("--wait", "10", code=code)
    assert len(node.lines("starts")) == starts
    assert node.rows()["p"]["state"] == state


def test_a_crash_loop_is_named_and_still_retried(node: Node) -> None:
    node.yaml("programs:\n  p: {run: /bin/false, restart: {delay: 0s}}\n  ok: {run: /bin/sleep 1000}\n")
    node.apply("--wait", "5", code=1)
    n = len([f for f in node.facts("p") if f["event"] == "start"])
    assert n >= 5
    assert any("crash loop: exited 1, " in f["why"] for f in node.facts("p") if f["event"] == "start")
    node.apply("--wait", "10", code=1)
    assert len([f for f in node.facts("p") if f["event"] == "start"]) > n
    assert node.rows()["ok"]["state"] == "running"


def test_the_crash_loop_shows_while_it_waits(node: Node) -> None:
    node.yaml("programs:\n  p: {run: /bin/false, restart: {delay: 10ms, max_delay: 1h}}\n")
    node.apply("--wait", "2", code=1)
    row = node.rows()["p"]
    assert row["state"] == "crash-loop"
    assert row["why"].startswith("waiting ")
    assert "crash loop: exited 1, " in row["why"]
    assert "crash-loop" in node.whiz("status", code=1)


def test_back_off_is_slept_through_but_not_for_ever(node: Node) -> None:
    node.yaml("programs:\n  p: {run: /bin/false, restart: {delay: 1h, max_delay: 2h}}\n")
    said = node.apply("--wait", "5s", code=3)
    assert ". wait  p (exited 1; back-off" in said
    assert len([f for f in node.facts("p") if f["event"] == "start"]) == 1


def test_a_changed_program_starts_with_a_clean_slate(node: Node) -> None:
    node.yaml("programs:\n  p: {run: /bin/false, restart: {delay: 1h, max_delay: 2h}}\n")
    node.apply(code=3)
    node.yaml("programs:\n  p: {run: /bin/sleep 1000, restart: {delay: 1h, max_delay: 2h}}\n")
    assert "+ start p (the program changed)" in node.apply()


def test_exit_codes_are_kept_while_no_whiz_is_there(node: Node, until: Until) -> None:
    """The chaperone of a program whose policy reads exit codes writes them down."""
    gate = f"while [ ! -e {node.path}/gate ]; do sleep 0.02; done; exit 7"
    node.yaml(
        f"programs:\n  p: {{run: \"sh -c '{gate}'\", restart: {{on: never}}}}\n  q: {{run: \"sh -c '{gate}'\"}}\n"
    )
    node.apply()
    (node.path / "gate").touch()
    until(lambda: not node.ours())
    node.apply("--wait", "0", code=1)
    ends = {f["program"]: (f["state"], f["exit"]) for f in node.facts() if f["event"] == "exit"}
    assert ends == {"p": ("failed", 7), "q": ("lost", None)}  # never an invented 0
    assert node.rows()["p"]["why"] == "exited 7; restart is never"


def test_a_killed_chaperone_neither_kills_nor_doubles(node: Node, until: Until) -> None:
    node.yaml("programs:\n  p: {run: /bin/sleep 1000, restart: {on: failure, delay: 0s}}\n")
    node.apply()
    pid = node.pid("p")
    (keeper,) = [p for p in node.ours() if "WHIZ_KEEPER" in p.environ()]
    keeper.kill()
    until(lambda: len(node.ours()) == 1)
    node.apply()
    assert node.pid("p") == pid
    os.kill(pid, signal.SIGKILL)
    node.apply()
    assert [f["state"] for f in node.facts("p") if f["event"] == "exit"] == ["lost"]
    assert len(node.ours()) == 2


def test_a_task_runs_once_for_each_value_also_over_reboots(node: Node) -> None:
    def manifest(word: str) -> None:
        node.yaml(f"programs:\n  t: {{run: \"sh -c 'echo {word} >>{node.path}/ran'\", want: done}}\n")

    manifest("one")
    node.apply()
    node.apply()
    records = node.path / "state/tasks/t.json"
    text = records.read_text()
    boot = json.loads(text)["runs"][0]["boot"]
    records.write_text(text.replace(boot, "00000000-another-boot"))  # what a reboot makes of it: the run dir is empty
    for file in (node.path / "run").rglob("*.json"):
        file.unlink()
    node.apply()
    assert node.lines("ran") == ["one"]
    manifest("two")
    assert "+ start t (the program changed)" in node.apply()
    manifest("one")
    node.apply()
    assert node.lines("ran") == ["one", "two"]
    node.whiz("restart", "t")
    node.apply()
    assert node.lines("ran") == ["one", "two", "one"]


def test_a_task_that_was_running_when_the_power_went(node: Node, until: Until) -> None:
    gate = f"echo >>{node.path}/ran; while [ ! -e {node.path}/gate ]; do sleep 0.02; done"
    node.yaml(f"programs:\n  t: {{run: \"sh -c '{gate}'\", want: done}}\n")
    node.apply("--wait", "0.5", code=3)
    until(lambda: node.lines("ran"))
    node.kill_all()
    records = node.path / "state/tasks/t.json"
    text = records.read_text()
    records.write_text(text.replace(json.loads(text)["runs"][0]["boot"], "00000000-another-boot"))
    (node.path / "gate").touch()
    node.apply()
    assert len(node.lines("ran")) == 2
    assert node.rows()["t"]["state"] == "succeeded"


def test_a_task_whose_success_was_recorded_while_no_whiz_was_there(node: Node, until: Until) -> None:
    gate = f"echo >>{node.path}/ran; while [ ! -e {node.path}/gate ]; do sleep 0.02; done"
    node.yaml(f"programs:\n  t: {{run: \"sh -c '{gate}'\", want: done}}\n")
    node.apply("--wait", "0.5", code=3)
    (node.path / "gate").touch()
    until(lambda: not node.ours())
    records = node.path / "state/tasks/t.json"  # and then the power goes, before whiz looks again
    text = records.read_text()
    records.write_text(text.replace(json.loads(text)["runs"][0]["boot"], "00000000-another-boot"))
    node.apply()
    assert len(node.lines("ran")) == 1
    assert node.rows()["t"]["state"] == "succeeded"
    assert not list((node.path / "state/tasks").glob("*.outcome"))


def test_a_failing_task_gives_up(node: Node) -> None:
    node.yaml(
        "programs:\n  t: {run: /bin/false, want: done, restart: {attempts: 2, delay: 10ms}}\n  w: {run: /bin/sleep 1000, after: t}\n"
    )
    node.apply(code=1)
    rows = node.rows()
    assert rows["t"]["why"] == "gave up after 2 of 2 attempts: exited 1"
    assert (rows["w"]["state"], rows["w"]["why"]) == ("waiting", "waiting: after t")


def test_hold_survives_and_unhold_undoes(node: Node) -> None:
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    pid = node.pid("b")
    assert "- stop  a (held)" in node.whiz("hold", "a")
    assert "a is held already" in node.whiz("hold", "a")
    node.write("a|/bin/sleep 1002\nb|/bin/sleep 1001\n")
    node.apply()  # a reload keeps holds
    for file in (node.path / "run").rglob("*.json"):
        file.unlink()  # and so does a reboot
    node.apply()
    rows = node.rows()
    assert (rows["a"]["state"], rows["a"]["pid"]) == ("held", None)
    assert rows["b"]["pid"] == pid
    node.whiz("unhold", "a")
    assert node.rows()["a"]["state"] == "running"
    assert "a is not held" in node.whiz("unhold", "a")


def test_held_during_back_off_is_never_started(node: Node) -> None:
    node.yaml(
        f"programs:\n  p: {{run: \"sh -c 'echo >>{node.path}/starts; exit 1'\", restart: {{delay: 200ms, max_delay: 200ms}}}}\n"
    )
    node.apply("--wait", "0.1", code=3)
    starts = len(node.lines("starts"))
    node.whiz("hold", "p")
    node.apply("--wait", "1")
    assert len(node.lines("starts")) == starts


def test_twenty_restarts_at_once_are_one(node: Node) -> None:
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    before = node.rows()
    many = [
        subprocess.Popen([*WHIZ, "--home", str(node.path), "restart", "a"], stdout=subprocess.DEVNULL)
        for _ in range(20)
    ]
    assert {p.wait() for p in many} == {0}
    after = node.rows()
    assert after["a"]["pid"] != before["a"]["pid"]
    assert after["b"]["pid"] == before["b"]["pid"]
    assert len(node.ours()) == 2
    runs = {f["run"] for f in node.facts("a") if f["event"] == "start"}
    assert len(runs) == len([f for f in node.facts("a") if f["event"] == "start"])
    assert not list((node.path / "state/restart").iterdir())


def test_one_restart_wish_is_one_restart(node: Node) -> None:
    """Written twenty times before anybody acts, it is one; replayed afterwards, it is none."""
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    run = node.rows()["a"]["run"]
    folder = node.path / "state/restart"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(20):
        (folder / f"a@{run}").touch()
    node.apply()
    assert len([f for f in node.facts("a") if f["event"] == "start"]) == 2
    (folder / f"a@{run}").touch()
    node.apply()
    assert len([f for f in node.facts("a") if f["event"] == "start"]) == 2


def test_restart_ends_the_waiting(node: Node) -> None:
    node.yaml(
        f"programs:\n  p: {{run: \"sh -c '[ -e {node.path}/ok ] && exec sleep 1000; exit 1'\", restart: {{delay: 1h, max_delay: 1h}}}}\n"
    )
    node.apply(code=3)
    (node.path / "ok").touch()
    assert "+ start p (restart asked for)" in node.whiz("restart", "p")
    assert node.rows()["p"]["state"] == "running"


def test_a_wish_while_another_whiz_works(node: Node) -> None:
    """It is written down at once, and comes true when the lock is free."""
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    pid = node.pid("a")
    lock = subprocess.Popen(
        ["flock", f"{node.path}/run/runs", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert lock.stdout is not None
    lock.stdout.readline()
    done = node.command("hold", "a", "--wait", "0.1")
    assert done.returncode == 75
    assert "the wish is noted" in done.stderr
    assert node.command("apply").returncode == 75
    assert node.pid("a") == pid
    lock.communicate(b"\n")
    node.apply()
    assert node.rows()["a"]["state"] == "held"


def test_odd_files_among_the_wishes(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    for name in ("held/zzz", "restart/garbage", "restart/a@unknown"):
        path = node.path / "state" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\x00")
    pid = node.pid("a")
    node.apply()
    assert node.pid("a") == pid


def test_apply_may_be_called_by_what_whiz_runs(node: Node, until: Until) -> None:
    """A whiz inside a program of its own home is not a member of that program's tree."""
    whiz = f"{sys.executable} -m whiz --home {node.path}"
    node.script(
        "self.sh",
        f"#!/bin/sh\necho >>{node.path}/starts\n[ $(wc -l <{node.path}/starts) = 1 ] || exec sleep 1000\ncd {os.getcwd()} && {whiz} restart self >{node.path}/said 2>&1; echo $? >>{node.path}/said\n",
    )
    node.yaml("programs:\n  self: {run: ./self.sh, stop: {grace: 1s}}\n")
    node.apply()
    until(lambda: len(node.lines("starts")) == 2)
    until(lambda: node.command("apply").returncode == 0)  # the whiz inside may still hold the lock
    assert node.rows()["self"]["state"] == "running"
