"""What a whiz that stays costs, in the long run and when all goes wrong at once. Scenarios 65 and 83."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil

from tests.node.conftest import WHIZ, announced, gone, lengths
from whiz.world.disk import trimmed

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident, Until


def test_an_idle_one_writes_and_wakes_nothing(node: Node, resident: Resident, until: Until) -> None:
    node.write("".join(f"p{n}|/bin/sleep 100{n}\n" for n in range(5)))
    whiz = psutil.Process(resident().pid)
    node.whiz("apply")

    def state() -> tuple[Any, ...]:
        return (
            whiz.io_counters().write_count,
            whiz.num_ctx_switches().voluntary,
            sorted((str(p), p.stat().st_mtime_ns) for p in node.path.rglob("*")),
        )

    def at_rest() -> tuple[Any, ...] | None:
        one = state()
        time.sleep(0.5)  # time in which nothing is to happen
        return one if one == state() else None

    before = until(at_rest)
    time.sleep(3)  # likewise
    assert state() == before


def test_many_cycles_leak_nothing(node: Node, resident: Resident, until: Until) -> None:
    """WHIZ_CYCLES=1000 takes a minute or two."""
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, restart: {stable: 1ms}}\n")
    whiz = psutil.Process(resident().pid)
    node.whiz("apply")
    record = node.path / "run/runs/a.json"

    def successor_of(pid: int) -> int | None:
        with contextlib.suppress(FileNotFoundError, KeyError):
            run = json.loads(record.read_text())["runs"][-1]
            if "ended" not in run and run["proc"]["pid"] != pid:
                return int(run["proc"]["pid"])
        return None

    def cycle(n: int) -> None:
        pid = node.pid("a")
        for i in range(n):
            os.kill(pid, signal.SIGKILL)
            if i % 10 == 0:
                node.yaml(f"# {i}\nprograms:\n  a: {{run: /bin/sleep 1000, restart: {{stable: 1ms}}}}\n")
            pid = until(lambda pid=pid: successor_of(pid))

    def at_rest() -> tuple[int, int] | None:
        """Return what it holds when it is doing nothing: no whizzifest is being read, no watch renewed."""
        held = whiz.num_fds(), whiz.num_threads()
        time.sleep(0.5)  # in which nothing is to happen
        return held if held == (whiz.num_fds(), whiz.num_threads()) else None

    cycle(50)
    before = until(at_rest)
    used = whiz.memory_info().rss
    cycle(int(os.environ.get("WHIZ_CYCLES", "100")))
    assert until(at_rest) == before
    assert whiz.memory_info().rss - used < 1_000_000


def test_what_is_left_behind_for_long_costs_nothing(node: Node, resident: Resident, until: Until) -> None:
    """A Run that has exited and left somebody behind has no moment to wait for."""
    node.script("left.sh", "#!/bin/sh\n(trap '' TERM; exec sleep 1000) &\nsleep 0.1\n")
    node.yaml("programs:\n  l: {run: ./left.sh, stop: {grace: 1h}, restart: {stable: 200ms}}\n")
    whiz = psutil.Process(resident().pid)
    until(lambda: [f for f in node.facts("l") if f["event"] == "stop"])
    time.sleep(0.5)  # past `stable`
    before = whiz.num_ctx_switches().voluntary
    time.sleep(2)  # in which it looks once a second
    assert whiz.num_ctx_switches().voluntary - before < 50


def test_a_killed_chaperone_costs_nothing(node: Node, resident: Resident, until: Until) -> None:
    """Its program goes on, and whiz sleeps on, though one that it would wait for has ended."""
    node.yaml("programs:\n  k: {run: /bin/sleep 1000, restart: {on: failure, stable: 200ms}}\n")
    whiz = psutil.Process(resident().pid)
    node.whiz("apply")
    pid = node.pid("k")
    (keeper,) = [p for p in node.ours() if p.pid != pid]
    keeper.kill()
    until(lambda: gone(keeper.pid))
    time.sleep(1)  # past `stable`
    before = whiz.num_ctx_switches().voluntary
    time.sleep(2)  # in which nothing is to happen
    assert whiz.num_ctx_switches().voluntary - before < 20
    assert node.pid("k") == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: node.rows()["k"]["pid"] not in (None, pid))


def test_more_programs_than_descriptors(node: Node, resident: Resident, until: Until) -> None:
    """Those that it did not start itself cannot all be watched; they are looked at, and none is forgotten."""
    node.write("".join(f"p{n}|/bin/sleep 1000.{n}\n" for n in range(80)))
    node.whiz("apply", "--wait", "60")
    before = {n: r["pid"] for n, r in node.rows().items()}
    resident(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    assert node.whiz("apply") == "every wish holds: 80 running\n"
    for name in ("p1", "p78"):
        os.kill(before[name], signal.SIGKILL)
        until(lambda name=name: node.rows()[name]["pid"] not in (None, before[name]))
    assert len(psutil.Process(announced(node)["proc"]["pid"]).open_files()) < 64


def test_a_storm_of_edits_is_bounded(node: Node, resident: Resident, until: Until) -> None:
    """Two thousand edits are read a few times, and the last one counts."""
    node.write("a|/bin/sleep 1000\n")
    whiz = psutil.Process(resident().pid)
    node.whiz("apply")
    before = whiz.num_ctx_switches().voluntary
    for n in range(2000):
        node.write(f"# {n}\na|/bin/sleep {2000 + n}\n")
    until(lambda: lengths(node) == {"3999"})
    starts = [f for f in node.facts("a") if f["event"] == "start"]
    assert len(starts) < 100
    assert whiz.num_ctx_switches().voluntary > before  # it did read


def test_logs_are_capped_while_a_program_spews(node: Node, resident: Resident, until: Until) -> None:
    """It writes on and on, and is trimmed again and again; who follows loses its place at no trim."""
    node.script(
        "spew.py",
        "#!/usr/bin/python3\nimport os, time\nn = 0\nwhile True:\n"
        "    os.write(1, b''.join(b'%015d\\n' % i for i in range(n, n + 32768)))\n    n += 32768\n    time.sleep(0.01)\n",
    )
    node.yaml("programs:\n  spew: {run: ./spew.py, log: {max: 4MB}}\n")
    resident()
    log = node.path / "log/spew.log"
    until(log.exists)
    with (node.path / "followed").open("wb") as out:
        following = subprocess.Popen([*WHIZ, "--home", str(node.path), "logs", "spew", "-f"], stdout=out)
    try:
        sizes: set[int] = set()

        def trimmed_often() -> bool:
            st = log.stat()
            sizes.add(st.st_size)
            return trimmed(str(log), st.st_ino) > 50_000_000

        until(trimmed_often, 90)
        assert node.rows()["spew"]["restarts"] == 0
        assert max(sizes) < 50_000_000
        node.whiz("hold", "spew")
        until(lambda: log.stat().st_size <= 4_000_000)
    finally:
        following.kill()
        following.wait()
    lines = (node.path / "followed").read_bytes().split(b"\n")[1:-1]
    assert lines
    assert all(len(line) == 15 for line in lines), "a trim tore a line"
    assert [int(x) for x in lines] == sorted(int(x) for x in lines)
