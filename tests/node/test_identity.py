"""Which process is whose: adoption, strangers, the hit list, marks. Scenarios 59, 66-71, 78."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.node.conftest import WHIZ, gone

if TYPE_CHECKING:
    from tests.node.conftest import Node, Spawn, Until


def test_started_by_hand_it_is_adopted_not_doubled(node: Node, spawn: Spawn, until: Until) -> None:
    first = spawn("/bin/sleep", "98761")
    until(lambda: psutil.Process(first.pid).cmdline() == ["/bin/sleep", "98761"])
    second = spawn("sleep", "98761")
    until(lambda: psutil.Process(second.pid).cmdline() == ["sleep", "98761"])
    node.write("a|/bin/sleep 98761\n")
    assert node.apply() == "every wish holds: 1 running\n"
    assert node.pid("a") == first.pid
    said = node.whiz("status")
    assert "adopted: was running already" in said
    assert f"stranger: pid {second.pid} is also what 'a' asks for" in said
    node.write("b|/bin/sleep 98762\n")
    node.apply()
    assert first.wait() == -signal.SIGTERM  # it left the whizzifest
    assert second.poll() is None


@pytest.mark.parametrize("argv", [["98763", "1"], ["9876"], ["-98763"], ["98763 "]])
def test_another_argument_is_another_program(node: Node, spawn: Spawn, argv: list[str]) -> None:
    spawn(sys.executable, "-c", "import time; time.sleep(1000)", *argv)
    node.write(f"a|{sys.executable} -c 'import time; time.sleep(1000)' 98763\n")
    assert "+ start a (not running)" in node.apply()


def test_scripts_are_known_by_their_file(node: Node, spawn: Spawn, until: Until) -> None:
    """By interpreter and script, under #!, by a relative path, through a symlink; an editor is none of them."""
    node.script("x.sh", "#!/bin/sh\nsleep 98772\n")
    (node.path / "link.sh").symlink_to("x.sh")
    spawn("tail", "-f", f"{node.path}/x.sh")
    for argv, cwd in (
        (["/bin/sh", "x.sh"], node.path),
        ([f"{node.path}/x.sh"], "/"),
        (["/bin/sh", "./link.sh"], node.path),
    ):
        by_hand = spawn(*argv, cwd=cwd)
        until(lambda p=by_hand: psutil.Process(p.pid).children())
        node.write("x|./x.sh\n")
        node.apply()
        assert node.pid("x") == by_hand.pid, argv
        node.write("")
        node.whiz("apply", "--allow-empty")
        assert by_hand.wait() == -signal.SIGTERM


def test_a_replaced_binary_is_still_the_entry(node: Node, spawn: Spawn, until: Until) -> None:
    shutil.copy("/bin/sleep", node.path / "app")
    by_hand = spawn(f"{node.path}/app", "98764")
    until(lambda: psutil.Process(by_hand.pid).exe() == f"{node.path}/app")
    (node.path / "app").unlink()
    shutil.copy("/bin/sleep", node.path / "app")
    node.write("a|./app 98764\n")
    node.apply()
    assert node.pid("a") == by_hand.pid


def test_another_users_process_is_not_the_entry(node: Node, spawn: Spawn, until: Until) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can start a process as somebody else; CI runs as root")
    other = spawn("/bin/sleep", "98765", user=65534)
    until(lambda: psutil.Process(other.pid).cmdline() == ["/bin/sleep", "98765"])
    node.write("a|/bin/sleep 98765\n")
    node.apply()
    assert node.pid("a") != other.pid


def test_another_homes_process_is_never_ours(node: Node, until: Until) -> None:
    """Not adopted, not hit, not counted: its mark names the other home."""
    other = node.path / "other"
    other.mkdir()
    (other / "whizzifest").write_text("a|/bin/sleep 98766\n")
    subprocess.run([*WHIZ, "--home", str(other), "apply"], check=True, capture_output=True)
    theirs = json.loads(
        subprocess.run([*WHIZ, "--home", str(other), "status", "--json"], check=False, capture_output=True).stdout
    )["programs"][0]["pid"]
    try:
        node.write("a|/bin/sleep 98766\n")
        node.apply()
        assert node.pid("a") != theirs
        node.write("")
        node.apply("--allow-empty")
        assert psutil.pid_exists(theirs)
    finally:
        subprocess.run([*WHIZ, "--home", str(other), "hold", "a"], check=True, capture_output=True)
        until(lambda: gone(theirs))


def test_every_record_lost(node: Node) -> None:
    """The marks in the processes' environments tell; also to a whizzifest that changed meanwhile."""
    node.yaml(
        "programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001, restart: {on: failure}}\n  gone: {run: /bin/sleep 1002}\n"
    )
    node.apply()
    before = node.rows()
    shutil.rmtree(node.path / "run")
    shutil.rmtree(node.path / "state")
    node.yaml("programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001, restart: {on: failure}}\n")
    said = node.apply()
    after = node.rows()
    assert [after[n]["pid"] for n in "ab"] == [before[n]["pid"] for n in "ab"]
    assert [line for line in said.splitlines() if line[0] in "+-!"] == ["- stop  gone (no longer in the whizzifest)"]
    assert len(node.ours()) == 3  # two programs and a chaperone


