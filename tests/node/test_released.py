"""A released whizzifest lies beneath the node's own: whole, overridden by name, and never lost by accident."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.node.conftest import Node


class App:
    """What quesofiesta lays out for an app: releases, and which of them is current."""

    def __init__(self, node: Node, name: str = "cam") -> None:
        self.path: Path = node.path / "state/apps" / name
        (self.path / "releases").mkdir(parents=True)

    def release(self, digit: str, files: dict[str, str]) -> str:
        """Lay out a release; return its id."""
        folder = self.path / "releases" / (digit * 64)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
            (folder / path).chmod(0o555 if text.startswith("#!") else 0o444)
        return folder.name

    def flip(self, name: str) -> None:
        new = self.path / ".current"
        new.symlink_to(f"releases/{name}")
        new.rename(self.path / "current")


SLEEP = "#!/bin/sh\necho {} $WHIZ_RELEASE\nexec sleep 1000\n"


@pytest.fixture
def app(node: Node) -> App:
    return App(node)


def test_a_flip_restarts_just_what_changed(node: Node, app: App) -> None:
    manifest = "a|./a.sh\nb|./bin/b.sh\nc|/bin/sleep 1000\n"
    one = app.release("1", {"whizzifest": manifest, "a.sh": SLEEP.format("one"), "bin/b.sh": SLEEP.format("b")})
    app.flip(one)
    assert "every wish holds: 3 running" in node.apply()
    before = {n: r["pid"] for n, r in node.rows().items()}
    two = app.release("2", {"whizzifest": manifest, "a.sh": SLEEP.format("two"), "bin/b.sh": SLEEP.format("b")})
    app.flip(two)
    said = node.apply()
    assert "- stop  a (changed: " in said
    after = {n: r["pid"] for n, r in node.rows().items()}
    assert {n for n in after if after[n] != before[n]} == {"a"}
    assert node.whiz("logs", "a").splitlines()[-2:] == [f"one {one}", f"two {two}"]
    assert _environment(after["b"])["WHIZ_RELEASE"] == one
    assert "every wish holds" in node.apply()


def test_a_directory_is_what_a_program_consists_of(node: Node, app: App) -> None:
    manifest = "programs: {a: {run: ./a.sh, files: [a.sh, lib]}}\n"
    files = {"whizzifest.yaml": manifest, "a.sh": SLEEP.format("a"), "lib/x/y.py": "one"}
    app.flip(app.release("1", files))
    node.apply()
    pid = node.pid("a")
    app.flip(app.release("2", {**files, "other": "new"}))
    assert "every wish holds" in node.apply()
    assert node.pid("a") == pid
    app.flip(app.release("3", {**files, "lib/x/__pycache__/y.pyc": "compiled"}))
    node.apply()
    assert node.pid("a") == pid
    app.flip(app.release("4", {**files, "lib/x/y.py": "two"}))
    assert "- stop  a (changed: " in node.apply()
    pid = node.pid("a")
    app.flip(app.release("5", {**files, "lib/x/y.py": "two", "lib/x/z.py": ""}))
    node.apply()
    assert node.pid("a") != pid


def _environment(pid: int) -> dict[str, str]:
    return psutil.Process(pid).environ()


def test_the_node_s_own_goes_before_it(node: Node, app: App) -> None:
    app.flip(
        app.release(
            "1", {"whizzifest.yaml": "programs: {a: {run: /bin/sleep 11}, b: {run: /bin/sleep 12, after: own}}\n"}
        )
    )
    node.write("a|/bin/sleep 21\nown|/bin/sleep 22\n")
    node.apply()
    shown = {n: node.whiz("explain", n) for n in ("a", "b", "own")}
    assert "/bin/sleep 21" in shown["a"]
    assert "/bin/sleep 12" in shown["b"]
    node.write("own|/bin/sleep 22\n")
    assert "- stop  a (changed: 21 → 11)" in node.apply()


def test_another_whizzifest_is_for_itself(node: Node, app: App) -> None:
    app.flip(app.release("1", {"whizzifest": "a|/bin/sleep 11\n"}))
    other = node.path / "elsewhere/other"
    other.parent.mkdir()
    other.write_text("x|/bin/sleep 31\n")
    assert "+ start a" not in node.command("-m", str(other), "check").stdout


def test_two_apps_that_know_one_name(node: Node, app: App) -> None:
    app.flip(app.release("1", {"whizzifest": "a|/bin/sleep 11\n"}))
    other = App(node, "web")
    other.flip(other.release("2", {"whizzifest": "a|/bin/sleep 12\n", "whizzifest.notes": "not one"}))
    assert "'a' stands twice: also in" in node.command("check").stderr


def test_what_is_gone_is_not_taken_for_unwanted(node: Node, app: App) -> None:
    app.flip(app.release("1", {"whizzifest": "a|/bin/sleep 11\n"}))
    path = node.write("own|/bin/sleep 22\n")
    node.apply()
    (app.path / "current").unlink()
    said = node.command("apply").stderr
    assert "what was released is gone" in said
    assert "quesofiesta pull brings it back" in said
    assert set(node.rows()) == {"a", "own"}
    app.flip("1" * 64)
    path.unlink()
    assert "there is no such file" in node.command("apply").stderr
    assert {r["state"] for r in node.rows().values()} == {"running"}
    node.whiz("apply", "--allow-empty")
    assert set(node.rows()) == {"a"}
    assert node.command("apply").returncode == 0  # from now on that is how it is meant
    shutil.rmtree(app.path)
    assert node.command("apply").returncode == 2
    assert node.pid("a")


def test_a_broken_release_is_named_and_nothing_ends(node: Node, app: App) -> None:
    app.flip(app.release("1", {"whizzifest": "a|/bin/sleep 11\n"}))
    node.apply()
    pid = node.pid("a")
    app.flip(app.release("2", {"whizzifest": "a\n"}))
    done = node.command("apply")
    assert done.returncode == 2
    assert f"{app.path}/current/whizzifest:1:1: no '|' between name and destination" in done.stderr
    assert node.pid("a") == pid
