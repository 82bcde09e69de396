"""The commands as people and scripts meet them. Scenarios 46, 53, 56, 61, 63, 84, 86."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import jsonschema
import pytest

from tests.node.conftest import WHIZ

if TYPE_CHECKING:
    from tests.node.conftest import Node, Spawn, Until


def test_check_equals_apply_and_changes_nothing(node: Node) -> None:
    node.yaml(
        "programs:\n  b: {run: /bin/sleep 1001, after: a}\n  a: {run: /bin/sleep 1000}\n  t: {run: /bin/true, want: done}\n  u: {run: /bin/sleep 1002, after: t}\n"
    )
    for _ in range(2):
        check = node.whiz("check", code=3)
    assert not (node.path / "run").exists()
    assert not (node.path / "state").exists()
    applied = node.apply()
    acts = [line for line in check.splitlines() if line[0] in "+-!"]
    assert acts == [line for line in applied.splitlines() if line[0] in "+-!"]
    assert acts == [
        "+ start a (not running)",
        "+ start t (not running)",
        "+ start b (not running)",
        "+ start u (not running)",
    ]
    assert check.splitlines()[-1] == "4 changes pending"
    assert node.whiz("check") == "every wish holds: 3 running, 1 succeeded\n"

    node.yaml("programs:\n  b: {run: /bin/sleep 1003, after: a}\n  a: {run: /bin/sleep 1000, env: {X: '1'}}\n")
    check, applied = node.whiz("check", code=3), node.apply()
    acts = [line for line in check.splitlines() if line[0] in "+-!"]
    assert acts == [line for line in applied.splitlines() if line[0] in "+-!"]
    assert acts[0] == "- stop  u (no longer in the whizzifest)"
    assert "- stop  b (changed: 1001 → 1003)" in acts


def test_a_quiet_apply_changes_nothing_at_all(node: Node) -> None:
    node.yaml(
        "programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/sleep 1001, restart: {on: failure}}\n  t: {run: /bin/true, want: done}\n"
    )
    node.apply()

    def everything() -> dict[str, tuple[int, int]]:
        found = (p for p in node.path.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in found}

    before, pids = everything(), {n: r["pid"] for n, r in node.rows().items()}
    for _ in range(3):
        assert node.apply() == "every wish holds: 2 running, 1 succeeded\n"
    assert everything() == before
    assert {n: r["pid"] for n, r in node.rows().items()} == pids


def test_a_second_whiz_finds_the_first_at_work(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    lock = subprocess.Popen(
        ["flock", f"{node.path}/run/runs", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert lock.stdout is not None
    lock.stdout.readline()
    node.write("b|/bin/sleep 1001\n")
    done = node.command("apply")
    assert done.returncode == 75
    assert "another whiz (pid " in done.stderr
    node.whiz("check", code=3)  # looking needs no lock
    assert node.rows()["a"]["state"] == "running"
    assert len(node.ours()) == 1
    lock.communicate(b"\n")
    node.apply()
    assert set(node.rows()) == {"b"}


def test_cron_overlap(node: Node) -> None:
    """Ten at once: each does everything or says that another is at it; one copy of each program."""
    node.write("".join(f"p{n}|/bin/sleep 10{n}\n" for n in range(10)))
    many = [
        subprocess.Popen(
            [*WHIZ, "--home", str(node.path), "apply"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(10)
    ]
    codes = [p.wait() for p in many]
    assert set(codes) <= {0, 75}
    assert 0 in codes
    starts = [f["program"] for f in node.facts() if f["event"] == "start"]
    assert sorted(starts) == [f"p{n}" for n in range(10)]
    assert len(node.ours()) == 10


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "COMMAND"),
        (["zzz"], 2, "invalid choice"),
        (["apply", "--zzz"], 2, "unrecognized arguments"),
        (["apply", "--wait", "soon"], 2, "is not a duration"),
        (["logs", "a", "-n", "x"], 2, "is not a whole number"),
        (["hold", "camra"], 2, "there is no program 'camra'\nhint: did you mean 'camera'?"),
        (["restart", "zzz"], 2, "there is no program 'zzz'"),
        (["explain", "zzz"], 2, "there is no program 'zzz'"),
        (["logs", "zzz"], 2, "there is no program 'zzz'"),
    ],
)
def test_bad_usage(node: Node, words: list[str], code: int, said: str) -> None:
    node.write("camera|/bin/sleep 1000\n")
    done = node.command(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_options_before_or_after_the_command(node: Node) -> None:
    node.write("a|/bin/true\n", "elsewhere")
    path = str(node.path / "elsewhere")
    assert json.loads(node.whiz("--json", "-m", path, "check", code=3)) == json.loads(
        node.whiz("check", "--json", "-m", path, code=3)
    )
    assert node.whiz("-q", "check", "-m", path, code=3) == ""


def test_json_everywhere(node: Node) -> None:
    node.yaml("programs:\n  a: {run: \"sh -c 'echo hi; exec sleep 1000'\"}\n  b: {run: /no/such}\n")
    for words in (
        ["check"],
        ["apply", "--wait", "0"],
        ["apply", "--wait", "0"],
        ["status"],
        ["history"],
        ["explain", "a"],
        ["logs", "a"],
        ["hold", "a", "--wait", "0"],
        ["hold", "a", "--wait", "0"],
        ["unhold", "a", "--wait", "0"],
        ["restart", "a", "--wait", "0"],
        ["hold", "zzz"],
    ):
        done = node.command(*words, "--json")
        assert json.loads(done.stdout)["version"] == 1, words
    node.write("x", "broken")
    data = json.loads(node.command("-m", f"{node.path}/broken", "check", "--json").stdout)
    assert data["exit"] == 2
    node.command("apply", "--wait", "1")
    row = node.rows()["a"]
    assert row["cpu"] >= 0
    assert row["memory"] > 0


def test_status_says_why(node: Node) -> None:
    node.yaml(
        "programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/false, restart: {delay: 1h, max_delay: 1h}}\n  c: {run: /bin/sleep 1001, after: b}\n  h: {run: /bin/sleep 1002}\n  t: {run: /bin/true, want: done}\n"
    )
    node.apply(code=3)
    node.whiz("hold", "h", code=3)
    rows = node.rows()
    assert {n: r["state"] for n, r in rows.items()} == {
        "a": "running",
        "b": "waiting",
        "c": "waiting",
        "h": "held",
        "t": "succeeded",
    }
    assert rows["a"]["why"].startswith("up for ")
    assert rows["b"]["why"].startswith("waiting ")
    assert "exited 1; back-off" in rows["b"]["why"]
    assert rows["c"]["why"] == "waiting: after b"
    head, *body = node.whiz("status", code=3).splitlines()
    assert head.split() == ["NAME", "STATE", "PID", "SINCE", "RESTARTS", "CPU", "MEMORY", "WHY"]
    assert [line.split()[0] for line in body[:5]] == ["a", "b", "c", "h", "t"]
    assert [line.split()[0] for line in node.whiz("status", "a", "t", code=3).splitlines()[1:3]] == ["a", "t"]


def test_explain(node: Node) -> None:
    node.yaml(
        "programs:\n  a: {run: [sh, -c, exec sleep 1000, x, --token, s3cret], env: {API_KEY: s3cret}}\n  b: {run: /bin/false, restart: {delay: 1h, max_delay: 1h}}\n"
    )
    node.apply(code=3)
    said = node.whiz("explain", "b")
    for part in (
        "wish:",
        "want up",
        "facts:",
        "ended",
        "failed, exited 1",
        "decision:",
        ". wait  b (exited 1; back-off",
        "next look: in ",
    ):
        assert part in said
    assert "s3cret" not in node.whiz("explain", "a")


def test_history_is_newest_last(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    node.whiz("restart", "a")
    node.whiz("hold", "a")
    lines = node.whiz("history").splitlines()
    assert [line.split()[2] for line in lines] == ["start", "restart", "stop", "exit", "start", "hold", "stop", "exit"]
    assert lines[-2].endswith("a: held") or " stop   a" in lines[-2]
    assert len(node.whiz("history", "-n", "2").splitlines()) == 2
    assert node.whiz("history", "zzz") == ""
    with (node.path / "state/history.jsonl").open("a") as f:
        f.write('{"cut sho')
    assert len(node.whiz("history").splitlines()) == 8


def test_history_is_bounded_on_disk(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    log = node.path / "state/history.jsonl"
    log.write_text(json.dumps({"event": "x" * 1000}) + "\n" + log.read_text() * 6000)
    for _ in range(2):
        node.whiz("restart", "a")
    sizes = [p.stat().st_size for p in (node.path / "state").glob("history*")]
    assert len(sizes) == 2
    assert min(sizes) < 10_000


def test_logs(node: Node, until: Until) -> None:
    node.script(
        "say.py",
        f"#!{sys.executable}\nimport sys, time\nsys.stdout.buffer.write(b'\\xff\\xfe caf\\xc3\\xa9\\n')\nfor n in range(30):\n    print(n, flush=True)\ntime.sleep(1000)\n",
    )
    node.write("say|./say.py\nquiet|/bin/sleep 1000\n")
    node.apply()
    until(lambda: len(node.whiz("logs", "say").splitlines()) == 20)
    assert node.whiz("logs", "say", "-n", "3") == "27\n28\n29\n"
    whole = subprocess.run(
        [*WHIZ, "--home", str(node.path), "logs", "say", "-n", "100"], check=True, capture_output=True
    ).stdout
    assert whole.startswith(b"\xff\xfe caf\xc3\xa9\n0\n")
    assert node.whiz("logs", "quiet") == ""


def test_logs_follow_through_trim_rename_and_delete(node: Node, until: Until, spawn: Spawn) -> None:
    node.yaml(
        f"programs:\n  a: {{run: \"sh -c 'while read x; do echo $x; done <{node.path}/in'\", log: {{max: 100kB}}}}\n"
    )
    os.mkfifo(node.path / "in")
    node.apply()
    log = node.path / "log/a.log"
    seen = node.path / "seen"
    with seen.open("wb") as out, (node.path / "in").open("w") as feed:
        spawn(*WHIZ, "--home", str(node.path), "logs", "a", "-f", stdout=out)
        for n in range(3):
            print(f"line {n}", file=feed, flush=True)
            until(lambda n=n: f"line {n}\n".encode() in seen.read_bytes())
        for n in range(2000):
            print("x" * 99, n, file=feed, flush=True)
        until(lambda: log.stat().st_size > 150_000)
        node.apply()
        assert log.stat().st_size <= 100_000
        print("after the trim", file=feed, flush=True)
        until(lambda: b"after the trim\n" in seen.read_bytes())
        assert seen.read_bytes().count(b"x" * 99) > 500  # what was trimmed before it was read is lost, the rest is not
        log.rename(node.path / "log/a.old")
        log.write_text("a new file\n")
        until(lambda: b"a new file\n" in seen.read_bytes())
        log.unlink()
        log.write_text("yet another\n")
        until(lambda: b"yet another\n" in seen.read_bytes())


def test_output_to_nobody(node: Node) -> None:
    """`| head`, a full disk, closed streams and odd encodings do not stop a turn half way."""
    names = [f"p{n}" for n in range(20)]
    for n, shell in enumerate(
        ("{} | head -n 1", "{} >/dev/full", "{} >&-", "{} <&- >&- 2>&-", "PYTHONIOENCODING=ascii {}")
    ):
        node.write("".join(f"{name}|/bin/sleep 1000{n}\n" for name in names))
        command = f"{' '.join(WHIZ)} --home {node.path} apply"
        done = subprocess.run(["bash", "-c", shell.format(command)], check=False, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        assert {tuple(p.cmdline()) for p in node.ours()} == {("/usr/bin/sleep", f"1000{n}")}, shell
        assert len(node.ours()) == 20
    big = subprocess.run(
        ["bash", "-c", f"{' '.join(WHIZ)} --home {node.path} history -n 1000 | head -n 1"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert big.stderr == ""


def test_interrupted_programs_go_on(node: Node, until: Until) -> None:
    node.yaml("programs:\n  a: {run: /bin/sleep 1000}\n  b: {run: /bin/false, restart: {delay: 20s}}\n")
    process = subprocess.Popen(
        [*WHIZ, "--home", str(node.path), "apply"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: [p for p in node.ours() if p.cmdline()[-1:] == ["1000"]])
    assert process.stdout is not None
    while not process.stdout.readline().startswith(". wait  b"):
        continue
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said == "whiz: interrupted; programs go on\n"
    assert len(node.ours()) == 1


def on_a_terminal(words: list[str], env: dict[str, str]) -> str:
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*WHIZ, *words], {**os.environ, "TERM": "xterm", **env})
    said = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:  # how a terminal says that its other end is gone
            break
        if not piece:
            break
        said += piece
    os.waitpid(pid, 0)
    os.close(fd)
    return said.decode()


def test_status_watches_until_it_is_interrupted(node: Node, until: Until) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    out = node.path / "watched"
    with out.open("wb") as f:
        words = [*WHIZ, "--home", str(node.path), "status", "--watch"]
        watching = subprocess.Popen(words, stdout=f, stderr=subprocess.STDOUT)
    try:
        until(lambda: " running " in out.read_text())
        os.kill(node.pid("a"), signal.SIGKILL)
        until(lambda: "ended unseen" in out.read_text())
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert "Traceback" not in out.read_text()
    finally:
        watching.kill()
        watching.wait()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_colour_only_for_eyes(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    words = ["--home", str(node.path), "status"]
    assert "\x1b[32mrunning\x1b[0m" in on_a_terminal(words, {})
    assert "\x1b" not in on_a_terminal(words, {"NO_COLOR": "1"})
    assert "\x1b" not in on_a_terminal(words, {"TERM": "dumb"})
    assert "\x1b" not in node.whiz("status")


def test_help_and_completion_and_schema(node: Node) -> None:
    assert "exit status:" in node.whiz("--help")
    for command in (
        "check",
        "apply",
        "status",
        "logs",
        "hold",
        "unhold",
        "restart",
        "history",
        "explain",
        "doctor",
        "schema",
        "completion",
    ):
        assert "examples:" in node.whiz(command, "--help")
    for shell in ("bash", "zsh"):
        assert "apply" in node.whiz("completion", shell)
    jsonschema.validate({"programs": {"a": {"run": "/bin/true"}}}, json.loads(node.whiz("schema")))
    assert node.whiz("--version").startswith("whiz 0.")


def test_removed_programs_logs_can_be_read_and_are_trimmed(node: Node, until: Until) -> None:
    node.write("a|sh -c 'echo hi; exec sleep 1000'\n")
    node.apply()
    until(lambda: node.whiz("logs", "a"))
    node.write("b|/bin/sleep 1001\n")
    node.apply()
    assert node.whiz("logs", "a") == "hi\n"
    with (node.path / "log/a.log").open("wb") as f:
        f.truncate(50_000_000)
    node.apply()
    assert (node.path / "log/a.log").stat().st_size <= 10_000_000


def test_all_logs_together_have_a_ceiling(node: Node) -> None:
    node.yaml("programs:\n" + "".join(f"  p{n}: {{run: /bin/sleep 100{n}, log: {{max: 60MB}}}}\n" for n in range(3)))
    node.apply()
    for n in range(3):
        with (node.path / f"log/p{n}.log").open("wb") as f:
            f.truncate(50_000_000)
    node.apply()
    assert sum(p.stat().st_size for p in (node.path / "log").iterdir()) <= 100_000_000


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_not_imported(node: Node, kind: str) -> None:
    """Read, a pipe that nobody writes to would be a file that says nothing."""
    path = node.path / "Procfile"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
    else:
        path.symlink_to("/dev/null")
    done = node.command("import", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"whiz: {path}: is not a regular file\n    hint: pipe what it holds"), done.stderr
    done = node.command("import", "--format", "procfile", "-", stdin=None, input="web: /bin/true\n")
    assert done.returncode == 0
    assert "web:" in done.stdout
