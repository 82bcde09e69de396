"""The whizzifest on a real node: never lost, never half read, never somebody else's. Scenarios 1-13."""

from __future__ import annotations

import json
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from whiz.core.shape import Report
from whiz.world import yamltree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.node.conftest import Node

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root refuses what others may write; CI runs as root")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("", "the whizzifest is empty: it names no program"),
        ("# all gone\n", "the whizzifest is empty: it names no program"),
        ("a\n", "no '|' between name and destination"),
        ("a|/bin/sleep 1000\na|/bin/sleep 3\n", "'a' stands twice"),
        ("a|\x00\x01\x02", "a NUL character cannot stand in a command"),
    ],
)
def test_the_last_good_one_stays_in_force(node: Node, broken: str, said: str) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    pid = node.pid("a")
    node.write(broken)
    for command in ("check", "apply", "status"):
        done = node.command(command)
        assert done.returncode == 2
        assert said in done.stderr
        assert "the last good version stays in force" in done.stderr
    assert node.pid("a") == pid
    node.rows()
    os.kill(pid, 9)
    node.apply(code=2)
    assert node.pid("a") != pid  # it is really in force, not merely left alone


def test_missing_unreadable_or_no_text(node: Node) -> None:
    path = node.write("a|/bin/sleep 1000\n")
    node.apply()
    pid = node.pid("a")
    path.write_bytes(b"\xff\xfe\x00garbage")
    assert "is not UTF-8 text" in node.command("apply").stderr
    path.unlink()
    assert "there is no such file" in node.command("apply").stderr
    path.mkdir()
    assert "is not a regular file" in node.command("apply").stderr
    path.rmdir()
    os.mkfifo(path)
    done = node.command("apply")
    assert done.returncode == 2
    assert "is not a regular file" in done.stderr
    assert node.pid("a") == pid


def test_without_any_last_good_nothing_is_done(node: Node) -> None:
    for command in ("check", "apply"):
        done = node.command(command)
        assert done.returncode == 2
        assert "there is no such file" in done.stderr
    assert node.ours() == []


def test_empty_on_purpose(node: Node) -> None:
    node.write("a|/bin/sleep 1000\n")
    node.apply()
    node.write("# nothing\n")
    assert node.whiz("check", "--allow-empty", code=3).startswith("- stop  a (no longer in the whizzifest)")
    node.apply("--allow-empty")
    assert node.ours() == []
    node.apply()  # it is the last good one now


def test_a_file_that_somebody_is_writing_does_not_count(node: Node) -> None:
    path = node.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    node.apply()
    with path.open("w") as half:  # truncated, and open for writing
        half.write("a|/bin/sleep 1000\n")
        half.flush()
        done = node.command("apply")
        assert done.returncode == 2
        assert "is still being written" in done.stderr
        assert len(node.ours()) == 2
        half.write("b|/bin/sleep 1001\n")
    node.apply()
    assert len(node.ours()) == 2


def test_a_slow_writer_is_waited_for(node: Node) -> None:
    path = node.write("a|/bin/sleep 1000\n")
    node.apply()
    writer = path.open("w")
    writer.write("a|/bin/sleep 1000\nb|/bin/sleep 1001\n")
    timer = threading.Timer(0.5, writer.close)
    timer.start()
    node.apply()
    timer.join()
    assert set(node.rows()) == {"a", "b"}


def test_includes_sorted_droppings_ignored_errors_name_their_file(node: Node) -> None:
    node.yaml("include: d/*\nprograms:\n  main: {run: /bin/sleep 1000}\n")
    node.write("z|/bin/sleep 1001\n", "d/20-z")
    node.write("a|/bin/sleep 1002\n", "d/10-a")
    node.write("bad|||\nx", "d/10-a~")
    node.write("bad", "d/.20-z.swp")
    node.write("bad", "d/#20-z#")
    assert [s["program"] for s in json.loads(node.whiz("check", "--json", code=3))["steps"]] == ["main", "a", "z"]
    node.apply()
    node.write("z|/bin/sleep 1001\nbroken\n", "d/20-z")
    done = node.command("apply")
    assert done.returncode == 2
    assert f"{node.path}/d/20-z:2:1: no '|'" in done.stderr
    assert len(node.ours()) == 3
    for name in ("20-z", ".20-z.swp", "#20-z#"):
        (node.path / "d" / name).unlink()
    node.apply()
    assert set(node.rows()) == {"main", "a"}


def test_includes_that_are_wrong(node: Node) -> None:
    node.yaml("include: [missing.yaml, self.yaml]\nprograms:\n  a: {run: /bin/true}\n")
    node.write("include: self.yaml\n", "self.yaml")
    said = node.command("check").stderr
    assert "includes 'missing.yaml', but there is no such file" in said
    assert "includes itself" in said


