"""Starting: what is asked for is really set in the child, and what cannot run does not hinder what can. Scenarios 14-24."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.node.conftest import WHIZ

if TYPE_CHECKING:
    from tests.node.conftest import Node, Until

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user; CI runs as root")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("kept", [False, True])
def test_what_cannot_run_says_why_and_the_rest_runs(node: Node, kept: bool) -> None:
    node.write("x", "plain")
    node.script("noshebang", "echo hi\n")
    node.script("badinterp", "#!/no/interp\n")
    node.script("garbage", "\x7fELF nonsense")
    (node.path / "folder").mkdir()
    policy = "restart: {on: failure}" if kept else "umask: 022"
    cases = {
        "missing": ("/no/such/file", "/no/such/file: No such file or directory"),
        "folder": (f"{node.path}/folder", f"{node.path}/folder: is a directory"),
        "plain": (f"{node.path}/plain", f"{node.path}/plain: is not executable: chmod +x it"),
        "badinterp": (f"{node.path}/badinterp", f"{node.path}/badinterp: its interpreter /no/interp does not exist"),
        "nopath": ("nosuchcommand", "not found on the PATH"),
    }
    text = "programs:\n" + "".join(f"  {n}: {{run: {run}, {policy}}}\n" for n, (run, _) in cases.items())
    text += (
        f"  noshebang: {{run: {node.path}/noshebang, {policy}}}\n  garbage: {{run: {node.path}/garbage, {policy}}}\n"
    )
    text += (
        "  nouser: {run: /bin/sleep 1000, user: nobody-such}\n  nogroup: {run: /bin/sleep 1000, group: nobody-such}\n"
    )
    text += "  nocwd: {run: /bin/sleep 1000, cwd: /no/such}\n  noenv: {run: /bin/sleep 1000, env_file: /no/such}\n"
    text += "  fine: {run: /bin/sleep 1000}\n"
    node.yaml(text)
    node.apply("--wait", "0.5", code=1)
    rows = node.rows()

    for name, (_, said) in cases.items():
        assert rows[name]["state"] == "error"
        assert said in rows[name]["why"]
    assert {n: r["state"] for n, r in rows.items() if n != "fine"} == {n: "error" for n in rows if n != "fine"}
    assert "Exec format error" in rows["noshebang"]["why"] or "has no #! line" in rows["noshebang"]["why"]
    assert "there is no user 'nobody-such'" in rows["nouser"]["why"]
    assert "there is no group 'nobody-such'" in rows["nogroup"]["why"]
    assert "cwd /no/such" in rows["nocwd"]["why"]
    assert "env_file /no/such does not exist" in rows["noenv"]["why"]
    assert rows["fine"]["state"] == "running"


@ROOT
@pytest.mark.parametrize("kept", [False, True])
def test_settings_are_really_set_in_the_child(node: Node, kept: bool) -> None:
    node.yaml(
        "programs:\n  a:\n    run: /bin/sleep 1000\n    user: nobody\n    umask: '027'\n    nice: 7\n    cwd: /usr\n"
        "    limits: {files: 123, core: 0, memory: 500MB, cpu: 1h, tasks: 900}\n    env: {A: 'x y'}\n"
        + ("    restart: {on: failure}\n" if kept else "")
    )
    node.apply()
    pid = node.pid("a")
    process, status = psutil.Process(pid), status_of(pid)

    assert process.uids().real == process.uids().effective == process.uids().saved == 65534
    assert status["Groups"].split() == ["65534"]
    assert status["Umask"] == "0027"
    assert process.nice() == 7
    assert process.cwd() == "/usr"
    limits = Path(f"/proc/{pid}/limits").read_text()
    for what, n in (
        ("open files", 123),
        ("core file size", 0),
        ("address space", "unlimited"),  # which is not memory
        ("cpu time", "3600 +3605"),
        ("processes", 900),
    ):
        assert re.search(rf"Max {what} +{n} +({n})? *[a-z]", limits), limits
    env = process.environ()
    assert {k: env[k] for k in ("A", "USER", "LOGNAME", "HOME", "WHIZ_NAME")} == {
        "A": "x y", "USER": "nobody", "LOGNAME": "nobody", "HOME": "/nonexistent", "WHIZ_NAME": "a",
    }  # fmt: skip
    assert "WHIZ_ERROR_FD" not in env
    assert "WHIZ_KEEPER" not in env
    assert os.getsid(pid) == pid
    assert (node.path / "log/a.log").stat().st_uid == 65534


@ROOT
def test_supplementary_groups_and_group(node: Node) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, user: games, group: tty}\n")
    node.apply()
    status = status_of(node.pid("a"))

    assert status["Gid"].split()[:2] == ["5", "5"]
    assert "5" in status["Groups"].split()


def test_a_limit_that_cannot_be_set_is_an_error(node: Node) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, limits: {files: 2000000000}}\n  b: {run: /bin/sleep 1001}\n")
    node.apply("--wait", "0", code=1)
    rows = node.rows()

    assert "cannot run: RLIMIT_NOFILE: " in rows["a"]["why"]
    assert rows["b"]["state"] == "running"


def test_nothing_leaks_in_from_the_caller(node: Node) -> None:
    """Environment, ignored signals, mask, umask, descriptors and cwd are whiz's to define."""
    node.write("a|/bin/sleep 1000\n")
    r, w = os.pipe()
    os.set_inheritable(w, True)
    inside = (
        "import os, signal, sys; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15, 10)];"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2]); os.umask(0o777);"
        "os.chdir('/usr'); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    words = [sys.executable, "-c", inside, "-m", "whiz", "--home", str(node.path), "apply"]
    env = {**os.environ, "LEAK": "1", "LANG": "de_DE", "PATH": "/nowhere", "WHIZ_NAME": "x"}
    done = subprocess.run(words, env=env, close_fds=False, capture_output=True, text=True, check=False)
    os.close(r)
    os.close(w)
    assert done.returncode == 0, done.stderr
    pid = node.pid("a")
    env, status = psutil.Process(pid).environ(), status_of(pid)

    assert sorted(env) == ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER", "WHIZ_NAME", "WHIZ_RUN"]
    assert env["LANG"] == "C.UTF-8"
    assert env["WHIZ_NAME"] == "a"
    assert status["Umask"] == "0022"
    assert int(status["SigIgn"], 16) & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own
    assert int(status["SigBlk"], 16) == 0
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/1") == f"{node.path}/log/a.log"
    assert psutil.Process(pid).cwd() == "/"


