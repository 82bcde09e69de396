"""What the calendar asks for at one moment: which scheduled programs are due, and when the others will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.model import BAD, Want, Wishes
from whiz.core.restart import never_ran
from whiz.core.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from whiz.core.model import Manifest, Program, Run

BACK = 60.0  # s that the clock may go back without its old readings being given up


@value
class Reckoned:
    """From when on a program's next moment counts: its schedule then, and a wall time."""

    schedule: str
    since: float


def agenda(
    manifest: Manifest, known: Mapping[str, Reckoned], wishes: Wishes, wall: float, zone: tzinfo
) -> tuple[Wishes, dict[str, Reckoned]]:
    """Return the wishes with what is due and coming, and from when on each scheduled program is reckoned.

    A program is due when one moment of its schedule lies behind the time it is reckoned from, be it one or many that
    were missed. One that is new, whose schedule changed, or whose clock went back is reckoned from now.
    """
    from whiz.core.calendar import next_after, parse  # noqa: PLC0415  most whizzifests have no schedule

    reckoned, due, coming = {}, set(), []
    for name, program in manifest.items():
        if program.schedule is None:
            continue
        held = known.get(name)
        if held is None or held.schedule != program.schedule or held.since > wall + BACK:
            held = Reckoned(program.schedule, wall)
        reckoned[name] = held
        moment = next_after(parse(program.schedule), held.since, zone)
        if moment <= wall:
            due.add(name)
        else:
            coming.append((name, moment - wall))
    return replace(wishes, due=frozenset(due), coming=tuple(coming)), reckoned


def at_rest(program: Program, last: Run | None, wishes: Wishes) -> bool:
    """Whether a scheduled program has nothing to do before its next moment."""
    if program.schedule is None or program.want is not Want.DONE or program.name in wishes.due:
        return False
    return last is None or not (last.state in BAD or never_ran(last) or (program.name, last.id) in wishes.restarts)
