"""How looks are taken: bounded, beside the turn, leaving nobody behind, and blaming none who was not looked at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.node.looked_at import applied, free_port, manifest, says, speaking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.node.conftest import Node, Resident, Until

ROOT = os.getuid() == 0


@pytest.fixture
def program(node: Node) -> str:
    return speaking(node)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose connections are neither taken nor refused: its queue is full."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(0)
        where = ear.getsockname()
        crowd = []
        for _ in range(3):
            s = socket.socket()
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect(where)
            crowd.append(s)
        yield where[1]
        for s in crowd:
            s.close()


def looking(pid: int) -> list[psutil.Process]:
    """Return the commands that look at programs just now."""
    return [p for p in psutil.Process(pid).children() if "98798" in p.cmdline()]


def test_a_look_whose_whiz_is_killed_ends_all_the_same(node: Node, resident: Resident, until: Until) -> None:
    look = f"sh -c 'echo $$ >>{node.path}/pids; exec sleep 98796'"
    manifest(node, w={"run": "/bin/sleep 1000", "alive": {"run": look, "timeout": "1s"}})
    process = resident()
    until(lambda: node.lines("pids"))
    process.kill()
    until(lambda: all(_zombie(int(pid)) for pid in node.lines("pids")))


def test_looks_that_hang_hold_up_nobody(node: Node, resident: Resident, until: Until) -> None:
    """Twenty that hang, of each kind, bounded in number; a program that dies beside them is back at once."""
    with deaf_port() as port:
        hang: dict[str, dict[str, Any]] = {
            "port": {"port": port, "timeout": "5m"},
            "run": {"run": "/bin/sleep 98798", "timeout": "5m"},
        }
        quick: dict[str, Any] = {"run": "/bin/sleep 98799", "restart": {"stable": "0s"}}
        manifest(node, quick=quick)
        process = resident("--every", "1h")
        until(lambda: node.rows()["quick"]["state"] == "running")
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        many = {
            f"{way}{i}": {"run": "/bin/sleep 1000", "alive": {**how, "every": "20s"}}
            for way, how in hang.items()
            for i in range(20)
        }
        manifest(node, quick=quick, **many)
        until(lambda: len(looking(process.pid)) == 16)
        until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == threads + 8)
        for _ in range(3):
            before = node.pid("quick")
            os.kill(before, signal.SIGKILL)
            until(lambda before=before: node.rows()["quick"]["pid"] not in (before, None))
        assert [f for f in node.facts() if f["event"] == "ailing"] == []


SILENT = """
    ip link set lo up
    printf 'nameserver 127.0.0.1\\noptions timeout:30 attempts:5\\n' >"$HERE/resolv.conf"
    mount --bind "$HERE/resolv.conf" /etc/resolv.conf
    exec "$@"
