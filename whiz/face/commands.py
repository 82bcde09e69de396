"""What each command does with a node."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from whiz.core.errors import Busy, HomeError, UsageError
from whiz.core.model import Step, Wait
from whiz.core.plan import plan
from whiz.core.status import TROUBLE, report, verdict
from whiz.core.wire import dump
from whiz.face import render, voice
from whiz.face.node import Node

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from whiz.core.model import Plan
    from whiz.core.status import Row
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
    for planned in forecast(loaded.manifest, runs, node.store.wishes(), now, boot):
        for step in planned:
            if not isinstance(step, Wait):
                steps.append(step)
            elif (step.name, step.why) not in told and step.why != "starting":
                told.add((step.name, step.why))
                steps.append(step)
    first = plan(loaded.manifest, runs, node.store.wishes(), now, boot)
    rows = report(loaded.manifest, runs, node.store.wishes(), first, now)
    acts = [s for s in steps if not isinstance(s, Wait)]
    code = 2 if loaded.stale else 3 if acts else verdict(rows, first)
    _complain(args, loaded, node)
    if voice.wants_json(args):
        voice.say_json({"steps": [render.as_json(s) for s in steps], **_problems(loaded, node), "exit": code})
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

        return ask(args, node, there)
    node.lock()
    return _apply(args, node)


def run(args: argparse.Namespace) -> int:
    """Stay, and keep it so."""
    from whiz.face.running import run as stay  # noqa: PLC0415

    return stay(args)


def _apply(args: argparse.Namespace, node: Node) -> int:
    from whiz.loop import converge  # noqa: PLC0415

    node.store.runs()  # refuses a newer format before anything is written
    loaded = node.load(allow_empty=getattr(args, "allow_empty", False), keep=True)
    _complain(args, loaded, node)
    said: list[Step] = []

    def tell(step: Step) -> None:
        """Say a step; that nobody listens any more, or that the disk is full, does not stop the turn."""
        said.append(step)
        try:
            voice.say(args, render.line(step, colour=render.coloured()))
        except OSError:
            voice.deafen()

    steps = converge(node.host, node.store, loaded.manifest, node.clock, args.wait, tell, doubt=node.doubt(loaded))
    node.trim(loaded.manifest)
    rows = report(loaded.manifest, node.store.runs(), node.store.wishes(), steps, node.clock.boot())
    code = 2 if loaded.stale else verdict(rows, steps)
    if voice.wants_json(args):
        voice.say_json({"steps": [render.as_json(s) for s in said], **_problems(loaded, node), "exit": code})
    else:
        for row in rows:
            if row.state in TROUBLE:
                voice.warn(f"{row.name}: {row.state}: {row.why}")
        voice.say(args, render.summary(rows, steps))
    return code


def status(args: argparse.Namespace) -> int:
    """Show what runs."""
    while True:
        node = Node(args)
        loaded = node.load_or_empty()
        runs = node.runs(loaded)
        now = node.clock.boot()
        steps = plan(loaded.manifest, runs, node.store.wishes(), now, node.host.boot)
        rows = report(loaded.manifest, runs, node.store.wishes(), steps, now)
        if args.names:
            wanted = node.named(args.names, loaded.manifest)
            rows = tuple(r for r in rows if r.name in wanted)
        code = 2 if loaded.stale else verdict(rows, steps)
        if args.watch and not voice.wants_json(args):
            sys.stdout.write("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
        _show(args, node, loaded, rows, steps, code)
        if not args.watch:
            return code
        time.sleep(1)  # people watch at this pace


def _show(args: argparse.Namespace, node: Node, loaded: Loaded, rows: tuple[Row, ...], steps: Plan, code: int) -> None:
    from whiz.face.statustable import as_json, lines, strangers_of  # noqa: PLC0415

    odd = strangers_of(node, loaded.manifest)
    if voice.wants_json(args):
        voice.say_json({"programs": as_json(rows), "strangers": odd, **_problems(loaded, node), "exit": code})
        return
    _complain(args, loaded, node)
    for text in lines(rows):
        voice.say(args, text)
    for stranger in odd:
        voice.say(
            args, f"stranger: pid {stranger['pid']} is also what {stranger['program']!r} asks for; whiz leaves it alone"
        )
    voice.say(args, render.summary(rows, steps))


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
    for name in node.named(args.names, node.load().manifest, sorted(node.store.wishes().held)):
        if not note(node, name):
            voice.say(args, f"{name} {otherwise}")
    if (there := node.resident()) is not None:
        from whiz.face.running import ask  # noqa: PLC0415

        return ask(args, Node(args, act=True), there)
    try:
        node.lock(args.wait)
    except Busy as exc:
        raise Busy(f"{exc}; the wish is noted and its next turn sees to it") from exc
    return _apply(args, Node(args, act=True))


def logs(args: argparse.Namespace) -> int:
    """Print output."""
    from whiz.world.logs import follow, tail  # noqa: PLC0415

    node = Node(args)
    loaded = node.load_or_empty()
    names = node.named([args.name], loaded.manifest, [args.name] if node.has_log(args.name) else [])
    if args.follow and len(names) > 1:
        raise UsageError(f"{args.name} has {len(names)} instances\nhint: follow one, such as {names[0]}")
    out, parts = sys.stdout.buffer, []
    offset = 0
    for name in names:
        program = loaded.manifest.get(name)
        if program is not None and program.log.to != "file":
            where = "journald: journalctl -t " + name if program.log.to == "journal" else "nowhere"
            voice.warn(f"{name}: its output goes to {where}")
            continue
        try:
            last, offset = tail(node.log(name), args.lines)
        except FileNotFoundError:
            voice.warn(f"{name}: no output yet")
            last = b""
        except OSError as exc:
            raise HomeError(f"{node.log(name)}: {exc.strerror}") from exc
        parts.append({"name": name, "lines": last.decode(errors="replace").splitlines()})
        if not voice.wants_json(args):
            out.write((f"==> {name} <==\n".encode() if len(names) > 1 else b"") + last)
    if voice.wants_json(args):
        voice.say_json({"programs": parts})
    out.flush()
    if args.follow and not voice.wants_json(args):
        for piece in follow(node.log(names[0]), offset):
            out.write(piece)
            out.flush()
    return 0


def history(args: argparse.Namespace) -> int:
    """Print what happened."""
    node = Node(args)
    facts = [
        f
        for f in node.store.history()
        if not args.names or str(f.get("program")).partition(":")[0] in args.names or f.get("program") in args.names
    ]
    facts = facts[-args.lines :] if args.lines else []
    if voice.wants_json(args):
        voice.say_json({"history": facts})
        return 0
    from whiz.face.statustable import fact_line  # noqa: PLC0415

    for fact in facts:
        voice.say(args, fact_line(fact))
    return 0


def explain(args: argparse.Namespace) -> int:
    """Say everything about one program."""
    from whiz.face.statustable import explanation  # noqa: PLC0415

    node = Node(args)
    loaded = node.load_or_empty()
    _complain(args, loaded, node)
    names = node.named([args.name], loaded.manifest)
    runs = node.runs(loaded)
    now = node.clock.boot()
    steps = plan(loaded.manifest, runs, node.store.wishes(), now, node.host.boot)
    rows = {r.name: r for r in report(loaded.manifest, runs, node.store.wishes(), steps, now)}
    parts = [explanation(name, loaded.manifest, runs, steps, rows[name], now) for name in names]
    if voice.wants_json(args):
        voice.say_json({"programs": parts})
        return 0
    for part in parts:
        for key, value in part.items():
            shown = "\n".join(value) if isinstance(value, list) else str(value)
            voice.say(args, f"{key + ':':<11}" + shown.replace("\n", "\n" + " " * 11))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Examine the machine."""
    from whiz.core.doctor import Grade, examine  # noqa: PLC0415
    from whiz.world.home import home  # noqa: PLC0415
    from whiz.world.machine import look  # noqa: PLC0415

    place = home(getattr(args, "home", None))
    folders = {"config": place.config, "run": place.run, "state": place.state, "log": place.log}
    found = examine(look(folders, place.id))
    code = int(any(f.grade is Grade.TROUBLE for f in found))
    if voice.wants_json(args):
        voice.say_json({"findings": [dump(f) for f in found], "exit": code})
        return code
    for finding in found:
        text = render.finding(finding, colour=render.coloured())
        if getattr(args, "quiet", False) and finding.grade is Grade.TROUBLE:
            voice.warn(text)
        voice.say(args, text)
    return code


def schema(args: argparse.Namespace) -> int:  # noqa: ARG001  every command has the same shape
    """Print the JSON Schema."""
    from whiz.core.keys import schema as described  # noqa: PLC0415

    print(json.dumps(described(), indent=2))  # noqa: T201
    return 0


def completion(args: argparse.Namespace) -> int:
    """Print a shell's completions."""
    from importlib.resources import files  # noqa: PLC0415

    print(files("whiz.face").joinpath("completion", f"whiz.{args.shell}").read_text(), end="")  # noqa: T201
    return 0


def _problems(loaded: Loaded, node: Node) -> dict[str, object]:
    return {"problems": [dump(p) for p in loaded.problems], "complaints": node.store.complaints}


def _complain(args: argparse.Namespace, loaded: Loaded, node: Node) -> None:
    """Say why the file is not in force, unless the JSON does."""
    if not voice.wants_json(args):
        node.complain(loaded)
