"""What whiz install shows on any machine. That it does what it shows is for tests/lab."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from whiz.core.subtree import PROGRAMS
from whiz.core.units import SERVICE, TIMER

if TYPE_CHECKING:
    from tests.node.conftest import Node


@pytest.mark.parametrize(
    ("mode", "units"), [("systemd", {PROGRAMS, SERVICE}), ("timer", {PROGRAMS, SERVICE, TIMER}), ("cron", set())]
)
def test_it_shows_what_it_would_write_and_run(node: Node, mode: str, units: set[str]) -> None:
    shown = node.whiz("install", f"--{mode}", "--print")
    asked = json.loads(node.whiz("install", f"--{mode}", "--print", "--json"))
    written = [d for d in asked["deeds"] if "text" in d]
    assert {d["path"].rpartition("/")[2] for d in written} >= units
    assert all(f"# {d['path']}\n{d['text']}" in shown for d in written)
    assert f"{sys.executable} -m whiz --home {node.path} " in shown
    if mode == "cron":
        assert f"* * * * * {sys.executable} -m whiz --home {node.path} apply --quiet" in shown
    else:
        assert f"$ systemctl enable --quiet {PROGRAMS}\n" in shown
    assert not (node.path / "run").exists()


def test_a_whizzifest_is_carried_on(node: Node) -> None:
    assert f"--manifest {node.path}/other run\n" in node.whiz(
        "install", "--systemd", "--print", "-m", str(node.path / "other")
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root is told so")
def test_root_is_no_user(node: Node) -> None:
    assert "leave out --user" in node.command("install", "--user").stderr
