"""whiz run: the turn, resident: what wakes it, who asks it, how it is told to go. Scenarios 48 and 53."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.node.conftest import WHIZ, announced, lengths, said
from tests.tools import needs

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident, Until


def test_it_keeps_the_whizzifest(node: Node, resident: Resident, until: Until) -> None:
    """Starts, brings back what dies, follows edits of manifest, include and wishes, each without being told."""
    node.yaml("include: parts/*.yaml\nprograms:\n  a: {run: /bin/sleep 1000, restart: {delay: 0s}}\n")
    node.write("programs:\n  b: {run: /bin/sleep 1001}\n", "parts/b.yaml")
    resident()
    until(lambda: node.rows().keys() == {"a", "b"} and {r["state"] for r in node.rows().values()} == {"running"})
    first = node.pid("a")
    os.kill(first, signal.SIGKILL)
    until(lambda: (now := node.rows()["a"])["state"] == "running" and now["pid"] != first)
    assert [f["exit"] for f in node.facts("a") if f["event"] == "exit"] == [-9]
    node.write("programs:\n  b: {run: /bin/sleep 1002}\n", "parts/b.yaml")
    until(lambda: "1002" in lengths(node))
    (node.path / "state/held/a").touch()
    until(lambda: node.rows()["a"]["state"] == "held" and "1000" not in lengths(node))
    (node.path / "state/held/a").unlink()
    until(lambda: node.rows()["a"]["state"] == "running")
    node.write("programs: {}\n", "parts/b.yaml")  # an empty include is no wish
    until(lambda: "names no program" in said(node))
    assert node.rows()["b"]["state"] == "running"
    (node.path / "parts/b.yaml").unlink()
    until(lambda: "b" not in node.rows())


def test_other_commands_ask_it(node: Node, resident: Resident, until: Until) -> None:
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    resident()
    assert node.whiz("apply").endswith("every wish holds: 2 running\n")
    assert node.whiz("hold", "a") == "- stop  a (held)\nevery wish holds: 1 held, 1 running\n"
    assert node.whiz("unhold", "a") == "+ start a (was stopped)\nevery wish holds: 2 running\n"
    first = node.pid("b")
    assert "- stop  b (restart asked for)" in node.whiz("restart", "b")
    assert node.pid("b") != first
    node.write("a|/bin/sleep 1000\nb|/nowhere\n")
    until(lambda: json.loads(node.command("apply", "--wait", "0", "--json").stdout)["exit"] == 1)
    node.write("a|\n")
    done = node.command("apply", "--wait", "0")
    assert done.returncode == 2
    assert "the last good version stays in force" in done.stderr
    node.write("")
    node.whiz("apply", "--allow-empty")
    assert node.ours() == []


def test_a_second_one_is_refused(node: Node, resident: Resident) -> None:
    node.write("a|/bin/sleep 1000\n")
    first = resident()
    node.whiz("apply")
    before = node.rows()
    done = node.command("run")
    assert done.returncode == 75
    assert f"another whiz (pid {first.pid}) is at work" in done.stderr
    assert node.rows()["a"]["pid"] == before["a"]["pid"]
    assert announced(node)["proc"]["pid"] == first.pid


def test_without_any_whizzifest_it_does_not_stay(node: Node) -> None:
    done = node.command("run")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_a_broken_edit_changes_nothing_and_is_said_once(node: Node, resident: Resident, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    process = resident()
    node.whiz("apply")
    pid = node.pid("a")
    node.write("a:/bin/sleep 1000\n")
    until(lambda: "the last good version stays in force" in said(node))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    node.write("a|/bin/sleep 1000\n")
    until(lambda: "is in force again" in said(node))
    assert said(node).count("no '|' between") == 1
    assert node.pid("a") == pid


def test_term_leaves_programs_and_stop_ends_them_in_reverse(node: Node, resident: Resident, until: Until) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001, after: a}\n")
    process = resident()
    node.whiz("apply")
    pids = {name: row["pid"] for name, row in node.rows().items()}
    process.terminate()
    assert process.wait(30) == 0
    assert "whiz leaves; 2 programs go on" in said(node)
    assert {name: row["pid"] for name, row in node.rows().items()} == pids
    process = resident("--stop")
    until(lambda: announced(node))
    process.terminate()
    assert process.wait(30) == 0
    assert [line for line in said(node).splitlines() if not line.startswith(". wait")][-3:] == [
        "- stop  b (whiz was told to end them)",
        "- stop  a (whiz was told to end them)",
        "everything has ended",
    ]
    assert node.ours() == []
    assert announced(node) == {}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_ctrl_c_in_a_terminal_ends_them_and_says_so(node: Node, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*WHIZ, "--home", str(node.path), "run"], {**os.environ, "TERM": "dumb"})
    try:
        until(node.ours)
        until(lambda: announced(node))
        os.write(terminal, b"\x03")
        heard = b""
        with contextlib.suppress(OSError):  # how a terminal says that its other end is gone
            while piece := os.read(terminal, 4096):
                heard += piece
        assert b"- stop  a (whiz was told to end them)" in heard
        assert b"everything has ended" in heard
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert node.ours() == []
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_systemd_is_told(node: Node, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"{node.path}/notify")
        listening.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": f"{node.path}/notify", "WATCHDOG_USEC": "400000"}
        process = subprocess.Popen([*WHIZ, "--home", str(node.path), "run"], env=env, stdout=subprocess.DEVNULL)
        try:
            heard: list[str] = []

            def hears(word: str) -> bool:
                heard.extend(listening.recv(4096).decode().split("\n"))
                return word in heard

            until(lambda: hears("STATUS=every wish holds: 1 running"))
            assert "READY=1" in heard
            until(lambda: hears("WATCHDOG=1") and heard.count("WATCHDOG=1") >= 3)
            child = next(p for p in node.ours() if p.cmdline()[-1] == "1000")
            assert "NOTIFY_SOCKET" not in child.environ()
        finally:
            process.kill()
            process.wait()


def test_told_to_leave_amid_many_starts(node: Node, resident: Resident, until: Until) -> None:
    """It goes when this turn's starts are done, and nothing is started twice or left unrecorded. Scenario 48."""
    node.write("".join(f"p{n}|/bin/sleep 1000.{n}\n" for n in range(100)))
    process = resident(wait=False)
    until(node.ours)
    process.terminate()
    assert process.wait(60) == 0
    before = {p.pid for p in node.ours()}
    node.whiz("apply")
    assert before <= {p.pid for p in node.ours()}
    assert len(node.ours()) == 100


