"""The schedules that OnCalendar= becomes, beside what systemd itself made of each expression."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from whiz.core.calendar import next_after, parse
from whiz.core.importing.oncalendar import schedule

RECORDED = tomllib.loads((Path(__file__).parent / "oncalendar.toml").read_text())
# what systemd has and whiz does not: another clock, years, seconds that repeat, the end of a month, both kinds of days
BEYOND = {
    "*-*-* 03:00 UTC", "2027-12-01 00:00", "Mon *-*-1 0:0", "*:*:0/10", "*-*~1 0:0", "*:0:30", "2026-*-* 6:00",
    "2027..2028-01-01 0:0",
}  # fmt: skip


def moments(text: str, base: str, count: int) -> list[str]:
    """Return when it comes by whiz's calendar."""
    calendar, at, found = parse(schedule(text)), datetime.fromisoformat(f"{base}Z").timestamp(), []
    for _ in range(count):
        at = next_after(calendar, at, UTC)
        found.append(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}")
    return found


@pytest.mark.parametrize(("base", "text"), [(base, text) for base, each in RECORDED.items() for text in each])
def test_it_comes_when_systemd_has_it(base: str, text: str) -> None:
    recorded = RECORDED[base][text]
    if text in BEYOND or not recorded:
        with pytest.raises(ValueError, match=" "):
            parse(schedule(text))
    else:
        assert moments(text, base, len(recorded)) == recorded


def test_most_is_carried_over() -> None:
    for each in RECORDED.values():
        assert sum(bool(found) for text, found in each.items() if text not in BEYOND) >= 60
