"""What hosts say of a deploy, read into words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.fleet.answers import Fate, Reply
from whiz.core.release import reports
from whiz.core.release.release import is_digest
from whiz.core.release.reports import Goal, Result, Standing, Told
from whiz.core.shape import good_name
from whiz.core.value import replace

NEW, OLD = "b" * 64, "a" * 64
GOAL = Goal(app="camera", repo="r1", channel="stable", id=NEW, label="two", seq=50)
STATUS: dict[str, Any] = {
    "version": 1, "app": "camera", "repo": "r1", "channel": "stable", "seq": 49, "host": "attic", "groups": ["cams"],
    "current": OLD, "releases": [OLD], "trial": None, "bad": [],
}  # fmt: skip
WAS = Standing(host="pi", node="attic", current=OLD)
PULL: dict[str, Any] = {
    "version": 1, "did": "updated", "id": NEW, "label": "two", "words": "two runs now", "why": "", "seq": 50, "fetched": 1200,
}  # fmt: skip


def reply(*lines: dict[str, Any] | str, code: int = 0, err: str = "") -> Reply:
    out = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return Reply("pi", code, out, err)


def offline() -> Reply:
    return Reply("pi", fate=Fate.OFFLINE, why="no route to host")


def programs(**states: str) -> dict[str, Any]:
    return {"version": 1, "programs": [{"name": n, "state": s} for n, s in states.items()]}


def status(**more: Any) -> dict[str, Any]:
    return STATUS | more


def test_how_a_host_is() -> None:
    noisy = reply("Welcome", programs(camera="running", web="failed"), STATUS)
    assert reports.standing(noisy, "pi", GOAL) == Standing(
        host="pi", node="attic", current=OLD, releases=(OLD,), groups=("cams",), ill=(("web", "failed"),)
    )
    assert reports.standing(reply(status(current=None, releases=[])), "pi", GOAL).current is None


@pytest.mark.parametrize(
    ("answer", "out", "says"),
    [
        (offline(), Result.OFFLINE, "no route to host"),
        (Reply("pi", fate=Fate.NEVER), Result.WAITING, ""),
        (Reply("pi", fate=Fate.CUT), Result.WAITING, ""),
        (Reply("pi", fate=Fate.FAILED, why="its host key"), Result.FAILED, "its host key"),
        (reply(programs(), err="sh: not found", code=127), Result.FAILED, "there is no quesofiesta: install whiz"),
        (reply("what?"), Result.FAILED, "its answer is not whiz's JSON"),
        (reply({"version": 1, "error": "no file\nhint"}, code=2), Result.FAILED, "no file"),
        (reply({"version": 2}), Result.FAILED, "its whiz speaks format 2"),
        (reply({"version": 1, "app": "camera"}), Result.FAILED, "not the form"),
        (reply(status(channel="beta")), Result.ELSEWHERE, "follows camera in the channel beta"),
        (reply(status(app="radio")), Result.ELSEWHERE, "follows radio in the channel stable"),
        (reply(status(repo="r2")), Result.ELSEWHERE, "follows camera in the channel stable of another repository"),
    ],
)
def test_who_is_not_asked_to_pull(answer: Reply, out: Result, says: str) -> None:
    found = reports.standing(answer, "pi", GOAL)
    assert found.out is out
    assert says in found.says
    assert found.host == "pi"


@pytest.mark.parametrize(
    ("answer", "result", "says"),
    [
        (reply(PULL), Result.UPDATED, "1.2 kB fetched"),
        (reply(PULL | {"did": "nothing"}), Result.UPDATED, "1.2 kB fetched"),
        (reply(PULL | {"id": OLD, "did": "nothing", "seq": 49}), Result.STALE, "its mirrors still have number 49"),
        (reply(PULL | {"id": OLD, "seq": 49}, code=3), Result.STALE, "number 49, which is past its time"),
        (reply(PULL | {"id": OLD, "label": "one"}), Result.PINNED, "is to run one"),
        (reply(PULL | {"id": OLD, "label": ""}), Result.PINNED, "is to run aaaaaaaaaaaa"),
        (reply(PULL | {"did": "back", "why": "camera: exited 3\nno lens"}, code=1), Result.BACK, "camera: exited 3"),
        (reply(PULL | {"did": "back", "why": ""}, code=1), Result.BACK, ""),
        (
            reply(PULL | {"did": "bad", "words": "two failed here before: x\nhint: y"}, code=1),
            Result.FAILED,
            "two failed here before: x; --label NAME has it tried anew",
        ),
        (reply(PULL | {"seq": "x"}), Result.FAILED, "not the form"),
        (reply({"version": 1, "error": "no room"}, code=1), Result.FAILED, "no room"),
        (reply({"version": 1, "error": "another quesofiesta"}, code=75), Result.FAILED, "another quesofiesta"),
        (reply(err="Killed", code=137), Result.FAILED, "exited 137: Killed"),
        (offline(), Result.OFFLINE, "will catch up: no route to host"),
        (Reply("pi", fate=Fate.CUT, why="asked"), Result.UNKNOWN, "asked"),
        (Reply("pi", fate=Fate.NEVER, why="interrupted"), Result.WAITING, "interrupted"),
        (Reply("pi", fate=Fate.FAILED, why="no answer"), Result.FAILED, "no answer"),
    ],
)
def test_what_a_pull_came_to(answer: Reply, result: Result, says: str) -> None:
    found = reports.pulled(answer, WAS, GOAL)
    assert found.result is result
    assert says in found.says
    assert "\n" not in found.says


def test_who_had_it_already_and_the_last_lines_of_who_turned_back() -> None:
    had = replace(WAS, current=NEW)
    assert reports.pulled(reply(PULL | {"did": "nothing"}), had, GOAL).result is Result.ALREADY
    why = "\n".join(["exited 3", *(f"line {n}\x1b" for n in range(50))])
    found = reports.pulled(reply(PULL | {"did": "back", "why": why}, code=1), WAS, GOAL)
    assert found.log == tuple(f"line {n}?" for n in range(30, 50))


def told(result: Result, says: str = "so", **more: Any) -> Told:
    return Told(host="pi", result=result, says=says, **more)


BACK = status(bad=[{"id": NEW, "label": "two", "why": "exited 3\nno lens"}])


@pytest.mark.parametrize(
    ("before", "answer", "result", "says"),
    [
        (Result.UPDATED, reply(status(current=NEW)), Result.UPDATED, "so"),
        (Result.ALREADY, reply(status(current=NEW)), Result.ALREADY, "so"),
        (Result.UPDATED, reply(programs(a="running"), status(current=NEW)), Result.UPDATED, "so"),
        (
            Result.UPDATED,
            reply(programs(a="crash-loop", web="lost"), status(current=NEW)),
            Result.FAILED,
            "a (crash-loop)",
        ),
        (Result.UPDATED, offline(), Result.FAILED, "was updated, and now: no route to host"),
        (Result.UPDATED, reply(BACK), Result.BACK, "exited 3"),
        (Result.UPDATED, reply(STATUS), Result.FAILED, "was updated, and does not run it any more"),
        (Result.UPDATED, reply(status(current=NEW, trial={})), Result.FAILED, "does not run it any more"),
        (Result.OFFLINE, offline(), Result.OFFLINE, "so"),
        (Result.OFFLINE, reply(status(current=NEW)), Result.UPDATED, "by itself"),
        (Result.STALE, reply(status(current=NEW)), Result.UPDATED, "by itself"),
        (Result.STALE, reply(STATUS), Result.STALE, "so"),
        (Result.STALE, reply(BACK), Result.BACK, "exited 3"),
        (Result.STALE, reply(status(bad=[{"id": NEW, "label": "one", "why": "x"}])), Result.STALE, "so"),
        (Result.FAILED, reply(status(current=NEW)), Result.FAILED, "so"),
        (Result.FAILED, offline(), Result.FAILED, "so"),
    ],
)
def test_who_is_still_well(before: Result, answer: Reply, result: Result, says: str) -> None:
    """What was ill before is not held against it."""
    was = replace(WAS, ill=(("web", "failed"),))
    found = reports.looked(told(before), answer, was, GOAL)
    assert found.result is result
    assert says in found.says
    assert (found.log == ("no lens",)) == (result is Result.BACK)


ONE = Goal(app="camera", repo="r1", channel="stable", id=OLD, label="one", seq=51)
AGAIN = PULL | {"id": OLD, "label": "one", "seq": 51}


@pytest.mark.parametrize(
    ("before", "answer", "result", "says"),
    [
        (Result.UPDATED, reply(AGAIN), Result.RETURNED, "runs one again"),
        (Result.FAILED, reply(AGAIN), Result.FAILED, "so; runs one again"),
        (Result.UPDATED, reply(AGAIN | {"id": "c" * 64, "label": "pin"}), Result.RETURNED, "runs one again"),
        (Result.UPDATED, offline(), Result.UPDATED, "so; goes back to one at its next pull: no route to host"),
        (Result.UPDATED, Reply("pi", fate=Fate.CUT, why="asked"), Result.UPDATED, "at its next pull: asked"),
        (Result.UPDATED, reply(PULL), Result.UPDATED, "at its next pull: its mirrors still have number 50"),
        (Result.UPDATED, reply({"version": 1, "error": "no room"}, code=1), Result.FAILED, "did not go back to one: no room"),
    ],
)  # fmt: skip
def test_who_went_back(before: Result, answer: Reply, result: Result, says: str) -> None:
    found = reports.returned(told(before), answer, ONE)
    assert found.result is result
    assert says in found.says


@pytest.mark.parametrize(
    ("results", "ended", "code"),
    [
        ("updated already offline pinned elsewhere", False, 0),
        ("updated stale offline", False, 3),
        ("updated stale failed", False, 1),
        ("updated unknown", False, 1),
        ("rolled back", False, 1),
        ("updated", True, 1),
    ],
)
def test_the_exit_status(results: str, code: int, *, ended: bool) -> None:
    names = [results] if results == "rolled back" else results.split()
    assert reports.verdict([told(Result(n)) for n in names], ended=ended) == code


def test_how_many_failed_of_those_that_answered() -> None:
    rows = [told(r) for r in Result]
    assert reports.tally(rows) == (3, 5)
    assert reports.summary(rows[:3]) == "3 hosts: 1 updated, 1 already, 1 offline"
    assert reports.summary(rows[:1]) == "1 host: 1 updated"


def test_what_a_host_has_to_fetch() -> None:
    known = {OLD: {"x": 1, "y": 2}, "c" * 64: {"z": 4}}
    new = {"x": 1, "z": 4, "w": 8}
    assert reports.fetches(replace(WAS, current=None), new, known) == 13
    assert reports.fetches(WAS, new, known) == 12
    assert reports.fetches(replace(WAS, releases=("c" * 64, "gone")), new, known) == 8


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, NEW, "back", "bad", 1, {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["id", "label"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FORMS = [status(bad=[{"id": NEW, "label": "two", "why": "x"}]), status(current=NEW), PULL, programs(camera="failed")]


@st.composite
def strange(draw: st.DrawFn) -> Reply:
    """Return lines that are nearly what whiz says: some values, or all of it, are something else."""
    lines = []
    for form in draw(st.lists(st.sampled_from(FORMS), min_size=1, max_size=3)):
        keys = draw(st.lists(st.sampled_from(sorted(form)), max_size=3))
        lines.append(json.dumps(form | {k: draw(ODD) for k in keys}))
    lines += draw(st.lists(ODD.map(json.dumps) | st.text(max_size=20), max_size=1))
    return reply(*lines, code=draw(st.sampled_from([0, 1, 3, 75])), err=draw(st.text(max_size=10)))


@given(strange(), strange(), strange())
def test_whatever_a_host_says_becomes_a_row(first: Reply, second: Reply, third: Reply) -> None:
    """And what a channel or a path is made of is a name or a digest."""
    was = reports.standing(first, "pi", GOAL)
    assert good_name(was.node)
    assert all(map(is_digest, was.releases))
    assert was.current is None or is_digest(was.current)
    rows = [reports.pulled(second, was, GOAL)]
    rows += [reports.looked(rows[0], third, was, GOAL), reports.returned(rows[0], third, ONE)]
    for row in rows:
        assert all(line.isprintable() for line in (row.says, *row.log))


def test_what_a_host_says_on_stderr_moves_no_cursor() -> None:
    assert reports.standing(reply(programs(), err="\x1b[2J", code=1), "pi", GOAL).says == "exited 1: ?[2J"


def test_one_that_failed_before_and_was_not_tried_stays_failed() -> None:
    answer = reply(PULL | {"did": "bad", "words": "two failed here before"}, code=1)
    was = reports.pulled(answer, WAS, GOAL)
    assert reports.looked(was, reply(BACK), WAS, GOAL) == was


DEEP = '{"version": 1, "app": ' + "[" * 900 + "]" * 900 + "}"


@pytest.mark.parametrize(
    "answer",
    [
        status(host="a/b"),
        status(host="\ud800"),
        status(current=[]),
        status(current="\0"),
        DEEP,
        DEEP.replace("app", "error"),
    ],
)
def test_names_that_are_none(answer: dict[str, Any] | str) -> None:
    assert reports.standing(reply(answer), "pi", GOAL).out is Result.FAILED


def test_numbers_that_are_none_and_a_list_that_is_none() -> None:
    for key in ("seq", "fetched"):
        assert (
            reports.pulled(reply(PULL | {key: float("inf")}), WAS, GOAL).says == "its answer has not the form of whiz's"
        )
    found = reports.looked(told(Result.UPDATED), reply(status(current=NEW, bad=[1])), WAS, GOAL)
    assert (found.result, "not the form" in found.says) == (Result.FAILED, True)
    assert reports.looked(told(Result.STALE), reply(status(bad=None)), WAS, GOAL).result is Result.STALE
