"""Whom a command means, and what is made of the answers."""

from __future__ import annotations

import json

import pytest

from whiz.core.errors import UsageError
from whiz.core.fleet.answers import Fate, Reply, Row, heard, interrupted, printable, read, summary, verdict
from whiz.core.fleet.model import Fleet, Host
from whiz.core.fleet.select import once, select

HOSTS = {n: Host(name=n, address=n) for n in ("cam1", "cam2", "cam10", "gate")}
FLEET = Fleet(HOSTS, {"cameras": ("cam1", "cam2", "cam10"), "north": ("cam1", "gate")})


@pytest.mark.parametrize(
    ("to", "names"),
    [
        ("all", "cam1 cam2 cam10 gate"),
        ("cameras", "cam1 cam2 cam10"),
        ("gate,cam1", "cam1 gate"),
        ("cameras:!north", "cam2 cam10"),
        ("!cameras", "gate"),
        ("cameras:&north", "cam1"),
        ("&north", "cam1 gate"),
        ("cam?", "cam1 cam2"),
        ("n*", "cam1 gate"),
        ("cam1,cam1,cameras", "cam1 cam2 cam10"),
    ],
)
def test_whom(to: str, names: str) -> None:
    assert [h.name for h in select(FLEET, to)] == names.split()


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("camera", "no host and no group is named 'camera'\nhint: did you mean 'cameras'?"),
        ("zebra", "no host and no group is named 'zebra'"),
        ("gate:!gate", "--to gate:!gate: that is no host"),
        ("x*", "that is no host"),
        ("", "--to is empty, and names nobody"),
        (" , ", "--to is empty"),
    ],
)
def test_nobody(to: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(FLEET, to)
    assert expected in str(caught.value)


def test_an_empty_fleet() -> None:
    with pytest.raises(UsageError, match="has no hosts"):
        select(Fleet({}, {}))


def test_one_host_of_two_names_is_asked_once() -> None:
    a, b = Host(name="a", address="x"), Host(name="b", address="x")
    others = (
        Host(name="c", address="x", port=23),
        Host(name="d", address="x", user="pi"),
        Host(name="e", address="x", jump=(a,)),
    )
    assert once((a, b, *others)) == ((a, *others), (("b", "a"),))


def said(code: int = 0, **data: object) -> Reply:
    return Reply("pi", code, json.dumps({"version": 1, **data}))


STEP = {"order": "start", "program": "web", "why": "not running"}
GAVE_UP = {"order": "wait", "program": "web", "why": "gave up", "failed": True}
PROBLEM = {"file": "/w", "line": 3, "message": "no '|'"}


@pytest.mark.parametrize(
    ("reply", "fate", "says"),
    [
        (said(steps=[]), Fate.OK, "every wish holds"),
        (said(3, steps=[STEP, STEP]), Fate.PENDING, "start web, start web"),
        (said(3, steps=[]), Fate.PENDING, "not every wish holds"),
        (said(1, steps=[STEP, GAVE_UP]), Fate.FAILED, "web: gave up"),
        (said(2, error="no such\nfile", exit=2), Fate.FAILED, "no such"),
        (said(75, error="busy"), Fate.BUSY, "busy"),
        (said(2, steps=[], problems=[PROBLEM, PROBLEM]), Fate.FAILED, "/w:3: no '|', and 1 more"),
        (said(2, problems=[PROBLEM]), Fate.FAILED, "/w:3: no '|'"),
        (said(2, problems=["odd"]), Fate.FAILED, "?:?: ?"),
        (said(programs=[{"state": "running"}, {"state": "held"}]), Fate.OK, "1 running, 1 held"),
        (said(programs=[]), Fate.OK, "no programs"),
        (said(programs=[{"name": "a", "lines": ["x"]}]), Fate.OK, "1 line"),
        (said(history=[{}, {}]), Fate.OK, "2 facts"),
        (said(findings=[{"grade": "advice"}]), Fate.OK, "1 to be advised of"),
        (said(1, findings=[{"grade": "trouble", "about": "clock", "says": "it is 1970"}]), Fate.FAILED, "clock: it is 1970"),
        (said(), Fate.OK, "ok"),
        (said(steps=3), Fate.FAILED, "its answer has not the form of whiz's"),
        (said(programs=["x"]), Fate.FAILED, "its answer has not the form of whiz's"),
        (Reply("pi", 0, '{"version": 2}'), Fate.FAILED, "its whiz speaks format 2, this one 1: upgrade the older"),
        (Reply("pi", 0, 'Welcome!\n{"version": 1, "steps": []}\n{bye\n{"a": 1}'), Fate.OK, "every wish holds"),
        (Reply("pi", 127, "", "sh: whiz: not found"), Fate.FAILED, "there is no whiz: install whiz, or say where it is (whiz:)"),
        (Reply("pi", 1, "", "sudo: whiz: command not found"), Fate.FAILED, "there is no whiz: install whiz, or say where it is (whiz:)"),
        (Reply("pi", 1, "", "sudo: a password is required\n"), Fate.FAILED, "sudo: a password is required (become needs sudo without a password)"),
        (Reply("pi", 1, "", "oh\n\x1b[2Jno"), Fate.FAILED, "exited 1: ?[2Jno"),
        (Reply("pi", 0, "hello"), Fate.FAILED, "its answer is not whiz's JSON"),
        (Reply("pi", 0, "x", cut=3), Fate.FAILED, "it said more than is read, and not what whiz says"),
        (Reply("pi", fate=Fate.OFFLINE, why="off"), Fate.OFFLINE, "off"),
        (Reply("pi", None, '{"version": 1}'), Fate.FAILED, "failed"),
    ],
)  # fmt: skip
def test_answers(reply: Reply, fate: Fate, says: str) -> None:
    row = read(reply)
    assert (row.fate, row.says) == (fate, says)


@pytest.mark.parametrize(
    ("reply", "fate", "says"),
    [
        (Reply("pi", 0, "a\nb\n"), Fate.OK, "b"),
        (Reply("pi", 0), Fate.OK, ""),
        (Reply("pi", 2, "a", "bad\n"), Fate.FAILED, "exited 2: bad"),
        (Reply("pi", 2), Fate.FAILED, "exited 2"),
        (Reply("pi", fate=Fate.OFFLINE, why="off"), Fate.OFFLINE, "off"),
    ],
)
def test_what_other_commands_say(reply: Reply, fate: Fate, says: str) -> None:
    row = heard(reply)
    assert (row.fate, row.says) == (fate, says)


@pytest.mark.parametrize(
    ("fates", "code"),
    [
        ("ok ok", 0),
        ("ok pending", 3),
        ("ok busy", 3),
        ("ok pending offline", 4),
        ("offline failed", 1),
        ("unknown ok", 1),
        ("ok", 0),
    ],
)
def test_one_exit_status_of_many(fates: str, code: int) -> None:
    assert verdict(rows(fates)) == code


def rows(fates: str) -> list[Row]:
    return [Row(host=str(n), fate=Fate(f), says="") for n, f in enumerate(fates.split())]


def test_one_line_of_many() -> None:
    assert summary(rows("ok offline ok")) == "3 hosts: 2 ok, 1 offline"
    assert summary(rows("ok")) == "1 host: 1 ok"
    never = [*rows("ok unknown"), Row(host="x", fate=Fate.NEVER, says="")]
    assert interrupted(never, acts=True) == "interrupted: 1 answered, 1 was asked and may go on with it, 1 not asked"
    assert interrupted(rows("unknown unknown"), acts=False) == "interrupted: 0 answered, 2 were asked, 0 not asked"


def test_no_terminal_is_moved() -> None:
    assert printable("a\tb\x1b\x07é") == "a b??é"
