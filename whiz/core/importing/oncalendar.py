"""systemd's calendar expressions and time spans in whiz's words."""

from __future__ import annotations

import re

_SHORT = {
    "minutely": "* * * * *", "hourly": "0 * * * *", "daily": "every day at 00:00", "monthly": "0 0 1 * *",
    "weekly": "0 0 * * mon", "yearly": "0 0 1 1 *", "annually": "0 0 1 1 *", "quarterly": "0 0 1 1,4,7,10 *",
    "semiannually": "0 0 1 1,7 *",
}  # fmt: skip
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60,
    "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400,
    "day": 86400, "days": 86400, "w": 604800, "week": 604800, "weeks": 604800, "M": 2629800, "month": 2629800,
    "months": 2629800, "y": 31557600, "year": 31557600, "years": 31557600, "": 1,
}  # fmt: skip
_SPAN = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_PART = re.compile(r"([0-9]{1,2})(?:\.\.([0-9]{1,2}))?(?:/([0-9]{1,2}))?")


def span(text: str) -> float:
    """Read '1min 30s'; a bare number is seconds. Raise ValueError."""
    total, at = 0.0, 0
    while at < len(text.rstrip()):
        found = _SPAN.match(text, at)
        if found is None or found[2] not in _UNITS:
            raise ValueError(f"{text[:40]!r} is no time span such as 1min 30s")
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if not text.strip():
        raise ValueError("a time span is missing")
    return total


def every(text: str) -> str:
    """Turn a time span into a schedule: 'every 15 minutes'."""
    number = span(text)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if number >= length and number % length == 0:
            count = int(number // length)
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    raise ValueError(f"whiz's calendar goes by whole seconds, {text!r} does not")


def schedule(text: str) -> str:
    """Turn an OnCalendar expression into a schedule; raise ValueError with what whiz's calendar does not have."""
    low = text.strip().lower()
    if low in _SHORT:
        return _SHORT[low]
    words = low.split()
    weekdays = _weekdays(words.pop(0)) if words and words[0][:3] in _DAYS else "*"
    date = words.pop(0) if words and ":" not in words[0] and re.fullmatch(r"[0-9*/.,~-]+", words[0]) else "*-*-*"
    clock = words.pop(0) if words and ":" in words[0] else "0:0:0"
    if words or "-" not in date:
        words = words or [text.strip()]
        raise ValueError(f"whiz goes by this machine's clock, and {' '.join(words)!r} is another one, or no calendar")
    if "~" in date:
        raise ValueError("whiz's calendar does not count days from the end of the month")
    *years, month, day = date.split("-")
    hour, minute, *seconds = clock.split(":")
    if len(years) > 1 or len(seconds) > 1 or years not in ([], ["*"]):
        raise ValueError("whiz's calendar has no years: what comes once is no schedule")
    months, days = _part(month, 1, 12), _part(day, 1, 31)
    if weekdays != "*" and days != "*":
        raise ValueError("cron, and whiz with it, runs on such days or such weekdays, not on days that are both")
    return _written(_part(hour, 0, 23), _part(minute, 0, 59), _second(seconds), days, months, weekdays)


def _written(hours: str, minutes: str, second: int, days: str, months: str, weekdays: str) -> str:
    daily = days == months == weekdays == "*" and hours.isdigit() and minutes.isdigit()
    if daily:
        return f"every day at {int(hours):02}:{int(minutes):02}" + (f":{second:02}" if second else "")
    if second:
        raise ValueError("whiz's calendar has seconds only where something runs once a day")
    return f"{minutes} {hours} {days} {months} {weekdays}"


def _second(seconds: list[str]) -> int:
    if not seconds:
        return 0
    if not re.fullmatch(r"[0-9]{1,2}", seconds[0]):
        raise ValueError("whiz's calendar has no seconds that repeat: every 10 seconds is written so")
    return int(seconds[0])


def _part(text: str, low: int, high: int) -> str:
    """Turn one field into cron's."""
    if text == "*":
        return "*"
    out = []
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if part.startswith("*/"):
            raise ValueError(f"systemd has no {part!r} and ignores such a line; it would be {low}{part[1:]}")
        if found is None:
            raise ValueError(f"{part!r} is nothing that whiz's calendar has")
        first, last, step = found.groups()
        if step is not None and last is None and int(first) + int(step) > high:
            raise ValueError(f"the step of {part!r} leads nowhere, and systemd ignores such a line")
        if step is not None:
            out.append(f"{int(first)}-{int(last or high)}/{int(step)}")
        else:
            out.append(f"{int(first)}-{int(last)}" if last else f"{int(first)}")
    return ",".join(out)


def _weekdays(text: str) -> str:
    """Turn 'mon..fri,sun' into cron's."""
    out = []
    for part in text.rstrip(",").split(","):
        days = [day[:3] for day in re.split(r"\.\.|-", part)]
        if len(days) > 2 or any(day not in _DAYS for day in days):  # noqa: PLR2004  a range has two ends
            raise ValueError(f"{part!r} is no weekday")
        out.append("-".join(days))
    return ",".join(out)
