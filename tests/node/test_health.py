"""Ready and alive on real processes: each way to look, and what becomes of a program that is there but useless."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import textwrap
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.node.conftest import Node, said
from whiz.core.model import Check
from whiz.world import disk, logs
from whiz.world.host import looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.node.conftest import Resident, Until

ROOT = os.getuid() == 0
PROGRAM = """
    import os, select, socket, sys, time
    way, go = sys.argv[1], sys.argv[2]  # do this once there is a file `go`; undo it when there is a file `stop`
    def wait(path):
        while not os.path.exists(path):
            time.sleep(0.01)
    def tell(words):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(words, os.environ["NOTIFY_SOCKET"])
    wait(go)
    if way == "file":
        open(sys.argv[3], "w").close()
    elif way == "log":
        print("now it listens", flush=True)
    elif way == "notify":
        tell(b"STATUS=so\\nREADY=1")
    elif way == "fd":
        os.write(int(sys.argv[3]), b"\\n")
    elif way == "beats":
        while not os.path.exists(go + ".stop"):
            tell(b"WATCHDOG=1")
            time.sleep(float(os.environ["WATCHDOG_USEC"]) / 4e6)
        if os.path.exists(go + ".trigger"):
            tell(b"WATCHDOG=trigger")
            tell(b"READY=1\\nWATCHDOG=1")
    elif way == "heartbeat":
        while not os.path.exists(go + ".stop"):
            open(sys.argv[3], "w").close()
            time.sleep(0.1)
    elif way in ("port", "unix"):
        s = socket.socket(socket.AF_INET if way == "port" else socket.AF_UNIX)
        if way == "unix" and os.path.exists(sys.argv[3]):
            os.unlink(sys.argv[3])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", int(sys.argv[3])) if way == "port" else sys.argv[3])
        s.listen()
        wait(go + ".stop")
        s.close()
    time.sleep(1000)
"""


@pytest.fixture
def program(node: Node) -> str:
    node.write(textwrap.dedent(PROGRAM), "program.py").chmod(0o644)
    return f"{sys.executable} {node.path}/program.py"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def manifest(node: Node, **programs: dict[str, Any]) -> None:
    node.yaml(json.dumps({"programs": programs}))


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


def applied(node: Node, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Apply again and again, with little patience, until the rows of status are so."""
    end = time.monotonic() + 60
    while True:
        done = node.command("apply", "--wait", "1")
        rows = node.rows()
        if enough(rows):
            return rows
        assert time.monotonic() < end, done.stdout + done.stderr


def says(words: str, rows: dict[str, Any]) -> bool:
    return bool(rows["w"]["why"] == words)


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


def test_a_pattern_that_takes_for_ever_holds_up_nobody(node: Node) -> None:
    shell = "sh -c 'echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab; exec sleep 1000'"
    manifest(
        node,
        w={"run": shell, "ready": {"log": "(a+)+$", "timeout": "0.5s", "within": "1h"}},
        b={"run": "/bin/sleep 1000"},
    )
    rows = applied(node, says_that("to look for '(a+)+$' in its output takes longer than 0.5 s"))
    assert rows["b"]["state"] == "running"


def says_that(words: str) -> Callable[[dict[str, Any]], bool]:
    return lambda rows: rows["w"]["why"] == f"not ready yet: {words}"


def test_a_line_far_behind_is_found_in_one_look(node: Node) -> None:
    """As cron looks: each time anew, and once."""
    shell = f"sh -c 'head -c 5000000 /dev/zero; echo; echo it listens; touch {node.path}/done; exec sleep 1000'"
    manifest(node, w={"run": shell, "ready": {"log": "^it listens$", "within": "1h"}})
    until_done = lambda _: (node.path / "done").exists()  # noqa: E731
    applied(node, until_done)
    applied(node, lambda rows: rows["w"]["state"] == "ready")


