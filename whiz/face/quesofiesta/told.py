"""How the master's answers look, to people and in JSON."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from whiz.core.release.publish import ALL
from whiz.core.words import spell_bytes
from whiz.face import voice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from whiz.core.release.channel import Channel, Rule
    from whiz.core.release.release import Entry
    from whiz.core.release.trust import Root
    from whiz.world.release.publishing import Done
    from whiz.world.release.tree import Tree

_SHOWN = 5
_HOUR = 3600
_Changes = dict[str, tuple["Entry | None", "Entry | None"]]


def settings(root: Root, path: str, folder: str) -> str:
    """Return the quesofiesta.yaml that a node needs."""
    keys = "".join(f"  - {k}\n" for k in root.of("root"))
    return (
        f"# The repository is {path}, its keys are in {folder} (or in ssh-agent).\n"
        "# The root key only says who may sign: keep it elsewhere, and a copy of it.\n"
        "# What follows is /etc/whiz/quesofiesta.yaml of a node; name the mirrors that it can reach.\n"
        f"app: {root.app}\nchannel: stable\nrepo: {root.repo}\nkeys:\n{keys}"
        f"mirrors:\n  - http://{os.uname().nodename}:8088\n  - file://{quote(path)}\n"
    )


def doubts(tree: Tree) -> Iterator[str]:
    """Yield what was left out of a tree, and what is doubtful in it."""
    if tree.left_out:
        more = f" and {len(tree.left_out) - _SHOWN} more" if len(tree.left_out) > _SHOWN else ""
        yield f"left out: {', '.join(tree.left_out[:_SHOWN])}{more}"
    if any(p.endswith(".pyc") for p in tree.left_out):
        yield (
            "left out is bytecode that goes by times, which a release does not have\n"
            "hint: python3 -m compileall --invalidation-mode unchecked-hash DIR makes some that does not"
        )
    yield from tree.warnings


def clock_line(before: Channel | None) -> str | None:
    """Say that this machine's clock is behind what was published before; None where it is not."""
    now = time.time()
    if before is None or before.issued < now + _HOUR:
        return None
    here, there = (time.strftime("%Y-%m-%d %H:%M", time.localtime(t)) for t in (now, before.issued))
    return (
        f"it is {here} by this machine's clock, and {before.name} was published at {there}: nodes may call what is "
        "published now stale\nhint: set the clock, and publish again"
    )


def progress(args: argparse.Namespace, what: str) -> Callable[[int], object]:
    """Return a function that counts its calls on a terminal, some times a second."""
    if getattr(args, "quiet", False) or voice.wants_json(args) or not sys.stderr.isatty():
        return lambda _: None
    state = {"count": 0, "next": time.monotonic() + 0.5}

    def step(_: int) -> None:
        state["count"] += 1
        if time.monotonic() >= state["next"]:
            state["next"] = time.monotonic() + 0.2
            print(f"\r{state['count']} files {what} \r", end="", file=sys.stderr, flush=True)  # noqa: T201

    return step


def published(done: Done) -> dict[str, object]:
    """Return a publish for JSON."""
    said: dict[str, object] = {"id": done.id, "label": done.label, "channel": done.channel.name}
    said |= {"seq": done.channel.seq, "files": done.files, "size": done.size}
    return said | {"new": {"objects": done.added, "stored": done.stored}, "pack": done.pack}


def entry(said: Channel) -> dict[str, object]:
    """Return what a channel said for JSON."""
    held: dict[str, object] = {"seq": said.seq, "issued": said.issued, "expires": said.expires, "by": said.by}
    held |= {"note": said.note, "label": said.default, "id": said.offer(said.default).id}
    held["rollouts"] = [{"label": r.use, "permille": r.permille, "hosts": list(r.hosts)} for r in _rollouts(said)]
    return held | {"pins": {r.who: r.use for r in said.rules if r.kind == "host"}}


def _rollouts(said: Channel) -> list[Rule]:
    return [r for r in said.rules if r.kind == "rollout"]


def _part(rule: Rule) -> str:
    """Say what a part of the hosts is offered."""
    share = "" if rule.permille == ALL else f"{rule.permille / 10:g} %"
    whom = f"{len(rule.hosts)} host{'s' * (len(rule.hosts) != 1)}" if rule.hosts else "hosts"
    return f"{rule.use} to {f'{share} of ' * bool(share)}{whom}"


def history_lines(held: Iterable[Channel]) -> Iterator[str]:
    """Yield a table of what a channel said."""
    rows = [("NUMBER", "WHEN", "LABEL", "RELEASE", "BY", "NOTE")]  # what all are offered
    for c in held:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(c.issued))
        parts = "".join(f" [{_part(r)}]" for r in _rollouts(c))
        rows.append((str(c.seq), when, c.default, c.offer(c.default).id[:12], c.by, f"{c.note}{parts}".strip()))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def changes(held: _Changes) -> list[dict[str, object]]:
    """Return changes for JSON."""
    return [{"path": p, "old": _entry(old), "new": _entry(new)} for p, (old, new) in held.items()]


def change_lines(held: _Changes) -> Iterator[str]:
    """Yield a line for each change."""
    for path, (old, new) in held.items():
        if old is None or new is None:
            there = old or new
            yield f"{'+' if old is None else '-'} {path}" + (f" ({_what(there)})" if there else "")
        else:
            yield f"~ {path} ({_what(old)} → {_what(new)})"


def _what(e: Entry) -> str:
    if e.kind == "link":
        return f"symlink to {e.target}"
    if e.kind == "dir":
        return "empty directory"
    return f"{'program, ' if e.kind == 'exec' else ''}{spell_bytes(e.size)}, {e.digest[:8]}"


def _entry(e: Entry | None) -> dict[str, object] | None:
    if e is None:
        return None
    more: dict[str, object] = {"size": e.size, "sha256": e.digest} if e.digest else {}
    return {"kind": e.kind} | more | ({"target": e.target} if e.target else {})
