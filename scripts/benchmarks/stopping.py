"""Behaviours of stops, restarts and failures."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import subjects
from trial import ANSWER
from verdict import Verdict, judged, many

if TYPE_CHECKING:
    import subprocess

    from trial import Entry, Trial

MANY = 20
HEARD = 6.0  # s in which a command is surely heard; the program ends only then
WATCH = 5.0  # s in which starts are counted
STARTS = 50  # so many in that time are no longer a limit
LOOKS, LOOK = 10, 0.3  # how often, how far apart (s), the status is asked
SETTLED = 30.0  # s until it has to say so each time


def grandchild(trial: Trial) -> Verdict:
    return _tree(trial, subjects.TREE)


def orphan(trial: Trial) -> Verdict:
    return _tree(trial, subjects.ORPHAN)


def _tree(trial: Trial, text: str) -> Verdict:
    """Stop a program that has a grandchild in a session of its own, and look the moment the stop says done."""
    trial.up(trial.program("a", text))
    trial.until(lambda: trial.copies("a", guest=True), "the grandchild lives")
    said = trial.stop("a")
    left, program = trial.copies("a", guest=True), trial.copies("a")
    trial.calm()
    later = trial.copies("a", guest=True)
    seen = (
        f"when the stop said done: {len(program)} of 1 program and {len(left)} of 1 grandchild lived;"
        f" {trial.keeper.calm:.0f} s later {len(later)} of 1{f' ({said})' if said else ''}"
    )
    return judged(not (left or program or later or said), seen)


def pausing(trial: Trial) -> Verdict:
    """Stop a program that fails, at several moments of the pause before its next start."""
    trial.up(trial.program("a", subjects.FAILS, "pause"))
    rounds = 2 if trial.quick else 5
    late = []
    for n in range(rounds):
        have = trial.starts("a")
        trial.until(lambda have=have: trial.starts("a") > have + 1, "it fails again and again")
        time.sleep(n * 0.2)  # another moment of the pause each time
        said = trial.stop("a")
        have = trial.starts("a")
        trial.calm()
        late.append(f"{trial.starts('a') - have + len(trial.copies('a'))}{f' (it said: {said})' if said else ''}")
        trial.resume("a")
    return judged(set(late) == {"0"}, f"{rounds} stops; starts after each: {', '.join(late)}")


def restarting(trial: Trial) -> Verdict:
    """Stop a program while a restart waits for its end."""
    trial.up(trial.program("a", subjects.SLOW))
    with trial.asking(*trial.keeper.told(trial.base, "restart", "a")) as restart:
        trial.until(lambda: "term" in trial.marks("a"), "the restart has begun")
        with ThreadPoolExecutor(1) as pool:
            stop = pool.submit(trial.stop, "a")
            time.sleep(HEARD)  # in which the stop is heard: no supervisor says when
            trial.mark("a.go")
            said = stop.result()
        _returned([restart])
    trial.calm()
    copies = trial.copies("a")
    seen = f"{_copies(copies)} lived {trial.keeper.calm:.0f} s after both commands had returned"
    seen += f", {many(trial.starts('a'), 'start')} in all"
    return judged(not copies, seen + (f"; the stop said: {said}" if said else ""))


def _copies(found: list[int]) -> str:
    return many(len(found), "copy", "copies")


def twenty(trial: Trial) -> Verdict:
    """Ask for 20 restarts at once."""
    trial.up(trial.program("a", subjects.PLAIN))
    before = trial.copies("a")
    asked = [trial.asking(*trial.keeper.told(trial.base, "restart", "a")) for _ in range(MANY)]
    returned = _returned(asked)
    trial.calm(2)
    copies, overlaps = trial.copies("a"), trial.marks("a").count("overlap")
    seen = (
        f"{returned} of {MANY} commands returned; {many(trial.starts('a') - 1, 'start')},"
        f" {overlaps} beside a predecessor;"
        f" {_copies(copies)} lived after"
    )
    return judged(returned == MANY and len(copies) == 1 and copies != before and not overlaps, seen)


def _returned(asked: list[subprocess.Popen[bytes]]) -> int:
    """Wait for commands; return how many came to their end by themselves."""
    end, n = time.monotonic() + 2 * ANSWER, 0
    for command in asked:
        while command.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        n += command.poll() is not None
        command.kill()
        command.communicate()
    return n


def port(trial: Trial) -> Verdict:
    """Restart a server whose worker, of the same group, lets go of the port two seconds after the server has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    trial.up(trial.program("a", subjects.SERVER, port=number))
    trial.until(lambda: trial.marks("a").count("bound") == 1, "it listens")
    trial.ask(*trial.keeper.told(trial.base, "restart", "a"))
    back = trial.within(lambda: trial.marks("a").count("bound") > 1, 15)
    taken = trial.marks("a").count("taken")
    seen = f"{many(taken, 'start')} found the port taken; it listened {'again' if back else 'no more within 15 s'}"
    return judged(back and not taken, seen)


def spin(trial: Trial) -> Verdict:
    """Count the starts of a program that fails at once, with no delay set."""
    have = _spinning(trial)
    return judged(have <= STARTS, f"{many(have, 'start')} in {WATCH:.0f} s")


def named(trial: Trial) -> Verdict:
    """Ask for the status of one that fails, of one that runs, and of one that was stopped."""
    have = _spinning(trial, trial.program("fine", subjects.PLAIN), trial.program("halted", subjects.PLAIN))
    trial.stop("halted")
    fine, halted = trial.state("fine"), trial.state("halted")
    usual, words = {fine, halted, ""}, [""]
    end = time.monotonic() + SETTLED
    while usual & set(words) and time.monotonic() < end:
        words = _looks(trial, fine)
    seen = f"{many(have, 'start')} in {WATCH:.0f} s; then {LOOKS} looks said {_quoted(sorted(set(words)))};"
    seen += f' of one that runs it said "{fine}", of one that was stopped "{halted}"'
    return judged(not usual & set(words) and fine != halted, seen)


def _looks(trial: Trial, fine: str) -> list[str]:
    """Ask for its state some times; one that starts during a look may truly be said to run, which is no look."""
    words: list[str] = []
    end = time.monotonic() + SETTLED
    while len(words) < LOOKS and time.monotonic() < end:
        before = trial.starts("a")
        word = trial.state("a")
        if word != fine or trial.starts("a") == before:
            words.append(word)
        time.sleep(LOOK)
    return words or [fine]


def _spinning(trial: Trial, *others: Entry) -> int:
    trial.up(*others, trial.program("a", subjects.FAILS, "spin"))
    begin = trial.starts("a")
    if begin == 1:
        begin = 0
    time.sleep(WATCH)
    return trial.starts("a") - begin


def _quoted(words: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)
