"""Behaviours of the configuration: read again, changed, broken, lost."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from enduring import both, pair
from verdict import Verdict, counted, judged

if TYPE_CHECKING:
    from trial import Trial


def _same(trial: Trial, before: dict[str, list[int]], how: str) -> Verdict:
    after, starts = both(trial), sum(trial.starts(n) for n in before) - len(before)
    kept = "the same pids" if after == before else "other pids"
    return judged(after == before and not starts, f"{how}: copies {counted(after)}, {kept}, {starts} new starts")


def same(trial: Trial) -> Verdict:
    """Read what has not changed, three times."""
    before = pair(trial)
    for _ in range(3):
        trial.reload()
    return _same(trial, before, "3 reloads")


def changed(trial: Trial) -> Verdict:
    """Give one of two programs another argument."""
    before = pair(trial)
    trial.change("a", "changed")
    trial.reload()
    trial.within(lambda: "start changed" in trial.marks("a"), 10)
    trial.calm()
    after = both(trial)
    new = trial.marks("a").count("start changed")
    seen = (
        f"a: {new} start with the new argument, copies {len(after['a'])}; b: copies {len(after['b'])},"
        f" {'the same pid' if after['b'] == before['b'] else 'another pid'}"
    )
    return judged(new == 1 and len(after["a"]) == 1 and after["a"] != before["a"] and after["b"] == before["b"], seen)


def removed(trial: Trial) -> Verdict:
    """Take one of two out; beside it runs the same program, by hand and with an argument of its own."""
    before = pair(trial)
    path = trial.entries[0].path
    hand = subprocess.Popen([path, "by-hand"], stdin=subprocess.DEVNULL, start_new_session=True)
    trial.until(lambda: "start by-hand" in trial.marks("a"), "the one by hand has started")
    trial.write(*trial.entries[1:])
    trial.reload()
    gone = trial.within(lambda: not set(before["a"]) & set(trial.copies("a")), 15)
    trial.calm()
    left, b = trial.copies("a"), trial.copies("b")
    others = len(set(left) - {hand.pid})
    lives = hand.poll() is None
    seen = (
        f"a: {others} lived after; the one by hand {'lived on' if lives else 'was ended'};"
        f" b: {'the same pid' if b == before['b'] else f'copies {len(b)}'}"
    )
    return judged(gone and lives and not others and b == before["b"], seen)


def broken(trial: Trial) -> Verdict:
    """Read what makes no sense, and then what is right again."""
    before = pair(trial)
    trial.keeper.damage(trial.base)
    said = trial.reload()
    found = _same(trial, before, "broken")
    if found.word != "pass":
        return found
    trial.write(*trial.entries)
    trial.reload()
    found = _same(trial, before, f"broken{' (refused)' if said else ''} and mended")
    return found if trial.answers() else judged(False, found.seen + ", but the supervisor answers no more")


def empty(trial: Trial) -> Verdict:
    """Read nothing at all: a configuration of no bytes, and none."""
    before = pair(trial)
    seen = []
    for how, harm in (("of no bytes", trial.keeper.empty), ("missing", trial.keeper.remove)):
        harm(trial.base)
        trial.reload()
        found = _same(trial, before, how)
        if found.word != "pass" or not trial.answers():
            return judged(False, found.seen + ("" if trial.answers() else ", the supervisor answers no more"))
        seen.append(found.seen)
        trial.write(*trial.entries)
        trial.reload()
    return judged(True, "; ".join(seen))
