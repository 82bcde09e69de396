"""The calendar as a wish: what is due, from when it is reckoned, and what plan makes of it."""

from __future__ import annotations

from datetime import UTC

import pytest

from tests.fake import FakeHost, FakeStore
from whiz.core.agenda import BACK, Reckoned, agenda, at_rest
from whiz.core.model import On, Program, Restart, Run, Want, Wishes
from whiz.core.plan import plan
from whiz.core.status import report
from whiz.core.value import replace
from whiz.core.wire import dump, load
from whiz.loop import turn

T = Program(
    name="t", argv=("/t",), want=Want.DONE, schedule="every 10 minutes", restart=Restart(on=On.FAILURE, delay=5.0)
)
UP = Program(name="up", argv=("/up",))
MANIFEST = {"t": T, "up": UP}
NONE: dict[str, Reckoned] = {}


def test_first_seen_it_is_reckoned_from_now() -> None:
    wishes, known = agenda(MANIFEST, NONE, Wishes(), 1000.0, UTC)
    assert wishes == Wishes(coming=(("t", 600.0),))
    assert known == {"t": Reckoned("every 10 minutes", 1000.0)}


@pytest.mark.parametrize(
    ("since", "schedule", "now", "due", "kept"),
    [
        (1000.0, "every 10 minutes", 1599.0, False, 1000.0),
        (1000.0, "every 10 minutes", 1600.0, True, 1000.0),
        (1000.0, "every 10 minutes", 99_999.0, True, 1000.0),  # missed many times: once
        (1000.0, "every 5 minutes", 1600.0, False, 1600.0),  # another schedule: from now
        (5000.0, "every 10 minutes", 5000.0 - BACK, False, 5000.0),  # the clock was set a little back
        (5000.0, "every 10 minutes", 4000.0, False, 4000.0),  # much: its old readings mean nothing any more
    ],
)
def test_when_it_is_due(since: float, schedule: str, now: float, due: bool, kept: float) -> None:
    wishes, known = agenda(MANIFEST, {"t": Reckoned(schedule, since)}, Wishes(), now, UTC)
    assert ("t" in wishes.due) is due
    assert known["t"].since == kept
    assert load(Reckoned, dump(known["t"])) == known["t"]


def test_what_plan_makes_of_it() -> None:
    due = Wishes(due=frozenset({"t"}))
    assert plan({"t": T}, (), Wishes(coming=(("t", 60.0),)), 0.0, "b") == ()
    (start,) = plan({"t": T}, (), due, 0.0, "b")
    assert start.why == "due: every 10 minutes"
    well = Run(id="r", program=T, boot="b", started=1.0, keeper=None, exited=2.0, exit=0, ended=2.0)
    well = replace(well, proc=FakeHost().by_hand("t"))
    assert plan({"t": T}, (well,), Wishes(), 9.0, "b") == ()
    assert [s.why for s in plan({"t": T}, (well,), due, 9.0, "b")] == ["due: every 10 minutes"]
    changed = replace(T, argv=("/t", "2"))
    assert plan({"t": changed}, (well,), Wishes(), 9.0, "b") == ()  # the new one runs when it is due
    failed = replace(well, exit=1)
    assert next(s.why for s in plan({"t": T}, (failed,), Wishes(), 3.0, "b")).startswith("exited 1; back-off")
    again = Wishes(restarts=frozenset({("t", "r")}))
    assert [s.why for s in plan({"t": T}, (well,), again, 9.0, "b")] == ["restart asked for"]
    assert at_rest(T, well, Wishes())
    assert not at_rest(T, failed, Wishes())
    assert not at_rest(UP, None, Wishes())


def test_what_status_says() -> None:
    wishes = Wishes(coming=(("t", 7200.0),))
    (row,) = report({"t": T}, (), wishes, (), 0.0)
    assert (row.state, row.why) == ("waiting", "every 10 minutes: next in 2 h")
    well = Run(id="r", program=T, boot="b", started=1.0, exited=2.0, exit=0, ended=2.0)
    (row,) = report({"t": T}, (well,), Wishes(), (), 9.0)
    assert (row.state, row.why) == ("succeeded", "every 10 minutes")


def test_turns_over_a_day() -> None:
    """Once in ten minutes, whoever asks how often; overlap is skipped and said; nothing is due twice."""
    host, store = FakeHost(lives={"t": (700.0, 0)}), FakeStore()  # it takes longer than its interval
    clock = host.clock()
    begin = host.now
    while host.now < begin + 86_400:
        turn(host, store, {"t": T}, clock)
        host.wait((), 37.0)
    starts = [f for f in store.facts if f["event"] == "start"]
    skips = [f for f in store.facts if f["event"] == "skip"]
    assert host.most["t"] == 1
    assert 60 <= len(starts) <= 72  # each start is followed by one moment that is skipped, and one that is not
    assert abs(len(starts) - len(skips)) <= 1
    assert skips[0]["why"] == "still running when it was due: every 10 minutes"


def test_a_missed_day_is_caught_up_once() -> None:
    host, store = FakeHost(lives={"t": (1.0, 0)}), FakeStore()
    clock = host.clock()
    turn(host, store, {"t": T}, clock)
    host.wait((), 86_400.0)
    for _ in range(5):
        turn(host, store, {"t": T}, clock)
        host.wait((), 10.0)
    assert len(host.starts) == 1
