"""The same turn, resident: look, settle, plan, act; then sleep until something happens, for as long as it is wished."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from whiz.core.health import coming
from whiz.core.model import Kill, Start, Stop, Wait
from whiz.loop import LOOK, learn, turn, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.model import Manifest, Plan, Run, Step
    from whiz.ports import Clock, Host, Store


class Told(StrEnum):
    """What a resident whiz can be asked."""

    LEAVE = "leave"  # go; programs go on
    END = "end"  # end them, in reverse order, then go
    RENEW = "renew"  # become the whiz that is installed now


class Ground(Protocol):
    """All the resident loop knows about what it stands on."""

    def heard(self) -> Told | None:
        """Return what was asked for since the last turn; each asking once."""

    def load(self) -> tuple[Manifest, bool]:
        """Return the manifest in force, and whether the records may not be all there is."""

    def tended(self, manifest: Manifest, steps: Plan) -> float | None:
        """See to what is due after a turn (logs, telling systemd …); return when (s from now) to come again."""

    def renew(self) -> None:
        """Become the whiz that is installed now; return only where that cannot be."""


def keep(
    host: Host, store: Store, clock: Clock, ground: Ground, every: float, tell: Callable[[Step], None]
) -> Told | None:
    """Take turns for ever, at least one in `every` seconds; return when told to go."""
    said: set[str] = set()
    while True:
        match ground.heard():
            case Told.LEAVE:
                return Told.LEAVE
            case Told.END:
                return _end(host, store, clock, ground, tell)
            case Told.RENEW:
                manifest, doubt = ground.load()
                learn(host, store, manifest, clock, doubt=doubt)  # what has ended is on record before we change
                ground.renew()
            case None:
                pass
        manifest, doubt = ground.load()
        steps = turn(host, store, manifest, clock, doubt=doubt)
        said = _told(steps, said, tell)
        again = ground.tended(manifest, steps)
        pause = _pause(steps, store.runs(), clock.boot(), every)
        pause = min([pause, *(max(0.0, m - clock.boot()) for m in coming(manifest, store.runs(), clock.boot()))])
        host.wait(watched(store.runs()), pause if again is None else min(pause, again))


def _end(host: Host, store: Store, clock: Clock, ground: Ground, tell: Callable[[Step], None]) -> Told:
    """End every program, what depends on others first; told again, leave the rest as it is."""
    manifest, doubt = ground.load()
    said: set[str] = set()
    while True:
        steps = turn(host, store, manifest, clock, doubt=doubt, ending=True)
        doubt = False
        said = _told(steps, said, tell)
        if not any(r.live for r in store.runs()):
            return Told.END
        if ground.heard() in (Told.LEAVE, Told.END):
            return Told.LEAVE
        ground.tended(manifest, steps)
        host.wait(watched(store.runs()), _pause(steps, store.runs(), clock.boot(), LOOK))


def _pause(steps: Plan, runs: Iterable[Run], now: float, every: float) -> float:
    """Return how long (s) nothing is to be done, unless something happens."""
    if any(isinstance(s, Start) for s in steps):
        return 0.0  # what comes after them may follow
    live = [r for r in runs if r.live]
    moments = [s.until for s in steps if isinstance(s, Wait) and s.until is not None]
    grown = (r.started + r.program.restart.stable for r in live if r.exited is None and not r.stable)
    moments += [m for m in grown if m > now]
    if any(isinstance(s, Stop | Kill) for s in steps) or any(r.asked is not None or r.exited is not None for r in live):
        moments.append(now + LOOK)  # an end of theirs may wake nobody
    later = [m for m in moments if m > now]
    return min([every, *(m - now for m in later)]) if len(later) == len(moments) else 0.0


def _told(steps: Plan, said: set[str], tell: Callable[[Step], None]) -> set[str]:
    """Tell every act, and a wait when its reason is new; return the reasons of this turn."""
    now = {f"{s.name}: {s.why}" for s in steps if isinstance(s, Wait)}
    for step in steps:
        if not isinstance(step, Wait) or (step.why != "starting" and f"{step.name}: {step.why}" not in said):
            tell(step)
    return now