def test_alternating_callers_see_no_changed_program(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    for env in ({"PATH": "/usr/bin", "HOME": "/"}, {**os.environ, "LC_ALL": "C", "TERM": "xterm"}):
        assert node.command("check", env={**env, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}).returncode == 0


def test_whiz_with_closed_streams(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    subprocess.run(["sh", "-c", f"{' '.join(WHIZ)} --home {node.path} apply <&- >&- 2>&-"], check=True)
    assert sorted(os.listdir(f"/proc/{node.pid('a')}/fd")) == ["0", "1", "2"]


def test_environment_precedence(node: Node) -> None:
    """OS < defaults < env_file < program < injected."""
    node.write("# secrets\nexport A=file\nB='file b'\nnonsense\nWHIZ_NAME=file\nHOME=/file\n", "env")
    node.yaml(
        f"defaults: {{env: {{A: defaults, B: defaults, C: defaults, D: defaults}}}}\nprograms:\n"
        f"  a: {{run: /bin/sleep 1000, env_file: {node.path}/env, env: {{B: program, C: program}}}}\n"
    )
    node.apply()
    env = psutil.Process(node.pid("a")).environ()

    assert [env[k] for k in ("A", "B", "C", "D", "HOME", "WHIZ_NAME")] == [
        "file", "program", "program", "defaults", "/file", "a",
    ]  # fmt: skip


def test_removed_env_key_is_gone(node: Node) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, env: {A: '1', B: '2'}}\n")
    node.apply()
    node.yaml("programs:\n  a: {run: /bin/sleep 1000, env: {A: '1'}}\n")
    assert "- stop  a (changed: env B 2 → unset)" in node.apply()
    assert "B" not in psutil.Process(node.pid("a")).environ()


def test_secrets_stay_out_of_everything(node: Node) -> None:
    node.write("PASSWORD=hunter2-first\n", "env").chmod(0o600)
    node.yaml(
        f"programs:\n  a: {{run: /bin/sleep 1000, env_file: {node.path}/env, env: {{API_TOKEN: hunter2-token}}}}\n"
    )
    said = node.apply()
    assert psutil.Process(node.pid("a")).environ()["PASSWORD"] == "hunter2-first"
    node.write("PASSWORD=hunter2-second\n", "env")
    said += node.whiz("check", code=3)
    assert "changed: env PASSWORD has a new value" in said
    said += node.apply()
    assert psutil.Process(node.pid("a")).environ()["PASSWORD"] == "hunter2-second"
    for words in (
        ["status"],
        ["status", "--json"],
        ["explain", "a"],
        ["explain", "a", "--json"],
        ["history"],
        ["check", "--json"],
    ):
        said += node.whiz(*words)

    assert "hunter2" not in said
    for place in (node.path / "run", node.path / "state", node.path / "log"):
        for file in place.rglob("*"):
            if file.is_file():
                assert b"hunter2-first" not in file.read_bytes(), file
                assert b"hunter2-second" not in file.read_bytes(), file
                assert file.stat().st_mode & 0o077 == 0 or file.suffix == ".log", file


def test_python_scripts(node: Node, until: Until) -> None:
    """A .py that is not executable runs under Python; an executable one as it says itself."""
    text = "import sys, time\nprint(sys.argv[1:], flush=True)\ntime.sleep(1000)\n"
    node.script("plain.py", text, 0o644)
    node.script("own.py", "#!/usr/bin/env python3\n" + text)
    node.write("plain|./plain.py --fps '10 11'\nown|./own.py x\n")
    node.apply()
    wanted = {"plain": "['--fps', '10 11']", "own": "['x']"}

    for name, line in wanted.items():
        command = psutil.Process(node.pid(name)).cmdline()
        assert command[1] == str(node.path / f"{name}.py")
        assert until(lambda name=name: node.whiz("logs", name)) == line + "\n"


def test_instances(node: Node, until: Until) -> None:
    node.yaml(
        "programs:\n  w: {run: 'sh -c \"echo I am {n} of $N; exec sleep 100{n}\"', instances: 3, env: {N: '{n}'}}\n"
    )
    node.apply()
    rows = node.rows()
    assert sorted(rows) == ["w:1", "w:2", "w:3"]
    until(lambda: all((node.path / f"log/w:{n}.log").stat().st_size for n in (1, 2, 3)))
    assert (node.path / "log/w:2.log").read_text() == "I am 2 of 2\n"
    assert "==> w:3 <==\nI am 3 of 3\n" in node.whiz("logs", "w")
    os.kill(rows["w:2"]["pid"], 9)
    node.apply("--wait", "5")
    after = node.rows()
    assert after["w:2"]["pid"] != rows["w:2"]["pid"]
    assert [after[n]["pid"] for n in ("w:1", "w:3")] == [rows[n]["pid"] for n in ("w:1", "w:3")]


def test_a_chain_starts_in_order(node: Node, until: Until) -> None:
    step = f"sh -c 'echo $WHIZ_NAME >>{node.path}/order; exec sleep 1000'"
    node.yaml(
        f'programs:\n  c: {{run: "{step}", after: b}}\n  b: {{run: "{step}", after: [a, t]}}\n  a: {{run: "{step}"}}\n'
        f"  t: {{run: \"sh -c 'echo t >>{node.path}/order'\", want: done}}\n"
    )
    said = node.apply()
    until(lambda: len(node.lines("order")) == 4)
    assert [line.split()[2] for line in said.splitlines() if line.startswith("+")] == ["a", "t", "b", "c"]
    assert set(node.lines("order")[-2:]) == {"b", "c"}
    assert set(node.lines("order")[:2]) == {"a", "t"}


def test_new_content_of_its_own_files_restarts_just_that_program(node: Node) -> None:
    node.script("a.sh", "#!/bin/sh\nexec sleep 1000\n")
    node.write("port=1\n", "b.conf")
    node.yaml(f"programs:\n  a: {{run: ./a.sh}}\n  b: {{run: /bin/sleep 1001, files: [{node.path}/b.conf]}}\n")
    node.apply()
    before = node.rows()
    node.write("port=2\n", "b.conf")
    assert f"- stop  b (changed: file {node.path}/b.conf has new content)" in node.apply()
    after = node.rows()
    assert after["a"]["pid"] == before["a"]["pid"]
    assert after["b"]["pid"] != before["b"]["pid"]
    (node.path / "b.conf").unlink()  # a file that cannot be read changes nothing
    node.apply()
    assert node.rows()["b"]["pid"] == after["b"]["pid"]


def test_nothing_runs_from_current(node: Node) -> None:
    for n in (1, 2):
        node.script(f"releases/{n}/app.sh", f"#!/bin/sh\necho {n}\nexec sleep 1000\n")
    (node.path / "current").symlink_to("releases/1")
    node.write("app|./current/app.sh\n")
    node.apply()
    pid = node.pid("app")
    assert node.facts("app")[-1]["pid"] == pid
    (node.path / "next").symlink_to("releases/2")
    (node.path / "next").rename(node.path / "current")
    assert "has new content" in node.apply()
    assert node.pid("app") != pid


def test_a_program_may_open_its_own_output(node: Node, until: Until) -> None:
    node.yaml(
        "programs:\n  a: {run: \"sh -c 'echo one; echo two >>/dev/stdout; exec sleep 1000'\""
        + (", user: nobody" if os.getuid() == 0 else "")
        + "}\n  b: {run: \"sh -c 'echo gone; exec sleep 1001'\", log: {to: 'null'}}\n"
    )
    node.apply()
    until(lambda: len(node.whiz("logs", "a").splitlines()) == 2)
    assert node.whiz("logs", "a").split() == ["one", "two"]
    assert not (node.path / "log/b.log").exists()
    assert "its output goes to nowhere" in node.command("logs", "b").stderr


def test_killed_by_sigpipe_as_programs_expect(node: Node, until: Until) -> None:
    node.yaml("programs:\n  a: {run: \"sh -c 'kill -PIPE $$; sleep 1000'\", want: done, restart: {on: never}}\n")
    node.apply(code=1)
    assert [f["exit"] for f in node.facts("a") if f["event"] == "exit"] == [-signal.SIGPIPE]
    assert json.loads(node.command("check", "--json").stdout)["exit"] == 1
    until(lambda: not node.ours())
