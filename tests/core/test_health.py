"""Ready and alive: when a look is due, and what an answer makes of a Run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.health import beat, coming, due, heard, is_ready, spared, unwell
from whiz.core.model import Answer, Ask, Check, On, Proc, Program, Restart, Run, Want
from whiz.core.value import replace

PORT = Check(way="port", what="127.0.0.1:80", within=10.0)
WEB = Program(name="web", argv=("/web",), ready=PORT, alive=Check(way="port", what="127.0.0.1:80", delay=5.0))
PROC = Proc("boot-1", 5, 1)
RUN = Run(id="r1", program=WEB, boot="boot-1", started=99.0, up=100.0, proc=PROC)
READY = replace(RUN, ready=103.0)


def asks(run: Run, now: float, program: Program = WEB, **asked: float) -> list[str]:
    return [a.kind for a in due({"web": program}, [run], {("r1", k): v for k, v in asked.items()}, now)]


def answer(run: Run, now: float, words: str = "", kind: str = "ready", program: Program = WEB) -> Run:
    return heard(program, run, Answer("r1", kind, not words, words), now)


def test_until_it_is_ready_it_is_looked_at_often_then_less() -> None:
    assert asks(RUN, 100.0) == ["ready"]
    assert asks(RUN, 100.05, ready=100.0) == []
    assert asks(RUN, 100.15, ready=100.0) == ["ready"]
    assert asks(RUN, 104.5, ready=104.0) == []
    assert asks(RUN, 105.5, ready=104.5) == ["ready"]
    assert list(coming({"web": WEB}, [RUN], 100.0)) == [100.1]
    assert list(coming({"web": WEB}, [RUN], 104.5)) == [105.0]


def test_then_it_is_looked_at_whether_it_is_alive() -> None:
    assert asks(READY, 107.9) == []
    assert list(coming({"web": WEB}, [READY], 107.0)) == [108.0]
    assert asks(READY, 108.0) == ["alive"]
    assert asks(READY, 109.0, alive=108.0) == []
    assert asks(READY, 110.0, alive=108.0) == ["alive"]
    assert asks(READY, 119.0, alive=110.0) == []
    assert list(coming({"web": WEB}, [READY], 108.0)) == [110.0]
    assert list(coming({"web": WEB}, [READY], 110.0)) == [120.0]
    assert asks(replace(RUN, up=None), 104.0, replace(WEB, ready=None)) == ["alive"]


@pytest.mark.parametrize(
    ("run", "program"),
    [
        (RUN, Program(name="other", argv=("/web",))),
        (RUN, replace(WEB, want=Want.DOWN)),
        (RUN, replace(WEB, argv=("/other",))),
        (RUN, replace(WEB, ready=None, alive=None)),
        (READY, replace(WEB, alive=None)),
        (replace(RUN, proc=None), WEB),
        (replace(RUN, asked=101.0), WEB),
        (replace(RUN, exited=101.0), WEB),
        (replace(RUN, unfit="so"), WEB),
    ],
)
def test_nobody_looks_at_what_is_not_to_go_on_or_asks_for_nothing(run: Run, program: Program) -> None:
    assert list(due({program.name: program}, [run], {}, 200.0)) == []
    assert list(coming({program.name: program}, [run], 200.0)) == []


def test_what_an_answer_teaches() -> None:
    assert is_ready(replace(WEB, ready=None), RUN)
    assert not is_ready(WEB, RUN)
    assert unwell(WEB, RUN, 100.0) == (100.1, "not ready yet")
    refused = answer(RUN, 101.0, "refused")
    assert unwell(WEB, refused, 101.0) == (101.1, "not ready yet: refused")
    ready = answer(refused, 102.0)
    assert (ready.ready, ready.ails, ready.unfit) == (102.0, "", None)
    assert is_ready(WEB, ready)
    assert unwell(WEB, ready, 102.0) is None
    assert answer(ready, 103.0, "late", "ready") == ready  # an answer to a question that is settled
    assert answer(RUN, 109.9, "refused").unfit is None
    assert answer(RUN, 110.0, "refused").unfit == "not ready within 10 s: refused"
    assert answer(RUN, 500.0).ready == 500.0  # nobody looked in time: that is not its fault
    assert heard(WEB, RUN, None, 500.0) == RUN


def test_three_failures_in_a_row_are_enough() -> None:
    once = answer(READY, 108.0, "HTTP status 500", "alive")
    twice = answer(once, 118.0, "refused", "alive")
    assert (once.ailing, twice.ailing, twice.unfit) == (1, 2, None)
    assert unwell(WEB, twice, 118.0) == (120.0, "not alive 2 of 3 times: refused")
    assert answer(twice, 128.0, "refused", "alive").unfit == "not alive 3 of 3 times: refused"
    assert answer(twice, 128.0, "", "alive") == replace(READY, ailing=0)
    assert answer(READY, 128.0, "", "alive") == READY
    assert heard(replace(WEB, alive=None), twice, None, 130.0).ailing == 0  # nobody asks any more
    assert unwell(replace(WEB, alive=replace(PORT, failures=1)), replace(READY, ailing=1, ails="x"), 103.0) == (
        110.0,
        "not alive: x",
    )


def test_a_look_that_was_not_taken_is_no_verdict() -> None:
    """Neither `within` nor `failures` end a program that nobody could look at; that nothing is known is said."""

    def unseen(run: Run, now: float, kind: str) -> Run:
        return heard(WEB, run, Answer("r1", kind, well=False, words="not looked at: so", taken=False), now)

    late = unseen(RUN, 500.0, "ready")
    assert (late.unfit, late.ready) == (None, None)
    assert unwell(WEB, late, 500.0) == (501.0, "not ready yet: not looked at: so")
    run = READY
    for now in (108.0, 118.0, 128.0, 138.0):
        run = unseen(run, now, "alive")
    assert (run.ailing, run.unfit) == (0, None)
    assert unwell(WEB, run, 138.0) == (140.0, "not known whether it is alive: not looked at: so")
    assert unwell(WEB, answer(run, 148.0, "", "alive"), 148.0) is None
    once = answer(run, 148.0, "refused", "alive")
    assert unseen(once, 158.0, "alive") == once


def test_who_gives_itself_up_is_believed_at_once() -> None:
    """Whatever delay and failures are; silence counts only after the delay."""
    check = Check(way="notify", delay=30.0, failures=3)
    told = replace(WEB, ready=None, alive=check)
    run = replace(RUN, program=told)
    assert asks(run, 100.0, told) == ["alive"]
    assert [spared(run, check, now) for now in (129.9, 130.0)] == [True, False]
    assert spared(replace(run, up=None), check, 128.9)
    assert not spared(replace(run, ready=50.0), check, 128.9)
    over = Answer("r1", "alive", well=False, words="it said so", over=True)
    assert heard(told, run, over, 101.0) == replace(run, ailing=1, ails="it said so", unfit="not alive: it said so")


def test_who_was_found_running_has_nothing_to_say_it_with() -> None:
    told = replace(WEB, ready=Check(way="notify"), alive=Check(way="notify"))
    adopted = replace(RUN, program=told, adopted=True)
    ready = heard(told, adopted, None, 101.0)
    assert ready.ready == 101.0
    assert answer(ready, 999.0, "silent", "alive", told) == ready


@pytest.mark.parametrize(
    ("age", "kept", "still", "expect"),
    [
        (3.0, 0.0, 0.0, (True, "no sign of life for 3 s")),
        (31.0, 0.0, 0.0, (False, "no sign of life for 31 s")),
        (1.5e9, 1.5e9, 4.0, (True, "no sign of life for 4 s")),  # the clock was set: 50 years
        (1.5e9, 1.5e9, 40.0, (False, "no sign of life for 40 s")),
        (-1.5e9, -1.5e9, 40.0, (False, "no sign of life for 40 s")),
        (-0.5, 0.5, 40.0, (True, "no sign of life for 0 s")),
        (-1.5e9, 0.0, 40.0, (False, "no sign of life for 40 s")),  # a file that says it is of the year 2100
    ],
)
def test_the_age_of_a_sign_of_life(age: float, kept: float, still: float, expect: tuple[bool, str]) -> None:
    assert beat(Check(way="file", timeout=30.0), age, kept, still) == expect


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.booleans()), max_size=40))
def test_unfit_after_just_so_many_in_a_row(row: list[tuple[float, bool]]) -> None:
    run, now, bad = READY, 108.0, 0
    for pause, well in row:
        now += pause
        run = answer(run, now, "" if well else "no", "alive")
        bad = 0 if well else bad + 1
        assert (run.unfit is not None) == (bad >= 3)
        if run.unfit:
            break


@given(st.floats(0.0, 1000.0), st.floats(0.0, 60.0))
def test_no_look_is_taken_twice_and_none_is_forgotten(now: float, pause: float) -> None:
    """After a look, the next one is due exactly from its announced moment on."""
    run = replace(READY, ready=0.0)
    asked = {("r1", "alive"): now}
    (again,) = coming({"web": WEB}, [run], now)
    taken = list(due({"web": WEB}, [run], asked, now + pause))
    assert again > now
    if now >= 5.0:
        assert (taken != []) == (now + pause >= again) or abs(now + pause - again) < 1e-6


def test_what_a_program_says_itself() -> None:
    def says(**checks: Any) -> tuple[str, ...]:
        return Program(name="a", argv=("/a",), **checks).says

    assert says() == ()
    assert says(ready=PORT) == ()
    assert says(ready=Check(way="fd", what="3")) == ("fd 3",)
    assert says(ready=Check(way="notify")) == ("notify",)
    assert says(alive=Check(way="notify", timeout=30.0)) == ("notify", "watchdog 30")
    assert Program(name="a", argv=("/a",), ready=Check(way="notify")).kept
    assert not Program(name="a", argv=("/a",), ready=PORT, restart=Restart(on=On.ALWAYS)).kept
    assert Ask(RUN, "ready", PORT) == Ask(RUN, "ready", PORT)
