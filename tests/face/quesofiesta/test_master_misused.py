"""The master's commands in wrong hands: odd names, keys in the wrong place, repositories that were copied or restored."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.face.quesofiesta.shell import QUESOFIESTA, Shell
from whiz.core.errors import WhizError
from whiz.world.release.mirror import mirror, whole
from whiz.world.release.pruning import prune
from whiz.world.release.repository import Repository


def folder(shell: Shell) -> Path:
    return shell.place / "home/.config/whiz/keys" / Repository("repo").root().repo


def test_addresses_that_are_printed_lead_to_odd_names(shell: Shell) -> None:
    import yaml

    said = yaml.safe_load(shell.run("init", "my #1 %41?", "--app", "camera"))
    shell.put("run.py", "print(1)")
    shell.run("publish", "src", "--repo", "my #1 %41?")
    address = shell.run("bundle", "b #1 %41?.whiz", "--repo", "my #1 %41?").split()[-1]
    for at in (said["mirrors"][1], address):
        assert (
            whole(mirror(at).pieces("channel/stable"), 1 << 16, "it") == Path("my #1 %41?/channel/stable").read_bytes()
        )


def test_a_bundle_that_cannot_be_written_names_what_was_asked_for(shell: Shell) -> None:
    shell.released("print(1)")
    assert (
        shell.run("bundle", "none/b.whiz", "--repo", "repo", code=1)
        == "quesofiesta: none/b.whiz: No such file or directory\n"
    )
    assert shell.run("bundle", "src", "--repo", "repo", code=1) == "quesofiesta: src: Is a directory\n"
    assert sorted(os.listdir()) == ["home", "repo", "src"]


@pytest.mark.parametrize("host", ["a b", "", "garden\n", "../x"])
def test_what_cannot_name_a_host_is_not_pinned(host: str, shell: Shell) -> None:
    shell.released("print(1)")
    assert "cannot name a host: letters, digits" in shell.run("pin", host, "v1", "--repo", "repo", code=2)


@pytest.mark.parametrize("note", ["two\nlines", "\x1b[31mred", "x" * 1001])
def test_a_note_is_one_line(note: str, shell: Shell) -> None:
    shell.released("print(1)")
    assert "a note is one line" in shell.run("publish", "src", "--repo", "repo", "-m", note, code=2)
    assert len(shell.json("history", "--repo", "repo")["history"]) == 1
    shell.run("publish", "src", "--repo", "repo", "-m", "schneller, \N{SNOWMAN}")


def test_keys_never_come_to_lie_in_the_repository(shell: Shell) -> None:
    shell.released("print(1)")
    os.symlink("repo", "link")
    for keys in ("repo/keys", "link/keys", "repo/../repo"):
        said = shell.run("rotate", "--new-key", "--repo", "repo", "--keys", keys, code=2)
        assert "lies inside the repository, which is handed out" in said
    os.mkdir("empty")
    os.symlink("empty", "other")
    assert "lies inside" in shell.run("init", "empty", "--app", "x", "--keys", "other/keys", code=2)
    assert "lies inside" in shell.run("init", "other", "--app", "x", "--keys", "empty/keys", code=2)
    assert not list(Path().rglob("publish-2")) + list(Path("empty").iterdir())


def test_a_rotation_that_failed_can_be_asked_for_again(shell: Shell) -> None:
    shell.released("print(1)")
    away = folder(shell) / "root"
    away.rename("root")
    assert "0 of the 1 signatures needed in the role root" in shell.run("rotate", "--new-key", "--repo", "repo", code=1)
    Path("root").rename(away)
    with Repository("repo").lock():
        assert "another quesofiesta is at work" in shell.run("rotate", "--new-key", "--repo", "repo", code=75)
    shell.run("rotate", "--new-key", "--repo", "repo")
    assert Repository("repo").root().version == 2
    shell.run("publish", "src", "--repo", "repo")
    shell.run("verify", "--repo", "repo")


def test_gc_removes_nothing_where_it_cannot_tell_what_is_offered(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    os.rename("repo/channel", "away")
    said = shell.run("gc", "--keep", "1", "--repo", "repo", code=1)
    assert "has releases and no channel: nothing is removed" in said
    Path("repo/channel").touch()
    shell.run("gc", "--keep", "1", "--repo", "repo", code=1)
    Path("repo/channel").unlink()
    os.rename("away", "repo/channel")
    assert len(Repository("repo").ids()) == 2
    shell.run("verify", "--repo", "repo")


@pytest.mark.skipif(os.getuid() != 0, reason="sets another user's id")
@pytest.mark.parametrize("closed", ["channel", "history/stable", "m", "o", "d", "root"])
def test_a_directory_that_cannot_be_read_is_named_and_nothing_is_removed(closed: str, shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    subprocess.run(["chown", "-R", "65534", "."], check=True)
    shell.place.chmod(0o755)
    os.chown(f"repo/{closed}", 0, 0)
    os.chmod(f"repo/{closed}", 0o700)
    pid = os.fork()
    if not pid:
        os.setuid(65534)
        try:
            prune(Repository("repo"), 1)
        except WhizError as exc:
            os._exit(0 if f"repo/{closed}" in str(exc) and "Permission denied" in str(exc) else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    os.chmod(f"repo/{closed}", 0o755)
    assert shell.json("verify", "--repo", "repo")["releases"] == 2


def test_a_repository_that_was_copied_without_its_history(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    shutil.rmtree("repo/history")
    assert "offered nothing before v2" in shell.run("rollback", "--repo", "repo", code=2)
    assert [e["label"] for e in shell.json("history", "--repo", "repo")["history"]] == ["v2"]
    shell.run("rollback", "v2", "--repo", "repo")
    shell.put("run.py", "print(3)")
    assert "is the label of another release" in shell.run("publish", "src", "--repo", "repo", "--label", "v2", code=2)
    shell.run("publish", "src", "--repo", "repo", "--label", "v3")
    shell.run("rollback", "--repo", "repo")
    assert shell.json("history", "--repo", "repo", "-n", "1")["history"][0]["label"] == "v2"


def test_a_clock_that_was_set_back_is_said(shell: Shell) -> None:
    shell.released("print(1)")
    words = ["faketime", "-f", "-400d", str(QUESOFIESTA), "promote", "stable", "stable", "--repo", "repo"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "nodes may call what is published now stale\nhint: set the clock, and publish again" in done.stderr
    before, now = shell.json("history", "--repo", "repo")["history"]
    assert now["issued"] < before["issued"]
    assert now["seq"] > before["seq"], "nodes take it all the same"
    assert "clock" not in shell.run("publish", "src", "--repo", "repo")
