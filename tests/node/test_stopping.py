"""Stopping: asked, then forced, and over only when the whole tree is gone. Scenarios 37-48."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.node.conftest import gone

if TYPE_CHECKING:
    from tests.node.conftest import Node, Spawn, Until

DEAF = "trap '' TERM; echo $$ >>{path}/pids; exec sleep 1000"


def test_polite_goes_at_once_and_deaf_is_killed_after_its_grace(node: Node, until: Until) -> None:
    deaf = DEAF.format(path=node.path)
    node.yaml(
        f'programs:\n  deaf: {{run: "sh -c \\"{deaf}\\"", stop: {{grace: 1s}}}}\n  polite: {{run: /bin/sleep 1000}}\n'
    )
    node.apply()
    until(lambda: node.lines("pids"))
    rows = node.rows()
    node.write("# none\n", "none")
    started = time.monotonic()
    said = node.whiz("apply", "-m", str(node.path / "none"), "--allow-empty")
    took = time.monotonic() - started

    assert gone(rows["deaf"]["pid"])
    assert gone(rows["polite"]["pid"])
    assert "! kill  deaf (ignored SIGTERM for 1 s)" in said
    assert "! kill  polite" not in said
    assert took >= 1  # not before its grace: a bound from below, which a slow machine cannot break
    ends = {f["program"]: f for f in node.facts() if f["event"] == "exit"}
    assert ends["deaf"]["state"] == ends["polite"]["state"] == "stopped"


def test_it_is_stopping_until_then(node: Node, until: Until) -> None:
    deaf = DEAF.format(path=node.path)
    node.yaml(f'programs:\n  deaf: {{run: "sh -c \\"{deaf}\\"", stop: {{grace: 1h}}}}\n')
    node.apply()
    until(lambda: node.lines("pids"))
    pid = node.pid("deaf")
    node.whiz("hold", "deaf", "--wait", "0", code=3)
    row = node.rows()["deaf"]
    assert (row["state"], row["pid"]) == ("stopping", pid)
    assert row["why"].startswith("stopping: held; pid ")
    stops = [f for f in node.facts("deaf") if f["event"] == "stop"]
    node.apply("--wait", "0", code=3)
    assert [f for f in node.facts("deaf") if f["event"] == "stop"] == stops  # no second one
    node.whiz("unhold", "deaf", "--wait", "0", code=3)
    assert node.rows()["deaf"]["state"] == "stopping"  # its successor waits for it
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    node.apply()
    assert node.pid("deaf") != pid


@pytest.mark.parametrize("kept", [False, True])
def test_the_whole_tree_dies(node: Node, until: Until, kept: bool) -> None:
    """Three levels, a setsid grandchild, a deaf member of the group, one with a cleared environment."""
    node.script("leaf.sh", "#!/bin/sh\necho $$ >>\"$1\"\ntrap '' TERM\nwhile :; do sleep 0.05; done\n")
    leaf = f"{node.path}/leaf.sh {node.path}/leaves"
    node.script(
        "tree.sh",
        f"#!/bin/sh\nsetsid {leaf} &\n{leaf} &\nenv -i {leaf} &\nsh -c 'sh -c \"{leaf} & wait\" & wait' &\nexec sleep 1000\n",
    )
    policy = ", restart: {on: failure}" if kept else ""
    node.yaml(f"programs:\n  t: {{run: ./tree.sh, stop: {{grace: 500ms}}{policy}}}\n")
    node.apply()
    until(lambda: len(node.lines("leaves")) == 4)
    pids = [int(p) for p in node.lines("leaves")] + [node.pid("t")]
    node.whiz("hold", "t")
    assert [p for p in pids if not gone(p)] == []
    until(lambda: not node.ours())  # the chaperone leaves by itself


def test_a_replaced_tree_is_gone_before_its_successor_starts(node: Node, until: Until) -> None:
    node.script(
        "app.sh",
        "#!/bin/sh\n(trap 'sleep 0.5; echo end $2 >>$1; exit' TERM; while :; do sleep 0.05; done) &\n"
        "echo start $2 >>$1\nexec sleep 1000\n",
    )
    node.write(f"a|./app.sh {node.path}/order 1\n")
    node.apply()
    until(lambda: node.lines("order"))
    until(lambda: len(psutil.Process(node.pid("a")).children()) == 1)
    node.write(f"a|./app.sh {node.path}/order 2\n")
    said = node.apply()
    until(lambda: len(node.lines("order")) == 3)

    assert node.lines("order") == ["start 1", "end 1", "start 2"]
    assert [line[:7] for line in said.splitlines() if line[0] in "+-"] == ["- stop ", "+ start"]


def test_what_a_dead_leader_left_is_ended_before_it_starts_again(node: Node, until: Until) -> None:
    node.script("app.sh", "#!/bin/sh\necho $$ >>$1\nsetsid sleep 2000 &\necho $! >>$2\nexec sleep 1000\n")
    node.write(f"a|./app.sh {node.path}/mains {node.path}/children\n")
    node.apply()
    until(lambda: node.lines("children"))
    child = int(node.lines("children")[0])
    os.kill(node.pid("a"), signal.SIGKILL)
    said = node.apply()

    assert "- stop  a (left behind when the program" in said
    assert gone(child)
    assert len(node.lines("mains")) == 2
    ends = [f for f in node.facts("a") if f["event"] == "exit"]
    assert ends[0]["state"] in ("lost", "failed")  # it was not whiz that ended it


def test_guests_survive_with_tree_session(node: Node, until: Until) -> None:
    node.script(
        "door.sh", "#!/bin/sh\nsetsid sleep 2000 &\necho $! >>$1\nsleep 3000 &\necho $! >>$1\nexec sleep 1000\n"
    )
    node.yaml(f"programs:\n  door: {{run: ./door.sh {node.path}/pids, stop: {{tree: session}}}}\n")
    node.apply()
    until(lambda: len(node.lines("pids")) == 2)
    guest, own = map(int, node.lines("pids"))
    node.whiz("hold", "door")
    assert not gone(guest)
    assert gone(own)


def test_stops_run_in_reverse(node: Node, until: Until) -> None:
    script = f"trap 'echo $WHIZ_NAME >>{node.path}/order; exit' TERM; touch {node.path}/up-$WHIZ_NAME; while :; do sleep 0.02; done"
    entry = f'{{run: "sh -c \\"{script}\\"", env: {{X: "1"}}'
    node.yaml(
        f"programs:\n  db: {entry}}}\n  app: {entry}, after: db}}\n  web: {entry}, after: [app, db]}}\n  z: {{run: /bin/sleep 1000}}\n".replace(
            "$", "$"
        )
    )
    node.apply()
    until(lambda: all((node.path / f"up-{n}").exists() for n in ("db", "app", "web")))
    node.yaml("programs:\n  z: {run: /bin/sleep 1000}\n")
    pid = node.pid("z")
    check = [line for line in node.whiz("check", code=3).splitlines() if line.startswith("-")]
    said = [line for line in node.apply().splitlines() if line.startswith("-")]

    assert node.lines("order") == ["web", "app", "db"]
    assert check == said
    assert node.pid("z") == pid


def test_the_port_is_free_when_the_new_copy_starts(node: Node, until: Until) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    node.script(
        "serve.py",
        f"#!{sys.executable}\nimport socket, sys, time\ns = socket.socket()\ns.bind(('127.0.0.1', {port}))\ns.listen()\n"
        f"open('{node.path}/up', 'a').write('up\\n')\ntime.sleep(1000)\n",
    )
    node.write("serve|./serve.py\n")
    node.apply()
    until(lambda: node.lines("up"))
    for n in (2, 3):
        node.whiz("restart", "serve")
        until(lambda n=n: len(node.lines("up")) == n)
    assert node.rows()["serve"]["state"] == "running"


def test_unmanaged_processes_are_untouched(node: Node, spawn: Spawn) -> None:
    bystander = spawn("/bin/sleep", "4711")
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    pid = node.pid("b")
    node.write("b|/bin/sleep 1001\n")
    node.apply()
    assert bystander.poll() is None
    assert node.pid("b") == pid
    assert set(node.rows()) == {"b"}


def test_vanished_between_check_and_kill(node: Node) -> None:
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    os.kill(node.pid("a"), signal.SIGKILL)
    node.write("b|/bin/sleep 1001\n")
    node.apply()
    assert set(node.rows()) == {"b"}


def test_a_fork_bomb_is_ended(node: Node, until: Until) -> None:
    """Bounded by its own depth, yet faster than one look."""
    node.script(
        "bomb.sh",
        '#!/bin/sh\ntrap "" TERM\n[ $1 -gt 5 ] || { $0 $(($1+1)) & $0 $(($1+1)) & }\nwhile :; do sleep 0.3; done\n',
    )
    node.yaml("programs:\n  bomb: {run: ./bomb.sh 0, stop: {grace: 200ms}}\n  ok: {run: /bin/sleep 1000}\n")
    node.apply()
    until(lambda: len(node.ours()) > 20)
    node.whiz("hold", "bomb", "--wait", "60")
    assert [p.cmdline()[-1] for p in node.ours()] == ["1000"]
