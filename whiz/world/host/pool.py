"""Threads for looks that the kernel may keep waiting: a bounded number, and nobody waits for them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from whiz.core.model import Answer
from whiz.core.words import spell_seconds
from whiz.world.threads import deaf

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.model import Ask

AT_ONCE = 8  # looks that threads take at the same time
HUNG = 32  # threads at the most, those included that do not come back
GRACE = 1.0  # s past its timeout after which a look is given up

Key = tuple[str, str]  # run id, kind of look


class Pool:
    """Takes looks of one sort. When HUNG of them hang, the others are not taken, and that is said.

    `look` takes one; `now`: CLOCK_BOOTTIME; `wake` is called when an answer is there.
    """

    def __init__(self, look: Callable[[Ask], Answer], now: Callable[[], float], wake: Callable[[], None]) -> None:
        self._look, self._now, self._wake = look, now, wake
        self._lock = threading.Lock()
        self._waiting: deque[Ask] = deque()
        self._flying: dict[Key, tuple[float | None, float]] = {}  # when it began, and how long it may take
        self._given_up: set[Key] = set()
        self._threads = 0
        self._answers: list[Answer] = []

    def ask(self, ask: Ask) -> None:
        """Have a look taken, unless the one before is still under way."""
        key = (ask.run.id, ask.kind)
        with self._lock:
            hangs = key in self._given_up
            if hangs:
                self._answers.append(Answer(*key, well=False, words="it still hangs"))
            elif key not in self._flying:
                self._flying[key] = (None, ask.check.timeout + GRACE)
                self._waiting.append(ask)
        if hangs:
            self._wake()

    def answers(self) -> list[Answer]:
        """Return what was found since the last time."""
        now = self._now()
        with self._lock:
            for key, (began, span) in self._flying.items():
                if began is not None and now > began + span and key not in self._given_up:
                    self._given_up.add(key)  # its thread hangs in the kernel: on a dead mount, say
                    self._answers.append(Answer(*key, well=False, words=f"no answer for {spell_seconds(span)}"))
            if len(self._given_up) >= HUNG:  # nobody is left to look at the others
                words = f"not looked at: {HUNG} other looks hang"
                for ask in self._waiting:
                    del self._flying[ask.run.id, ask.kind]
                    self._answers.append(Answer(ask.run.id, ask.kind, well=False, words=words, taken=False))
                self._waiting.clear()
            found, self._answers = self._answers, []
        self.man()
        return found

    def asking(self) -> bool:
        """Whether an answer is still to come."""
        with self._lock:
            return bool(self._answers or self._flying.keys() - self._given_up)

    def ends(self) -> list[float]:
        """Return when looks must be given up."""
        with self._lock:
            return [b + s for k, (b, s) in self._flying.items() if b is not None and k not in self._given_up]

    def man(self) -> None:
        """Have as many threads as there is work, within the bounds."""
        with self._lock:
            hung = len(self._given_up)
            more = min(len(self._waiting), AT_ONCE - (self._threads - hung), HUNG - self._threads)
            self._threads += max(0, more)
        for _ in range(more):
            try:
                with deaf():
                    threading.Thread(target=self._work, name="whiz-look", daemon=True).start()
            except RuntimeError:  # the machine has no room for one: a later turn tries again
                with self._lock:
                    self._threads -= 1

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                ask = self._waiting.popleft()
                key = (ask.run.id, ask.kind)
                self._flying[key] = (self._now(), self._flying[key][1])
            answer = self._look(ask)
            with self._lock:
                late = key in self._given_up
                self._given_up.discard(key)
                del self._flying[key]
                if not late:
                    self._answers.append(answer)
                quiet = answer.well and ask.kind == "alive" and bool(self._flying.keys() - self._given_up)
            if not quiet:  # that one of many is still alive can wait until all have been looked at
                self._wake()
