"""A release on trial: what a node remembers of it, so that it is kept or taken back whatever comes between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whiz.core.errors import NewerFormat
from whiz.core.release.release import is_digest
from whiz.core.value import record, replace, value

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
TRIES = 2  # starts that find the same trial unfinished: then it is the trial that does not end
_GOOD, _BAD = 50, 50  # ids that are remembered


@value
class Trial:
    """A release that has not proven itself. `previous`: what ran before, None on a new node."""

    id: str
    label: str
    previous: str | None
    attempts: int = 0  # starts that found it unfinished


@value
class Bad:
    """A release that failed here, as which label it was offered then, and why it failed."""

    id: str
    label: str
    why: str


@record
class State:
    """What a node remembers of one app. `good`: ids that passed their trial, the newest last."""

    repo: str = ""
    channel: str = ""
    seq: int = 0
    root: int = 0
    trial: Trial | None = None
    bad: tuple[Bad, ...] = ()
    good: tuple[str, ...] = ()
    last: tuple[tuple[str, Any], ...] = ()  # what the last pull that changed something did


def following(state: State, repo: str, channel: str) -> State:
    """Return the state of who follows this repository and channel: another one has numbers and keys of its own."""
    if state.repo == repo:
        return state if state.channel == channel else replace(state, channel=channel, seq=0)
    return replace(state, repo=repo, channel=channel, seq=0, root=0)


def begun(state: State, release: str, label: str, previous: str | None) -> State:
    """Return the state in which a release goes on trial."""
    return replace(state, trial=Trial(release, label, None if previous == release else previous))


def started(state: State) -> State:
    """Return the state of a start that finds a trial unfinished: counted."""
    if state.trial is None:
        return state
    return replace(state, trial=replace(state.trial, attempts=state.trial.attempts + 1))


def hopeless(state: State) -> bool:
    """Whether the trial was found unfinished so often that it is taken back."""
    return state.trial is not None and state.trial.attempts >= TRIES


def kept(state: State) -> State:
    """Return the state after a trial that went well."""
    if state.trial is None:
        return state
    name = state.trial.id
    good = (*(g for g in state.good if g != name), name)[-_GOOD:]
    return replace(state, trial=None, good=good, bad=tuple(b for b in state.bad if b.id != name))


def taken_back(state: State, why: str) -> State:
    """Return the state after a trial that failed: the release is known as bad."""
    if state.trial is None:
        return state
    return replace(refused(state, state.trial.id, state.trial.label, why), trial=None)


def refused(state: State, release: str, label: str, why: str) -> State:
    """Return the state in which a release is known as bad, also one that never was on trial."""
    bad = (*(b for b in state.bad if b.id != release), Bad(release, label, why))[-_BAD:]
    return replace(state, bad=bad, good=tuple(g for g in state.good if g != release))


def known_bad(state: State, release: str, label: str) -> Bad | None:
    """Return what is known against a release as it is offered. Published again, under another label, it is new."""
    return next((b for b in state.bad if b.id == release and b.label == label), None)


def dump(state: State) -> dict[str, Any]:
    """Return the state for JSON."""
    trial = state.trial
    held: dict[str, Any] = {"format": FORMAT, "repo": state.repo, "channel": state.channel, "seq": state.seq}
    held["root"] = state.root
    held["trial"] = trial and {
        "id": trial.id,
        "label": trial.label,
        "previous": trial.previous,
        "attempts": trial.attempts,
    }
    held["bad"] = {b.id: {"label": b.label, "why": b.why} for b in state.bad}
    return held | {"good": list(state.good), "last": dict(state.last)}


def load(held: object) -> State:
    """Return the state of a JSON; raise ValueError for what is none."""
    if not isinstance(held, dict) or not isinstance(number := held.get("format"), int):
        raise ValueError("it is not the state of a node")
    if number > FORMAT:
        raise NewerFormat(f"it is of format {number}, this whiz knows {FORMAT}: update whiz first")
    try:
        return State(
            repo=str(held["repo"]),
            channel=str(held["channel"]),
            seq=int(held["seq"]),
            root=int(held["root"]),
            trial=_trial(held["trial"]),
            bad=tuple(Bad(_id(i), str(b["label"]), str(b["why"])) for i, b in held["bad"].items()),
            good=tuple(map(_id, held["good"])),
            last=tuple(_last(held["last"]).items()),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise ValueError(f"it is not as it should be: {exc}") from exc


def _trial(held: Mapping[str, Any] | None) -> Trial | None:
    if held is None:
        return None
    before = held["previous"]
    return Trial(_id(held["id"]), str(held["label"]), before and _id(before), int(held["attempts"]))


def _last(held: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(held)
    if said and not (isinstance(said["at"], int) and all(isinstance(said[k], str) for k in ("did", "label", "why"))):
        raise ValueError("'last' is not what a pull did")
    return said


def _id(text: object) -> str:
    if not is_digest(text):
        raise ValueError(f"{text!r} is not the id of a release")
    return str(text)
