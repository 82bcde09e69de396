"""Behaviours of the configuration: read again, changed, broken, lost."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from enduring import both, pair
from verdict import PASS, Verdict, counted, judged, many

if TYPE_CHECKING:
    from collections.abc import Callable

    from trial import Trial


def _same(trial: Trial, before: dict[str, list[int]], how: str) -> Verdict:
    """Compare with what ran before: who was started anew has another pid."""
    after = both(trial)
    kept = "the same pids" if after == before else "other pids"
    return judged(after == before, f"{how}: copies {counted(after)}, {kept}")


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
        f"a: {many(new, 'start')} with the new argument, copies {len(after['a'])}; b: copies {len(after['b'])},"
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
    pair(trial)
    return _harmed(trial, "broken", trial.keeper.damage)


def empty(trial: Trial) -> Verdict:
    """Read nothing at all: a configuration of no bytes, and none."""
    pair(trial)
    first = _harmed(trial, "of no bytes", trial.keeper.empty)
    if first.word != PASS:
        return first
    second = _harmed(trial, "missing", trial.keeper.remove)
    return Verdict(second.word, f"{first.seen}; {second.seen}")


def _harmed(trial: Trial, how: str, harm: Callable[[str], None]) -> Verdict:
    """Harm the configuration and have it read; mend it, and see whether the supervisor is still there to read that."""
    before = both(trial)
    harm(trial.base)
    said = trial.reload()
    found = _same(trial, before, how + (" (refused)" if said else ""))
    if found.word != PASS:
        return found
    trial.write(*trial.entries)
    trial.reload()
    if not trial.answers():
        return judged(False, f"{found.seen}, but mended the supervisor answers no more")
    after = both(trial)
    return judged(all(len(p) == 1 for p in after.values()), f"{found.seen}; mended: copies {counted(after)}")
