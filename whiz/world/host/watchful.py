"""What a look tells of memory: which trees are to be measured because nothing else holds them, and who was killed."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from whiz.core.model import Outcome, Proc, Run
    from whiz.world.host.cgroup import Cgroups

_OFTEN = 1.0  # s between two measurings, however often who stays looks


class Watchful:
    """Looks at memory only where a Run asks for a ceiling or has been killed. `polls`: whether any is measured."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._at: float | None = None
        self.polls = False

    def usage(self, runs: Sequence[Run], living: Container[Proc]) -> tuple[tuple[str, int], ...]:
        """Return the bytes that trees have in memory whose ceiling no cgroup holds."""
        asked = [r for r in runs if r.program.limits.memory is not None and r.proc in living and r.asked is None]
        asked = [r for r in asked if "memory" not in self._cgroups.held(r)]
        self.polls = bool(asked)
        now = time.monotonic()
        if not asked or (self._at is not None and now - self._at < _OFTEN):
            return ()
        self._at = now
        from whiz.world.host.memory import Families, measure  # noqa: PLC0415  most whizzifests have no such limit

        families = Families({p.pid for r in runs for p in (r.proc, r.keeper) if p is not None})
        found = []
        for run in asked:
            assert run.proc is not None  # noqa: S101  it lives
            assert run.program.limits.memory is not None  # noqa: S101  it asks for one
            pids = {*families.of(run.proc.pid, run.id), *self._cgroups.members(run)}
            found.append((run.id, measure(pids, run.program.limits.memory)))
        return tuple(found)

    def felled(
        self, runs: Sequence[Run], living: Container[Proc], outcomes: Mapping[str, Outcome]
    ) -> Iterator[tuple[str, str]]:
        """Yield whom the kernel killed for want of memory, of those that nobody told to end."""
        for run in runs:
            known = outcomes.get(run.id)
            proc = run.proc if run.proc is not None or known is None else known.proc
            if run.asked is not None or run.exited is not None or proc is None or proc in living:
                continue
            if known is None and run.keeper in living:
                continue  # it will say
            if known is not None and (not known.ended or known.exit not in (None, -signal.SIGKILL)):
                continue
            if (words := self._felled(run, proc)) is not None:
                yield run.id, words

    def _felled(self, run: Run, proc: Proc) -> str | None:
        from whiz.core import oom  # noqa: PLC0415  who dies so is rare
        from whiz.world.host.memory import felled  # noqa: PLC0415

        return oom.from_events(*self._cgroups.events(run)) or felled(proc.pid, run.started)
