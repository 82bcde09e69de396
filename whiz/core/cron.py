"""Cron: its five fields, and the moments they name on the clock of a place.

When clocks change, a time that is skipped comes at the first moment after, and one that is shown twice counts once.
Only a job of every hour goes by all that the clock shows: it must not pause for an hour, nor hurry.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from math import floor
from typing import TYPE_CHECKING

from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, tzinfo

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
ALIASES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0"}
ALIASES |= {"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# name, first and last number, names of numbers
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 7, {name[:3]: n for n, name in enumerate(WEEKDAYS)}),
)
ALL_MINUTES, ALL_HOURS, ALL_WEEKDAYS = tuple(range(60)), tuple(range(24)), tuple(range(7))


@value
class Cron:
    """Each field is sorted, Sunday is 0. With `either`, a day needs to be in `days` or in `weekdays`, not in both."""

    second: int = 0
    minutes: tuple[int, ...] = ALL_MINUTES
    hours: tuple[int, ...] = ALL_HOURS
    days: tuple[int, ...] = tuple(range(1, 32))
    months: tuple[int, ...] = tuple(range(1, 13))
    weekdays: tuple[int, ...] = ALL_WEEKDAYS
    either: bool = False


def parse(text: str) -> Cron:
    """Read five fields, or an alias such as @daily, in lower case; raise ValueError with what to write instead."""
    if text == "@reboot":
        raise ValueError("'@reboot' is no time: what has no calendar starts with whiz; for every night write '@daily'")
    if text.startswith("@") and text not in ALIASES:
        raise ValueError(f"{text!r} is unknown: {hint(text, ALIASES)}")
    fields = ALIASES.get(text, text).split()
    if len(fields) != len(_FIELDS):
        more = "; it knows neither seconds nor time zones" if len(fields) > len(_FIELDS) else ""
        raise ValueError(f"{text!r} has {len(fields)} fields, cron 5, minute to weekday, as in '0 3 * * *'{more}")
    minutes, hours, days, months, weekdays = (_field(f, *known) for f, known in zip(fields, _FIELDS, strict=True))
    # As in Vixie's cron, what begins with a star, even */2, restricts the other instead of adding to it.
    either = not (fields[2].startswith("*") or fields[4].startswith("*"))
    if not either and all(days[0] > (29 if m == 2 else 30 if m in (4, 6, 9, 11) else 31) for m in months):  # noqa: PLR2004
        raise ValueError(f"day {fields[2]} never comes in month {fields[3]}: write for example '0 3 28 {fields[3]} *'")
    return Cron(0, minutes, hours, days, months, tuple(sorted({n % 7 for n in weekdays})), either)


def hint(word: str, known: Iterable[str]) -> str:
    """Say what was meant, or what there is."""
    from whiz.core.words import near  # noqa: PLC0415  only mistakes need it

    close = near(word, known)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"


def number(text: str) -> int | None:
    """Read a whole number of at most five digits: more, in weeks, would leave the years that Python knows."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else None  # noqa: PLR2004


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[int, ...]:
    def one(word: str) -> int:
        n = names.get(word, number(word))
        if n is not None and low <= n <= high:
            return n
        more = hint(word, names) if names and word.isalpha() else f"write for example '*', '{low}' or '{low}-5'"
        raise ValueError(f"{name} {word!r} is none of {low} to {high}: {more}")

    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (one(first), one(last if dash else first))
        if end == 0 < begin and name == "weekday":
            end = 7  # fri-sun
        if end < begin:
            raise ValueError(f"{name} {span!r} runs backwards: write '{first}-{high},{low}-{last}'")
        if slash and not (dash or span == "*"):
            raise ValueError(f"{name} {part!r}: a step needs a range, write '{span}-{high}/{step}' or '*/{step}'")
        stride = number(step) if slash else 1
        if not stride:
            raise ValueError(f"{name} {part!r}: {step!r} is no step, write for example '{span}/2'")
        found.update(range(begin, end + 1, stride))
    return tuple(sorted(found))


def next_after(cron: Cron, reference: float, tz: tzinfo) -> float:
    """Return the first moment after the reference, both in POSIX seconds."""
    now = floor(reference)
    if cron.hours == ALL_HOURS:
        return _shown(cron, now + 1, tz)
    here = datetime.fromtimestamp(now, tz)
    today = here.date()
    hours = ((day, h) for day in _days(cron, today) for h in cron.hours if h >= here.hour or day > today)
    walls = (datetime.combine(day, time(h, m, cron.second, tzinfo=tz)) for day, h in hours for m in cron.minutes)
    return next(moment for moment in (instant(wall) for wall in walls if wall > here) if moment > now)


def _shown(cron: Cron, moment: int, tz: tzinfo) -> int:
    """Return the first moment, from this on, at which the clock shows a time of a job of every hour."""
    while True:
        here = datetime.fromtimestamp(moment, tz)
        if not _falls(cron, here.date()):
            day = next(_days(cron, here.date()))
            # Where clocks are set back just after midnight, a day begins twice.
            begins = (instant(datetime.combine(day, time(tzinfo=tz, fold=f))) for f in (0, 1))
            moment = next(begin for begin in begins if begin > moment)
        elif here.minute in cron.minutes and here.second <= cron.second:
            return moment + cron.second - here.second
        else:
            moment += 60 - here.second


def _falls(cron: Cron, day: date) -> bool:
    if day.month not in cron.months:
        return False
    dated, named = day.day in cron.days, day.isoweekday() % 7 in cron.weekdays
    return dated or named if cron.either else dated and named


def _days(cron: Cron, day: date) -> Iterator[date]:
    """Yield the days of a job, from this on, passing months that have none in one step."""
    while True:
        if _falls(cron, day):
            yield day
        day += timedelta(1)
        while day.month not in cron.months:
            day = (day.replace(day=28) + timedelta(4)).replace(day=1)


def instant(wall: datetime) -> int:
    """Return when the clock of a place shows this, by its fold if twice; if never, the first moment after the gap."""
    moment = int(wall.timestamp())
    if datetime.fromtimestamp(moment, wall.tzinfo) == wall:
        return moment
    # In a gap, fold 1 is reckoned by the offset after it and so lies before it, and fold 0 the other way round.
    before, after = (int(wall.replace(fold=f).timestamp()) for f in (1, 0))
    offset = datetime.fromtimestamp(after, wall.tzinfo).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        ended = datetime.fromtimestamp(middle, wall.tzinfo).utcoffset() == offset
        before, after = (before, middle) if ended else (middle, after)
    return after
