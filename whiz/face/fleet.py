"""`whiz fleet`: one question to many hosts, one table of what they say. Only this command loads it."""

from __future__ import annotations

import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.fleet import answers
from whiz.core.fleet.answers import Fate
from whiz.core.value import replace
from whiz.face import hosts, render, voice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from whiz.core.fleet.answers import Reply, Row
    from whiz.core.fleet.model import Fleet, Host

_ACTS = ("apply", "hold", "unhold", "restart", "exec")  # what may go on when we have gone
_WAIT = 30.0  # s that a whiz there sleeps through short waits, as it would by itself
_COLOURS = {Fate.OK: "green", Fate.PENDING: "yellow", Fate.BUSY: "yellow", Fate.OFFLINE: "dim"}
INTERRUPTED = 130


def carry(args: argparse.Namespace) -> int:
    """Run one action."""
    fleet = hosts.load(args)
    chosen = hosts.chosen(fleet, args.to)
    if args.action == "hosts":
        return _list(args, fleet, chosen)
    if args.timeout is not None:
        if args.timeout <= 0:
            raise UsageError("--timeout must be more than nothing")
        chosen = tuple(replace(h, timeout=args.timeout) for h in chosen)
    ways = hosts.lines()
    replies = hosts.ask(args, ways, chosen, lambda host: command(args, host))
    ways.close()
    whiz = {h.name: h.whiz for h in chosen}
    rows = [answers.heard(r) if args.action == "exec" else answers.read(r, whiz[r.host]) for r in replies]
    cut = any(r.fate in (Fate.CUT, Fate.NEVER) for r in rows)
    code = INTERRUPTED if cut else answers.verdict(rows)
    _tell(args, rows, replies, code)
    if cut:
        voice.warn(answers.interrupted(rows, acts=args.action in _ACTS))
    return code


def command(args: argparse.Namespace, host: Host) -> str:
    """Return the line that a shell on the host is given."""
    if args.action == "exec":
        line = args.words[0] if len(args.words) == 1 else shlex.join(args.words)
        root = hosts.root(host)
        return shlex.join([*root, "sh", "-c", line]) if root else line
    words = [args.action, "--json"]
    if args.action in ("apply", "hold", "unhold", "restart"):
        words += ["--wait", f"{min(_WAIT, host.timeout / 2):g}"]
    if getattr(args, "allow_empty", False):
        words.append("--allow-empty")
    if hasattr(args, "lines"):
        words += ["-n", str(args.lines)]
    words += ["--", *args.names] if getattr(args, "names", None) else []
    return hosts.line(host, words)


def _list(args: argparse.Namespace, fleet: Fleet, chosen: Sequence[Host]) -> int:
    """Show who is meant."""
    if voice.wants_json(args):
        shown = [
            {"host": h.name, "address": h.address, "user": h.user or None, "port": h.port, "keys": h.keys}
            | {"jump": [j.place for j in h.jump], "groups": h.groups, "roles": h.roles, "vars": dict(h.variables)}
            | {"whiz": h.whiz, "become": h.become, "timeout": h.timeout}
            for h in chosen
        ]
        voice.say_json({"hosts": shown, "groups": {g: list(n) for g, n in fleet.groups.items()}, "exit": 0})
        return 0
    rows = [
        (h.name, h.place, ",".join(h.groups) or "-", ",".join(h.roles) or "-", " ".join(j.place for j in h.jump) or "-")
        for h in chosen
    ]
    voice.say(args, render.table(("HOST", "WHERE", "GROUPS", "ROLES", "BY WAY OF"), rows, colour=render.coloured()))
    return 0


def _tell(args: argparse.Namespace, rows: Sequence[Row], replies: Sequence[Reply], code: int) -> None:
    """Say what came of it: what they were asked to print, then the table."""
    if voice.wants_json(args):
        shown: list[dict[str, object]] = []
        for row, reply in zip(rows, replies, strict=True):
            said: dict[str, object] = {"host": row.host, "state": str(row.fate), "why": row.says, "exit": row.exit}
            said |= {"seconds": round(row.seconds, 3), "answer": row.data}
            shown.append(said | ({"stdout": reply.out, "stderr": reply.err} if args.action == "exec" else {}))
        voice.say_json({"hosts": shown, "exit": code})
        return
    for row, reply in zip(rows, replies, strict=True):
        if text := _printed(args, row, reply):
            voice.say(args, f"==> {row.host} <==\n{text}")
    colour = render.coloured()
    wide = max(len(r.host) for r in rows)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    voice.say(args, render.paint(f"{'HOST':<{wide}}  {'RESULT':<9}  SAYS", "bold", on=colour))
    for row in rows:
        text = row.says if width is None else row.says[: max(10, width - wide - 13)]
        line = f"{row.host:<{wide}}  {render.paint(f'{row.fate:<9}', _COLOURS.get(row.fate, 'red'), on=colour)}  {text}"
        if getattr(args, "quiet", False) and row.fate is not Fate.OK:
            voice.warn(f"{row.host}: {row.fate}: {row.says}")
        voice.say(args, line.rstrip())
    voice.say(args, answers.summary(rows))


def _printed(args: argparse.Namespace, row: Row, reply: Reply) -> str:
    """Return what a host was asked to print, safe for a terminal."""
    if args.action == "exec":
        lines = [*reply.out.splitlines(), *reply.err.splitlines()]
    elif row.data is None or row.exit not in (0, 3):
        return ""
    elif args.action == "logs":
        lines = [line for p in row.data.get("programs", ()) for line in p.get("lines", ())]
    elif args.action == "history":
        lines = [_fact(f) for f in row.data.get("history", ())]
    else:
        return ""
    return "\n".join(answers.printable(str(line)) for line in lines)


def _fact(fact: dict[str, object]) -> str:
    from whiz.face.statustable import fact_line  # noqa: PLC0415

    try:
        return fact_line(fact)
    except (TypeError, ValueError, AttributeError, OverflowError, OSError):
        return str(fact)
