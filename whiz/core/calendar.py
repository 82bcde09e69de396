"""When something runs by the clock: the words of the `schedule` library, or cron."""

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
_AT = {"minute": "every minute at :17", "hour": "every hour at :30"}  # else it is a time of day
_LONGEST = 10 * 366 * 86400


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
    words = text.lower().split()
    first = words[0] if words else ""
    said = " ".join(words)
    if first == "every":
        return _every(text, words[1:])
    if first.startswith(("tz=", "cron_tz=")):
        raise ValueError(f"{first!r}: a calendar goes by its machine's time zone, write for example '0 3 * * *'")
    if first.isalpha() or not first:
        from whiz.core.words import near  # noqa: PLC0415  only mistakes need it

        close = near(first, ["every", *cron.ALIASES])
        more = f"did you mean {close!r}?" if close else "write for example 'every day at 03:00' or '0 3 * * *'"
        raise ValueError(f"{said!r} is no calendar: {more}")
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


def _every(text: str, words: list[str]) -> Calendar:
    if "until" in words:
        raise ValueError("'until' is unknown, a calendar has no end: write for example 'every day at 03:00'")
    if "to" in words:
        raise ValueError("'to' is unknown, whiz draws no times by lot: write for example 'every 10 minutes'")
    count = 1
    if words and not words[0].isalpha():
        written, *words = words
        count = cron.number(written) or 0
        if not count:
            raise ValueError(f"{written!r} is no count: write a whole number from 1 on, as in 'every 2 days'")
    name, *rest = words or [""]
    unit = name.removesuffix("s")
    if unit not in _UNITS:
        raise ValueError(f"every {name!r} is unknown: {cron.hint(name, _UNITS)}")
    if unit in cron.WEEKDAYS and count > 1:
        raise ValueError(f"'every {count} {name}' is not possible: write 'every {unit}' or 'every {count} weeks'")
    if unit in _SECONDS and count * _SECONDS[unit] > _LONGEST:
        raise ValueError(f"{count} {name} are more than ten years: write for example 'every 52 weeks'")
    example = _AT.get(unit, f"every {unit} at 03:00")
    at = None
    said = f"every {unit}" if count == 1 else f"every {count} {unit}s"
    if rest:
        if unit == "second":
            raise ValueError(f"{' '.join(rest)!r} cannot follow seconds: write 'every 10 seconds' or '{_AT['minute']}'")
        if rest[0] != "at" or len(rest) == 1:
            raise ValueError(f"{' '.join(rest)!r} cannot follow {name!r}: write for example {example!r}, or '0 3 * * *'")
        if rest[2:]:
            raise ValueError(
                f"{' '.join(rest[2:])!r} is too much, a calendar goes by its machine's time zone: write {example!r}"
            )
        at = _at(rest[1], unit, example)
        said += " at " + _spell_at(at, unit)
    if at is None or count > 1 or unit == "week":
        return Calendar(text, said, Every(count, unit, at))
    minutes = cron.ALL_MINUTES if unit == "minute" else (at // 60 % 60,)
    hours = cron.ALL_HOURS if unit in _AT else (at // 3600,)
    if unit in cron.WEEKDAYS:
        return Calendar(text, said, cron.Cron(at % 60, minutes, hours, weekdays=(cron.WEEKDAYS.index(unit),)))
    return Calendar(text, said, cron.Cron(at % 60, minutes, hours))


def _at(text: str, unit: str, example: str) -> int:
    if unit == "minute":
        whole = "0:0" + text if text.startswith(":") else ""
    elif unit == "hour":
        whole = f"0{text}:0" if text.startswith(":") else f"0:{text}"
    else:
        whole = text if text.count(":") > 1 else f"{text}:0"
    parts = [n for n in (cron.number(part) for part in whole.split(":")) if n is not None]
    if len(parts) != whole.count(":") + 1 or len(parts) != 3 or parts[0] > 23 or max(parts) > 59:  # noqa: PLR2004
        raise ValueError(f"{text!r} is no time for a {unit}: write for example {example!r}")
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


def _spell_at(at: int, unit: str) -> str:
    hour, minute, second = at // 3600, at // 60 % 60, at % 60
    if unit == "minute":
        return f":{second:02}"
    if unit == "hour":
        return f"{minute:02}:{second:02}" if second else f":{minute:02}"
    return f"{hour:02}:{minute:02}:{second:02}" if second else f"{hour:02}:{minute:02}"


def _later(rule: Every, reference: float, tz: tzinfo) -> float:
    whole = floor(reference)
    here = datetime.fromtimestamp(whole, tz)
    if rule.unit in cron.WEEKDAYS:  # at the time of the reference, as schedule does
        ahead = (cron.WEEKDAYS.index(rule.unit) - here.isoweekday() - 1) % 7 + 1
        return cron.instant(here.replace(tzinfo=None, fold=0) + timedelta(ahead), tz) + (reference - whole)
    length = rule.count * _SECONDS[rule.unit]
    if rule.at is None:
        return reference + length
    if rule.unit in _AT:
        there = datetime.fromtimestamp(whole + length, tz).replace(tzinfo=None, second=rule.at % 60)
        return cron.instant(there if rule.unit == "minute" else there.replace(minute=rule.at // 60), tz)
    midnight = here.replace(tzinfo=None, fold=0, hour=0, minute=0, second=0)
    return cron.instant(midnight + timedelta(seconds=length + rule.at), tz)
