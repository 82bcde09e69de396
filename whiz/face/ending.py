"""`whiz stop`: end every program, in reverse order, once: for a machine that shuts down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.converge import end
from whiz.core.errors import Busy, ManifestError
from whiz.face import render, voice
from whiz.face.node import Node

if TYPE_CHECKING:
    import argparse

    from whiz.core.model import Manifest, Step


def stop(args: argparse.Namespace) -> int:
    """End every program. What is wished stays as it is, so the next turn starts them again."""
    node = Node(args, act=True)
    begun = node.clock.boot()
    _alone(node, args.wait)
    node = Node(args, act=True)  # what is on record now
    said: list[Step] = []

    def tell(step: Step) -> None:
        said.append(step)
        try:
            voice.say(args, render.line(step, colour=render.coloured()))
        except OSError:
            voice.deafen()

    rest = args.wait - (node.clock.boot() - begun)
    left = end(node.host, node.store, _manifest(node), node.clock, rest, tell)
    code = int(bool(left))
    for run in left:
        voice.warn(f"{run.program.name} has not ended in time; what is still there of it goes on")
    if voice.wants_json(args):
        voice.say_json(
            {"steps": [render.as_json(s) for s in said], "left": [r.program.name for r in left], "exit": code}
        )
    elif not left:
        voice.say(args, "everything has ended; the next turn starts it again (whiz hold NAME keeps a program down)")
    return code


def _alone(node: Node, patience: float) -> None:
    """Take the home's lock. A whiz that stays is asked to go; one that takes its last turn is waited for."""
    there = node.resident()
    if there is not None:
        node.host.signal((there["proc"],), "TERM")
    try:
        node.lock(patience)
    except Busy as exc:
        raise Busy(f"{exc}; nothing was ended") from exc


def _manifest(node: Node) -> Manifest:
    """Return what is in force, which tells how each is stopped; without it the records tell."""
    try:
        return node.load().manifest
    except ManifestError:
        return {}