"""


@pytest.fixture
def silent(node: Node, spawn: Callable[..., Any], until: Until) -> Node:
    """The node where a resolver takes every question and answers none: who asks it hangs, whatever his timeout."""
    ear = "import socket, sys, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53))"
    ear += "; open(sys.argv[1], 'w').close(); time.sleep(1000)"
    script = f"set -e\nHERE={node.path}\n{textwrap.dedent(SILENT)}"
    inside = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    keeper = spawn(*inside, sys.executable, "-c", ear, str(node.path / "listens"))
    until((node.path / "listens").exists)
    node.prefix = ("nsenter", "-t", str(keeper.pid), "--net", "--mount")
    return node


@pytest.mark.skipif(not ROOT, reason="namespaces take root")
def test_who_could_not_be_looked_at_is_not_blamed(silent: Node, program: str, resident: Resident, until: Until) -> None:
    """Names that nobody resolves take all threads; who is well goes on, and it is said that nobody knows."""
    node, port = silent, free_port()
    often = {"every": "0.2s", "failures": 2, "delay": "0s"}
    beat = node.path / "beat"
    entries: dict[str, dict[str, Any]] = {
        "port": {"run": f"{program} port {node.path}/go {port}", "ready": {"port": port}},
        "beat": {
            "run": f"{program} heartbeat {node.path}/go {beat}",
            "alive": {"file": str(beat), **often, "timeout": "5s"},
        },
        "run": {"run": "/bin/sleep 1000", "alive": {"run": f"sh -c 'echo >>{node.path}/looks'", **often}},
    }
    entries["port"]["alive"] = {"port": port, **often}
    node.write("", "go")
    beat.touch()
    manifest(node, **entries)
    resident("--every", "1h")
    until(lambda: node.rows()["port"]["state"] == "ready")
    far = {"http": "http://db.example.org/", "every": "0.2s", "timeout": "0.1s", "failures": 1000}
    manifest(node, **entries, far={"run": "/bin/sleep 1000", "instances": 40, "alive": far})
    why = "not looked at: 32 other looks hang"
    until(lambda: node.rows()["port"]["why"] == f"not known whether it is alive: {why}")
    entries["late"] = {"run": "/bin/sleep 1000", "ready": {"port": port, "within": "1s"}}
    manifest(node, **entries, far={"run": "/bin/sleep 1000", "instances": 40, "alive": far})
    until(lambda: "late" in (rows := node.rows()) and rows["late"]["why"] == f"not ready yet: {why}")
    before = len(node.lines("looks"))
    until(lambda: len(node.lines("looks")) > before + 20)  # four seconds, and many looks that are due
    assert [f for f in node.facts() if f["event"] in ("stop", "ailing") and not f["program"].startswith("far")] == []
    assert node.rows()["beat"]["why"].startswith("up for")  # others' names do not keep files from being looked at
    (node.path / "go.stop").touch()
    until(lambda: any(f["event"] == "stop" for f in node.facts("beat")))


def test_a_look_that_takes_too_long_is_ended_with_all_it_started(node: Node, until: Until) -> None:
    look = f"sh -c 'sleep 98797 & echo $! >>{node.path}/pids; wait'"
    manifest(node, w={"run": "/bin/sleep 1000", "alive": {"run": look, "timeout": "0.3s", "failures": 9}})
    assert "not alive 1 of 9 times: took too long" in node.apply("--wait", "5", code=3)
    for pid in node.lines("pids"):
        until(lambda pid=pid: not os.path.exists(f"/proc/{pid}") or _zombie(int(pid)))


def test_a_look_may_print_as_much_as_it_likes(node: Node, resident: Resident, until: Until) -> None:
    """It neither fills the memory nor fails for it, and the beginning of what it printed is told."""
    prints = "echo first; head -c 200000000 /dev/zero"
    entry: dict[str, Any] = {"run": "/bin/sleep 1000"}
    manifest(node, w={**entry, "ready": {"run": f"sh -c '{prints} && exit 3'", "within": "9m", "timeout": "1m"}})
    applied(node, partial(says, "not ready yet: exited 3: first"))
    look = f"sh -c '{prints} && touch {node.path}/done && exec sleep 98798'"
    manifest(node, w={**entry, "alive": {"run": look, "every": "0.2s", "timeout": "5m"}})
    process = resident("--every", "1h")
    until((node.path / "done").exists)
    children = psutil.Process(process.pid).children()
    held = [os.stat(f"/proc/{p.pid}/fd/1").st_blocks * 512 for p in children if "timeout" in p.name()]
    assert held
    assert sum(held) + psutil.Process(process.pid).memory_info().rss < 100_000_000


def test_a_look_leaves_nobody_behind(node: Node, resident: Resident, until: Until) -> None:
    """What a command put into the background ends with it, and with a whiz that leaves amid a look."""
    left = f"sleep 98795 & echo $! >>{node.path}/pids"
    alive = {"every": "0.2s", "failures": 9, "timeout": "5m"}
    manifest(node, w={"run": "/bin/sleep 1000", "ready": {"run": f"sh -c '{left}'"}})
    node.apply()
    assert node.lines("pids")
    until(lambda: all(_zombie(int(pid)) for pid in node.lines("pids")))
    manifest(node, w={"run": "/bin/sleep 1000", "alive": {"run": f"sh -c '{left}; exec sleep 98794'", **alive}})
    before = len(node.lines("pids"))
    process = resident()
    until(lambda: len(node.lines("pids")) > before)
    process.terminate()
    process.wait()
    until(lambda: all(_zombie(int(pid)) for pid in node.lines("pids")))


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return b") Z" in f.read()
    except FileNotFoundError:
        return True
