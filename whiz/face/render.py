"""Words for a terminal: steps, tables and colours, plain where nobody sees them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, assert_never

from whiz.core.model import Kill, Start, Stop, Wait
from whiz.core.status import counts, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whiz.core.doctor import Finding
    from whiz.core.model import Plan, Step
    from whiz.core.status import Row

_COLOURS = {"green": 32, "red": 31, "yellow": 33, "dim": 2, "bold": 1}
_GRADES = {"ok": "green", "advice": "yellow", "trouble": "red"}
_STATES = {
    "running": "green",
    "ready": "green",
    "succeeded": "green",
    "failed": "red",
    "error": "red",
    "lost": "red",
    "crash-loop": "red",
    "held": "dim",
    "stopped": "dim",
}


def coloured() -> bool:
    """Whether to colour: only on a terminal that can, and not when NO_COLOR is set (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def paint(text: str, colour: str, *, on: bool) -> str:
    """Return the text in a colour."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and colour in _COLOURS else text


def line(step: Step, *, colour: bool) -> str:
    """Say one step with its why."""
    match step:
        case Start(program, why):
            return paint(f"+ start {program.name}", "green", on=colour) + f" ({why})"
        case Stop(run, why):
            return paint(f"- stop  {run.program.name}", "yellow", on=colour) + f" ({why})"
        case Kill(run, why):
            return paint(f"! kill  {run.program.name}", "red", on=colour) + f" ({why})"
        case Wait(name, _, why):
            return paint(f". wait  {name}", "dim", on=colour) + f" ({why})"
        case _:
            assert_never(step)


def finding(found: Finding, *, colour: bool) -> str:
    """Say what was found, and below it what to do."""
    grade = paint(f"{found.grade:<7}", _GRADES[found.grade], on=colour)
    return f"{grade}  {found.about}: {found.says}" + (f"\n         do: {found.do}" if found.do else "")


def as_json(step: Step) -> dict[str, object]:
    """Return one step as the JSON of every interface."""
    match step:
        case Start(program, why):
            return {"order": "start", "program": program.name, "why": why}
        case Stop(run, why):
            return {"order": "stop", "program": run.program.name, "run": run.id, "why": why}
        case Kill(run, why):
            return {"order": "kill", "program": run.program.name, "run": run.id, "why": why}
        case Wait(name, until, why, failed):
            return {"order": "wait", "program": name, "until": until, "why": why, "failed": failed}
        case _:
            assert_never(step)


def summary(rows: Sequence[Row], steps: Plan) -> str:
    """Say in one line how everything is."""
    said = ", ".join(f"{n} {state}" for state, n in counts(rows).items()) or "no programs"
    return f"{'every wish holds' if verdict(rows, steps) == 0 else 'not every wish holds'}: {said}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool, width: int | None = None) -> str:
    """Return aligned columns; the last one is cut where the terminal ends."""
    sizes = [max(len(str(r[i])) for r in (head, *rows)) for i in range(len(head))]
    out = []
    for n, row in enumerate((head, *rows)):
        cells = [str(c).ljust(s) for c, s in zip(row, sizes, strict=True)]
        text = "  ".join(cells).rstrip()
        if width is not None and len(text) > width:
            text = text[: width - 1] + "…"
        if n == 0:
            text = paint(text, "bold", on=colour)
        elif colour:
            for word, shade in _STATES.items():
                if word in row:
                    text = text.replace(f" {word} ", f" {paint(word, shade, on=True)} ", 1)
        out.append(text)
    return "\n".join(out)
