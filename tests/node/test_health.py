"""Ready and alive on real processes: each way to look, and what becomes of a program that is there but useless."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import textwrap
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.node.conftest import Node, said
from tests.node.looked_at import PROGRAM, applied, free_port, manifest, says, speaking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.node.conftest import Resident, Until

ROOT = os.getuid() == 0


@pytest.fixture
def program(node: Node) -> str:
    return speaking(node)


def ways(node: Node) -> list[tuple[str, dict[str, Any], str]]:
    """Return way, what `ready` says, and what the program is told."""
    port, here = free_port(), node.path
    return [
        ("file", {"file": f"{here}/up"}, f"{here}/up"),
        ("port", {"port": port}, str(port)),
        ("unix", {"unix": f"{here}/socket"}, f"{here}/socket"),
        ("run", {"run": f"test -e {here}/go"}, ""),
        ("log", {"log": "listens$"}, ""),
        ("notify", {"notify": True}, ""),
        ("fd", {"fd": 3}, "3"),
    ]


def test_each_way_to_be_ready(node: Node, program: str) -> None:
    """Not ready, each says what is missing, and what comes after it waits; then each is found ready. By apply alone."""
    (node.path / "up").write_text("of an earlier life")
    entries, found = {}, ways(node)
    for way, ready, word in found:
        run = f"{program} {way} {node.path}/go {word}"
        entries[way] = {"run": run, "ready": {**ready, "within": "10m"}}
        entries[f"after-{way}"] = {"run": "/bin/sleep 1000", "after": way}
    manifest(node, **entries)
    rows = applied(node, lambda rows: all(": " in rows[w]["why"] for w, _, _ in found))
    for way, _, _ in found:
        assert rows[way]["state"] == "starting", rows[way]
        assert rows[f"after-{way}"]["state"] == "waiting"
    assert {w: rows[w]["why"] for w, _, _ in found} == {
        "file": f"not ready yet: {node.path}/up is as it was before the start",
        "port": "not ready yet: Connection refused",
        "unix": "not ready yet: No such file or directory",
        "run": "not ready yet: exited 1",
        "log": "not ready yet: no line of its output matches 'listens$' yet",
        "notify": "not ready yet: it has not said so",
        "fd": "not ready yet: it has not said so",
    }
    node.write("", "go")
    node.apply()
    rows = node.rows()
    assert {rows[w]["state"] for w, _, _ in found} == {"ready"}
    assert {rows[f"after-{w}"]["state"] for w, _, _ in found} == {"running"}
    pids = {n: r["pid"] for n, r in rows.items()}
    assert node.apply() == "every wish holds: 7 ready, 7 running\n"
    assert {n: r["pid"] for n, r in node.rows().items()} == pids


class Web:
    """A web server that does what it is told: a status, silence, a drip, nonsense."""

    def __init__(self) -> None:
        self.does = b"HTTP/1.1 200 OK\r\n\r\n"
        self.drips = False
        self.asked: list[bytes] = []
        self._held: list[socket.socket] = []
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port = self._ear.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            s, _ = self._ear.accept()
            with contextlib.suppress(OSError):
                self.asked.append(s.recv(4096))
                s.sendall(self.does)
            if self.drips:
                self._held.append(s)  # and nothing more comes
            else:
                s.close()


@pytest.fixture
def web() -> Web:
    return Web()


def test_by_http(node: Node, web: Web) -> None:
    url = f"http://127.0.0.1:{web.port}/health?deep=1"
    manifest(
        node, w={"run": "/bin/sleep 1000", "ready": {"http": url, "status": [204], "timeout": "0.3s", "within": "9m"}}
    )
    for answer, drips, why in (
        (b"HTTP/1.1 200 OK\r\n\r\n", False, "HTTP status 200"),
        (b"HTTP/1.1 2", True, "no answer for 0.3 s"),
        (b"", True, "no answer for 0.3 s"),
        (b"", False, "it hung up without an answer"),
        (b"SSH-2.0-x\r\n", False, "it does not answer in HTTP"),
    ):
        web.does, web.drips = answer, drips
        applied(node, partial(says, f"not ready yet: {why}"))
    assert next(filter(None, web.asked)).startswith(b"GET /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % web.port)
    web.does, web.drips = b"HTTP/1.0 204 No Content\r\n\r\n", False
    assert node.apply().endswith("every wish holds: 1 ready\n")


def test_not_ready_in_time(node: Node) -> None:
    """It is ended and counts as failed; tries are as many as were allowed, with the back-off between. Scenario 35."""
    entry = {"run": "/bin/sleep 1000", "ready": {"run": "sh -c 'echo too early >&2; exit 7'", "within": "0.3s"}}
    manifest(node, w={**entry, "restart": {"attempts": 3, "delay": "0.2s"}})
    node.apply("--wait", "20", code=1)
    row = node.rows()["w"]
    assert row["state"] == "failed"
    assert row["why"] == "gave up after 3 of 3 attempts: not ready within 0.3 s: exited 7: too early"
    facts = node.facts("w")
    assert [f["event"] for f in facts] == ["start", "stop", "exit"] * 3
    assert [f["at"] for f in facts if f["event"] == "start"] == sorted(f["at"] for f in facts if f["event"] == "start")
    assert all("back-off" in f["why"] for f in facts[3:] if f["event"] == "start")


def test_one_that_is_there_but_useless_is_started_again(
    node: Node, program: str, resident: Resident, until: Until
) -> None:
    """Its port is closed, it stands still, its heart stops, it stays silent, it gives itself up: a whiz that stays sees it."""
    port = free_port()
    alive: dict[str, tuple[dict[str, Any], str, str]] = {
        "port": ({"port": port, "failures": 2}, str(port), "not alive 2 of 2 times: Connection refused"),
        "unix": ({"unix": f"{node.path}/s"}, f"{node.path}/s", "not alive 3 of 3 times: Connection refused"),
        "heartbeat": (
            {"file": f"{node.path}/beat", "timeout": "1s"},
            f"{node.path}/beat",
            "not alive: no sign of life for",
        ),
        "beats": ({"notify": True, "timeout": "4s"}, "", "not alive: no sign of life for"),
        "looked": ({"run": f"sh -c '! test -e {node.path}/go.stop'", "failures": 1}, "", "not alive: exited 1"),
    }
    manifest(
        node,
        **{
            w: {"run": f"{program} {w} {node.path}/go {word}", "alive": {"every": "0.2s", "delay": "4s", **how}}
            for w, (how, word, _) in alive.items()
        },
    )
    node.write("", "go")
    resident("--every", "1h")
    first = until(lambda: (rows := node.rows()) and {r["state"] for r in rows.values()} == {"running"} and rows)
    assert [f for f in node.facts() if f["event"] in ("ailing", "stop")] == []
    node.write("", "go.stop")
    until(lambda: {f["program"] for f in node.facts() if f["event"] == "stop"} == set(alive))
    (node.path / "go.stop").unlink()
    for way, (_, _, why) in alive.items():
        stop = next(f for f in node.facts(way) if f["event"] == "stop")
        assert stop["why"].startswith(why), stop
        assert any(f["event"] == "ailing" for f in node.facts(way))
    now = until(lambda: (rows := node.rows()) and {r["state"] for r in rows.values()} == {"running"} and rows, 90)
    assert all(now[w]["pid"] != first[w]["pid"] for w in alive)


def test_it_may_give_itself_up(node: Node, program: str, resident: Resident, until: Until) -> None:
    """At once, whatever delay and failures are, and for good."""
    patient = {"timeout": "1h", "every": "0.2s", "delay": "1h", "failures": 1000}
    manifest(node, b={"run": f"{program} beats {node.path}/go", "alive": {"notify": True, **patient}})
    node.write("", "go")
    node.write("", "go.trigger")
    node.write("", "go.stop")
    resident("--every", "1h")
    why = "not alive: it said so (WATCHDOG=trigger)"
    until(lambda: any(f["event"] == "stop" and f["why"] == why for f in node.facts("b")))


def test_by_apply_failures_add_up_from_turn_to_turn(node: Node) -> None:
    """As cron does: each turn is a process of its own, and the third failure in a row is one too many."""
    manifest(
        node,
        w={"run": "/bin/sleep 1000", "alive": {"run": f"test -e {node.path}/well", "every": "1h"}},
    )
    node.write("", "well")
    node.apply()
    first = node.pid("w")
    (node.path / "well").unlink()
    for n in (1, 2):
        assert f"not alive {n} of 3 times: exited 1" in node.apply("--wait", "5", code=3)
    assert node.rows()["w"]["why"] == "not alive 2 of 3 times: exited 1"
    node.write("", "well")
    node.apply()  # well again: counted from the beginning
    (node.path / "well").unlink()
    for _ in range(2):
        node.apply("--wait", "5", code=3)
    assert node.pid("w") == first
    assert "- stop  w (not alive 3 of 3 times: exited 1)" in node.apply("--wait", "5", code=3)
    applied(node, lambda rows: rows["w"]["pid"] not in (None, first))


def test_what_it_said_outlives_whiz(node: Node, program: str, resident: Resident, until: Until) -> None:
    """READY=1 and a byte on a descriptor, said while no whiz lives, are not lost."""
    manifest(
        node,
        n={"run": f"{program} notify {node.path}/go", "ready": {"notify": True, "within": "1h"}},
        f={"run": f"{program} fd {node.path}/go 5", "ready": {"fd": 5, "within": "1h"}},
    )
    process = resident("--every", "1h")
    until(lambda: {r["state"] for r in node.rows().values()} == {"starting"})
    until(lambda: all(r["pid"] for r in node.rows().values()))
    process.kill()
    process.wait()
    node.write("", "go")
    until(lambda: any(p.read_bytes() == b"1" for p in (node.path / "run/said").glob("*.said")))
    until(lambda: any(p.read_bytes() == b"\n" for p in (node.path / "run/said").iterdir() if p.is_file()))
    pids = {n: r["pid"] for n, r in node.rows().items()}
    assert node.apply().endswith("every wish holds: 2 ready\n")
    assert {n: r["pid"] for n, r in node.rows().items()} == pids
    (node.path / "go").unlink()  # so that the next copy waits: what the last one said is not its own
    node.whiz("restart", "n", "f", "--wait", "0", code=3)
    rows = applied(node, lambda rows: all(r["pid"] not in (None, *pids.values()) for r in rows.values()))
    assert {r["state"] for r in rows.values()} == {"starting"}


@pytest.fixture
def open_node() -> Iterator[Node]:
    """A node whose directories other users may pass."""
    with tempfile.TemporaryDirectory(prefix="whiz-") as folder:
        os.chmod(folder, 0o755)
        made = Node(Path(folder))
        yield made
        made.kill_all()


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_looks_run_as_the_program_does(open_node: Node) -> None:
    """As its user, in its environment, so that root's powers are not lent; and its user reaches its socket."""
    node = open_node
    (out := node.path / "out").mkdir()
    out.chmod(0o777)
    look = f"sh -c 'echo $(id -u) $COLOUR $WHIZ_RUN >{out}/look'"
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable
    node.write(textwrap.dedent(PROGRAM), "program.py").chmod(0o644)
    manifest(
        node,
        w={"run": "/bin/sleep 1000", "user": "nobody", "env": {"COLOUR": "blue"}, "ready": {"run": look}},
        n={"run": f"{python} {node.path}/program.py notify /", "user": "nobody", "ready": {"notify": True}},
        f={"run": "sh -c 'echo >&3; exec sleep 1000'", "user": "nobody", "ready": {"fd": 3}},
    )
    assert node.apply().endswith("every wish holds: 3 ready\n")
    assert (out / "look").read_text() == "65534 blue\n"