def test_explain_knows_who_looks(node: Node, resident: Resident) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    assert "next look: at the next whiz apply" in node.whiz("explain", "a")
    resident()
    assert "next look: when something happens" in node.whiz("explain", "a")


def test_nobody_reads_what_it_says(node: Node, until: Until) -> None:
    """A reader that stopped reading stops nothing; what was not said is counted, and said when there is room."""
    many = {f"f{i:02}": {"run": "/bin/false", "restart": {"delay": "10ms", "max_delay": "20ms"}} for i in range(30)}
    node.yaml(json.dumps({"programs": {"a": {"run": "/bin/sleep 1000"}, **many}}))
    end, mouth = os.pipe()
    fcntl.fcntl(mouth, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([*WHIZ, "--home", str(node.path), "run"], stdout=mouth, stderr=mouth)
    os.close(mouth)
    try:
        until(
            lambda: select.select([end], [], [], 0)[0] and len([f for f in node.facts() if f["event"] == "start"]) > 200
        )
        for _ in range(3):
            before = node.pid("a")
            os.kill(before, signal.SIGKILL)
            until(lambda before=before: node.rows()["a"]["pid"] not in (before, None))
        got = b""
        while b"were dropped: nobody read them" not in got:
            got += os.read(end, 65536)
        assert re.search(rb"^whiz: [0-9]+ lines before this one were dropped", got, re.MULTILINE)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        os.close(end)
        process.kill()
        process.wait()


def test_closed_standard_streams_and_a_full_disk_for_its_words(node: Node, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    command = [*WHIZ, "--home", str(node.path), "run", "--json"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command], stdout=full, stderr=full, start_new_session=True
        )
    try:
        until(lambda: announced(node).get("proc", {}).get("pid") == process.pid)
        node.whiz("restart", "--self")
        assert node.pid("a")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_edits_behind_a_link_in_a_new_folder_and_of_one_to_come(node: Node, resident: Resident, until: Until) -> None:
    real = node.path / "real"
    real.mkdir()
    (real / "w.yaml").write_text("include: parts/*.yaml\nprograms:\n  a: {run: /bin/sleep 1000}\n")
    (real / "parts").mkdir()
    (node.path / "whizzifest.yaml").symlink_to(real / "w.yaml")
    # a relative include counts from the link's folder
    (node.path / "parts").mkdir()
    resident("--every", "1h")
    until(lambda: "1000" in lengths(node))
    (real / "w.yaml").write_text("include: parts/*.yaml\nprograms:\n  a: {run: /bin/sleep 1001}\n")
    until(lambda: lengths(node) == {"1001"})
    for n in range(8):
        gaps = said(node).count("there is no directory")
        shutil.rmtree(node.path / "parts")
        if n % 2:  # it has seen that the folder is gone, and waits for it to come
            until(lambda gaps=gaps: said(node).count("there is no directory") > gaps)
        (node.path / "parts").mkdir()
        node.write(f"programs:\n  b: {{run: /bin/sleep 200{n}}}\n", "parts/b.yaml")
        until(lambda n=n: lengths(node) == {"1001", f"200{n}"})


def test_a_whizzifest_that_cannot_be_read_just_now(node: Node, resident: Resident, until: Until) -> None:
    """No descriptor is free when it is edited: the last good one stays in force, and is read when there is one."""
    node.write("a|/bin/sleep 1000\n")
    process = resident()
    node.whiz("apply")
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (psutil.Process(process.pid).num_fds() + 1, hard))
    node.write("a|/bin/sleep 1001\n")
    until(lambda: "cannot be read just now" in said(node) or "Too many open files" in said(node))
    assert process.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: lengths(node) == {"1001"})