def test_yaml_that_is_wrong_names_line_and_column(node: Node) -> None:
    node.yaml("programs:\n  web:\n    run: /bin/sleep 1000\n    restrat: always\n  db:\n    run: [\n")
    assert f"{node.path}/whizzifest.yaml:7:1: not YAML" in node.command("check").stderr
    node.yaml("programs:\n  web:\n    run: /bin/sleep 1000\n    restrat: always\n  web:\n    run: /bin/true\n")
    said = node.command("check").stderr
    assert (
        f"{node.path}/whizzifest.yaml:4:5: unknown key 'restrat'\n    restrat: always\n    hint: did you mean 'restart'?"
        in said
    )
    assert f"{node.path}/whizzifest.yaml:5:3: 'web' stands twice: also in line 2" in said


def test_yaml_bombs_and_tags_are_refused(node: Node) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join([f'*{p}'] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text, said in (
        (bomb, "multiply without end"),
        ("programs: &p\n  a: *p\n", "lead back to themselves"),
        ("programs: !!python/object:os.system {a: b}\n", "is not known here"),
        ("programs:\n  a: {run: !!python/name:os.system x}\n", "is not known here"),
        ("programs:\n  a: {<<: {run: /bin/true}}\n", "merge keys are not read"),
    ):
        node.yaml(text)
        done = node.command("check")
        assert done.returncode == 2
        assert said in done.stderr, text


def test_roles_come_from_node_yaml(node: Node) -> None:
    node.yaml("programs:\n  cam: {run: /bin/sleep 1000, roles: [camera]}\n  gps: {run: /bin/sleep 1001, roles: gps}\n")
    assert "this node has no roles" in node.command("check").stderr
    node.write("name: pi-7\nroles: [camera]\n", "node.yaml")
    node.apply()
    assert set(node.rows()) == {"cam"}
    node.write("name: pi-7\nroles: [gps]\n", "node.yaml")
    assert [s["order"] for s in json.loads(node.whiz("check", "--json", code=3))["steps"]] == ["stop", "start"]
    node.write("nmae: pi-7\n", "node.yaml")
    assert "did you mean 'name'?" in node.command("check").stderr


def test_two_whizzifests_are_refused(node: Node) -> None:
    node.write("a|/bin/true\n")
    node.write("programs: {}\n", "whizzifest.yaml")
    assert "two whizzifests" in node.whiz("check", code=2) + node.command("check").stderr


def test_each_source_has_its_own_last_good(node: Node) -> None:
    one, two = node.write("a|/bin/sleep 1000\n", "one"), node.write("b|/bin/sleep 1001\n", "two")
    node.apply("-m", str(one))
    node.apply("-m", str(two))
    assert json.loads(node.command("-m", str(two), "status", "--json").stdout)["programs"][0]["name"] == "b"
    one.write_text("broken")
    node.whiz("-m", str(one), "apply", code=2)
    assert [p.cmdline() for p in node.ours()] == [["/usr/bin/sleep", "1000"]]


@ROOT
def test_what_others_may_write_is_refused_as_root(node: Node) -> None:
    path = node.write("a|/bin/sleep 1000\n")
    for place, mode in ((path, 0o666), (node.path, 0o777)):
        old = place.stat().st_mode
        place.chmod(mode)
        done = node.command("apply")
        assert done.returncode == 2
        assert f"{place} can be written by others: chmod go-w it" in done.stderr
        place.chmod(old)
    os.chown(path, 65534, 0)
    assert "belongs to another user (uid 65534): chown root it" in node.command("apply").stderr
    os.chown(path, 0, 0)
    node.yaml(f"include: {node.path}/inc\nprograms: {{}}\n")
    included = node.write("b|/bin/sleep 1001\n", "inc")
    included.chmod(0o622)
    assert f"{included} can be written by others" in node.command("apply").stderr
    assert node.ours() == []


@ROOT
def test_a_link_into_what_others_may_write_is_refused(node: Node, tmp_path_factory: pytest.TempPathFactory) -> None:
    loose: Path = tmp_path_factory.mktemp("loose")
    (loose / "real").write_text("a|/bin/sleep 1000\n")
    loose.chmod(0o777)
    (node.path / "whizzifest").symlink_to(loose / "real")
    assert f"{loose} can be written by others" in node.command("apply").stderr
    shutil.rmtree(loose)


def test_what_is_written_is_no_bomb_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what aliases repeat is counted: twenty thousand programs have more nodes than that may be."""
    monkeypatch.setattr(yamltree, "_MOST", 100)
    for text, refused in (("[a" + ", a" * 200 + "]", False), ("[&a [x, y]" + ", *a" * 40 + "]", True)):
        report = Report("many.yaml")
        assert (yamltree.parse_yaml(text, report) is None) == refused
        assert bool(report.problems) == refused
