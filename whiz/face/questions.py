"""The commands that ask: what runs, what happened, what it said, and why. They change nothing."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from whiz.core.errors import HomeError, UsageError, WhizError
from whiz.core.plan import plan
from whiz.core.status import report, told_apart, verdict
from whiz.core.value import replace
from whiz.core.wire import dump
from whiz.face import render, voice
from whiz.face.commands import complain, problems
from whiz.face.node import Node

if TYPE_CHECKING:
    import argparse

    from whiz.core.model import Plan, Run
    from whiz.core.status import Row
    from whiz.world.sources import Loaded


def status(args: argparse.Namespace) -> int:
    """Show what runs."""
    while True:
        node = Node(args)
        loaded = node.load_or_empty()
        runs = node.runs(loaded)
        now = node.clock.boot()
        steps = plan(loaded.manifest, runs, node.wishes(loaded.manifest), now, node.host.boot)
        rows = report(loaded.manifest, runs, node.wishes(loaded.manifest), steps, now)
        if args.names:
            wanted = node.named(args.names, loaded.manifest)
            rows = tuple(r for r in rows if r.name in wanted)
        code = 2 if loaded.stale else verdict(rows, steps)
        if args.watch and not voice.wants_json(args):
            sys.stdout.write("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
        _show(args, node, loaded, runs, rows, steps, code)
        if not args.watch:
            return code
        time.sleep(1)  # people watch at this pace


def _show(
    args: argparse.Namespace,
    node: Node,
    loaded: Loaded,
    runs: tuple[Run, ...],
    rows: tuple[Row, ...],
    steps: Plan,
    code: int,
) -> None:
    from whiz.face.statustable import as_json, held, lines, strangers_of  # noqa: PLC0415

    odd, grips = strangers_of(node, loaded.manifest), held(node, loaded.manifest, (r.name for r in rows))
    if voice.wants_json(args):
        rows = told_apart(rows, loaded.manifest, runs)
        voice.say_json({"programs": as_json(rows, grips), "strangers": odd, **problems(loaded, node), "exit": code})
        return
    complain(args, loaded, node)
    for text in lines(rows):
        voice.say(args, text)
    stays = bool(grips) and node.resident() is not None
    for name, each in grips.items():
        for grip in each:
            if not grip.firm:
                voice.say(args, f"limit: {name}: {grip.words(stays=stays)}")
    for stranger in odd:
        voice.say(
            args, f"stranger: pid {stranger['pid']} is also what {stranger['program']!r} asks for; whiz leaves it alone"
        )
    voice.say(args, render.summary(rows, steps))


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


def events(args: argparse.Namespace) -> int:
    """Print facts as they are kept: a line of JSON each."""
    from whiz.world.logs import follow, tail  # noqa: PLC0415

    node = Node(args)
    path, out = node.store.history_path, sys.stdout.buffer
    try:
        last, offset = tail(path, args.lines)
    except FileNotFoundError:
        last, offset = b"", 0
    except OSError as exc:
        raise HomeError(f"{path}: {exc.strerror}") from exc
    out.write(last)
    out.flush()
    if args.follow:
        for piece in follow(path, offset):
            out.write(piece)
            out.flush()
    return 0


def explain(args: argparse.Namespace) -> int:
    """Say everything about one program."""
    from whiz.face.statustable import explanation, held  # noqa: PLC0415

    node = Node(args)
    loaded = node.load_or_empty()
    complain(args, loaded, node)
    names = node.named([args.name], loaded.manifest)
    runs = node.runs(loaded)
    now = node.clock.boot()
    steps = plan(loaded.manifest, runs, node.wishes(loaded.manifest), now, node.host.boot)
    rows = {r.name: r for r in report(loaded.manifest, runs, node.wishes(loaded.manifest), steps, now)}
    stays = node.resident() is not None
    parts = [explanation(name, loaded.manifest, runs, steps, rows[name], now, stays=stays) for name in names]
    grips = held(node, loaded.manifest, names)
    for name, part in zip(names, parts, strict=True):
        if name in grips:
            part["limits"] = [g.words(stays=stays) for g in grips[name]]
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
    found = examine(replace(look(folders, place.id), **_held(args)))
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


def _held(args: argparse.Namespace) -> dict[str, object]:
    """Return what doctor is told of cgroups and limits; a home that cannot be read is told of by its other findings."""
    from whiz.face.statustable import held  # noqa: PLC0415

    try:
        node = Node(args)
        manifest = node.load_or_empty().manifest
        grips = held(node, manifest, manifest)
    except WhizError:
        return {}
    loose = tuple((name, g) for name, each in grips.items() for g in each if not g.firm)
    live = [r for r in node.store.runs() if r.live]
    return {"ground": node.host.cgroups.ground(live), "loose": loose, "stays": node.resident() is not None}


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