def test_another_whizzifest_beside_it_is_refused(node: Node, resident: Resident) -> None:
    node.write("a|/bin/sleep 1000\n")
    resident()
    node.write("b|/bin/sleep 1001\n", "other")
    done = node.command("-m", str(node.path / "other"), "apply")
    assert done.returncode == 75
    assert f"keeps {node.path}/whizzifest, not {node.path}/other" in done.stderr


def test_a_folder_of_wishes_that_was_removed_is_heard_again(node: Node, resident: Resident, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    resident("--every", "1h")
    node.whiz("apply")
    for _ in range(2):
        shutil.rmtree(node.path / "state/held")
        until((node.path / "state/held").exists)  # made again, and watched
        node.whiz("apply")
        (node.path / "state/held/a").touch()
        until(lambda: node.rows()["a"]["state"] == "held")


@needs("strace")
def test_without_the_part_of_the_reaper(node: Node, until: Until) -> None:
    """qemu-user lets nobody inherit orphans: who is left behind is looked for in /proc, and ended before a successor."""
    stray = node.script("stray.sh", "#!/bin/sh\nsetsid sleep 1001 &\nexec sleep 1000\n")
    node.yaml(f"programs:\n  a: {{run: {stray}, restart: {{delay: 0s}}}}\n")
    under = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL")
    with subprocess.Popen([*under, *WHIZ, "--home", str(node.path), "run", "--every", "1h", "--quiet"]) as strace:
        try:
            until(lambda: lengths(node) == {"1000", "1001"})
            first = {p.pid for p in node.ours()}
            os.kill(node.pid("a"), signal.SIGKILL)
            until(lambda: [f["event"] for f in node.facts("a")].count("start") == 2, 120.0)
            assert not first & {p.pid for p in node.ours()}
            assert [f["exit"] for f in node.facts("a") if f["event"] == "exit"] == [-9]
        finally:
            os.kill(announced(node)["proc"]["pid"], signal.SIGTERM)
    assert strace.returncode == 0
