"""Tables and explanations of what is: for people and as JSON."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING

from whiz.core.model import Run, State, Wait
from whiz.core.settle import latest, settle, strangers
from whiz.core.wire import dump
from whiz.core.words import spell_bytes, spell_exit, spell_seconds
from whiz.face import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from whiz.core.limits import Grip
    from whiz.core.model import Manifest, Plan, Program
    from whiz.core.status import Row
    from whiz.face.node import Node

_FIELDS = ("name", "want", "state", "why", "pid", "since", "restarts", "run", "wish", "made")


def _usage(rows: Iterable[Row]) -> dict[str, tuple[float, int]]:
    """Return name -> (CPU seconds used, resident bytes) of each main process."""
    from whiz.world.host.usage import usage  # noqa: PLC0415

    return {r.name: used for r in rows if r.pid is not None and (used := usage(r.pid)) is not None}


def lines(rows: tuple[Row, ...]) -> list[str]:
    """Return the status table."""
    used = _usage(rows)
    head = ("NAME", "STATE", "PID", "SINCE", "RESTARTS", "CPU", "MEMORY", "WHY")
    body = []
    for r in rows:
        cpu, memory = used.get(r.name, (None, None))
        body.append(
            (
                r.name,
                str(r.state),
                str(r.pid or "-"),
                _clock(r.since),
                str(r.restarts),
                "-" if cpu is None else spell_seconds(cpu),
                "-" if memory is None else spell_bytes(memory),
                r.why,
            )
        )
    tty = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if tty else None
    return [render.table(head, body, colour=render.coloured(), width=width)]


def _clock(at: float | None) -> str:
    """Return a wall time as people say it: today's as 14:03:21, older ones with their date."""
    if at is None:
        return "-"
    then, now = time.localtime(at), time.localtime()
    same = then[:3] == now[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M", then)


def held(node: Node, manifest: Manifest, names: Iterable[str]) -> dict[str, tuple[Grip, ...]]:
    """Return how the limits of each of these programs are held that has any."""
    live = latest(r for r in node.store.runs() if r.live)
    found = {n: node.host.grips(manifest[n], live.get(n)) for n in names if n in manifest}
    return {name: grips for name, grips in found.items() if grips}


def as_json(rows: tuple[Row, ...], grips: Mapping[str, tuple[Grip, ...]]) -> list[dict[str, object]]:
    """Return the rows as JSON: times in seconds (wall), memory in bytes, cpu in seconds; wish, made: digests."""
    used = _usage(rows)
    out = []
    for r in rows:
        cpu, memory = used.get(r.name, (None, None))
        shown = {k: getattr(r, k) for k in _FIELDS}
        limits = {g.key: {"asked": g.asked, "by": g.by, "why": g.why, "do": g.do} for g in grips.get(r.name, ())}
        out.append({**shown, "cpu": cpu, "memory": memory, "limits": limits})
    return out


def strangers_of(node: Node, manifest: Manifest) -> list[dict[str, object]]:
    """Return the processes that match an entry without being its Run."""
    if not manifest:
        return []
    runs = node.store.runs()
    seen = node.host.scan(manifest, runs)
    return [
        {"program": f.name, "pid": f.proc.pid}
        for f in strangers(manifest, settle(manifest, runs, seen, node.clock.boot()), seen)
    ]


def fact_line(fact: dict[str, object]) -> str:
    """Say one fact of the history."""
    at = fact.get("at")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if isinstance(at, int | float) else "?"
    words = f"{when}  {fact.get('event', '?')!s:<6} {fact.get('program', '?')}"
    if fact.get("pid"):
        words += f" pid {fact['pid']}"
    if fact.get("event") == "exit":
        code = fact.get("exit")
        how = f" ({spell_exit(code)})" if isinstance(code, int) else ""
        words += f" {fact.get('state', '?')}{how}"
    return words + (f": {fact['why']}" if fact.get("why") else "")


def explanation(
    name: str, manifest: Manifest, runs: tuple[Run, ...], steps: Plan, row: Row, now: float, *, stays: bool
) -> dict[str, object]:
    """Return wish, facts, decision and next look of one program. `stays`: whether a resident whiz looks."""
    program = manifest.get(name)
    run = latest(r for r in runs if r.program.name == name).get(name)
    mine = [
        s
        for s in steps
        if (s.name if isinstance(s, Wait) else s.run.program.name if hasattr(s, "run") else s.program.name) == name
    ]
    wish = "nothing: it is not in the whizzifest"
    if program is not None:
        wish = ", ".join([f"want {program.want}", *_wish(program)])
    decided = [render.line(s, colour=False) for s in mine] or ["nothing to do"]
    otherwise = "when something happens" if stays else "at the next whiz apply"
    look = otherwise if row.next is None else f"in {spell_seconds(row.next - now)}, or {otherwise}"
    return {
        "program": name,
        "wish": wish,
        "state": f"{row.state}: {row.why}",
        "facts": _facts(run, now),
        "decision": decided,
        "next look": look,
    }


def _wish(program: Program) -> Iterator[str]:
    """Yield what the whizzifest says of a program, but for what is left at its default; secrets are masked."""
    from whiz.core.diff import hidden, masked  # noqa: PLC0415
    from whiz.core.limits import spelled  # noqa: PLC0415

    yield f"run {shlex.join(hidden(program.argv, 0, program.argv))}"
    for key, value in dump(program).items():
        if key in ("name", "want", "argv", "secrets", "digests") or (key == "files" and value == [program.argv[0]]):
            continue
        if key in ("env", "env_defaults"):
            yield "env " + " ".join(f"{n}={shlex.quote(masked(n, v))}" for n, v in value)
        elif key == "limits":
            yield from (f"limits.{part} {v}" for part, v in spelled(program.limits).items())
        elif isinstance(value, dict):
            yield from (f"{key}.{part} {_said(v)}" for part, v in value.items())
        elif key == "umask":
            yield f"umask {value:03o}"
        else:
            yield f"{key} {_said(value)}"


def _said(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _facts(run: Run | None, now: float) -> list[str]:
    if run is None:
        return ["it never ran"]
    facts = [f"run {run.id}, number {run.nth + 1}, started {spell_seconds(now - run.started)} ago"]
    if run.proc is not None:
        facts.append(f"process {run.proc.pid} (start tick {run.proc.ticks})" + (", adopted" if run.adopted else ""))
    if run.keeper is not None:
        facts.append(f"chaperone {run.keeper.pid}")
    if run.streak:
        facts.append(f"{run.streak} failure{'s' if run.streak > 1 else ''} in a row before it")
    if run.left:
        facts.append(f"of its tree still there: {', '.join(str(p.pid) for p in run.left)}")
    if run.asked is not None:
        facts.append(f"told to stop {spell_seconds(now - run.asked)} ago")
    if run.ended is not None:
        said = "" if run.state is State.STOPPED else f", {run.error or run.unfit or spell_exit(run.exit)}"
        facts.append(f"ended {spell_seconds(now - run.ended)} ago: {run.state}{said}")
    return facts
