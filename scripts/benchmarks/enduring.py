"""Behaviours of a supervisor that something happens to: a kill, torn or forged records, a step of the clock."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import subjects
from verdict import Verdict, counted, judged, lacking, many

if TYPE_CHECKING:
    from trial import Trial

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
PLACES = (0.0, 0.5, 1.0)  # where a file is cut, as a part of its length; the last loses one byte


def both(trial: Trial) -> dict[str, list[int]]:
    """Return the copies of every program."""
    return {e.name: trial.copies(e.name) for e in trial.entries}


def pair(trial: Trial) -> dict[str, list[int]]:
    """Bring two plain programs up."""
    trial.up(trial.program("a", subjects.PLAIN), trial.program("b", subjects.PLAIN))
    return both(trial)


def first(trial: Trial) -> Verdict:
    return _killed(trial, everyone=False)


def everyone(trial: Trial) -> Verdict:
    return _killed(trial, everyone=True)


def _killed(trial: Trial, *, everyone: bool) -> Verdict:
    """Kill it, start it again, count; then see whether it still keeps them."""
    before = pair(trial)
    trial.kill(everyone=everyone)
    trial.again()
    after = both(trial)
    kept = "the same pids" if all(set(before[n]) <= set(after[n]) for n in before) else "other pids"
    seen = f"copies after: {counted(after)}, {kept}"
    if after != before:
        return judged(False, seen)
    return _kept(trial, before["a"][0], seen)


def _copies(found: list[int]) -> str:
    return many(len(found), "copy", "copies")


def _kept(trial: Trial, pid: int, seen: str) -> Verdict:
    """Kill a program, which must come back once."""
    n = trial.starts("a")
    os.kill(pid, signal.SIGKILL)
    back = trial.within(lambda: trial.starts("a") > n)
    trial.calm()
    copies = trial.copies("a")
    ok = back and len(copies) == 1 and pid not in copies
    return judged(ok, f"{seen}; after kill -9 of a: {_copies(copies)}")


def torn(trial: Trial) -> Verdict:
    """Cut one file of its state short, each in turn, at several places, between its death and its new start."""
    before = pair(trial)
    trial.kill(everyone=False)
    trial.again()
    survive = both(trial) == before  # or its programs would be doubled without any harm to its state
    records = trial.keeper.records(trial.base)
    cuts = [(r, p) for r in records for p in PLACES if os.path.getsize(r)]
    if trial.quick:
        cuts = [(r, p) for i, (r, p) in enumerate(cuts) if (i + i // len(PLACES)) % len(PLACES) == 0]
    bad = []
    for record, part in cuts:
        expected = both(trial) if survive else {}
        trial.kill(everyone=False, programs=not survive)
        with contextlib.suppress(FileNotFoundError):  # it lived with that process
            os.truncate(record, max(0, min(int(os.path.getsize(record) * part), os.path.getsize(record) - 1)))
        trial.again()
        after = both(trial)
        if after != expected and (survive or any(len(p) != 1 for p in after.values())):
            bad.append(f"{os.path.relpath(record, trial.base)} at {part:.0%}: {counted(after)}")
    how = "killed alone" if survive else "killed with its programs"
    seen = f"{how}, {len(cuts)} cuts in {len(records)} files: "
    return judged(not bad, seen + ("; ".join(bad[:3]) if bad else "one copy of each, every time"))


def forged(trial: Trial) -> Verdict:
    """Have its record name a stranger, as if a power cut had been and the number been given out anew."""
    trial.up(trial.program("a", subjects.PLAIN))
    old = trial.copies("a")[0]
    other = trial.program("stranger", subjects.STRANGER)
    stranger = subprocess.Popen([other.path], stdin=subprocess.DEVNULL, start_new_session=True)
    trial.until(lambda: trial.starts("stranger"), "the stranger lives")
    trial.kill(programs=True)
    where = trial.keeper.forge(trial.base, "a", old, stranger.pid)
    trial.again()
    copies, taken = trial.copies("a"), trial.pid("a") == stranger.pid
    trial.stop("a")
    trial.calm()
    heard = [m for m in trial.marks("stranger") if not m.startswith("start")]
    if stranger.poll() is not None:
        heard.append("KILL")
    seen = (
        f"{where} forged: {_copies(copies)}, the stranger {'counts' if taken else 'does not count'} as"
        f" the program and {'got ' + ', '.join(heard) if heard else 'got no signal'} at the stop"
    )
    return judged(len(copies) == 1 and not taken and not heard, seen)


def clock(trial: Trial) -> Verdict:
    """Step its wall clock under it, to and fro, by libfaketime; after each step kill a program."""
    found = glob.glob(FAKETIME)
    if not found:
        raise FileNotFoundError("there is no libfaketime: apt-get install faketime")
    trial.keeper.extra = {
        "LD_PRELOAD": found[0],
        "FAKETIME_TIMESTAMP_FILE": f"{trial.base}/clock",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": f"{ROOT}/tests/clock",  # or Python could not sleep under libfaketime
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    _step(trial, "+0")
    pair(trial)
    own = trial.supervisors(trial.keeper.parts)
    if not own or any(not _loaded(pid) for pid in own):
        return lacking("libfaketime is not loaded by all of its processes, so its clock cannot be stepped")
    seen = []
    for step in ("+50y", "+0", "-50y", "+0"):
        starts, before = {e.name: trial.starts(e.name) for e in trial.entries}, both(trial)
        _step(trial, step)
        trial.calm()
        again = {n: trial.starts(n) - k for n, k in starts.items()}
        if both(trial) != before or any(again.values()):
            return judged(
                False, f"clock to {step}: {many(sum(again.values()), 'start')}, copies {counted(both(trial))}"
            )
        if not set(own[:1]) & set(trial.supervisors(trial.keeper.parts)):
            return judged(False, f"clock to {step}: the supervisor ended")
        back = _kept(trial, before["a"][0], f"clock to {step}")
        if back.word != "pass":
            return back
        seen.append(step)
    return judged(True, f"clock to {', '.join(seen)}: no start and no end; what was killed after each came back once")


def _step(trial: Trial, step: str) -> None:
    with open(f"{trial.base}/clock.new", "w", encoding="ascii") as f:
        f.write(step + "\n")
    os.rename(f"{trial.base}/clock.new", f"{trial.base}/clock")


def _loaded(pid: int) -> bool:
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
        return "libfaketime" in f.read()


def output(trial: Trial) -> Verdict:
    """Let a program print before, and while, its supervisor is dead."""
    trial.up(trial.program("a", subjects.SPEAKER))
    pid = trial.copies("a")[0]
    trial.kill()
    trial.mark("a.speak")
    trial.within(lambda: "spoke" in trial.marks("a") or pid not in trial.copies("a"), 10)
    lives = pid in trial.copies("a")
    trial.again()
    text = trial.output("a")
    kept = [word for word in ("before", "after") if f"{word} {pid}\n" in text]
    seen = f"of 2 lines {len(kept)} can be read; the program {'lived on' if lives else 'ended when it printed'}"
    return judged(len(kept) == 2 and lives, seen)  # noqa: PLR2004
