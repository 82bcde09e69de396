"""whiz run: the turn, resident. Scenarios 48, 53, 66, 67, 76, 78 and what the issue of the daemon promises."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.node.conftest import WHIZ, gone
from whiz.world.logs import trimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.node.conftest import Node, Until

    Resident = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def resident(node: Node, until: Until) -> Iterator[Resident]:
    """Start whiz run, wait until it stays, and kill it with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, wait: bool = True, **options: Any) -> subprocess.Popen[str]:
        with (node.path / "said").open("a") as said:
            options = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said, **options}
            command = [*WHIZ, "--home", str(node.path), "run", *words]
            started.append(subprocess.Popen(command, text=True, start_new_session=True, **options))
        if wait:
            until(lambda: announced(node).get("proc", {}).get("pid") == started[-1].pid)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def announced(node: Node) -> dict[str, Any]:
    try:
        held: dict[str, Any] = json.loads((node.path / "run/resident.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return held


def lengths(node: Node) -> set[str]:
    """Return the last words of what runs here, such as how long each sleeps."""
    found = set()
    for process in node.ours():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.cmdline()[-1])
    return found


def said(node: Node) -> str:
    return (node.path / "said").read_text()


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
    for n in range(3):
        shutil.rmtree(node.path / "parts")
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
