"""The commands that act on a node, and check, which only says how they would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.errors import Busy, UsageError
from whiz.core.model import Step, Wait
from whiz.core.plan import plan
from whiz.core.status import TROUBLE, report, verdict
from whiz.core.wire import dump
from whiz.face import render, voice
from whiz.face.node import Node

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from whiz.world.hooks import Hooks
    from whiz.world.sources import Loaded


def check(args: argparse.Namespace) -> int:
    """Print what would happen."""
    from whiz.core.forecast import forecast  # noqa: PLC0415

    node = Node(args)
    loaded = node.load(allow_empty=args.allow_empty)
    runs = node.runs(loaded)
    now, boot = node.clock.boot(), node.host.boot
    steps: list[Step] = []
    told: set[tuple[str, str]] = set()
    for planned in forecast(loaded.manifest, runs, node.wishes(loaded.manifest), now, boot):
        for step in planned:
            if not isinstance(step, Wait):
                steps.append(step)
            elif (step.name, step.why) not in told and step.why != "starting":
                told.add((step.name, step.why))
                steps.append(step)
    first = plan(loaded.manifest, runs, node.wishes(loaded.manifest), now, boot)
    rows = report(loaded.manifest, runs, node.wishes(loaded.manifest), first, now)
    acts = [s for s in steps if not isinstance(s, Wait)]
    code = 2 if loaded.stale else 3 if acts else verdict(rows, first)
    complain(args, loaded, node)
    if voice.wants_json(args):
        voice.say_json({"steps": [render.as_json(s) for s in steps], **problems(loaded, node), "exit": code})
    else:
        for step in steps:
            voice.say(args, render.line(step, colour=render.coloured()))
        pending = "1 change pending" if len(acts) == 1 else f"{len(acts)} changes pending"
        voice.say(args, pending if acts else render.summary(rows, first))
    return code


def apply(args: argparse.Namespace) -> int:
    """Make it so."""
    node = Node(args, act=True)
    if (there := node.resident()) is not None:
        from whiz.face.running import ask  # noqa: PLC0415

        return ask(args, node, there, node.store.history())
    node.lock()
    return _apply(args, node)


def run(args: argparse.Namespace) -> int:
    """Stay, and keep it so."""
    from whiz.face.running import run as stay  # noqa: PLC0415

    return stay(args)


def stop(args: argparse.Namespace) -> int:
    """End everything, once."""
    from whiz.face.ending import stop as end  # noqa: PLC0415

    return end(args)


def install(args: argparse.Namespace) -> int:
    """Have whiz come up with the machine."""
    from whiz.face.installing import install as begin  # noqa: PLC0415

    return begin(args)


def uninstall(args: argparse.Namespace) -> int:
    """Have it come up no longer."""
    from whiz.face.installing import uninstall as undo  # noqa: PLC0415

    return undo(args)


def _apply(args: argparse.Namespace, node: Node) -> int:
    from whiz.converge import converge  # noqa: PLC0415

    node.store.runs()  # refuses a newer format before anything is written
    loaded = node.load(allow_empty=getattr(args, "allow_empty", False), keep=True)
    complain(args, loaded, node)
    said: list[Step] = []

    def tell(step: Step) -> None:
        """Say a step; that nobody listens any more, or that the disk is full, does not stop the turn."""
        said.append(step)
        try:
            voice.say(args, render.line(step, colour=render.coloured()))
        except OSError:
            voice.deafen()

    hooks = node.hooked(loaded)
    steps = converge(node.host, node.store, loaded.manifest, node.clock, args.wait, tell, doubt=node.doubt(loaded))
    node.host.health.drop()
    node.trim(loaded.manifest)
    _finish(node, hooks)
    rows = report(loaded.manifest, node.store.runs(), node.wishes(loaded.manifest), steps, node.clock.boot())
    code = 2 if loaded.stale else verdict(rows, steps)
    if voice.wants_json(args):
        voice.say_json({"steps": [render.as_json(s) for s in said], **problems(loaded, node), "exit": code})
    else:
        for row in rows:
            if row.state in TROUBLE:
                voice.warn(f"{row.name}: {row.state}: {row.why}")
        voice.say(args, render.summary(rows, steps))
    return code


def _finish(node: Node, hooks: Hooks | None) -> None:
    """Let the commands that are told of facts come to their ends."""
    if hooks is not None:
        hooks.finish(lambda s: node.host.wait((), s))
        for trouble in hooks.troubles:
            voice.warn(trouble)


def hold(args: argparse.Namespace) -> int:
    """Keep programs down."""
    return _wish(args, lambda node, name: node.store.hold(name), "is held already")


def unhold(args: argparse.Namespace) -> int:
    """Let them run again."""
    return _wish(args, lambda node, name: node.store.unhold(name), "is not held")


def restart(args: argparse.Namespace) -> int:
    """End the present Runs; or renew the whiz that stays."""
    if args.self:
        from whiz.face.running import renew  # noqa: PLC0415

        return renew(args)
    if not args.names:
        raise UsageError("whiz restart needs the name of a program, or --self\nhint: whiz restart --help")
    return _wish(args, _restart, "has that wish already")


def _restart(node: Node, name: str) -> bool:
    from whiz.core.settle import latest  # noqa: PLC0415

    run = latest(r for r in node.store.runs() if r.program.name == name).get(name)
    return run is None or node.store.restart(run)


def _wish(args: argparse.Namespace, note: Callable[[Node, str], bool], otherwise: str) -> int:
    """Write a wish for every name, then take turns so that it comes true now."""
    node = Node(args, act=True)
    loaded, heard = node.load(), node.store.history()
    hooks = node.hooked(loaded)
    for name in node.named(args.names, loaded.manifest, sorted(node.store.wishes().held)):
        if note(node, name):
            node.store.note({"event": args.command, "program": name})
        else:
            voice.say(args, f"{name} {otherwise}")
    _finish(node, hooks)
    if (there := node.resident()) is not None:
        from whiz.face.running import ask  # noqa: PLC0415

        return ask(args, Node(args, act=True), there, heard)
    try:
        node.lock(args.wait)
    except Busy as exc:
        raise Busy(f"{exc}; the wish is noted and its next turn sees to it") from exc
    return _apply(args, Node(args, act=True))


def problems(loaded: Loaded, node: Node) -> dict[str, object]:
    """Return what is wrong with the file and the home, for JSON."""
    return {"problems": [dump(p) for p in loaded.problems], "complaints": node.store.complaints}


def complain(args: argparse.Namespace, loaded: Loaded, node: Node) -> None:
    """Say why the file is not in force, unless the JSON does."""
    if not voice.wants_json(args):
        node.complain(loaded)
