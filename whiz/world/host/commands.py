"""Commands that look at programs: children of ours, a few at a time, seen to between turns."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.model import Answer, Ask, Proc
from whiz.core.value import value
from whiz.core.words import spell_exit
from whiz.world.host.waker import SAID

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.world.host.children import Children
    from whiz.world.host.pool import Key

AT_ONCE = 16


@value
class _Flight:
    """One under way: its process, where its output is read, what was read, and until when it may take."""

    proc: Proc
    out: int
    said: bytearray
    until: float


class Commands:
    """Starts them by `start`, which is given where output goes and raises OSError. `now`: CLOCK_BOOTTIME.

    `outputs`: where to put descriptors that are to be read while we sleep, so that none who prints has to wait.
    """

    def __init__(
        self,
        children: Children,
        start: Callable[[Ask, int], Proc],
        now: Callable[[], float],
        outputs: dict[int, bytearray],
    ) -> None:
        self._children, self._started, self._now, self._outputs = children, start, now, outputs
        self._queue: deque[Ask] = deque()
        self._flying: dict[Key, _Flight] = {}

    def ask(self, ask: Ask) -> None:
        """Have a look taken, unless the one before is still under way."""
        key = (ask.run.id, ask.kind)
        if key not in self._flying and all((a.run.id, a.kind) != key for a in self._queue):
            self._queue.append(ask)

    def start(self, failed: Callable[[Ask, OSError], Answer]) -> list[Answer]:
        """Start those that wait, as far as that is allowed; return the answers of those that could not be."""
        found = []
        while self._queue and len(self._flying) < AT_ONCE:
            ask = self._queue.popleft()
            try:
                self._start(ask)
            except OSError as exc:
                found.append(failed(ask, exc))
        return found

    def _start(self, ask: Ask) -> None:
        r, w = os.pipe2(os.O_CLOEXEC)
        try:
            proc = self._started(ask, w)
        except OSError:
            os.close(r)
            raise
        finally:
            os.close(w)
        os.set_blocking(r, False)
        flight = _Flight(proc, r, bytearray(), self._now() + ask.check.timeout)
        self._outputs[r], self._flying[ask.run.id, ask.kind] = flight.said, flight

    def answers(self) -> list[Answer]:
        """Return what those found that have ended, or took too long."""
        found = []
        for key, flight in list(self._flying.items()):
            code = self._children.ended(flight.proc)
            if code is None and self._now() < flight.until:
                continue
            words = "took too long" if code is None else "" if code == 0 else spell_exit(code)
            said = self._ended(key, flight)
            if code and said:
                words += f": {said.splitlines()[0]}"
            found.append(Answer(*key, well=code == 0, words=words))
        return found

    def drop(self) -> None:
        """End those that still run: whoever asked is going."""
        for key, flight in list(self._flying.items()):
            self._ended(key, flight)
        self._queue.clear()

    def _ended(self, key: Key, flight: _Flight) -> str:
        """See one off; return what it said."""
        self._children.fell(flight.proc)
        self._children.forget(flight.proc)
        with suppress(BlockingIOError):
            while len(flight.said) < SAID and (piece := os.read(flight.out, SAID)):
                flight.said.extend(piece)
        self._outputs.pop(flight.out, None)
        os.close(flight.out)
        del self._flying[key]
        return flight.said[:SAID].decode(errors="replace").strip()

    def asking(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._flying or self._queue)

    def ends(self) -> list[float]:
        """Return when looks must be given up."""
        return [flight.until for flight in self._flying.values()]

    def procs(self) -> list[Proc]:
        """Return whose end is an answer."""
        return [flight.proc for flight in self._flying.values()]
