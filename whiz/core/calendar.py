"""When something runs by the clock: in the words of the `schedule` library, or as cron."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from typing import TYPE_CHECKING

from whiz.core import cron
from whiz.core.value import value

if TYPE_CHECKING:
    from datetime import tzinfo

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_UNITS = (*_SECONDS, *cron.WEEKDAYS)
_EXAMPLES = {"second": "every minute at :17", "minute": "every minute at :17", "hour": "every hour at :30"}


@value
class Every:
    """So long after the reference. `at` is in seconds from the start of the minute, the hour or the day."""

    count: int
    unit: str
    at: int | None = None


@value
class Calendar:
    """What was written, the same as whiz would write it, and its meaning."""

    text: str
    said: str
    rule: Every | cron.Cron


def parse(text: str) -> Calendar:
    """Read 'every day at 03:00' or '0 3 * * *'; raise ValueError with what to write instead."""
    first, *rest = text.lower().split() or [""]
    said = " ".join([first, *rest])
    if first == "every":
        return Calendar(text, *_every(rest))
    if first.isalpha() or not first:
        hint = cron.hint(first, ["every", *cron.ALIASES])
        raise ValueError(f"{said!r} is no calendar such as 'every day at 03:00' or '0 3 * * *': {hint}")
    return Calendar(text, said, cron.parse(said))


def next_after(calendar: Calendar, reference: float, tz: tzinfo) -> float:
    """Return the first scheduled moment strictly after the reference, both in POSIX seconds."""
    rule = calendar.rule
    return _later(rule, reference, tz) if isinstance(rule, Every) else cron.next_after(rule, reference, tz)


def due(calendar: Calendar, reference: float, now: float, tz: tzinfo) -> bool:
    """Tell whether a scheduled moment has come since the reference."""
    return next_after(calendar, reference, tz) <= now


def spell(calendar: Calendar) -> str:
    """Say it as whiz would write it."""
    return calendar.said


def _every(words: list[str]) -> tuple[str, Every | cron.Cron]:
    if "to" in words:
        raise ValueError("'to' is unknown, whiz draws no times by lot: write for example 'every 10 minutes'")
    written, *words = words if words and not words[0].isalpha() else ["1", *words]
    count = cron.number(written)
    if not count:
        raise ValueError(f"{written!r} is no count: write a whole number from 1 to 99999, as in 'every 2 days'")
    name, *rest = words or [""]
    unit = name.removesuffix("s")
    if unit not in _UNITS:
        raise ValueError(f"{name!r} is no unit such as in 'every 2 days': {cron.hint(name, _UNITS)}")
    if unit in cron.WEEKDAYS and count > 1:
        raise ValueError(f"'every {count} {name}' is not possible: write 'every {unit}' or 'every {count} weeks'")
    said = f"every {unit}" if count == 1 else f"every {count} {unit}s"
    if not rest:
        return said, Every(count, unit)
    example = _EXAMPLES.get(unit, f"every {unit} at 03:00")
    if rest[0] != "at" or len(rest) != 2 or unit == "second":  # noqa: PLR2004
        why = ", a calendar has neither an end nor a time zone" if rest[2:] or "until" in rest else ""
        raise ValueError(f"{' '.join(rest)!r} cannot follow {name!r}{why}: write for example {example!r}")
    hour, minute, second = _at(rest[1], unit, example)
    full = f"{hour:02}:{minute:02}:{second:02}"
    shorter = {"minute": full[5:], "hour": full[3:] if second else full[2:5]}
    said += " at " + shorter.get(unit, full.removesuffix(":00"))
    if count > 1 or unit == "week":
        return said, Every(count, unit, hour * 3600 + minute * 60 + second)
    minutes = cron.ALL_MINUTES if unit == "minute" else (minute,)
    hours = cron.ALL_HOURS if unit in ("minute", "hour") else (hour,)
    weekdays = (cron.WEEKDAYS.index(unit),) if unit in cron.WEEKDAYS else cron.ALL_WEEKDAYS
    return said, cron.Cron(second, minutes, hours, weekdays=weekdays)


def _at(text: str, unit: str, example: str) -> tuple[int, int, int]:
    if text.startswith(":"):
        whole = {"minute": f"0:0{text}", "hour": f"0{text}:0"}.get(unit, text)
    else:
        whole = {"minute": "", "hour": f"0:{text}"}.get(unit, text if text.count(":") > 1 else f"{text}:0")
    match [cron.number(part) for part in whole.split(":")]:
        case [int(hour), int(minute), int(second)] if hour < 24 and minute < 60 and second < 60:  # noqa: PLR2004
            return hour, minute, second
    raise ValueError(f"{text!r} is no time for 'every {unit}': write for example {example!r}")


def _later(rule: Every, reference: float, tz: tzinfo) -> float:
    whole = floor(reference)
    here = datetime.fromtimestamp(whole, tz).replace(fold=0)
    if rule.unit in cron.WEEKDAYS:  # at the time of the reference, as schedule does
        ahead = (cron.WEEKDAYS.index(rule.unit) - here.isoweekday() - 1) % 7 + 1
        return cron.instant(here + timedelta(ahead)) + (reference - whole)
    length = rule.count * _SECONDS[rule.unit]
    if rule.at is None:
        return reference + length
    if rule.unit in ("minute", "hour"):
        there = datetime.fromtimestamp(whole + length, tz).replace(second=rule.at % 60)
        return cron.instant(there if rule.unit == "minute" else there.replace(minute=rule.at // 60))
    return cron.instant(here.replace(hour=0, minute=0, second=0) + timedelta(seconds=length + rule.at))
