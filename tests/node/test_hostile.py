"""What a hostile reader tried: each of these once stopped, doubled, leaked or killed something."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.node.conftest import gone

if TYPE_CHECKING:
    from tests.node.conftest import Node, Spawn, Until

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to others and to mount; CI runs as root")


def test_one_bad_program_hinders_no_other(node: Node) -> None:
    (node.path / "odd").write_bytes(b"#!/bin/\xff\n")
    (node.path / "odd").chmod(0o755)
    (node.path / "crlf").write_bytes(b"#!/bin/sh\r\nexit 0\r\n")
    (node.path / "crlf").chmod(0o755)
    node.write("A=x\0y\n", "nul.env")
    node.yaml(
        f"programs:\n  odd: {{run: ./odd}}\n  crlf: {{run: ./crlf}}\n  nul: {{run: /bin/sleep 1000, env_file: {node.path}/nul.env}}\n"
        "  user: {run: /bin/sleep 1000, user: '²'}\n  huge: {run: /bin/sleep 1000, limits: {memory: 900000GB}}\n  ok: {run: /bin/sleep 1001}\n"
    )
    node.apply("--wait", "0.3", code=1)
    rows = node.rows()
    assert {n: r["state"] for n, r in rows.items() if n != "huge"} == {
        "odd": "error",
        "crlf": "error",
        "nul": "error",
        "user": "error",
        "ok": "running",
    }
    assert "its first line ends in a carriage return" in rows["crlf"]["why"]
    assert "holds a NUL character" in rows["nul"]["why"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("programs: " + "[" * 200_000, "nested deeper than 100 levels"),
        ('programs:\n  a: {run: /bin/true, env: {A: "x\\0y"}}\n', "a NUL character cannot stand in an environment"),
        (f"programs:\n  a: {{run: /bin/true, log: {{max: {'9' * 400}}}}}\n", "expected a size"),
        ("programs:\n  .: {run: /bin/true}\n", "'.' cannot be a name"),
        (f"programs:\n  {'n' * 201}: {{run: /bin/true}}\n", "cannot be a name"),
    ],
)
def test_texts_that_broke_it(node: Node, text: str, said: str) -> None:
    node.yaml("programs:\n  ok: {run: /bin/sleep 1000}\n")
    node.apply()
    node.yaml(text)
    done = node.command("apply")
    assert done.returncode == 2
    assert said in done.stderr
    assert node.rows()["ok"]["state"] == "running"


def test_every_problem_of_an_entry_at_its_place(node: Node) -> None:
    node.yaml(
        "programs:\n  a:\n    run: ~/x\n    umask: 999\n    after: zzz\n    restart: {delay: 10m, max_delay: 1m}\n  b: {run: /b, after: c}\n  c: {run: /c, after: b, nice: 99}\n"
    )
    lines = [
        line.split(":", 1)[1].strip() for line in node.command("check").stderr.splitlines() if line.startswith("whiz: ")
    ]
    assert [line.removeprefix(f"{node.path}/whizzifest.yaml:") for line in lines] == [
        "3:10: 'a': '~' is not expanded",
        "4:12: expected an octal mask such as 022, found '999'",
        "5:12: 'a' comes after unknown 'zzz'",
        "6:38: 'a': restart.max_delay is shorter than restart.delay",
        "7:23: a cycle in after: b → c → b",
        "8:32: expected a number from -20 to 19, found '99'",
    ]


def test_an_include_that_vanishes_is_no_wish(node: Node) -> None:
    node.yaml("include: conf.d/*.yaml\nprograms:\n  main: {run: /bin/sleep 1000}\n")
    path = node.write("programs:\n  web: {run: /bin/sleep 1001}\n", "conf.d/a.yaml")
    node.apply()
    pid = node.pid("web")

    def refused(said: str) -> None:
        done = node.command("apply")
        assert done.returncode == 2
        assert said in done.stderr
        assert node.pid("web") == pid

    (node.path / "conf.d").rename(node.path / "away")
    refused("but there is no directory")
    (node.path / "away").rename(node.path / "conf.d")
    path.rename(f"{path}~")  # the moment in which vim saves
    refused("is it being saved?")
    path.with_name("a.yaml~").rename(path)
    text = path.read_text()
    path.write_text("")
    refused("it is empty: it names no program")
    path.unlink()
    path.symlink_to("nowhere.yaml")
    refused("is a link to nothing")
    path.unlink()
    path.write_text(text)
    node.apply()
    assert node.pid("web") == pid
    path.unlink()
    node.apply()  # this is how an include is really removed
    assert set(node.rows()) == {"main"}


def test_a_manifest_in_a_folder_with_brackets(node: Node) -> None:
    main = node.write("include: a.yaml\n", "x[1]/main.yaml")
    node.write("programs:\n  a: {run: /bin/sleep 1000}\n", "x[1]/a.yaml")
    node.whiz("apply", "-m", str(main))
    assert len(node.ours()) == 1


@ROOT
@pytest.mark.parametrize("kept", [False, True])
def test_no_helper_of_root_lives_in_the_programs_environment(
    node: Node, until: Until, request: pytest.FixtureRequest, kept: bool
) -> None:
    """What an env_file that its user may write asks of the dynamic linker must not reach root's interpreter."""
    told = Path(tempfile.mkdtemp())  # not below pytest's own folder, which is closed to others
    told.chmod(0o777)
    request.addfinalizer(lambda: shutil.rmtree(told))
    env = node.write(f"LD_DEBUG=files\nLD_DEBUG_OUTPUT={told}/said\n", "user.env")
    os.chown(env, 65534, 65534)
    policy = ", restart: {on: failure}" if kept else ""
    node.yaml(
        f"programs:\n  a: {{run: /bin/sleep 1000, user: nobody, env_file: {env}{policy}}}\n"
        f"  r: {{run: /bin/sleep 1001, env_file: {env}}}\n"
    )
    node.apply("--wait", "0.3", code=1)
    until(lambda: "initialize program: /usr/bin/sleep" in "".join(p.read_text() for p in told.iterdir()))
    assert "python" not in "".join(p.read_text() for p in told.iterdir())
    assert node.rows()["a"]["state"] == "running"
    assert "belongs to another user" in node.rows()["r"]["why"]  # root's own program would obey it


