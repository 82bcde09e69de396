"""Looks for a line of output: far behind, amid trims, and whatever becomes of the log."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.node.looked_at import applied, manifest, says_that
from whiz.core.model import Check
from whiz.world import disk, logs
from whiz.world.host import looks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.node.conftest import Node, Resident, Until


def test_a_pattern_that_takes_for_ever_holds_up_nobody(node: Node) -> None:
    shell = "sh -c 'echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab; exec sleep 1000'"
    manifest(
        node,
        w={"run": shell, "ready": {"log": "(a+)+$", "timeout": "0.5s", "within": "1h"}},
        b={"run": "/bin/sleep 1000"},
    )
    rows = applied(node, says_that("to look for '(a+)+$' in its output takes longer than 0.5 s"))
    assert rows["b"]["state"] == "running"


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