def test_a_socket_path_that_is_too_long_is_said(node: Node) -> None:
    deep = node.path / ("d" * 100)
    deep.mkdir()
    (deep / "whizzifest.yaml").write_text("programs:\n  n: {run: /bin/true, ready: {notify: true}}\n")
    done = node.command("--home", str(deep), "apply", "--wait", "10")
    assert done.returncode in (1, 3)  # it failed, or the next attempt is under way
    assert "notify socket: AF_UNIX path too long" in done.stdout + done.stderr


def test_check_lets_nobody_look(node: Node) -> None:
    manifest(node, w={"run": "/bin/sleep 1000", "ready": {"run": f"touch {node.path}/looked"}})
    assert "+ start w (not running)" in node.whiz("check", code=3)
    node.apply()
    (node.path / "looked").unlink()
    node.whiz("check")
    node.whiz("status")
    assert not (node.path / "looked").exists()


def test_edits_of_checks_leave_programs_alone(node: Node, resident: Resident, until: Until) -> None:
    manifest(node, w={"run": "/bin/sleep 1000", "ready": {"run": "/bin/true"}})
    resident("--every", "1h")
    pid = until(lambda: node.rows()["w"]["state"] == "ready" and node.pid("w"))
    manifest(node, w={"run": "/bin/sleep 1000", "alive": {"run": "/bin/false", "every": "0.1s", "failures": 1000}})
    until(lambda: any(f["event"] == "ailing" for f in node.facts("w")))
    assert node.pid("w") == pid
    manifest(node, w={"run": "/bin/sleep 1000"})
    until(lambda: node.rows()["w"]["why"].startswith("up for"))
    assert node.pid("w") == pid
    assert "Traceback" not in said(node)
