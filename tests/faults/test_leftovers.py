"""What a kill in the middle of a write leaves behind is removed, and nothing that somebody is writing just now."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.onlooker import Node
from tests.faults.outside import ENV, WHIZ, clear, until
from tests.faults.test_disk import empty, fill, root, small
from tests.tools import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    clear(f"FAULT={tmp_path}\0")


def test_half_written_records_are_swept_away(node: Node) -> None:
    node.wish(a={}, k={"restart": {"on": "failure"}}, gone={})
    assert node.whiz("apply").returncode == 0
    runs, tasks = node.home / "run/runs", node.home / "state/tasks"
    live = json.loads((runs / "k.json").read_text())["runs"][-1]["id"]
    stale = [runs / ".gone.json.new", tasks / ".t.json.new", runs / ".k@0123456789ab.outcome.new"]
    being_written = runs / f".k@{live}.outcome.new"
    for path in (*stale, being_written):
        path.write_text("{")
    assert node.whiz("status").returncode == 0
    assert all(p.exists() for p in stale), "who only looks removes nothing"
    assert node.whiz("apply").returncode == 0
    assert not [p for p in stale if p.exists()]
    assert being_written.exists()
    node.wish(a={})
    assert node.whiz("apply").returncode == 0
    assert not being_written.exists(), "its Run has ended, so nobody writes there"


@root
def test_a_write_that_fails_leaves_nothing_and_a_resident_says_later_that_it_is_there(node: Node) -> None:
    with small(node.home / "run"):
        (node.home / "run/runs").mkdir()
        fill(node.home / "run")
        node.wish(a={})
        with (node.home / "said").open("w") as said:
            whiz = subprocess.Popen([*WHIZ, "--home", str(node.home), "run", "--every", "1s"], env=ENV, stderr=said)
        try:
            until(lambda: "a" in node.mains(), "a runs")
            assert node.whiz("apply", "--wait", "0").returncode == 75, "nobody knows whom to ask"
            assert [p.name for p in (node.home / "run").rglob("*") if p.is_file()] == ["filler"]
            empty(node.home / "run")
            until((node.home / "run/resident.json").exists, "it is announced")
            assert node.whiz("apply").returncode == 0
            lines = [n for n in (node.home / "said").read_text().splitlines() if "cannot ask this whiz" in n]
            assert len(lines) == 1, lines
        finally:
            whiz.kill()
            whiz.wait()


@needs("strace")
def test_the_directories_of_what_is_promised_are_synced_too(node: Node) -> None:
    """ext4 does that by itself, so that no cut of a card shows it; others do what they are told."""
    node.wish(a={})
    told = node.home / "told"
    node.whiz("hold", "a", under=("strace", "-f", "-y", "-e", "trace=fsync", "-o", str(told)))
    synced = {match[1] for match in re.finditer(r"fsync\(\d+<([^>]+)>\)", told.read_text())}
    assert {str(node.home), str(node.home / "state"), str(node.home / "state/held")} <= synced