def test_back_off_and_attempts_of_tasks_after_a_reboot(node: Node) -> None:
    node.yaml("programs:\n  t: {run: /bin/false, want: done, restart: {attempts: 3, delay: 10ms}}\n")
    node.apply(code=1)
    record = node.path / "state/tasks/t.json"
    text = record.read_text()
    record.write_text(text.replace(json.loads(text)["runs"][-1]["boot"], "00000000-another-boot"))
    before = len([f for f in node.facts("t") if f["event"] == "start"])
    node.apply(code=1)
    node.apply(code=1)
    assert len([f for f in node.facts("t") if f["event"] == "start"]) == before + 3
    assert node.rows()["t"]["why"] == "gave up after 3 of 3 attempts: exited 1"


def test_an_adopted_run_is_not_hidden_by_an_older_record(node: Node, spawn: Spawn, until: Until) -> None:
    node.write("w|/bin/sleep 98790\n")
    node.apply()
    node.whiz("restart", "w")
    os.kill(node.pid("w"), 9)
    by_hand = spawn("/bin/sleep", "98790")
    until(lambda: psutil.Process(by_hand.pid).cmdline() == ["/bin/sleep", "98790"])
    node.apply()
    assert node.pid("w") == by_hand.pid
    node.whiz("restart", "w")
    assert node.pid("w") != by_hand.pid


def test_a_look_alike_of_the_same_moment_is_a_stranger(node: Node, spawn: Spawn) -> None:
    """While a chaperone starts its program, others start the same executable: none of them is taken."""
    node.yaml(
        "programs:\n" + "".join(f"  p{n}: {{run: /bin/sleep 9879{n}, restart: {{on: failure}}}}\n" for n in range(5))
    )
    others = [spawn("/bin/sleep", "98799") for _ in range(20)]
    node.apply()
    rows = node.rows()
    assert [psutil.Process(rows[f"p{n}"]["pid"]).cmdline()[1] for n in range(5)] == [f"9879{n}" for n in range(5)]
    node.whiz("hold", *rows)
    assert all(p.poll() is None for p in others)


def test_stops_follow_todays_order(node: Node) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001}\n")
    node.apply()
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, after: b}\n  b: {run: /bin/sleep 1001}\n")
    node.apply()
    said = node.whiz("hold", "a", "b")
    assert [line.split()[2] for line in said.splitlines() if line.startswith("-")] == ["a", "b"]


def test_check_looks_beyond_a_running_task(node: Node, until: Until) -> None:
    node.yaml(
        f"programs:\n  t: {{run: \"sh -c 'while [ ! -e {node.path}/gate ]; do sleep 0.02; done'\", want: done}}\n  d: {{run: /bin/sleep 1000, after: t}}\n"
    )
    node.apply("--wait", "0.2", code=3)
    assert "+ start d (not running)" in node.whiz("check", code=3)
    (node.path / "gate").touch()
    node.apply()
    until(lambda: len(node.ours()) == 1)


def test_a_killed_chaperone_does_not_hold_up_apply(node: Node, until: Until) -> None:
    node.yaml("programs:\n  t: {run: /bin/sleep 3, want: done, restart: {on: never}}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "whiz", "--home", str(node.path), "apply", "--wait", "60"], stdout=subprocess.PIPE
    )
    until(lambda: len(node.ours()) == 2)
    (keeper,) = [p for p in node.ours() if "WHIZ_KEEPER" in p.environ()]
    keeper.kill()
    assert process.wait(timeout=30) == 1
    process.communicate()
    assert node.rows()["t"]["why"] == "ended unseen; restart is never"


@ROOT
def test_a_read_only_card(node: Node, request: pytest.FixtureRequest) -> None:
    """State cannot be written: programs are still kept up, wishes that came true cannot be dropped, nothing stops."""
    state: Path = node.path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(state)], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(state)], check=True))
    node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    (state / "restart").mkdir(mode=0o700)
    (state / f"restart/a@{node.rows()['a']['run']}").touch()
    subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
    pid = node.pid("b")
    os.kill(pid, 9)
    done = node.command("apply")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Read-only file system") <= 3
    rows = node.rows()
    assert rows["b"]["pid"] not in (pid, None)
    a = rows["a"]["pid"]
    node.apply()
    assert node.pid("a") == a  # the wish that cannot be dropped is not granted twice


def test_dot_names_and_odd_wishes(node: Node) -> None:
    node.yaml(
        f"programs:\n  .t: {{run: \"sh -c 'echo >>{node.path}/ran'\", want: done}}\n  .s: {{run: /bin/sleep 1000}}\n"
    )
    node.apply()
    node.apply()
    assert len(node.lines("ran")) == 1
    pid = node.pid(".s")
    node.whiz("hold", ".s")
    assert gone(pid)
    node.yaml("programs:\n  x: {run: /bin/sleep 1001}\n")
    node.apply()
    node.whiz("unhold", ".s")  # also of what left the whizzifest
