"""A card that shall last: nothing is written while nothing happens, and logs hold their cap while programs spew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.quiet import Idle, card
from tests.faults.spew import Spewing
from whiz.world.logs import TOTAL

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("WHIZ_IDLE", "10"))
root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a card takes root")


@root
@pytest.mark.timeout(SECONDS + 300)
def test_an_idle_whiz_writes_nothing_to_its_card(tmp_path: Path) -> None:
    """WHIZ_IDLE=3600 measures an hour."""
    with card(tmp_path) as home:
        written = Idle(home, 20).resident(SECONDS)
    assert (written.card, written.whiz) == (0, 0)


@root
def test_quiet_calls_from_cron_write_nothing_to_their_card(tmp_path: Path) -> None:
    with card(tmp_path) as home:
        assert Idle(home, 20).cron(10).card == 0


def test_all_logs_together_hold_their_cap_while_programs_spew(tmp_path: Path) -> None:
    """Each may have 60 MB, so that it is the cap of all that holds; twice a second's writing may come on top."""
    tmp_path.chmod(0o755)
    rate = 50_000_000
    got = Spewing(tmp_path, programs=4, rate=rate, cap=60_000_000).under_run(500_000_000)
    assert got.most < TOTAL + 2 * rate, got
    assert got.most > 50_000_000, "it was for the cap to hold"
