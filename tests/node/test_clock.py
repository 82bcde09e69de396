"""The wall clock steps by decades, as it does on a Pi without a battery: decisions do not notice. Scenario 80."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tools import needs, with_clock

if TYPE_CHECKING:
    import subprocess

    from tests.node.conftest import Node, Until


def at(step: str, node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    return with_clock(step, sys.executable, "-m", "whiz", "--home", str(node.path), *words)


@needs("faketime")
@pytest.mark.parametrize("step", ["+50y", "-50y"])
def test_steps_of_the_wall_clock(node: Node, until: Until, step: str) -> None:
    deaf = f"trap '' TERM; touch {node.path}/up; exec sleep 1000"
    node.yaml(
        f"programs:\n  a: {{run: /bin/sleep 1000}}\n  k: {{run: /bin/sleep 1001, restart: {{on: failure}}}}\n"
        f"  f: {{run: /bin/false, restart: {{delay: 1h, max_delay: 1h}}}}\n  t: {{run: /bin/true, want: done}}\n"
        f'  deaf: {{run: "sh -c \\"{deaf}\\"", stop: {{grace: 1h}}}}\n'
    )
    node.apply(code=3)
    until((node.path / "up").exists)
    node.whiz("hold", "deaf", "--wait", "0", code=3)
    before, facts = node.rows(), node.facts()
    for clock in (step, "+0", step):
        done = at(clock, node, "apply", "--wait", "0.3")
        assert done.returncode == 3, done.stderr
        assert [line for line in done.stdout.splitlines() if line[0] in "+-!"] == []
    after = node.rows()
    assert {n: (r["state"], r["pid"], r["restarts"]) for n, r in after.items()} == {
        n: (r["state"], r["pid"], r["restarts"]) for n, r in before.items()
    }
    assert node.facts() == facts
    os.kill(after["deaf"]["pid"], 9)
    assert "+ start f" not in at(step, node, "apply", "--wait", "0.2").stdout
