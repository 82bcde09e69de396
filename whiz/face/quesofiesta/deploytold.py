"""How a deploy looks: what is planned, what is said on the way, and the table at its end."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING

from whiz.core.release import reports, rollout
from whiz.core.release.reports import BAD, Result, Told
from whiz.core.words import counted, spell_bytes
from whiz.face import render, voice
from whiz.face.quesofiesta import told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from whiz.face.quesofiesta.deployplan import Plan

_COLOURS = {
    Result.UPDATED: "green",
    Result.ALREADY: "green",
    Result.BACK: "red",
    Result.FAILED: "red",
    Result.UNKNOWN: "red",
    Result.RETURNED: "yellow",
    Result.STALE: "yellow",
}
_WIDE = max(len(r) for r in Result)
_NAMED = 8


def say(args: argparse.Namespace, *lines: str) -> None:
    """Say how it goes: on stdout, or on stderr where that is for JSON."""
    for text in lines:
        if voice.wants_json(args):
            voice.warn(text)
        else:
            voice.say(args, text)


def progress(args: argparse.Namespace) -> Callable[[int], object]:
    """Return what counts stored objects on a terminal."""
    return told.progress(args, "stored")


def named(hosts: Sequence[str]) -> str:
    """Name hosts, as many as are read."""
    more = len(hosts) - _NAMED
    return ", ".join(hosts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield what is going to happen."""
    goal, release = plan.goal, plan.release
    files = sum(1 for e in release.entries if e.digest)
    yield f"{goal.label} ({goal.id[:12]}): {counted(files, 'file')}, {spell_bytes(release.size)}"
    labels = {o.id: label for label, o in plan.repository.labels().items()}
    runs = Counter((s.current, plan.fetch[s.host]) for s in plan.able)
    for (current, size), n in sorted(runs.items(), key=lambda item: (-item[1], item[0][1])):
        what = "it already" if current == goal.id else labels.get(current or "", (current or "nothing yet")[:12])
        fetch = "" if current == goal.id else f": fetch{'es' * (n == 1)} {spell_bytes(size)}{' each' * (n > 1)}"
        yield f"{counted(n, 'host')} run{'s' * (n == 1)} {what}{fetch}"
    for result, n in Counter(s.out for s in plan.standings.values() if s.out is not None).items():
        yield f"{counted(n, 'host')} {'is' if n == 1 else 'are'} {result}"
    rules = plan.before.rules if plan.before else ()
    if others := sorted({r.use for r in rules if r.kind == "rollout" and r.use != goal.label}):
        then = "ends with this deploy" if plan.whole else "loses these hosts to this deploy"
        yield f"{goal.channel} offers {', '.join(others)} to a part of the hosts: that {then}"
    if plan.complete:
        yield f"{goal.channel} offers it to {plan.whom(plan.waves[-1])} already: nothing is published"
        return
    for wave in plan.waves[:-1]:
        share = f"{rollout.spell(wave.percent)} of {counted(len(plan.able), 'host')}"
        yield f"{plan.number(wave)}{share} is {counted(len(wave.hosts), 'host')}: {named(wave.hosts)}"


def at_first(plan: Plan) -> dict[str, Told]:
    """Return what is known of each host before any is asked to pull."""
    found = {}
    for s in plan.standings.values():
        says = reports.LATER + s.says if s.out is Result.OFFLINE else s.says
        keeps = "keeps what it runs" if s.out is None else says
        found[s.host] = Told(host=s.host, result=s.out or Result.WAITING, says=keeps)
    return found


def would(plan: Plan) -> list[Told]:
    """Return what is known of each host, and what it would fetch."""
    rows = at_first(plan)
    for s in plan.able:
        if s.current == plan.goal.id:
            rows[s.host] = Told(host=s.host, result=Result.ALREADY, says=f"{plan.goal.label} runs")
        else:
            size = plan.fetch[s.host]
            rows[s.host] = Told(
                host=s.host, result=Result.PENDING, says=f"would fetch {spell_bytes(size)}", fetched=size
            )
    return [rows[h] for h in plan.hosts]


def table(
    args: argparse.Namespace, plan: Plan, rows: Sequence[Told], code: int, *, seq: int = 0, ended: str = ""
) -> int:
    """Say what became of each host; return the exit status."""
    if voice.wants_json(args):
        waves = [{"percent": float(w.percent), "permille": w.permille, "hosts": list(w.hosts)} for w in plan.waves]
        said: dict[str, object] = {"id": plan.goal.id, "label": plan.goal.label, "channel": plan.goal.channel}
        said |= {"seq": seq or None, "dry_run": args.dry_run, "waves": waves, "ended": ended or None}
        voice.say_json({**said, "hosts": [_as_json(r) for r in rows], "exit": code})
        return code
    colour = render.coloured()
    wide = max(len("HOST"), *(len(r.host) for r in rows))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    voice.say(args, render.paint(f"{'HOST':<{wide}}  {'RESULT':<{_WIDE}}  SAYS", "bold", on=colour))
    for row in rows:
        all_of_it = row.result in BAD  # what is to be done stands at its end
        text = row.says if width is None or all_of_it else row.says[: max(10, width - wide - _WIDE - 4)]
        result = render.paint(f"{row.result:<{_WIDE}}", _COLOURS.get(row.result, "dim"), on=colour)
        if getattr(args, "quiet", False) and row.result in BAD:
            voice.warn(f"{row.host}: {row.result}: {row.says}")
        voice.say(args, f"{row.host:<{wide}}  {result}  {text}".rstrip())
    if getattr(args, "quiet", False) and ended:
        voice.warn(ended)
    for row in rows:
        if row.log:
            voice.say(args, "\n".join([f"==> {row.host} <==", *row.log]))
    voice.say(args, reports.summary(rows) + (f"; {ended}" if ended else ""))
    return code


def _as_json(row: Told) -> dict[str, object]:
    said: dict[str, object] = {"host": row.host, "state": str(row.result), "why": row.says, "log": list(row.log)}
    return said | {"fetched": row.fetched, "seconds": round(row.seconds, 3)}
