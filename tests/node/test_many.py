"""Three hundred programs under a whiz that stays: killed, found again, renewed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.node.conftest import announced

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident, Until

MANY = 300


@pytest.mark.timeout(600)
def test_three_hundred_survive_a_kill_and_a_renewal(node: Node, resident: Resident, until: Until) -> None:
    node.yaml("programs:\n" + "".join(f"  p{n}: {{run: /bin/sleep 1000.{n}}}\n" for n in range(MANY)))
    first = resident()
    node.whiz("apply", "--wait", "120")
    before = {n: r["pid"] for n, r in node.rows().items()}
    assert len(set(before.values())) == MANY
    starts = [f for f in node.facts() if f["event"] == "start"]
    first.kill()
    first.wait()
    second = resident()
    assert node.whiz("apply") == f"every wish holds: {MANY} running\n"
    assert {n: r["pid"] for n, r in node.rows().items()} == before
    assert [f for f in node.facts() if f["event"] != "start"] == []
    assert [f for f in node.facts() if f["event"] == "start"] == starts
    # as their new parent's exec keeps its pid, those it started itself stay its children: so start a few again
    for n in range(5):
        os.kill(before[f"p{n}"], signal.SIGKILL)
    until(lambda: all(node.rows()[f"p{n}"]["pid"] not in (None, before[f"p{n}"]) for n in range(5)))
    before = {n: r["pid"] for n, r in node.rows().items()}
    node.whiz("restart", "--self")
    assert announced(node)["proc"]["pid"] == second.pid
    assert {n: r["pid"] for n, r in node.rows().items()} == before
    for n in (0, 7):  # a child of it, and one that only its predecessor's predecessor was the parent of
        os.kill(before[f"p{n}"], signal.SIGKILL)
        until(lambda n=n: node.rows()[f"p{n}"]["pid"] not in (None, before[f"p{n}"]))
    ends = [(f["program"], f["state"], f["exit"]) for f in node.facts() if f["event"] == "exit"][5:]
    assert ends == [("p0", "failed", -9), ("p7", "lost", None)]