@pytest.mark.parametrize(
    "what",
    [
        "open('LOG', 'r+').truncate(0)",  # what logrotate's copytruncate does
        "os.rename('LOG', 'LOG.1'); open('LOG', 'w').close()",  # what its create does
        "os.rename('LOG', 'LOG.1')",
        "os.unlink('LOG')",
    ],
)
def test_a_line_is_found_whatever_becomes_of_the_log(node: Node, resident: Resident, until: Until, what: str) -> None:
    (log := node.path / "log/w.log").parent.mkdir()
    log.write_text("of an earlier life\n")
    lines = f"import os, sys, time; print('begin' + 200 * 'x', flush=True); go = '{node.path}/go'; here = '{node.path}/here'"
    wait = "while not os.path.exists(go): time.sleep(0.01)"
    rest = (
        f"{what.replace('LOG', str(log))}\nopen(here, 'w').close()\nprint('it listens', flush=True); time.sleep(1000)"
    )
    program = node.write(f"{lines}\n{wait}\n{rest}\n", "w.py")
    program.chmod(0o644)
    manifest(node, w={"run": f"{sys.executable} {program}", "ready": {"log": "^it listens$", "within": "1h"}})
    resident("--every", "1h")
    until(
        lambda: (
            b"begin" in log.read_bytes() and says_that("no line of its output matches '^it listens$' yet")(node.rows())
        )
    )
    node.write("", "go")
    until(lambda: node.rows()["w"]["state"] == "ready")


def look_for(words: str, log: Path, read: looks.Place) -> tuple[str, looks.Place]:
    return looks.log(Check(way="log", what=words), str(log), read, "")


def grown(log: Path) -> looks.Place:
    """Make a log of which all but its last line was read, and that is to be trimmed."""
    log.write_bytes(b"it was ready\n" + 100_000 * b"nothing\n")
    read = looks.end_of(str(log))
    with log.open("ab") as f:
        f.write(b"it listens\n")
    return read


@pytest.mark.parametrize("collapses", [True, False])
def test_a_trim_amid_a_look_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collapses: bool) -> None:
    """It is cut just after a look has asked how much was cut; and looks come just before and after its bytes are gone."""
    log, asked = tmp_path / "w.log", disk.trimming
    if not collapses:
        monkeypatch.setattr(logs, "_collapse", lambda *_: False)
    read = grown(log)

    def trimming(path: str, inode: int) -> tuple[int, bool]:
        found = asked(path, inode)
        monkeypatch.setattr(disk, "trimming", asked)
        logs.trim(str(log), 400_000)
        return found

    monkeypatch.setattr(disk, "trimming", trimming)
    assert look_for("^it listens$", log, read)[0] == ""
    assert log.stat().st_size < 400_000

    read, real, seen = grown(log), logs._collapse, []  # noqa: SLF001

    def collapse(fd: int, length: int) -> bool:
        seen.append(look_for("^it (was|listens)$", log, read))
        done = real(fd, length)
        seen.append(look_for("^it (was|listens)$", log, read))
        seen.append(look_for("nothing", log, read))  # which is all that was read before
        return done

    monkeypatch.setattr(logs, "_collapse", collapse)
    logs.trim(str(log), 400_000)
    assert [words for words, _ in seen] == ["", "", "no line of its output matches 'nothing' yet"]
    assert look_for("^it listens$", log, read)[0] == ""
    assert look_for("nothing", log, read)[0] != ""


def test_a_trim_that_was_killed_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the bytes are gone, before that is on record."""
    log, real = tmp_path / "w.log", logs._collapse  # noqa: SLF001
    read = grown(log)

    def collapse(fd: int, length: int) -> bool:
        if not real(fd, length):  # what ext4 and xfs do in one step
            rest = os.pread(fd, 10_000_000, length)
            os.truncate(log, 0)
            log.write_bytes(rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(logs, "_collapse", collapse)
    with pytest.raises(KeyboardInterrupt):
        logs.trim(str(log), 400_000)
    monkeypatch.setattr(logs, "_collapse", real)
    assert look_for("^it listens$", log, read)[0] == ""
    assert look_for("nothing", log, read)[0] != ""
    logs.trim(str(log), 100_000)
    assert look_for("^it listens$", log, read)[0] == ""
    assert look_for("nothing", log, read)[0] != ""


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