def test_a_corrupt_record_is_set_aside(node: Node) -> None:
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    before = node.rows()
    record = node.path / "run/runs/a.json"
    text = record.read_text()
    for broken in (
        "",
        "{",
        text[: len(text) // 2],
        "[]",
        '{"format": 1}',
        text.replace('"started": ', '"started": "x'),
        text.replace('"name": "a"', '"name": "../b"'),
    ):
        record.write_text(broken)
        check = node.command("check")
        assert (check.returncode, record.read_text()) == (0, broken)  # check changes nothing
        done = node.command("apply")
        assert done.returncode == 0
        assert f"{record}: cannot be read as a record" in done.stderr
        assert record.with_suffix(".json.corrupt").read_text() == broken
    assert [node.rows()[n]["pid"] for n in "ab"] == [before[n]["pid"] for n in "ab"]
    assert len(node.ours()) == 2


def test_a_newer_record_is_refused_not_corrupt(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    record = node.path / "run/runs/a.json"
    newer = record.read_text().replace('"format": 1', '"format": 2')
    record.write_text(newer)
    done = node.command("apply")
    assert done.returncode == 1
    assert f"{record}: format 2 was written by a newer whiz" in done.stderr
    assert record.read_text() == newer
    assert len(node.ours()) == 1


def test_a_foreign_wait_is_no_exit_code(node: Node) -> None:
    """A program that somebody else reaped ended unseen, not with 0: here whiz is called with SIGCHLD ignored."""
    node.yaml(
        "programs:\n  t: {run: \"sh -c 'exit 3'\", want: done, restart: {on: never}}\n  u: {run: /bin/sleep 1000}\n"
    )
    code = "import os, signal, sys; signal.signal(17, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    subprocess.run(
        [sys.executable, "-c", code, "-m", "whiz", "--home", str(node.path), "apply"], check=False, capture_output=True
    )
    assert [f["exit"] for f in node.facts("t") if f["event"] == "exit"] == [3]


# {u} makes names unique: other tests run beside this one, and a hit list reaches every process of the machine
HITS = [
    ("bad{u}.sh", ["{path}/bad{u}.sh"], True),
    ("{path}/bad{u}.sh", ["/bin/sh", "bad{u}.sh"], True),
    ("bad{u}.sh", ["bash", "-e", "-o", "pipefail", "./bad{u}.sh", "x"], True),
    ("./bad{u}.sh", ["bash", "--norc", "./bad{u}.sh"], True),
    ("bad{u}.sh", ["tail", "-f", "{path}/bad{u}.sh"], False),
    ("bad{u}.sh", ["bash", "-c", "sleep 98770; : {path}/bad{u}.sh"], False),
    ("bad{u}.sh", ["bash", "-lc", "sleep 98770; : ", "{path}/bad{u}.sh"], False),
    ("bad{u}.sh", ["bash", "-xec", "sleep 98770; :", "bad{u}.sh"], False),
    ("bad{u}.sh", ["bash", "--init-file", "bad{u}.sh", "-c", "sleep 98770; :"], False),
    ("ad{u}.sh", ["{path}/bad{u}.sh"], False),
    ("sleeper{u}", ["{path}/sleeper{u}", "98770"], True),
    ("{path}/sleeper{u}", ["{path}/sleeper{u}", "98770"], True),
    ("{path}/sleepe", ["{path}/sleeper{u}", "98770"], False),
    ("{path}/averyveryverylo", ["{path}/averyveryverylong{u}", "98770"], False),  # the kernel's 15 letters
    ("averyveryverylong{u}", ["{path}/averyveryverylong{u}", "98770"], True),
    ("bad{u}.py", ["python3", "-u", "-W", "ignore", "bad{u}.py"], True),
    ("bad{u}.py", ["python3", "-c", "import time; time.sleep(98770)", "bad{u}.py"], False),
    ("{path}/alias{u}", ["{path}/alias{u}", "98770"], True),
    ("{path}/alias{u}", ["{path}/sleeper{u}", "98770"], False),  # a name of a multi-call binary means that name
]


@pytest.mark.parametrize(("entry", "argv", "hit"), HITS)
def test_the_hit_list(node: Node, spawn: Spawn, until: Until, entry: str, argv: list[str], hit: bool) -> None:
    u = f"-{os.getpid()}"
    node.script(f"bad{u}.sh", "#!/bin/sh\nsleep 98770\n")
    node.write("import time\ntime.sleep(98770)\n", f"bad{u}.py")
    for name in ("sleeper", "averyveryverylong"):
        shutil.copy("/bin/sleep", node.path / f"{name}{u}")
    (node.path / f"alias{u}").symlink_to(f"sleeper{u}")
    words = [w.format(path=node.path, u=u) for w in argv]
    process = spawn(*words, cwd=node.path)
    until(lambda: psutil.Process(process.pid).cmdline()[-1:] == words[-1:])
    node.yaml(f"programs:\n  ok: {{run: /bin/sleep 98771}}\nhitlist: ['{entry.format(path=node.path, u=u)}']\n")
    said = node.apply()
    assert ("the whizzifest wants it down" in said) == hit
    assert (process.poll() is not None) == hit


def test_a_deaf_hit_is_killed_after_its_grace(node: Node, spawn: Spawn, until: Until) -> None:
    node.script("deaf.sh", f"#!/bin/sh\ntrap '' TERM\ntouch {node.path}/up\nwhile :; do sleep 0.05; done\n")
    node.yaml(
        f"programs:\n  bad: {{run: {node.path}/deaf.sh, want: down, stop: {{grace: 500ms}}}}\nhitlist: [{node.path}/other.sh]\n"
    )
    process = spawn(f"{node.path}/deaf.sh")
    until((node.path / "up").exists)
    said = node.apply()
    assert "! kill  bad (ignored SIGTERM for 0.5 s)" in said
    assert process.wait() == -signal.SIGKILL


def test_a_hit_inside_what_whiz_runs(node: Node, until: Until) -> None:
    evil_name = f"evil-{os.getpid()}"
    shutil.copy("/bin/sleep", node.path / evil_name)
    node.yaml(
        f"programs:\n  svc: {{run: \"sh -c '{node.path}/{evil_name} 1000 & echo $! >{node.path}/pid; exec sleep 1001'\"}}\n"
    )
    node.apply()
    until(lambda: node.lines("pid"))
    node.yaml(
        f"programs:\n  svc: {{run: \"sh -c '{node.path}/{evil_name} 1000 & echo $! >{node.path}/pid; exec sleep 1001'\"}}\nhitlist: [{evil_name}]\n"
    )
    pid = node.pid("svc")
    node.apply()
    evil = int(node.lines("pid")[0])
    assert gone(evil)
    assert node.pid("svc") == pid


def test_the_hit_list_never_reaches_whiz_itself(node: Node) -> None:
    """Under a name of this test's own: the hit list of another would reach every whiz of the machine."""
    name = f"whiz-{os.getpid()}"
    own = node.script(name, f"#!{sys.executable}\nimport sys\nfrom whiz.face.cli import main\nsys.exit(main())\n")
    node.yaml(f"programs:\n  ok: {{run: /bin/sleep 1000}}\nhitlist: [{name}, {own}]\n")
    words = f"{own} --home {node.path} apply --json; exit $?"  # a shell that waits: an ancestor, and itself on the list
    for command in ([sys.executable, str(own), "--home", str(node.path), "apply", "--json"], ["sh", "-c", words, name]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "wants it down" not in done.stdout
    assert node.rows()["ok"]["state"] == "running"


def test_a_program_that_hides_its_environment(node: Node, until: Until) -> None:
    """It clears environment and arguments as setproctitle does; the record still knows it."""
    node.script(
        "hide.py",
        f"#!{sys.executable}\nimport os, time\nif 'X' in os.environ:\n    open('{node.path}/up', 'a').write('x\\n')\n    os.execve('/bin/sleep', ['other', '1000'], {{}})\n",
    )
    node.yaml("programs:\n  h: {run: ./hide.py, env: {X: '1'}}\n")
    node.apply()
    until(lambda: node.lines("up"))
    pid = node.pid("h")
    until(lambda: psutil.Process(pid).cmdline()[0] == "other")
    node.apply()
    assert node.lines("up") == ["x"]
    node.whiz("hold", "h")
    assert gone(pid)


def test_unknown_zombies_do_not_matter(node: Node, spawn: Spawn, until: Until) -> None:
    zombie = spawn("/bin/sleep", "0")
    until(lambda: psutil.Process(zombie.pid).status() == "zombie")
    node.write("a|/bin/sleep 0.0001x\nb|/bin/sleep 1000\n")
    node.apply("--wait", "0.3", code=3)
    assert node.rows()["b"]["state"] == "running"


def test_a_program_whose_first_thread_is_gone_still_runs(node: Node, until: Until) -> None:
    """The kernel calls it a zombie then, while its other threads work on."""
    node.script(
        "threads.py",
        "#!/usr/bin/python3\n"
        "import ctypes, os, threading\n"
        "def work():\n"
        "    open(os.environ['MARKER'], 'a').write('up\\n')\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=work).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}.get(os.uname().machine, 1), 0)\n",
    )
    node.yaml(f"programs:\n  a: {{run: ./threads.py, env: {{MARKER: {node.path}/marker}}}}\n")
    node.apply()
    pid = node.pid("a")
    until(lambda: psutil.Process(pid).status() == "zombie")
    assert node.apply() == "every wish holds: 1 running\n"
    shutil.rmtree(node.path / "run")
    node.whiz("apply")
    assert node.lines("marker") == ["up"]
    assert node.pid("a") == pid
    node.whiz("hold", "a")
    threads = pathlib.Path(f"/proc/{pid}/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1  # all that may be left waits to be reaped
