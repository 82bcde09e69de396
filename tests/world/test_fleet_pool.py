"""The pool of a fleet, without a network: how many at once, who is waited for, who is not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from whiz.core.fleet.answers import Fate, Reply
from whiz.core.fleet.model import Host
from whiz.world.fleet import pool
from whiz.world.fleet.pool import Gone, Turn, each


def hosts(n: int, timeout: float = 100.0) -> list[Host]:
    return [Host(name=str(i), address=str(i), timeout=timeout) for i in range(n)]


def nobody(_: Reply, __: tuple[str, ...]) -> None:
    return


def test_so_many_at_once_and_no_more() -> None:
    """Three at a time meet at a barrier: fewer would never pass it, and more are counted."""
    barrier, lock, at_once, most = threading.Barrier(3), threading.Lock(), 0, 0
    told: list[str] = []

    def work(turn: Turn) -> Reply:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        barrier.wait()
        with lock:
            at_once -= 1
        return Reply(turn.host.name, 0)

    replies = each(hosts(9), work, lambda r, _: told.append(r.host), jobs=3)
    assert [r.host for r in replies] == [str(i) for i in range(9)]
    assert sorted(told) == [str(i) for i in range(9)]
    assert most == 3


class Line:
    """What a host's thread waits for: until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Clock:
    """Time stands still until both hosts are where they are to be when it is up."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_who_does_not_answer_is_given_up_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ready = Clock(), threading.Barrier(2)
    monkeypatch.setattr(pool, "time", clock)
    lines = {"0": Line(), "1": Line()}

    def work(turn: Turn) -> Reply:
        line = lines[turn.host.name]
        turn.keep(line)
        if turn.host.name == "1":
            turn.ask()
        if ready.wait() == 0:
            clock.now = 1000.0
        line.closed.wait()
        turn.ask()  # too late: nothing may go out
        raise AssertionError

    replies = each(hosts(2, 0.2), work, nobody)
    assert [r.fate for r in replies] == [Fate.OFFLINE, Fate.FAILED]
    assert replies[1].why == "no answer within 0.2 s: it may still be at it"
    assert all(line.closed.is_set() for line in lines.values())


def test_even_one_that_cannot_be_cut_off_holds_nobody_up() -> None:
    """Its thread hangs for good; with one at a time the next one still gets its turn."""
    hangs = threading.Event()

    def work(turn: Turn) -> Reply:
        if turn.host.name == "0":
            hangs.wait()
        return Reply(turn.host.name, 0)

    first, second = hosts(2)
    first = hosts(1, 0.2)[0]
    try:
        replies = each([first, second], work, nobody, jobs=1)
    finally:
        hangs.set()
    assert [(r.fate, r.exit) for r in replies] == [(Fate.OFFLINE, None), (None, 0)]


def test_what_goes_wrong_with_one_is_its_own() -> None:
    def work(turn: Turn) -> Reply:
        if turn.host.name == "1":
            raise RuntimeError("odd")
        return Reply(turn.host.name, 0)

    replies = each(hosts(3), work, nobody)
    assert [r.why for r in replies] == ["", "RuntimeError: odd", ""]


def test_interrupted_it_says_who_was_asked() -> None:
    line = Line()

    def work(turn: Turn) -> Reply:
        if turn.host.name == "0":
            return Reply("0", 0)
        turn.keep(line)
        if turn.host.name == "1":
            turn.ask()
            os.kill(os.getpid(), signal.SIGINT)
        line.closed.wait()
        return Reply(turn.host.name, 0)

    replies = each(hosts(3), work, nobody, jobs=1)
    assert [r.fate for r in replies] == [None, Fate.CUT, Fate.NEVER]
    assert line.closed.is_set()


def test_nothing_is_kept_of_a_turn_that_is_over() -> None:
    turn, line = Turn(hosts(1)[0]), Line()
    turn.end()
    with pytest.raises(Gone):
        turn.keep(line)
    with pytest.raises(Gone):
        turn.ask()
    assert line.closed.is_set()
