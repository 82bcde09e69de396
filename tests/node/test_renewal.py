"""A whiz that stays is killed, replaced by another, or becomes another. Scenarios 66, 67, 76, 78."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from tests.node.conftest import WHIZ, announced, gone, said

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident, Until


def test_killed_and_started_again_it_finds_everything(node: Node, resident: Resident, until: Until) -> None:
    node.yaml(
        "programs:\n"
        + "".join(f"  p{n}: {{run: /bin/sleep 100{n}}}\n" for n in range(8))
        + "  kept: {run: \"sh -c 'while [ ! -e $GO ]; do sleep 0.05; done; exit 7'\", restart: {on: never},"
        + f" env: {{GO: {node.path}/go}}}}\n"
    )
    first = resident()
    node.whiz("apply")
    before = {n: r["pid"] for n, r in node.rows().items()}
    first.kill()
    first.wait()
    os.kill(before["p3"], signal.SIGKILL)
    until(lambda: gone(before["p3"]))
    (node.path / "go").touch()
    until(lambda: gone(before["kept"]))
    starts = len([f for f in node.facts() if f["event"] == "start"])
    resident()
    until(lambda: (now := node.rows()["p3"])["state"] == "running" and now["pid"] != before["p3"])
    after = {n: r["pid"] for n, r in node.rows().items()}
    assert {n: p for n, p in after.items() if n not in ("p3", "kept")} == {
        n: p for n, p in before.items() if n not in ("p3", "kept")
    }
    assert len([f for f in node.facts() if f["event"] == "start"]) == starts + 1
    ends = {f["program"]: (f["state"], f["exit"]) for f in node.facts() if f["event"] == "exit"}
    assert ends == {"p3": ("lost", None), "kept": ("failed", 7)}  # a chaperone knows; nobody knows of the other
    assert not [f for f in node.facts() if f["event"] in ("stop", "kill")]


def test_renewed_it_keeps_pid_children_and_exit_codes(node: Node, resident: Resident, until: Until) -> None:
    node.yaml(
        "programs:\n"
        + "".join(f"  p{n}: {{run: /bin/sleep 100{n}, restart: {{delay: 0s}}}}\n" for n in range(8))
        + f"  x: {{run: \"sh -c 'while [ ! -e {node.path}/go ]; do sleep 0.05; done; exit 9'\"}}\n"
    )
    process = resident()
    node.whiz("apply")
    before = {n: r["pid"] for n, r in node.rows().items()}
    assert f"pid {process.pid} as before" in node.whiz("restart", "--self")
    assert process.poll() is None
    assert {n: r["pid"] for n, r in node.rows().items()} == before
    (node.path / "go").touch()
    until(lambda: [f for f in node.facts("x") if f["event"] == "exit"])
    assert next(f["exit"] for f in node.facts("x") if f["event"] == "exit") == 9
    assert node.command("run").returncode == 75  # the lock went along
    node.whiz("hold", "x")
    # signals and ends that come while it changes are neither lost nor deadly
    for n in range(4):
        process.send_signal(signal.SIGUSR2)
        os.kill(node.rows()[f"p{n}"]["pid"], signal.SIGKILL)
        process.send_signal(signal.SIGHUP)
    until(lambda: all(node.rows()[f"p{n}"]["pid"] not in (None, before[f"p{n}"]) for n in range(4)))
    assert [f["exit"] for n in range(4) for f in node.facts(f"p{n}") if f["event"] == "exit"] == [-9] * 4
    assert process.poll() is None


def test_a_broken_whiz_is_not_taken_over(node: Node, until: Until) -> None:
    """The code is broken after it started: the trial says so, and the old one goes on."""
    house = node.path / "house"
    root = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["whiz"].__file__ or "")))
    shutil.copytree(os.path.join(root, "whiz"), house / "whiz", ignore=shutil.ignore_patterns("__pycache__"))
    node.write("a|/bin/sleep 1000\n")
    env = {**os.environ, "PYTHONPATH": str(house)}
    process = subprocess.Popen(
        [*WHIZ, "--home", str(node.path), "run"], env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until(lambda: announced(node) and node.ours())
        pid = node.pid("a")
        (house / "whiz/keep.py").write_text("this is no Python\n")
        done = node.command("restart", "--self")
        assert done.returncode == 1
        assert "not renewed: the new one fails its trial: SyntaxError" in done.stderr
        assert process.poll() is None
        os.kill(pid, signal.SIGKILL)
        until(lambda: node.rows()["a"]["state"] == "running")
        assert node.pid("a") != pid
    finally:
        process.kill()
        process.communicate()


def test_who_is_told_to_go_amid_a_renewal_goes(node: Node, resident: Resident) -> None:
    node.write("a|/bin/sleep 1000\n")
    for _ in range(3):
        process = resident()
        node.whiz("apply")
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 0
    assert len(node.ours()) == 1


def test_who_is_told_to_go_while_the_new_one_is_tried_goes(node: Node, resident: Resident, until: Until) -> None:
    """The trial lasts for as long as somebody holds the whizzifest open for writing; threads that watch hear no signal."""
    node.write("a|/bin/sleep 1000\n")
    process = resident()
    node.whiz("apply")
    with (node.path / "whizzifest").open("a"):
        process.send_signal(signal.SIGUSR2)
        until(lambda: [c for c in psutil.Process(process.pid).children() if "--trial" in _words(c)])
        assert all(_deaf(process.pid, thread) for thread in os.listdir(f"/proc/{process.pid}/task"))
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _deaf(pid: int, thread: str) -> bool:
    """Whether a thread takes no SIGTERM: in a renewal not even the main one does."""
    with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
        blocked = next(int(line.split()[1], 16) for line in f if line.startswith("SigBlk"))
    return bool(blocked >> signal.SIGTERM - 1 & 1)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_orphans_are_reaped_and_belong_to_their_run(node: Node, resident: Resident, until: Until) -> None:
    """A child whose parent ended is inherited: a zombie of it is reaped, a living one is ended before a successor starts."""
    node.script(
        "litter.sh",
        "#!/bin/sh\nsetsid sh -c 'sleep 0.1' &\nsetsid sh -c \"trap '' TERM; exec sleep 1500\" &\nsleep 0.2\nexit 1\n",
    )
    node.yaml("programs:\n  l: {run: ./litter.sh, stop: {grace: 100ms}, restart: {delay: 0s, max_delay: 1s}}\n")
    process = resident()
    until(lambda: len([f for f in node.facts("l") if f["event"] == "exit"]) >= 3)
    node.whiz("hold", "l")
    assert node.ours() == []
    assert not [c for c in psutil.Process(process.pid).children() if c.status() == "zombie"]
    facts = [f["event"] for f in node.facts("l")]
    assert "kill" in facts  # what was left behind did not go by itself


def test_a_removed_run_directory_does_not_make_two_of_them(node: Node, resident: Resident, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    process = resident("--every", "200ms")
    node.whiz("apply")
    pid = node.pid("a")
    shutil.rmtree(node.path / "run")
    until(lambda: announced(node).get("proc", {}).get("pid") == process.pid)
    done = node.command("run")
    assert done.returncode == 75
    assert "was removed; made again" in said(node)
    assert node.whiz("apply") == "every wish holds: 1 running\n"
    assert node.pid("a") == pid
