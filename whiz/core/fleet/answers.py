"""What each host said, read into one word and a sentence; all of them together into an exit status."""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from whiz.core.value import record, value
from whiz.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT = 1  # of whiz's JSON, as this whiz reads it
CODES = {0: "ok", 3: "pending", 75: "busy"}  # what a whiz says by its exit status; the others failed
ABSENT = (126, 127)  # as shells say that a command is not there


class Fate(StrEnum):
    """What became of asking a host."""

    OK = "ok"
    PENDING = "pending"  # all went well, and not every wish holds yet
    BUSY = "busy"  # another whiz is at work there
    FAILED = "failed"
    OFFLINE = "offline"  # nobody answers: switched off, or a network is down
    CUT = "unknown"  # it was asked, and we went before it answered
    NEVER = "not asked"


@value
class Reply:
    """What came back of one host. `fate` is given where it never came to an exit status."""

    host: str
    exit: int | None = None
    out: str = ""
    err: str = ""
    fate: Fate | None = None
    why: str = ""
    seconds: float = 0.0
    cut: int = 0  # bytes of output that were thrown away


@record
class Row:
    """A line of the table."""

    host: str
    fate: Fate
    says: str
    exit: int | None = None
    data: dict[str, Any] | None = None  # what whiz there printed
    seconds: float = 0.0


def read(reply: Reply, whiz: str = "whiz") -> Row:
    """Return what a whiz answered."""
    if reply.fate is not None:
        return _row(reply, reply.fate, reply.why)
    data = _json(reply.out)
    if data is None:
        return _row(reply, Fate.FAILED, wordless(reply, whiz))
    fate = Fate(CODES.get(reply.exit if reply.exit is not None else 1, "failed"))
    try:
        if data.get("version") != FORMAT:
            said = f"its whiz speaks format {data.get('version')!r}, this one {FORMAT}: upgrade the older"
            return _row(reply, Fate.FAILED, said)
        return _row(reply, fate, words(data, fate), data)
    except (TypeError, AttributeError, LookupError, RecursionError):
        return _row(reply, Fate.FAILED, "its answer has not the form of whiz's")


def heard(reply: Reply) -> Row:
    """Return what any other command answered: its exit status, and the end of what it said."""
    if reply.fate is not None:
        return _row(reply, reply.fate, reply.why)
    lines = [line.strip() for line in (reply.err if reply.exit else reply.out).splitlines() if line.strip()]
    says = (f"exited {reply.exit}: " if reply.exit and lines else f"exited {reply.exit}" if reply.exit else "") + (
        lines[-1] if lines else ""
    )
    return _row(reply, Fate.FAILED if reply.exit else Fate.OK, says)


def words(data: dict[str, Any], fate: Fate) -> str:
    """Say in a few words what a whiz said in JSON."""
    if "error" in data:
        return str(data["error"]).splitlines()[0]
    if problems := data.get("problems"):
        first = problems[0] if isinstance(problems[0], dict) else {}
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return f"{first.get('file', '?')}:{first.get('line', '?')}: {first.get('message', '?')}{more}"
    if "steps" in data:
        acts = [s for s in data["steps"] if s.get("order") != "wait"]
        bad = [s for s in data["steps"] if s.get("order") == "wait" and s.get("failed")]
        if bad:
            return f"{bad[0].get('program')}: {bad[0].get('why')}"
        said = ", ".join(f"{s.get('order')} {s.get('program')}" for s in acts)
        return said or ("every wish holds" if fate is Fate.OK else "not every wish holds")
    if "programs" in data and all("state" in p for p in data["programs"]):
        states = Counter(str(p["state"]) for p in data["programs"])
        return ", ".join(f"{n} {state}" for state, n in states.items()) or "no programs"
    if "programs" in data:
        return counted(sum(len(p.get("lines", ())) for p in data["programs"]), "line")
    if "history" in data:
        return counted(len(data["history"]), "fact")
    if "findings" in data:
        grades = Counter(str(f.get("grade")) for f in data["findings"])
        worst = [f for f in data["findings"] if f.get("grade") == "trouble"]
        return f"{worst[0].get('about')}: {worst[0].get('says')}" if worst else f"{grades['advice']} to be advised of"
    return str(fate)


def verdict(rows: Iterable[Row]) -> int:
    """Return the exit status: 1 something failed, 4 else if a host was offline, 3 else if not all holds yet, 0."""
    fates = {r.fate for r in rows}
    if fates & {Fate.FAILED, Fate.CUT, Fate.NEVER}:
        return 1
    if Fate.OFFLINE in fates:
        return 4
    return 3 if fates & {Fate.PENDING, Fate.BUSY} else 0


def summary(rows: Iterable[Row]) -> str:
    """Say in one line how it went."""
    fates = Counter(r.fate for r in rows)
    told = ", ".join(f"{fates[f]} {f}" for f in Fate if fates[f])
    return f"{counted(sum(fates.values()), 'host')}: {told}"


def interrupted(rows: Iterable[Row], *, acts: bool) -> str:
    """Say what holds when somebody pressed Ctrl-C."""
    fates = Counter(r.fate for r in rows)
    cut, never = fates[Fate.CUT], fates[Fate.NEVER]
    answered = sum(fates.values()) - cut - never
    was = "was" if cut == 1 else "were"
    then = " and may go on with it" if acts else ""
    return f"interrupted: {answered} answered, {cut} {was} asked{then}, {never} not asked"


def _row(reply: Reply, fate: Fate, says: str, data: dict[str, Any] | None = None) -> Row:
    return Row(host=reply.host, fate=fate, says=printable(says), exit=reply.exit, data=data, seconds=reply.seconds)


def printable(text: str) -> str:
    """Return text that moves no terminal's cursor: a host may say anything."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def _json(text: str) -> dict[str, Any] | None:
    """Return the last line that is an answer of whiz."""
    return next(_answers(reversed(text.splitlines())), None)


def said(text: str) -> list[dict[str, Any]]:
    """Return every line that is an answer of whiz: what a login prints of itself may stand between them."""
    return list(_answers(text.splitlines()))


def _answers(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            try:
                held = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(held, dict) and "version" in held:
                yield held


def wordless(reply: Reply, whiz: str) -> str:
    """Say why an answer cannot be read."""
    last = next((line.strip() for line in reversed(reply.err.splitlines()) if line.strip()), "")
    if reply.cut:
        return "it said more than is read, and not what whiz says"
    if reply.exit in ABSENT or (last.startswith("sudo:") and "command not found" in last):
        return f"there is no {whiz}: install whiz, or say where it is (whiz:)"
    if last.startswith("sudo:"):
        return f"{last} (become needs sudo without a password)"
    shown = last or "its answer is not whiz's JSON"
    return f"exited {reply.exit}: {shown}" if reply.exit else shown
