"""`whiz run`, and how other commands ask the whiz that stays."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from whiz.converge import pause
from whiz.core.errors import Busy, UsageError, WhizError
from whiz.core.model import Wait
from whiz.core.plan import plan
from whiz.core.status import report, verdict
from whiz.face import render, voice
from whiz.face.node import Node

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from typing import Any

    from whiz.core.model import Plan, Proc, Step
    from whiz.core.status import Row
    from whiz.world.sources import Loaded

_POLL = 0.02  # s between looks at what a resident whiz, asked for something, has done
_RENEWAL = 60.0  # s that a renewal with its trial may take


def run(args: argparse.Namespace) -> int:
    """Stay: take a turn whenever something happens."""
    from whiz.face.renewal import carried  # noqa: PLC0415
    from whiz.face.resident import Standing  # noqa: PLC0415
    from whiz.face.unheard import never_wait  # noqa: PLC0415
    from whiz.keep import Told, keep  # noqa: PLC0415

    node = Node(args, act=True)
    if args.trial:
        return _trial(node)
    never_wait()
    lock = carried()
    lock = node.lock() if lock is None else lock
    live = [r for r in node.store.runs() if r.live]
    node.host.children.become_reaper(p for r in live for p in (r.proc, r.keeper) if p is not None)
    standing = Standing(node, lock, allow_empty=args.allow_empty, end_on_term=args.stop)
    standing.load()  # with nothing to go by, not even a last good one, there is no staying
    node.announce()

    def hear(say: Callable[[], None]) -> None:
        try:
            say()
        except OSError:
            voice.deafen()  # that nobody listens, or the disk is full, ends nothing

    def tell(step: Step) -> None:
        if voice.wants_json(args):
            hear(lambda: voice.say_json(render.as_json(step)))
        else:
            hear(lambda: voice.say(args, render.line(step, colour=render.coloured())))

    told = keep(node.host, node.store, node.clock, standing, args.every, tell)
    standing.finish()
    node.retire()
    left = sum(r.live for r in node.store.runs())
    hear(lambda: voice.say(args, "everything has ended" if told is Told.END else f"whiz leaves; {_programs(left)} on"))
    return 0


def _programs(n: int) -> str:
    return "1 program goes" if n == 1 else f"{n} programs go"


def _trial(node: Node) -> int:
    """Show that this whiz can take over: it has all it imports, and reads what is on record here."""
    import whiz.keep  # noqa: PLC0415
    import whiz.world.host.match  # noqa: PLC0415
    import whiz.world.host.scan  # noqa: PLC0415
    import whiz.world.watch  # noqa: F401, PLC0415

    node.store.runs()
    node.load()
    return 0


# -- asking


def ask(args: argparse.Namespace, node: Node, there: dict[str, Any], heard: list[dict[str, object]]) -> int:
    """Have the whiz that stays take turns until every wish holds, and tell what it has done since `heard`."""
    if there.get("path") != os.path.abspath(node.path):
        hint = "leave out -m, or take another --home for the other"
        keeps = f"the whiz that stays here (pid {there['proc'].pid}) keeps {there.get('path')}, not {node.path}"
        raise Busy(f"{keeps}\nhint: {hint}")
    loaded = node.load(allow_empty=getattr(args, "allow_empty", False), keep=True)
    node.host.signal((there["proc"],), "HUP")
    if not voice.wants_json(args):
        node.complain(loaded)
    end, said = node.clock.boot() + args.wait, []
    while True:
        now = Node(args)
        steps, rows = _judged(now, loaded)
        for fact in _since(now.store.history(), heard):
            heard.append(fact)
            if (line := _line(fact)) is not None:
                said.append(fact)
                voice.say(args, line)
        moment = now.clock.boot()
        until = end if any(not isinstance(s, Wait) for s in steps) else pause(steps, now.store.runs(), moment, end)
        if until is None or moment >= end:
            break
        if not node.host.lives(there["proc"]):
            raise WhizError("the whiz that stayed here has ended meanwhile; see whiz status")
        time.sleep(min(_POLL, max(0.0, until - moment)))  # it tells nobody when it has done a step
    code = 2 if loaded.stale else verdict(rows, steps)
    if voice.wants_json(args):
        voice.say_json({"steps": said, "problems": [str(p) for p in loaded.problems], "exit": code})
    else:
        voice.say(args, render.summary(rows, steps))
    return code


def _judged(node: Node, loaded: Loaded) -> tuple[Plan, tuple[Row, ...]]:
    """Return what is still to do, and how each program is, as anybody can see it."""
    runs, wishes, now = node.runs(loaded), node.wishes(loaded.manifest), node.clock.boot()
    steps = plan(loaded.manifest, runs, wishes, now, node.host.boot)
    return steps, report(loaded.manifest, runs, wishes, steps, now)


def _since(facts: list[dict[str, object]], heard: list[dict[str, object]]) -> Iterable[dict[str, object]]:
    """Return the facts behind the last one heard."""
    if not heard:
        return facts
    for i in range(len(facts) - 1, -1, -1):
        if facts[i] == heard[-1]:
            return facts[i + 1 :]
    return facts


def _line(fact: dict[str, object]) -> str | None:
    """Say a fact as the step that made it."""
    orders = {"start": ("+ start", "green"), "stop": ("- stop ", "yellow"), "kill": ("! kill ", "red")}
    if fact.get("event") not in orders:
        return None
    order, colour = orders[str(fact["event"])]
    return render.paint(f"{order} {fact.get('program')}", colour, on=render.coloured()) + f" ({fact.get('why')})"


def renew(args: argparse.Namespace) -> int:
    """Have the whiz that stays become the one that is installed now."""
    node = Node(args)
    there = node.resident()
    if there is None:
        raise UsageError("no whiz stays here\nhint: whiz run starts one; every whiz apply is a new one anyway")
    proc: Proc = there["proc"]
    node.host.signal((proc,), "USR2")
    end = node.clock.boot() + _RENEWAL
    while node.clock.boot() < end:
        now = node.resident()
        if now is None:
            raise WhizError("the whiz that stayed here has ended; see whiz status")
        if now["since"] != there["since"]:
            if now.get("refused"):
                raise WhizError(f"not renewed: {now['refused']}; the old one goes on")
            voice.say(args, f"renewed: {there.get('version')} → {now.get('version')}, pid {proc.pid} as before")
            return 0
        time.sleep(_POLL)
    raise Busy(f"pid {proc.pid} did not answer in {_RENEWAL:.0f} s")
