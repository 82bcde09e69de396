"""Calendars: what they say, when they fall, and that schedule and cronsim agree."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
import schedule
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from whiz.core import calendar, cron

if TYPE_CHECKING:
    from collections.abc import Sequence

BERLIN, NEW_YORK, LORD_HOWE = (ZoneInfo(n) for n in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
# clocks of a whole night set back to the day before; a midnight that is skipped; a day that is
ODD = [ZoneInfo(n) for n in ("America/St_Johns", "America/Sao_Paulo", "Pacific/Apia")]
ZONES = [ZoneInfo("UTC"), BERLIN, NEW_YORK, LORD_HOWE]


def at(text: str, tz: dt.tzinfo, fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=tz, fold=fold).timestamp()


def shown(moment: float, tz: dt.tzinfo) -> str:
    return dt.datetime.fromtimestamp(moment, tz).isoformat(" ", "minutes" if moment % 60 == 0 else "auto")


def runs(text: str, since: str, tz: dt.tzinfo, count: int) -> list[str]:
    """Return the next moments, each as reference of the one after."""
    moment, found = at(since, tz), []
    for _ in range(count):
        moment = calendar.next_after(calendar.parse(text), moment, tz)
        found.append(shown(moment, tz))
    return found


GOOD = [
    # 2025-03-05 was a Wednesday
    ("every 10 minutes", "every 10 minutes", "2025-03-05 12:10:20"),
    ("every second", "every second", "2025-03-05 12:00:21"),
    ("Every  MINUTE at :17", "every minute at :17", "2025-03-05 12:01:17"),
    ("every minutes at :30", "every minute at :30", "2025-03-05 12:00:30"),
    ("every 3 minute at :07", "every 3 minutes at :07", "2025-03-05 12:03:07"),
    ("every hour at :30", "every hour at :30", "2025-03-05 12:30"),
    ("every hour at 30:00", "every hour at :30", "2025-03-05 12:30"),
    ("every hour at 00:20", "every hour at 00:20", "2025-03-05 13:00:20"),
    ("every 6 hours at 20:30", "every 6 hours at 20:30", "2025-03-05 18:20:30"),
    ("every hour", "every hour", "2025-03-05 13:00:20"),
    ("every day", "every day", "2025-03-06 12:00:20"),
    ("every 1 day at 3:00", "every day at 03:00", "2025-03-06 03:00"),
    ("every day at 03:00:30", "every day at 03:00:30", "2025-03-06 03:00:30"),
    ("every day at 12:00:21", "every day at 12:00:21", "2025-03-05 12:00:21"),
    ("every 3 days at 10:00", "every 3 days at 10:00", "2025-03-08 10:00"),
    ("every monday", "every monday", "2025-03-10 12:00:20"),
    ("every wednesday", "every wednesday", "2025-03-12 12:00:20"),
    ("every Mondays at 12:30", "every monday at 12:30", "2025-03-10 12:30"),
    ("every wednesday at 12:30", "every wednesday at 12:30", "2025-03-05 12:30"),
    ("every week", "every week", "2025-03-12 12:00:20"),
    ("every week at 13:00", "every week at 13:00", "2025-03-12 13:00"),
    ("every 2 weeks at 04:00", "every 2 weeks at 04:00", "2025-03-19 04:00"),
    ("*/15 * * * *", "*/15 * * * *", "2025-03-05 12:15"),
    ("30 4   * JAN,jun-Aug *", "30 4 * jan,jun-aug *", "2025-06-01 04:30"),
    ("0 9-17/4 * * mon-fri", "0 9-17/4 * * mon-fri", "2025-03-05 13:00"),
    ("0 0 * * 7", "0 0 * * 7", "2025-03-09 00:00"),
    ("0 0 * * fri-sun", "0 0 * * fri-sun", "2025-03-07 00:00"),
    ("0 0 * * 0-2", "0 0 * * 0-2", "2025-03-09 00:00"),
    ("0 0 13 * fri", "0 0 13 * fri", "2025-03-07 00:00"),
    ("0 0 13 * */5", "0 0 13 * */5", "2025-04-13 00:00"),
    ("0 0 */2 * sat", "0 0 */2 * sat", "2025-03-15 00:00"),
    ("0 0 30 2 mon", "0 0 30 2 mon", "2026-02-02 00:00"),
    ("0 0 29 2 *", "0 0 29 2 *", "2028-02-29 00:00"),
    ("* * 29 2 */7", "* * 29 2 */7", "2032-02-29 00:00"),
    ("0 0 31 * *", "0 0 31 * *", "2025-03-31 00:00"),
    ("@hourly", "@hourly", "2025-03-05 13:00"),
    ("@Daily", "@daily", "2025-03-06 00:00"),
    ("@midnight", "@midnight", "2025-03-06 00:00"),
    ("@weekly", "@weekly", "2025-03-09 00:00"),
    ("@monthly", "@monthly", "2025-04-01 00:00"),
    ("@yearly", "@yearly", "2026-01-01 00:00"),
    ("@annually", "@annually", "2026-01-01 00:00"),
]


@pytest.mark.parametrize(("text", "said", "moment"), GOOD)
def test_good(text: str, said: str, moment: str) -> None:
    known = calendar.parse(text)
    assert calendar.spell(known) == said
    assert known.text == text
    assert calendar.parse(said).rule == known.rule
    assert calendar.parse(text) == known
    assert runs(text, "2025-03-05 12:00:20", BERLIN, 1) == [shown(at(moment, BERLIN), BERLIN)]


UNITS = "second, minute, hour, day, week, sunday, monday, tuesday, wednesday, thursday, friday, saturday"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no calendar such as 'every day at 03:00' or '0 3 * * *': known: every, @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"),
        ("evry day", "'evry day' is no calendar such as 'every day at 03:00' or '0 3 * * *': did you mean 'every'?"),
        ("Daily", "'daily' is no calendar such as 'every day at 03:00' or '0 3 * * *': did you mean '@daily'?"),
        ("@reboot", "'@reboot' is no time: what has no calendar starts with whiz; for every night write '@daily'"),
        ("@dayly", "'@dayly' is unknown: did you mean '@daily'?"),
        ("0 3 * *", "'0 3 * *' has 4 fields, cron 5, minute to weekday, as in '0 3 * * *'"),
        ("TZ=UTC 0 3 * * *", "'tz=utc 0 3 * * *' has 6 fields, cron 5, minute to weekday, as in '0 3 * * *'; it knows neither seconds nor time zones"),
        ("60 3 * * *", "minute '60' is none of 0 to 59: write for example '*', '0' or '0-5'"),
        ("0 24 * * *", "hour '24' is none of 0 to 23: write for example '*', '0' or '0-5'"),
        ("0 0 0 * *", "day of the month '0' is none of 1 to 31: write for example '*', '1' or '1-5'"),
        ("0 0 * 13 *", "month '13' is none of 1 to 12: write for example '*', '1' or '1-5'"),
        ("0 0 * * 8", "weekday '8' is none of 0 to 7: write for example '*', '0' or '0-5'"),
        ("1,, * * * *", "minute '' is none of 0 to 59: write for example '*', '0' or '0-5'"),
        ("1- * * * *", "minute '' is none of 0 to 59: write for example '*', '0' or '0-5'"),
        ("0 0 l * *", "day of the month 'l' is none of 1 to 31: write for example '*', '1' or '1-5'"),
        ("0 0 * * mondy", "weekday 'mondy' is none of 0 to 7: did you mean 'mon'?"),
        ("0 0 * foo *", "month 'foo' is none of 1 to 12: known: jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov, dec"),
        ("22-2 * * * *", "minute '22-2' runs backwards: write '22-59,0-2'"),
        ("5/10 * * * *", "minute '5/10': a step needs a range, write '5-59/10' or '*/10'"),
        ("*/0 * * * *", "minute '*/0': '0' is no step, write for example '*/2'"),
        ("0-9/x * * * *", "minute '0-9/x': 'x' is no step, write for example '0-9/2'"),
        ("0 0 30 2 *", "day 30 never comes in month 2: write for example '0 3 28 2 *'"),
        ("0 0 31 4,jun */2", "day 31 never comes in month 4,jun: write for example '0 3 28 4,jun *'"),
        ("every", f"'' is no unit such as in 'every 2 days': known: {UNITS}"),
        ("every dya", "'dya' is no unit such as in 'every 2 days': did you mean 'day'?"),
        ("every 0 days", "'0' is no count: write a whole number from 1 to 99999, as in 'every 2 days'"),
        ("every 1.5 hours", "'1.5' is no count: write a whole number from 1 to 99999, as in 'every 2 days'"),
        ("every 100000 weeks", "'100000' is no count: write a whole number from 1 to 99999, as in 'every 2 days'"),
        ("every 5 to 10 minutes", "'to' is unknown, whiz draws no times by lot: write for example 'every 10 minutes'"),
        ("every 2 mondays", "'every 2 mondays' is not possible: write 'every monday' or 'every 2 weeks'"),
        ("every day until 10:00", "'until 10:00' cannot follow 'day', a calendar has neither an end nor a time zone: write for example 'every day at 03:00'"),
        ("every day at 03:00 Europe/Berlin", "'at 03:00 europe/berlin' cannot follow 'day', a calendar has neither an end nor a time zone: write for example 'every day at 03:00'"),
        ("every monday 03:00", "'03:00' cannot follow 'monday': write for example 'every monday at 03:00'"),
        ("every hour at", "'at' cannot follow 'hour': write for example 'every hour at :30'"),
        ("every 10 seconds at :10", "'at :10' cannot follow 'seconds': write for example 'every minute at :17'"),
        ("every minute at 0:17", "'0:17' is no time for 'every minute': write for example 'every minute at :17'"),
        ("every minute at 0:0:17", "'0:0:17' is no time for 'every minute': write for example 'every minute at :17'"),
        ("every minute at :60", "':60' is no time for 'every minute': write for example 'every minute at :17'"),
        ("every hour at 60:00", "'60:00' is no time for 'every hour': write for example 'every hour at :30'"),
        ("every hour at 1:20:30", "'1:20:30' is no time for 'every hour': write for example 'every hour at :30'"),
        ("every day at :30", "':30' is no time for 'every day': write for example 'every day at 03:00'"),
        ("every day at 24:00", "'24:00' is no time for 'every day': write for example 'every day at 03:00'"),
        ("every day at 3pm", "'3pm' is no time for 'every day': write for example 'every day at 03:00'"),
    ],
)  # fmt: skip
def test_bad(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        calendar.parse(text)
    assert str(caught.value) == message


def test_a_calendar_is_a_value() -> None:
    one = calendar.parse("every day at 03:00")
    assert len({one, calendar.parse("every day at 03:00")}) == 1
    assert one != calendar.parse("every day at 04:00")
    with pytest.raises(AttributeError):
        one.text = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "since", "tz", "moments"),
    [
        # Berlin has no 02:00 to 03:00 on 30 March 2025, and two on 26 October
        ("every day at 02:30", "2025-03-29 12:00", BERLIN, ["2025-03-30 03:00+02:00", "2025-03-31 02:30+02:00"]),
        ("*/20 2 * * *", "2025-03-29 02:30", BERLIN, ["2025-03-29 02:40+01:00", "2025-03-30 03:00+02:00", "2025-03-31 02:00+02:00"]),
        ("0 */2 * * *", "2025-03-30 00:00", BERLIN, ["2025-03-30 03:00+02:00", "2025-03-30 04:00+02:00"]),
        ("30 * * * *", "2025-03-30 00:40", BERLIN, ["2025-03-30 01:30+01:00", "2025-03-30 03:30+02:00"]),
        ("every hour at :30", "2025-03-30 00:40", BERLIN, ["2025-03-30 01:30+01:00", "2025-03-30 03:30+02:00"]),
        ("every 2 days at 02:30", "2025-03-28 02:30", BERLIN, ["2025-03-30 03:00+02:00", "2025-04-01 02:30+02:00"]),
        ("every sunday", "2025-03-23 02:30", BERLIN, ["2025-03-30 03:00+02:00", "2025-04-06 03:00+02:00"]),
        ("every day at 02:30", "2025-10-26 01:00", BERLIN, ["2025-10-26 02:30+02:00", "2025-10-27 02:30+01:00"]),
        ("every day", "2025-10-25 12:00", BERLIN, ["2025-10-26 11:00+01:00"]),
        ("30 * * * *", "2025-10-26 01:40", BERLIN, ["2025-10-26 02:30+02:00", "2025-10-26 02:30+01:00", "2025-10-26 03:30+01:00"]),
        ("every 2 hours at 30:00", "2025-10-26 00:30", BERLIN, ["2025-10-26 02:30+02:00", "2025-10-26 03:30+01:00"]),
        ("every 2 hours at 30:00", "2025-10-26 01:30", BERLIN, ["2025-10-26 02:30+01:00", "2025-10-26 04:30+01:00"]),
        # New York has no 02:00 to 03:00 on 9 March 2025, and 01:00 to 02:00 twice on 2 November
        ("30 2 9 3 *", "2025-03-01 00:00", NEW_YORK, ["2025-03-09 03:00-04:00", "2026-03-09 02:30-04:00"]),
        ("15,45 1 * * *", "2025-11-02 00:00", NEW_YORK, ["2025-11-02 01:15-04:00", "2025-11-02 01:45-04:00", "2025-11-03 01:15-05:00"]),
        ("every minute at :17", "2025-11-02 01:59:17", NEW_YORK, ["2025-11-02 01:00:17-05:00"]),
        ("every monday at 09:00", "2025-11-01 09:00", NEW_YORK, ["2025-11-03 09:00-05:00", "2025-11-10 09:00-05:00"]),
        # Lord Howe has no 02:00 to 02:30 on 5 October 2025, and 01:30 to 02:00 twice on 6 April
        ("every day at 02:10", "2025-10-04 12:00", LORD_HOWE, ["2025-10-05 02:30+11:00", "2025-10-06 02:10+11:00"]),
        ("every 2 hours at 10:00", "2025-10-05 00:20", LORD_HOWE, ["2025-10-05 02:30+11:00", "2025-10-05 04:10+11:00"]),
        ("every day at 01:45", "2025-04-05 12:00", LORD_HOWE, ["2025-04-06 01:45+11:00", "2025-04-07 01:45+10:30"]),
        ("45 * * * *", "2025-04-06 01:00", LORD_HOWE, ["2025-04-06 01:45+11:00", "2025-04-06 01:45+10:30", "2025-04-06 02:45+10:30"]),
        # a skipped day, a skipped midnight, and a night that is set back one minute after midnight
        ("every day at 12:00", "2011-12-29 11:00", ODD[2], ["2011-12-29 12:00-10:00", "2011-12-31 00:00+14:00", "2011-12-31 12:00+14:00"]),
        ("0 * * * fri", "2011-12-29 11:00", ODD[2], ["2012-01-06 00:00+14:00"]),
        ("0 0 * * *", "2018-11-03 12:00", ODD[1], ["2018-11-04 01:00-02:00", "2018-11-05 00:00-02:00"]),
        ("* * * * sun", "2018-11-03 12:00", ODD[1], ["2018-11-04 01:00-02:00"]),
        ("* * 29 10 *", "2006-10-28 23:00", ODD[0], ["2006-10-29 00:00-02:30", "2006-10-29 00:00-03:30", "2006-10-29 00:01-03:30"]),
    ],
)  # fmt: skip
def test_clocks_that_change(text: str, since: str, tz: ZoneInfo, moments: list[str]) -> None:
    assert runs(text, since, tz, len(moments)) == moments


def test_the_second_showing_of_a_time_belongs_to_the_first() -> None:
    for text in ("30 2 * * *", "every day at 02:30"):
        moment = calendar.next_after(calendar.parse(text), at("2025-10-26 02:10", BERLIN, fold=1), BERLIN)
        assert shown(moment, BERLIN) == "2025-10-27 02:30+01:00"


def some(low: int, high: int) -> st.SearchStrategy[str]:
    n = st.integers(low, high)
    span = st.tuples(n, n).map(lambda p: f"{min(p)}-{max(p)}")
    # cronsim takes 5-5/2 for 5/2, to which it adds all up to the end
    wide = span.filter(lambda s: s.split("-")[0] != s.split("-")[1])
    step = st.tuples(st.one_of(st.just("*"), wide), st.integers(1, 9)).map(lambda p: f"{p[0]}/{p[1]}")
    part = st.one_of(n.map(str), span, step)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


CRONS = st.tuples(some(0, 59), some(0, 23), some(1, 31), some(1, 12), some(0, 7)).map(" ".join)
# near the changes of all zones, and anywhere
CHANGES = [at("2025-03-30 03:00", BERLIN), at("2025-10-26 02:00", BERLIN), at("2025-03-09 03:00", NEW_YORK)]
CHANGES += [at("2025-11-02 01:00", NEW_YORK), at("2025-10-05 02:30", LORD_HOWE), at("2025-04-06 01:30", LORD_HOWE)]
NEAR = st.tuples(st.sampled_from(CHANGES), st.integers(-200_000, 10_000)).map(sum)
REFERENCES = st.one_of(NEAR, st.floats(1e9, 2e9), st.integers(10**9, 2 * 10**9).map(float))


@st.composite
def words(draw: st.DrawFn) -> str:
    unit = draw(st.sampled_from(["second", "minute", "hour", "day", "week", *cron.WEEKDAYS]))
    count = 1 if unit in cron.WEEKDAYS else draw(st.integers(1, 5))
    hour, minute, second = draw(st.integers(0, 23)), draw(st.integers(0, 59)), draw(st.integers(0, 59))
    forms = {"second": [""], "minute": [f":{second:02}"], "hour": [f":{minute:02}", f"{minute:02}:{second:02}"]}
    times = forms.get(unit, [f"{hour:02}:{minute:02}", f"{hour:02}:{minute:02}:{second:02}"])
    time = draw(st.sampled_from(["", *times]))
    return f"every {count} {unit}" + (f" at {time}" if time else "")


def parsed(text: str) -> calendar.Calendar:
    try:
        return calendar.parse(text)
    except ValueError as error:
        assume("never comes" not in str(error))
        raise


@given(st.one_of(CRONS, words()), REFERENCES, st.sampled_from([*ZONES, *ODD]))
def test_time_goes_on(text: str, reference: float, tz: ZoneInfo) -> None:
    known = parsed(text)
    moments = [reference]
    for _ in range(4):
        moments.append(calendar.next_after(known, moments[-1], tz))
    assert all(a < b for a, b in pairwise(moments))


@given(st.one_of(CRONS, words()), REFERENCES, st.sampled_from(ZONES), st.lists(st.floats(0, 1e6), min_size=2))
def test_what_is_due_stays_due(text: str, reference: float, tz: ZoneInfo, later: Sequence[float]) -> None:
    told = [calendar.due(parsed(text), reference, reference + d, tz) for d in sorted(later)]
    assert told == sorted(told)


def matching(rule: cron.Cron, wall: dt.datetime) -> bool:
    named, dated = wall.isoweekday() % 7 in rule.weekdays, wall.day in rule.days
    day = (named or dated) if rule.either else (named and dated)
    return day and wall.month in rule.months and wall.hour in rule.hours and wall.minute in rule.minutes


@given(CRONS, REFERENCES, st.sampled_from(ZONES))
def test_every_minute_was_looked_at(text: str, reference: float, tz: ZoneInfo) -> None:
    """Go minute by minute through two days: by the clock, and by the times the clock skipped."""
    rule = parsed(text).rule
    assert isinstance(rule, cron.Cron)
    found = cron.next_after(rule, reference, tz)
    first = int(reference) // 60 * 60 + 60
    expect, before = None, dt.datetime.fromtimestamp(first - 60, tz)
    for moment in range(first, first + 2 * 86400, 60):
        here = dt.datetime.fromtimestamp(moment, tz)
        walls = [] if here.fold and rule.hours != cron.ALL_HOURS else [here]
        skipped = (here.replace(tzinfo=None) - before.replace(tzinfo=None)) // dt.timedelta(minutes=1) - 1
        if rule.hours != cron.ALL_HOURS:
            walls += [here - dt.timedelta(minutes=n + 1) for n in range(skipped)]
        if any(matching(rule, wall) for wall in walls):
            expect = moment
            break
        before = here
    assert found == expect or (expect is None and found >= first + 2 * 86400)


@given(CRONS, REFERENCES, st.sampled_from(ZONES))
def test_cronsim_agrees(text: str, reference: float, tz: ZoneInfo) -> None:
    known = parsed(text)
    here = dt.datetime.fromtimestamp(int(reference), tz)
    if tz.key != "UTC":
        # What begins with a star goes by all that the clock shows there; here, what runs in every hour does. And from
        # a second showing, it goes back to the first.
        minute, hour, *_ = text.split()
        assume(not here.fold)
        assume(
            hour == "*" or (minute[0] != "*" and hour[0] != "*" and getattr(known.rule, "hours", ()) != cron.ALL_HOURS)
        )
    assert calendar.next_after(known, reference, tz) == next(CronSim(text, here)).timestamp()


@given(words(), st.integers(10**9, 2 * 10**9), st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata")]))
def test_schedule_agrees(text: str, reference: int, tz: ZoneInfo) -> None:
    now = dt.datetime.fromtimestamp(reference, tz).replace(tzinfo=None)
    _, count, unit, *rest = text.split()
    assume(not (unit == "week" and rest))  # schedule refuses it

    class Frozen(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            assert tz is None
            return now

    job = schedule.Scheduler().every(int(count))
    job = getattr(job, unit if unit in cron.WEEKDAYS else f"{unit}s")
    job = job.at(rest[1]) if rest else job
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "datetime", SimpleNamespace(datetime=Frozen, timedelta=dt.timedelta))
        job._schedule_next_run()  # noqa: SLF001  what do() and run() call
    assert job.next_run is not None
    assert calendar.next_after(calendar.parse(text), reference, tz) == job.next_run.replace(tzinfo=tz).timestamp()
