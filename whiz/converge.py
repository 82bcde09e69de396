"""Turns until every wish holds, or until waiting longer brings nothing: for people, cron and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.model import Kill, Stop, Wait, Want
from whiz.core.plan import plan
from whiz.loop import LOOK, learn, turn, watched, wished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.model import Manifest, Plan, Run, Step
    from whiz.ports import Clock, Host, Store

LULL = 1.0  # s that the starts of one turn leave its polite stops to finish, so that check tells the order
YOUNG = 0.1  # s that a start must have lived before every wish is said to hold


def converge(
    host: Host,
    store: Store,
    manifest: Manifest,
    clock: Clock,
    patience: float,
    tell: Callable[[Step], None],
    *,
    doubt: bool = False,
) -> Plan:
    """Take turns until nothing is left to do or `patience` (s) is over; return the last plan.

    `tell` hears each step once.
    """
    end = clock.boot() + max(patience, YOUNG)
    told: set[str] = set()
    while True:
        steps = turn(host, store, manifest, clock, doubt=doubt)
        doubt = False
        for step in steps:
            _tell_once(step, told, tell)
        now = clock.boot()
        if any(isinstance(s, Stop | Kill) for s in steps):
            _lull(host, store, clock, min(end, now + LULL))
        elif all(isinstance(s, Wait) for s in steps):
            moment = pause(steps, store.runs(), now, end)
            if moment is None and host.health.asking() and now < end:
                moment = end
            if moment is None:
                return steps
            host.wait(watched(store.runs()), moment - now)
        if clock.boot() >= end:
            learn(host, store, manifest, clock)
            while host.health.asking():  # a look that was begun is heard out: it has a limit of its own
                host.wait((), LOOK)
                learn(host, store, manifest, clock)
            return plan(manifest, store.runs(), wished(store, manifest, clock)[0], clock.boot(), host.boot)


def end(
    host: Host,
    store: Store,
    manifest: Manifest,
    clock: Clock,
    patience: float,
    tell: Callable[[Step], None],
) -> tuple[Run, ...]:
    """Take turns that end every program, what depends on others first; return the Runs that `patience` (s) left."""
    last = clock.boot() + patience
    told: set[str] = set()
    doubt = True  # whoever carries our mark is ended, on record or not
    while True:
        steps = turn(host, store, manifest, clock, doubt=doubt, ending=True)
        doubt = False
        for step in steps:
            _tell_once(step, told, tell)
        now = clock.boot()
        left = tuple(r for r in store.runs() if r.live)
        if not left or now >= last:
            return left
        moments = [s.until for s in steps if isinstance(s, Wait) and s.until is not None]
        host.wait(watched(left), max(0.0, min([*moments, now + LOOK, last]) - now))


def pause(steps: Plan, runs: Iterable[Run], now: float, end: float) -> float | None:
    """Return until when to sleep, None when nothing more will come of waiting until `end`."""
    live = [r for r in runs if r.live]
    young = [r.up + YOUNG for r in live if r.up is not None and r.up + YOUNG > now]
    moments = [s.until for s in steps if isinstance(s, Wait) and s.until is not None] + young
    moving = any(r.asked is not None or r.exited is not None or r.program.want is Want.DONE for r in live)
    soonest = min(moments, default=end + 1)
    if now >= end or (soonest > end and not moving):
        return None
    return min(soonest, end, now + LOOK if moving else end)


def _lull(host: Host, store: Store, clock: Clock, end: float) -> None:
    """Wait until everything that was told to stop is gone, or so long."""
    while clock.boot() < end:
        ending = [r for r in store.runs() if r.live and (r.asked is not None or r.exited is not None)]
        seen = host.look(ending)
        left = [p for p in (q for r in ending for q in (r.proc, *r.left)) if p is not None and p in seen.alive]
        if not left:
            return
        host.wait(left, end - clock.boot())


def _tell_once(step: Step, told: set[str], tell: Callable[[Step], None]) -> None:
    """Tell every act, and a wait when its reason is new."""
    if isinstance(step, Wait):
        key = f"{step.name}: {step.why}"
        if key in told or step.why == "starting":
            return
        told.add(key)
    tell(step)
