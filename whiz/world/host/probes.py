"""Looks that are under way: commands, threads, and what needs neither; a bounded number, and nobody waits for them."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from whiz.core.health import beat
from whiz.core.model import Answer, Ask, Proc
from whiz.core.words import spell_exit, spell_seconds
from whiz.world.host import looks
from whiz.world.host.pool import HUNG, Pool
from whiz.world.host.stat import alive
from whiz.world.host.waker import hush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.world.host.children import Children
    from whiz.world.host.pool import Key

COMMANDS = 16  # commands that look at the same time
_NEVER = 86400.0  # s
_SAID = 300  # bytes of a command's output that are told


class Probes:
    """Takes looks. `rung`: a descriptor that can be read when an answer is there.

    `clocks`: CLOCK_BOOTTIME, and wall time for ages. `paths`: of a Run's output, and of what it says by itself.
    `command`: starts the command of a look, its output in a descriptor, and returns its process; raises OSError.
    `hung`: so many looks of one sort may hang. A resolver that never answers must not keep files from being looked at.
    """

    def __init__(
        self,
        children: Children,
        clocks: tuple[Callable[[], float], Callable[[], float]],
        paths: tuple[Callable[[Ask], str], Callable[[Ask], str]],
        command: Callable[[Ask, int], Proc],
        hung: int = HUNG,
    ) -> None:
        self.asked: dict[Key, float] = {}
        self._children, self._command = children, command
        self._now, self._wall = clocks
        self._log, self._said = paths
        self._nets, self._files = (Pool(self._look, self._now, self._wake, hung) for _ in range(2))
        self._queue: deque[Ask] = deque()  # commands that wait for their turn
        self._commands: dict[Key, tuple[Proc, int, float]] = {}  # its process, its output, until when
        self._answers: list[Answer] = []
        self._places: dict[str, looks.Place] = {}  # run id -> how far its log is read
        self._stamps: dict[str, tuple[str, float]] = {}  # run id -> the last sign of life, and when it was new
        self.rung, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ask(self, asks: Iterable[Ask], now: float) -> None:
        """Have these looks taken, each Run's one after the other."""
        for ask in asks:
            key = (ask.run.id, ask.kind)
            self.asked[key] = now
            match ask.check.way:
                case "run":
                    if key not in self._commands and all((a.run.id, a.kind) != key for a in self._queue):
                        self._queue.append(ask)
                case "fd" | "notify":
                    self._tell(ask, self._look(ask))  # it lies beside the records, which a turn reads, too
                case "file" | "log":
                    self._files.ask(ask)
                case _:
                    self._nets.ask(ask)
        self._nets.man()
        self._files.man()
        self._start_some()

    def answers(self, living: Iterable[str]) -> tuple[Answer, ...]:
        """Return what was found since the last time; forget what concerns none of these Runs."""
        hush(self.rung)
        self._see_to_commands()
        found = (*self._answers, *self._nets.answers(), *self._files.answers())
        self._answers.clear()
        self._start_some()
        runs = frozenset(living)
        if len(self.asked) > 2 * len(runs):
            self.asked = {k: at for k, at in self.asked.items() if k[0] in runs}
            self._places = {r: p for r, p in self._places.items() if r in runs}
            self._stamps = {r: s for r, s in self._stamps.items() if r in runs}
        return found

    def asking(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._commands or self._queue or self._answers) or self._nets.asking() or self._files.asking()

    def soonest(self) -> float:
        """Return in how many seconds a look must be given up."""
        ends = [*self._nets.ends(), *self._files.ends(), *(until for _, _, until in self._commands.values())]
        return max(0.0, min(ends) - self._now()) if ends else _NEVER

    def procs(self) -> list[Proc]:
        """Return whose end is an answer."""
        return [proc for proc, _, _ in self._commands.values()]

    def drop(self) -> None:
        """End the commands that still run: whoever asked is going."""
        for proc, out, _ in self._commands.values():
            self._children.fell(proc)
            self._children.forget(proc)
            os.close(out)
        self._commands.clear()
        self._queue.clear()

    # -- commands: our children, seen to between turns

    def _start_some(self) -> None:
        """Start the commands that wait, as far as that is allowed."""
        while self._queue and len(self._commands) < COMMANDS:
            ask = self._queue.popleft()
            self._start(ask, (ask.run.id, ask.kind))

    def _start(self, ask: Ask, key: Key) -> None:
        out = -1
        try:
            out = os.memfd_create("whiz-look", os.MFD_CLOEXEC)
            proc = self._command(ask, out)
        except OSError as exc:
            if out >= 0:
                os.close(out)
            self._tell(ask, exc.strerror or str(exc))
            return
        self._commands[key] = (proc, out, self._now() + ask.check.timeout)

    def _see_to_commands(self) -> None:
        for key, (proc, out, until) in list(self._commands.items()):
            code = self._children.ended(proc)
            if code is None and self._now() < until:
                continue
            words = "took too long" if code is None else "" if code == 0 else spell_exit(code)
            if code is None:
                self._children.fell(proc)
                self._children.forget(proc)
            elif code and (said := os.pread(out, _SAID, 0).decode(errors="replace").strip()):
                words += f": {said.splitlines()[0]}"
            os.close(out)
            del self._commands[key]
            self._answers.append(Answer(*key, well=code == 0, words=words))

    # -- the others: here or in threads

    def _look(self, ask: Ask) -> str:
        check = ask.check
        try:
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
                case "notify" if ask.kind == "ready":
                    return "" if _read(self._said(ask)).startswith(b"1") else "it has not said so"
                case _:
                    return self._beats(ask)
        except TimeoutError:
            return f"no answer for {spell_seconds(check.timeout)}"
        except (OSError, ValueError, ArithmeticError) as exc:
            return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__

    def _logged(self, ask: Ask) -> str:
        read = self._places.get(ask.run.id) or looks.place(ask.run.before)
        words, self._places[ask.run.id] = looks.log(ask.check, self._log(ask), read)
        return words

    def _beats(self, ask: Ask) -> str:
        """Judge the age of a sign of life; its file's name tells which sign."""
        run, own = ask.run, ask.check.way == "notify"
        if own and run.keeper is not None and not alive(run.keeper, run.boot):
            return ""  # its chaperone was killed, so nobody hears it; that is not its fault
        path = self._said(ask) if own else ask.check.what
        if own and _read(path).startswith(b"!"):
            return "it said so (WATCHDOG=trigger)"
        stamp = looks.stamp(path)
        if not stamp:
            return "it never gave a sign of life" if own else f"there is no {path}"
        now, wall = self._now(), self._wall()
        if self._stamps.get(run.id, ("", 0.0))[0] != stamp:
            self._stamps[run.id] = (stamp, now)
        kept = (wall - run.at) - (now - run.started)
        well, words = beat(ask.check, wall - os.stat(path).st_mtime, kept, now - self._stamps[run.id][1])
        return "" if well else words

    def _tell(self, ask: Ask, words: str) -> None:
        self._answers.append(Answer(ask.run.id, ask.kind, well=not words, words=words))
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._ring, b"\0")
        except BlockingIOError:
            return  # it rings already


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read(16)
    except FileNotFoundError:
        return b""  # nothing was said
