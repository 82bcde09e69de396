"""A stand-in for the ways to hosts: as many as are wanted, without ssh. It passes the same contract as the real one."""

from __future__ import annotations

import shlex
import threading
from typing import TYPE_CHECKING

from whiz.core.fleet.answers import Fate, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from whiz.world.fleet.pool import Turn


class Never:
    """What a host that does not answer keeps: its thread waits until it is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def wait(self) -> None:
        self._closed.wait()


class StandIn:
    """Hosts by name: what each answers to a command; None lets nobody in, `silent` ones are asked and never answer."""

    def __init__(
        self, hosts: Mapping[str, Callable[[list[str]], tuple[int, str]] | None], silent: frozenset[str] = frozenset()
    ) -> None:
        self._hosts, self._silent = hosts, silent
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def run(self, turn: Turn, command: str) -> Reply:
        """Answer as this host does."""
        name = turn.host.name
        answers = self._hosts[name]
        if answers is None:
            return Reply(name, fate=Fate.OFFLINE, why="connection refused")
        hangs = Never()
        turn.keep(hangs)
        turn.ask()
        with self._lock:
            self.asked.append((name, command))
        if name in self._silent:
            hangs.wait()
        codes, said = [], []
        for part in command.split("; "):
            code, out = answers(shlex.split(part))
            codes.append(code)
            said.append(out)
        return Reply(name, codes[-1], "".join(said))

    def close(self) -> None:
        """Nothing is open."""
