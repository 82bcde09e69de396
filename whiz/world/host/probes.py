"""Looks that are under way: commands, threads, and what needs neither; a bounded number, and nobody waits for them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from whiz.core.health import beat, spared
from whiz.core.model import Answer
from whiz.core.words import spell_seconds
from whiz.world.host import looks
from whiz.world.host.pool import Pool
from whiz.world.host.stat import alive
from whiz.world.host.waker import hush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.model import Ask, Proc
    from whiz.world.host.commands import Commands
    from whiz.world.host.pool import Key

_NEVER = 86400.0  # s
_GAVE_UP = "it said so (WATCHDOG=trigger)"
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class Probes:
    """Takes looks. `rung`: a descriptor that can be read when an answer is there.

    `clocks`: CLOCK_BOOTTIME, and wall time for ages. `paths`: of a Run's output, and of what it says by itself.
    Ports and files have threads of their own: a resolver that never answers does not keep files from being looked at.
    """

    def __init__(
        self,
        commands: Commands,
        clocks: tuple[Callable[[], float], Callable[[], float]],
        paths: tuple[Callable[[Ask], str], Callable[[Ask], str]],
    ) -> None:
        self.asked: dict[Key, float] = {}
        self._commands = commands
        self._now, self._wall = clocks
        self._log, self._said = paths
        self._nets, self._files = (Pool(self._look, self._now, self._wake) for _ in range(2))
        self._answers: list[Answer] = []
        self._places: dict[str, looks.Place] = {}  # run id -> how far its log is read
        self._stamps: dict[str, tuple[str, float]] = {}  # run id -> the last sign of life, and when it was new
        self.rung, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ask(self, asks: Iterable[Ask], now: float) -> None:
        """Have these looks taken, each Run's one after the other."""
        for ask in asks:
            self.asked[ask.run.id, ask.kind] = now
            match ask.check.way:
                case "run":
                    self._commands.ask(ask)
                case "fd" | "notify":
                    self._answers.append(self._look(ask))  # it lies beside the records, which a turn reads, too
                case "file" | "log":
                    self._files.ask(ask)
                case _:
                    self._nets.ask(ask)
        self._nets.man()
        self._files.man()
        self._start()
        if self._answers:
            self._wake()

    def answers(self, living: Iterable[str]) -> tuple[Answer, ...]:
        """Return what was found since the last time; forget what concerns none of these Runs."""
        hush(self.rung)
        found = (*self._answers, *self._commands.answers(), *self._nets.answers(), *self._files.answers())
        self._answers.clear()
        self._start()
        runs = frozenset(living)
        if len(self.asked) > 2 * len(runs):
            self.asked = {k: at for k, at in self.asked.items() if k[0] in runs}
            self._places = {r: p for r, p in self._places.items() if r in runs}
            self._stamps = {r: s for r, s in self._stamps.items() if r in runs}
        return found

    def asking(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._answers) or any(p.asking() for p in (self._commands, self._nets, self._files))

    def soonest(self) -> float:
        """Return in how many seconds a look must be given up."""
        ends = [*self._commands.ends(), *self._nets.ends(), *self._files.ends()]
        return max(0.0, min(ends) - self._now()) if ends else _NEVER

    def procs(self) -> list[Proc]:
        """Return whose end is an answer."""
        return self._commands.procs()

    def drop(self) -> None:
        """End the commands that still run: whoever asked is going."""
        self._commands.drop()

    def _start(self) -> None:
        self._answers += self._commands.start(_failed)

    def _look(self, ask: Ask) -> Answer:
        try:
            words = self._found(ask)
        except TimeoutError:
            words = f"no answer for {spell_seconds(ask.check.timeout)}"
        except (OSError, ValueError, ArithmeticError) as exc:
            return _failed(ask, exc)
        return Answer(ask.run.id, ask.kind, well=not words, words=words, over=words == _GAVE_UP)

    def _found(self, ask: Ask) -> str:
        """Take a look and return what is the matter."""
        check = ask.check
        match check.way:
            case "port":
                return looks.port(check)
            case "unix":
                return looks.unix(check)
            case "http":
                return looks.http(check)
            case "log":
                return self._logged(ask)
            case "file" if ask.kind == "ready":
                return looks.file(check, ask.run.before)
            case "fd":
                return "" if os.stat(self._said(ask)).st_size else "it has not said so"
            case "notify":
                return self._notified(ask)
            case _:
                return self._beats(ask, check.what)

    def _logged(self, ask: Ask) -> str:
        read = self._places.get(ask.run.id) or looks.place(ask.run.before)
        own = f"/proc/{ask.run.proc.pid}/fd/1" if ask.run.proc is not None else ""
        words, self._places[ask.run.id] = looks.log(ask.check, self._log(ask), read, own)
        return words

    def _notified(self, ask: Ask) -> str:
        """Read what its chaperone heard; that one who was killed heard nothing is not the program's fault."""
        said, keeper = _read(self._said(ask)), ask.run.keeper
        if said.startswith(b"!"):
            return _GAVE_UP
        if ask.kind == "ready":
            return "" if said.startswith(b"1") else "it has not said so"
        if keeper is None or spared(ask.run, ask.check, self._now()):
            return ""
        words = self._beats(ask, f"/proc/{keeper.pid}/fd/0")
        return words if alive(keeper, ask.run.boot) else ""  # asked last: until then the number was its own

    def _beats(self, ask: Ask, path: str) -> str:
        """Judge the age of a sign of life, which is that of a file."""
        run = ask.run
        try:
            st = os.stat(path)
        except FileNotFoundError:
            return f"there is no {path}"
        if ask.check.way == "notify" and st.st_size == 0:
            return "it never gave a sign of life"
        now, wall, stamp = self._now(), self._wall(), looks.stamp(st)
        if self._stamps.get(run.id, ("", 0.0))[0] != stamp:
            self._stamps[run.id] = (stamp, now)
        kept = (wall - run.at) - (now - run.started)
        well, words = beat(ask.check, wall - st.st_mtime, kept, now - self._stamps[run.id][1])
        return "" if well else words

    def _wake(self) -> None:
        try:
            os.write(self._ring, b"\0")
        except BlockingIOError:
            return  # it rings already


def _failed(ask: Ask, exc: Exception) -> Answer:
    """Return what it means that a look failed: nothing, where this machine has no room for one."""
    words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return Answer(ask.run.id, ask.kind, well=False, words=words, taken=getattr(exc, "errno", None) not in _NO_ROOM)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read(16)
    except FileNotFoundError:
        return b""  # nothing was said
