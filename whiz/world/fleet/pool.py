"""Many hosts at once, but not too many: a thread each, and nobody waits for one longer than its timeout."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from whiz.core.fleet.answers import Fate, Reply
from whiz.core.value import replace
from whiz.core.words import spell_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whiz.core.fleet.model import Host

JOBS = 32
GREETING = 15.0  # s for a host to let us in, of its timeout


class Closes(Protocol):
    """What can be closed from another thread."""

    def close(self) -> object:
        """Have whoever waits for it wait no longer."""


class Gone(Exception):
    """The turn is over: nobody waits for what it would bring."""


class Turn:
    """One host being asked. `asked`: the command may have reached it."""

    def __init__(self, host: Host) -> None:
        self.host, self.begun, self.asked = host, time.monotonic(), False
        self._lock = threading.Lock()
        self._over = False
        self._closes: list[Closes] = []

    @property
    def limit(self) -> float:
        """How long it may take: to be let in first, then all in all."""
        return self.host.timeout if self.asked else min(self.host.timeout, GREETING)

    @property
    def left(self) -> float:
        """The seconds that are left of its timeout, never none."""
        return max(0.01, self.begun + self.host.timeout - time.monotonic())

    def keep(self, thing: Closes) -> None:
        """Have this closed when the turn is over before its time; raise Gone if it is."""
        with self._lock:
            over = self._over
            self._closes.append(thing)
        if over:
            self.end()
            raise Gone

    def ask(self) -> None:
        """Note that the command goes out now; raise Gone if it must not."""
        with self._lock:
            if self._over:
                raise Gone
            self.asked = True

    def end(self) -> None:
        """Let nothing more happen, as far as that is in our hands."""
        with self._lock:
            self._over = True
            closes, self._closes = self._closes, []
        for thing in closes:
            with suppress(Exception):
                thing.close()


def each(
    hosts: Sequence[Host],
    work: Callable[[Turn], Reply],
    tell: Callable[[Reply, tuple[str, ...]], None],
    jobs: int = JOBS,
) -> tuple[Reply, ...]:
    """Have `work` done for every host, at most `jobs` at once; return what came of it, in the order of the hosts.

    `tell` hears each reply as it comes, and who is being asked. When interrupted, what is under way is given up: the
    replies say of each host whether it was asked, and `tell` is no longer called.
    """
    todo, running = deque(hosts), dict[str, Turn]()
    replies: dict[str, Reply] = {}
    came: SimpleQueue[tuple[Turn, Reply]] = SimpleQueue()
    try:
        while todo or running:
            while todo and len(running) < max(1, jobs):
                turn = Turn(todo.popleft())
                running[turn.host.name] = turn
                threading.Thread(target=_carry, args=(turn, work, came), daemon=True).start()
            for turn, reply in _next(running, came):
                if running.get(turn.host.name) is turn:  # not given up before
                    del running[turn.host.name]
                    replies[turn.host.name] = replace(reply, seconds=time.monotonic() - turn.begun)
                    tell(replies[turn.host.name], tuple(running))
    except KeyboardInterrupt:
        for turn in running.values():
            turn.end()
            if turn.asked:
                replies[turn.host.name] = Reply(turn.host.name, fate=Fate.CUT, why="asked, and not waited for")
    never = "interrupted before it was asked"
    return tuple(replies.get(h.name) or Reply(h.name, fate=Fate.NEVER, why=never) for h in hosts)


def _next(running: dict[str, Turn], came: SimpleQueue[tuple[Turn, Reply]]) -> list[tuple[Turn, Reply]]:
    """Wait for the next reply, or for a host's time to be up."""
    until = min(t.begun + t.limit for t in running.values())
    with suppress(Empty):
        return [came.get(timeout=max(0.0, until - time.monotonic()))]
    late = [t for t in running.values() if t.begun + t.limit <= time.monotonic()]
    for turn in late:
        turn.end()
    return [(turn, _late(turn)) for turn in late]


def _late(turn: Turn) -> Reply:
    within = spell_seconds(turn.limit)
    if turn.asked:
        return Reply(turn.host.name, fate=Fate.FAILED, why=f"no answer within {within}: it may still be at it")
    return Reply(turn.host.name, fate=Fate.OFFLINE, why=f"lets nobody in within {within}")


def _carry(turn: Turn, work: Callable[[Turn], Reply], came: SimpleQueue[tuple[Turn, Reply]]) -> None:
    try:
        reply = work(turn)
    except Gone:
        return
    except Exception as exc:  # noqa: BLE001  whatever it was, it is this host's and nobody else's
        reply = Reply(turn.host.name, fate=Fate.FAILED, why=f"{type(exc).__name__}: {exc}")
    came.put((turn, reply))
