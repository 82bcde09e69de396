"""Limits that are held, polled or not, and said to be; trees that have a cgroup of their own. Scenarios 36, 41, 42.

That the kernel enforces memory.max, cpu.max and pids.max is not tried here, only that they are written
(tests/world/test_cgroup.py): where this was made the unified hierarchy had none of these controllers.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.cgroups import bounded, delegated, names, procs, within
from tests.node.conftest import gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.node.conftest import Node, Resident, Until

GREEDY = """import sys, time
held = bytearray(int(sys.argv[1]) * 1_000_000)
for i in range(0, len(held), 4096):
    held[i] = 1
open(sys.argv[2], "a").write("full\\n")
time.sleep(1000)
"""


@pytest.fixture
def room(node: Node) -> Iterator[Path]:
    """Have whiz run where it may arrange cgroups."""
    for made in delegated(f"whiz-test-{os.getpid()}-{time.monotonic_ns()}"):
        node.prefix = within(made)
        yield made


def place(room: Path, name: str) -> Path:
    (found,) = room.glob(f"{name}@*")
    return found


def ends(node: Node, name: str) -> list[tuple[object, object]]:
    return [(f["state"], f["why"]) for f in node.facts(name) if f["event"] == "exit"]


# -- cgroups


def test_each_run_has_a_cgroup_and_its_chaperone_is_outside(node: Node, room: Path) -> None:
    node.yaml(
        "programs:\n  plain: {run: /bin/sleep 1001}\n  kept: {run: /bin/sleep 1002, restart: {on: failure}}\n"
        "  step: {run: /bin/sleep 1003, limits: {files: 99}}\n"
        "  both: {run: /bin/sleep 1004, nice: 3, restart: {on: never}}\n"
    )
    node.apply()
    rows = node.rows()
    for name, row in rows.items():
        assert procs(place(room, name)) == [row["pid"]]
    keepers = {psutil.Process(rows[n]["pid"]).ppid() for n in ("kept", "both")}
    assert keepers <= {*procs(room / "@whiz")}
    node.write("# none\n", "none")
    node.whiz("-m", str(node.path / "none"), "apply", "--allow-empty")
    assert names(room) == []


def test_a_cgroup_that_is_killed_from_outside_leaves_the_chaperone_to_say_so(node: Node, room: Path) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, restart: {on: never}}\n")
    node.apply()
    (place(room, "a") / "cgroup.kill").write_text("1")
    node.apply(code=1)
    assert "killed by SIGKILL; restart is never" in node.rows()["a"]["why"]
    assert names(room) == []


@pytest.mark.usefixtures("room")
def test_who_cleared_all_marks_is_known_by_the_cgroup(node: Node, until: Until) -> None:
    """An orphan in a session of its own and without the mark: by nothing but the cgroup is it told from a stranger."""
    node.script("app.sh", "#!/bin/sh\nenv -i setsid sleep 2000 &\necho $! >>$1\nexec sleep 1000\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh {node.path}/orphans}}\n")
    node.apply()
    (orphan,) = map(int, until(lambda: node.lines("orphans")))
    until(lambda: psutil.Process(orphan).cmdline() == ["sleep", "2000"])
    os.kill(node.pid("a"), signal.SIGKILL)
    said = node.apply()
    assert "- stop  a (left behind when the program ended unseen)" in said
    assert gone(orphan)


def test_a_stop_says_what_is_left_until_the_cgroup_is_empty(node: Node, room: Path, until: Until) -> None:
    node.script("deaf.sh", "#!/bin/sh\ntrap '' TERM\necho $$ >>$1\nexec sleep 2000\n")
    node.script("app.sh", f"#!/bin/sh\nenv -i setsid {node.path}/deaf.sh {node.path}/orphans &\nexec sleep 1000\n")
    node.yaml("programs:\n  a: {run: ./app.sh, stop: {grace: 1h}}\n")
    node.apply()
    (orphan,) = map(int, until(lambda: node.lines("orphans")))
    main = node.pid("a")
    node.whiz("hold", "a", "--wait", "0", code=3)
    until(lambda: gone(main))
    row = node.rows()["a"]
    assert row["state"] == "stopping"
    assert f"{orphan}" in row["why"]
    node.yaml("programs:\n  a: {run: ./app.sh, stop: {grace: 100ms}}\n")
    node.apply()
    assert gone(orphan)
    assert names(room) == []


def test_who_forks_faster_than_one_can_look_is_ended_by_the_cgroup(node: Node, room: Path, until: Until) -> None:
    """Comets: each process lives only to leave another behind, without mark, session or parent."""
    node.script(
        "comet.py",
        "#!/usr/bin/env python3\nimport os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('comets', 'a').write('lit\\n')\nwhile True:\n    if os.fork():\n        os._exit(0)\n    os.setsid()\n"
        "    time.sleep(0.0005)\n",
    )
    node.script("app.sh", "#!/bin/sh\nfor i in 1 2 3; do env -i $PWD/comet.py & done\nexec sleep 1000\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh, cwd: {node.path}, stop: {{grace: 200ms}}}}\n")
    node.apply()
    until(lambda: len(node.lines("comets")) == 3)
    said = node.whiz("hold", "a")
    assert "! kill  a (ignored SIGTERM for 0.2 s)" in said
    assert names(room) == []
    assert ends(node, "a") == [("stopped", None)]


def test_guests_are_not_killed_with_the_cgroup(node: Node, room: Path, until: Until) -> None:
    node.script("app.sh", "#!/bin/sh\ntrap '' TERM\nsetsid sleep 2000 &\necho $! >>$1\nwhile :; do sleep 0.05; done\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh {node.path}/guests, stop: {{tree: session, grace: 200ms}}}}\n")
    node.apply()
    (guest,) = map(int, until(lambda: node.lines("guests")))
    assert "! kill  a" in node.whiz("hold", "a")
    assert not gone(guest)
    assert procs(place(room, "a")) == [guest]


def test_what_a_crash_left_is_removed_and_what_is_new_is_not(node: Node, room: Path) -> None:
    for name in ("old@1", "new@2"):
        (room / name / "inner").mkdir(parents=True)
    os.utime(room / "old@1", (0, 0))
    node.yaml("programs:\n  a: {run: /bin/sleep 1000}\n")
    node.apply()
    assert names(room) == ["a", "new"]


def test_another_whiz_finds_the_cgroup_of_a_run_by_its_process(node: Node, room: Path, until: Until) -> None:
    """Who is called from elsewhere has no room there, and ends the whole tree all the same."""
    node.script("app.sh", "#!/bin/sh\nenv -i setsid sleep 2000 &\necho $! >>$1\ntrap '' TERM\nwait\nwait\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh {node.path}/orphans, stop: {{grace: 100ms}}}}\n")
    node.apply()
    (orphan,) = map(int, until(lambda: node.lines("orphans")))
    node.prefix = ()
    node.whiz("hold", "a")
    assert gone(orphan)
    assert procs(place(room, "a")) == []


def test_who_stays_sees_to_cgroups_too(node: Node, room: Path, resident: Resident, until: Until) -> None:
    node.script("app.sh", "#!/bin/sh\nenv -i setsid sleep 2000 &\necho $! >>$1\nexec sleep 1000\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh {node.path}/orphans, limits: {{files: 200}}}}\n")
    resident()
    (orphan,) = map(int, until(lambda: node.lines("orphans")))
    pid = until(lambda: node.rows()["a"]["pid"])
    os.kill(pid, signal.SIGKILL)
    until(lambda: ends(node, "a"))
    assert gone(orphan)
    until(lambda: node.rows()["a"]["pid"] not in (None, pid))
    assert names(room) == ["a"]


# -- memory that whiz looks at itself


def test_too_much_memory_is_one_restart_with_its_reason(node: Node, resident: Resident, until: Until) -> None:
    """The greedy one is a grandchild that left the session; its second life is modest."""
    node.write(GREEDY, "greedy.py")
    node.script(
        "app.sh",
        "#!/bin/sh\n[ -e full ] || { setsid python3 greedy.py 60 full & }\necho $$ >>mains\nexec sleep 1000\n",
    )
    node.yaml(
        f"programs:\n  a: {{run: ./app.sh, cwd: {node.path}, limits: {{memory: 40MB}}, restart: {{delay: 10ms}}}}\n"
    )
    resident("--every", "0.2")
    until(lambda: len(node.lines("mains")) == 2)
    ((state, why),) = until(lambda: ends(node, "a"))
    assert state == "failed"
    assert str(why).endswith("MB is over its limit of 40.0 MB")
    stops = [f["why"] for f in node.facts("a") if f["event"] == "stop"]
    assert stops == [why]
    until(lambda: node.rows()["a"]["state"] == "running")
    assert node.rows()["a"]["limits"]["memory"]["by"] == "polled"


def test_apply_looks_once_a_turn(node: Node, until: Until) -> None:
    node.write(GREEDY, "greedy.py")
    node.yaml(
        f"programs:\n  a: {{run: [python3, greedy.py, '60', full], cwd: {node.path}, limits: {{memory: 40MB}}}}\n"
        f"  b: {{run: [python3, greedy.py, '20', less], cwd: {node.path}, limits: {{memory: 90MB}}}}\n"
    )
    node.apply()
    until(lambda: node.lines("full") and node.lines("less"))
    before = node.rows()
    said = node.whiz("apply", "--wait", "0", code=3)
    assert "- stop  a (memory " in said
    until(lambda: gone(before["a"]["pid"]))
    assert "MB is over its limit of 40.0 MB; back-off" in node.apply("--wait", "10")
    assert node.rows()["b"]["pid"] == before["b"]["pid"]


@pytest.mark.usefixtures("room")
def test_who_hides_from_everything_but_the_cgroup_is_measured(node: Node, until: Until) -> None:
    node.write(GREEDY, "greedy.py")
    node.script("app.sh", "#!/bin/sh\nenv -i setsid python3 greedy.py 60 full &\nexec sleep 1000\n")
    node.yaml(f"programs:\n  a: {{run: ./app.sh, cwd: {node.path}, limits: {{memory: 40MB}}}}\n")
    node.apply()
    until(lambda: node.lines("full"))
    assert "- stop  a (memory " in node.whiz("apply", "--wait", "0", code=3)


# -- the kernel kills


@pytest.fixture
def small() -> Iterator[Path]:
    yield from bounded(f"whiz-test-{os.getpid()}-{time.monotonic_ns()}", 40_000_000)


@pytest.mark.parametrize("how", ["kept", "unseen", "resident"])
def test_killed_for_want_of_memory_says_so(node: Node, small: Path, how: str, resident: Resident, until: Until) -> None:
    """Three who may know: a chaperone saw SIGKILL, nobody saw the end, and the parent stays."""
    node.write(GREEDY, "greedy.py")
    node.script("app.sh", f"#!/bin/sh\necho 0 >{small}/cgroup.procs\nexec python3 greedy.py 100 full\n")
    policy = "on: never" if how == "kept" else "delay: 1h, max_delay: 1h"
    node.yaml(f"programs:\n  a: {{run: ./app.sh, cwd: {node.path}, restart: {{{policy}}}}}\n")
    if how == "resident":
        resident()
    else:
        node.command("apply")
        until(lambda: node.command("apply", "--wait", "0") and ends(node, "a"))
    ((state, why),) = until(lambda: ends(node, "a"))
    assert state == "failed"
    assert str(why).startswith("killed: out of memory (the limit of ")
    assert node.lines("full") == []
    assert str(why) in node.rows()["a"]["why"]
    assert str(why) in node.command("explain", "a").stdout


def test_killed_by_somebody_is_no_want_of_memory(node: Node) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, restart: {on: never}}\n")
    node.apply()
    os.kill(node.pid("a"), signal.SIGKILL)
    node.apply(code=1)
    assert ends(node, "a") == [("failed", None)]


# -- said aloud

ASKED = "limits: {memory: 50MB, cpu: 50%, tasks: 20, files: 99}"


def test_what_no_kernel_holds_is_said(node: Node) -> None:
    node.yaml(f"programs:\n  a: {{run: /bin/sleep 1000, {ASKED}}}\n  b: {{run: /bin/sleep 1001}}\n")
    node.apply()
    root = os.getuid() == 0
    said = node.whiz("status")
    assert "limit: a: memory 50.0 MB: polled at each whiz apply (a trial home has no cgroup)\n" in said
    assert "limit: a: cpu 50%: not held (a trial home has no cgroup)\n" in said
    assert ("limit: a: tasks 20: not held (root is exempt" in said) is root
    assert "files" not in said
    assert "limit: b" not in said
    rows = node.rows()
    assert {k: v["by"] for k, v in rows["a"]["limits"].items()} == {
        "memory": "polled", "cpu": "not held", "tasks": "not held" if root else "rlimit", "files": "rlimit",
    }  # fmt: skip
    assert rows["b"]["limits"] == {}
    words = node.whiz("explain", "a")
    assert "limits.cpu 50%" in words
    assert "files 99: by rlimit" in words
    found = json.loads(node.command("doctor", "--json").stdout)["findings"]
    assert [f["grade"] for f in found if f["about"] == "limits of a"] == ["advice"] * (3 if root else 2)


def test_what_the_cgroup_lacks_is_said_also_from_elsewhere(node: Node, room: Path) -> None:
    if "memory" in (room / "cgroup.controllers").read_text().split():
        (room.parent / "cgroup.subtree_control").write_text("-memory")
    node.yaml(f"programs:\n  a: {{run: /bin/sleep 1000, {ASKED}}}\n")
    node.apply()
    for prefix in (node.prefix, ()):
        node.prefix = prefix
        assert f"memory 50.0 MB: polled at each whiz apply ({room} has no memory controller)" in node.whiz("status")
        assert f"cgroup: programs are placed in {room}" in node.command("doctor").stdout
