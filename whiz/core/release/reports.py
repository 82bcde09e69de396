"""What hosts of a deploy say, read into one word and a sentence each; all of them together into an exit status."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from whiz.core.fleet import answers
from whiz.core.fleet.answers import Fate, printable
from whiz.core.release.release import is_digest
from whiz.core.shape import good_name
from whiz.core.status import TROUBLE
from whiz.core.value import record, replace
from whiz.core.words import counted, spell_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.fleet.answers import Reply

TOOL = "quesofiesta"
LATER = "will catch up: "
_STALE = 3  # pull's exit status where its channel is past its time
_ROWS = 20  # lines of what failed
_ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)  # JSON of another form
_ANEW = "--label NAME has it tried anew"
_FORM = "its answer has not the form of whiz's"


class Result(StrEnum):
    """What became of a host."""

    UPDATED = "updated"
    ALREADY = "already"
    OFFLINE = "offline"
    BACK = "rolled back"  # by itself
    FAILED = "failed"
    RETURNED = "returned"  # had back what it ran before, because others failed
    STALE = "stale"  # its mirrors have not got it yet
    PINNED = "pinned"
    ELSEWHERE = "elsewhere"  # follows something else
    PENDING = "pending"  # of a dry run
    WAITING = "not asked"
    UNKNOWN = "unknown"  # it was asked, and we went before it answered


WELL = frozenset({Result.UPDATED, Result.ALREADY})
BAD = frozenset({Result.FAILED, Result.BACK, Result.UNKNOWN})


@record
class Goal:
    """What hosts are to run. `seq`: the number of the channel that first says so."""

    app: str
    repo: str
    channel: str
    id: str
    label: str
    seq: int = 0


@record
class Standing:
    """How a host is before. `host`: its name in the fleet; `node`: as it calls itself; `out`: why it is not asked."""

    host: str
    node: str
    out: Result | None = None
    says: str = ""
    current: str | None = None
    releases: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    ill: tuple[tuple[str, str], ...] = ()  # programs in trouble, and their states


@record
class Told:
    """A line of the table. `log`: the last lines of what failed; `fetched`: bytes; `tried`: whether the release was."""

    host: str
    result: Result
    says: str = ""
    log: tuple[str, ...] = ()
    fetched: int = 0
    seconds: float = 0.0
    tried: bool = True


def standing(reply: Reply, name: str, goal: Goal) -> Standing:
    """Return how a host says that it is. `name`: by which it is known until it says another."""
    row = answers.read(reply, TOOL)
    if reply.fate is not None:
        out = {Fate.OFFLINE: Result.OFFLINE, Fate.NEVER: Result.WAITING, Fate.CUT: Result.WAITING}
        return Standing(host=reply.host, node=name, out=out.get(reply.fate, Result.FAILED), says=row.says)
    said = list(answers.said(reply.out))
    data = next((d for d in said if "app" in d), None)
    if row.data is None or data is None:
        wrong = row.data is not None and "error" in row.data and reply.exit not in answers.ABSENT
        says = row.says if row.data is None or wrong else printable(answers.wordless(reply, TOOL))
        return Standing(host=reply.host, node=name, out=Result.FAILED, says=says)
    try:
        return _standing(reply.host, name, goal, data, said)
    except _ODD:
        return Standing(host=reply.host, node=name, out=Result.FAILED, says=_FORM)


def _standing(host: str, name: str, goal: Goal, data: dict[str, Any], said: list[dict[str, Any]]) -> Standing:
    node, current = str(data.get("host") or name), data["current"]
    if not good_name(node) or not (current is None or is_digest(current)):
        raise ValueError(node)  # they become part of a channel, and of paths
    follows, ours = (data["app"], data.get("repo"), data["channel"]), (goal.app, goal.repo, goal.channel)
    if follows != ours:
        other = " of another repository" if follows[::2] == ours[::2] else ""
        says = printable(f"follows {data['app']} in the channel {data['channel']}{other}")
        return Standing(host=host, node=node, out=Result.ELSEWHERE, says=says)
    programs: list[dict[str, Any]] = next((d["programs"] for d in said if "programs" in d), [])
    return Standing(
        host=host,
        node=node,
        current=current,
        releases=tuple(filter(is_digest, data["releases"])),
        groups=tuple(map(str, data.get("groups", ()))),
        ill=tuple((str(p["name"]), str(p["state"])) for p in programs if p["state"] in set(TROUBLE)),
    )


def pulled(reply: Reply, was: Standing, goal: Goal) -> Told:
    """Return what a pull came to."""
    if reply.fate is not None:
        kinds = {Fate.OFFLINE: Result.OFFLINE, Fate.CUT: Result.UNKNOWN, Fate.NEVER: Result.WAITING}
        result = kinds.get(reply.fate, Result.FAILED)
        why = LATER + reply.why if result is Result.OFFLINE else reply.why
        return _told(reply, result, why)
    row = answers.read(reply, TOOL)
    if row.data is None or "did" not in row.data:
        return _told(reply, Result.FAILED, row.says)
    data = row.data
    try:
        return _pulled(reply, was, goal, data)
    except _ODD:
        return _told(reply, Result.FAILED, _FORM)


def _pulled(reply: Reply, was: Standing, goal: Goal, data: dict[str, Any]) -> Told:
    did, seq, label, fetched = data["did"], int(data["seq"]), data["label"], int(data["fetched"])
    if data["id"] != goal.id and seq < goal.seq:
        past = ", which is past its time" if reply.exit == _STALE else ""
        return _told(reply, Result.STALE, f"{LATER}its mirrors still have number {seq}{past}")
    if did == "bad":
        first, *_ = str(data["words"]).splitlines() or [""]
        return replace(_told(reply, Result.FAILED, f"{first}; {_ANEW}"), tried=False)
    if did == "back":
        first, *log = str(data["why"]).splitlines() or [""]
        return _told(reply, Result.BACK, first, log)
    if data["id"] != goal.id:
        return _told(reply, Result.PINNED, f"is to run {label or str(data['id'])[:12]}")
    if did == "updated" or was.current != goal.id:
        return replace(_told(reply, Result.UPDATED, f"{spell_bytes(fetched)} fetched"), fetched=fetched)
    return _told(reply, Result.ALREADY, f"{goal.label} runs")


def looked(told: Told, reply: Reply, was: Standing, goal: Goal) -> Told:
    """Return what holds of a host that is looked at again after its wave: who was updated must still be well."""
    now = standing(reply, was.node, goal)
    well = told.result in WELL
    if now.out is not None:
        return replace(told, result=Result.FAILED, says=f"was updated, and now: {now.says}") if well else told
    data = next(d for d in answers.said(reply.out) if "app" in d)
    try:
        bad = next((b for b in data.get("bad", ()) if b["id"] == goal.id and b["label"] == goal.label), None)
        first, *log = ("" if bad is None else str(bad["why"])).splitlines() or [""]
    except _ODD:
        return replace(told, result=Result.FAILED, says=f"was updated, and now: {_FORM}") if well else told
    if now.current == goal.id and data.get("trial") is None:
        if new := [f"{name} ({state})" for name, state in now.ill if name not in dict(was.ill)]:
            return replace(told, result=Result.FAILED, says=f"in trouble: {printable(', '.join(new))}")
        return told if well or told.result in BAD else replace(told, result=Result.UPDATED, says="by itself")
    if bad is not None and told.tried:
        return replace(told, result=Result.BACK, says=printable(first), log=_lines(log))
    return replace(told, result=Result.FAILED, says="was updated, and does not run it any more") if well else told


def returned(told: Told, reply: Reply, goal: Goal) -> Told:
    """Return what holds of a host that was asked to go back to what is offered again. `goal`: that."""
    ill = told.result not in WELL
    now = pulled(reply, Standing(host=told.host, node=told.host), goal)
    if now.result in WELL or now.result is Result.PINNED:
        says = f"runs {goal.label} again"
        if ill:
            return replace(told, says=f"{told.says}; {says}")
        return replace(told, result=Result.RETURNED, says=says)
    if now.result in (Result.OFFLINE, Result.STALE, Result.UNKNOWN, Result.WAITING):
        why = now.says.removeprefix(LATER)
        return replace(told, says=f"{told.says}; goes back to {goal.label} at its next pull: {why}")
    return replace(told, result=Result.FAILED, says=f"did not go back to {goal.label}: {now.says}", log=now.log)


def tally(told: Iterable[Told]) -> tuple[int, int]:
    """Return how many hosts failed, and how many of them all were asked and have answered."""
    results = Counter(t.result for t in told)
    failed = sum(results[r] for r in BAD)
    return failed, failed + sum(results[r] for r in WELL)


def verdict(told: Iterable[Told], *, ended: bool) -> int:
    """Return the exit status: 1 something failed or it `ended` early, 3 else if a mirror is behind, 0."""
    results = {t.result for t in told}
    if results & BAD or ended:
        return 1
    return 3 if Result.STALE in results else 0


def summary(told: Iterable[Told]) -> str:
    """Say in one line how it went."""
    results = Counter(t.result for t in told)
    told_of = ", ".join(f"{results[r]} {r}" for r in Result if results[r])
    return f"{counted(sum(results.values()), 'host')}: {told_of}"


def fetches(was: Standing, new: Mapping[str, int], known: Mapping[str, Mapping[str, int]]) -> int:
    """Return the bytes of objects that a host lacks. `known`: release -> its objects, digest -> size."""
    has = set().union(*(known.get(r, {}) for r in {*was.releases, was.current or ""}))
    return sum(size for digest, size in new.items() if digest not in has)


def _told(reply: Reply, result: Result, says: str, log: Iterable[str] = ()) -> Told:
    first = says.splitlines()[0] if says else ""
    return Told(host=reply.host, result=result, says=printable(first), log=_lines(log), seconds=reply.seconds)


def _lines(log: Iterable[str]) -> tuple[str, ...]:
    return tuple(printable(line) for line in log)[-_ROWS:]
