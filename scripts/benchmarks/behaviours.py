"""The list: what is tried with every supervisor, and what counts as passing. Each returns what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import enduring
import reloading
import stopping
from verdict import Verdict, lacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from trial import Trial


@dataclass(frozen=True)
class Behaviour:
    """A situation and what should come of it."""

    key: str
    what: str
    of: Callable[[Trial], Verdict]

    def shown(self, trial: Trial) -> Verdict:
        """Try it, unless the supervisor has no notion of it."""
        why = trial.keeper.lacks.get(self.key)
        return lacking(why) if why else self.of(trial)


BEHAVIOURS = (
    Behaviour(
        "first-killed", "Its first process is killed -9 and started again: same pids, one copy each", enduring.first
    ),
    Behaviour("all-killed", "All of its processes are: same pids, one copy each", enduring.everyone),
    Behaviour("torn", "Killed, and a file of its state is cut short: nothing doubled, nothing lost", enduring.torn),
    Behaviour("forged", "Its record names a stranger's pid: not signalled, not counted as running", enduring.forged),
    Behaviour("clock", "The clock steps by +50 and -50 years: nothing happens, and it goes on keeping", enduring.clock),
    Behaviour("output", "What a program prints while its supervisor is dead can be read after", enduring.output),
    Behaviour("grandchild", "A stop ends a `setsid` grandchild, and says done only then", stopping.grandchild),
    Behaviour("orphan", "And one whose parent has ended already", stopping.orphan),
    Behaviour("stop-pausing", "A stop during the pause before a restart is final", stopping.pausing),
    Behaviour("stop-restarting", "A stop during a restart is final", stopping.restarting),
    Behaviour("twenty", "20 restarts at once: one copy, never two side by side", stopping.twenty),
    Behaviour(
        "port", "A restarted program finds its port free, though a worker closes it two seconds late", stopping.port
    ),
    Behaviour("spin", "A program that fails at once, with every delay at 0, does not spin", stopping.spin),
    Behaviour("named", "And its status tells it from one that runs, and from one that was stopped", stopping.named),
    Behaviour("no-op", "A reload of the same configuration keeps pids", reloading.same),
    Behaviour("changed", "A changed entry changes only itself", reloading.changed),
    Behaviour("removed", "A removed entry ends; the same program started by hand is left alone", reloading.removed),
    Behaviour("broken", "A broken configuration keeps what runs", reloading.broken),
    Behaviour("empty", "An empty or missing one does too", reloading.empty),
)
