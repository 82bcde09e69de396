"""Looks that are under way: commands and threads, a bounded number, and nobody waits for them."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING

from whiz.core.health import beat
from whiz.core.model import Answer, Ask, Proc
from whiz.core.words import spell_exit, spell_seconds
from whiz.world.host import looks
from whiz.world.host.stat import alive
from whiz.world.host.waker import hush
from whiz.world.threads import deaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.world.host.children import Children

AT_ONCE = 8  # looks that threads take at the same time
COMMANDS = 16  # commands that look at the same time
HUNG = 32  # threads at the most, those included that do not come back
GRACE = 1.0  # s past its timeout after which a look is given up
_NEVER = 86400.0  # s
_SAID = 300  # bytes of a command's output that are told

Key = tuple[str, str]


class Probes:
    """Takes looks. `rung`: a descriptor that can be read when an answer is there.

    `clocks`: CLOCK_BOOTTIME, and wall time for ages. `paths`: of a Run's output, and of what it says by itself.
    `command`: starts the command of a look, its output in a descriptor, and returns its process; raises OSError.
    """

    def __init__(
        self,
        children: Children,
        clocks: tuple[Callable[[], float], Callable[[], float]],
        paths: tuple[Callable[[Ask], str], Callable[[Ask], str]],
        command: Callable[[Ask, int], Proc],
    ) -> None:
        self.asked: dict[Key, float] = {}
        self._children, self._command = children, command
        self._now, self._wall = clocks
        self._log, self._said = paths
        self._lock = threading.Lock()
        self._waiting: deque[Ask] = deque()
        self._queue: deque[Ask] = deque()  # commands that wait for their turn
        self._flying: dict[Key, tuple[float | None, float]] = {}  # when it began, and how long it may take
        self._given_up: set[Key] = set()
        self._threads = 0
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
            if key in self._given_up:
                self._tell(ask, "it still hangs")
            elif ask.check.way == "run":
                if key not in self._commands and all((a.run.id, a.kind) != key for a in self._queue):
                    self._queue.append(ask)
            elif key not in self._flying:
                with self._lock:
                    self._flying[key] = (None, ask.check.timeout + GRACE)
                    self._waiting.append(ask)
        self._man()
        self._start_some()

    def answers(self, living: Iterable[str]) -> tuple[Answer, ...]:
        """Return what was found since the last time; forget what concerns none of these Runs."""
        hush(self.rung)
        self._see_to_commands()
        now = self._now()
        with self._lock:
            for key, (began, span) in self._flying.items():
                if began is not None and now > began + span and key not in self._given_up:
                    self._given_up.add(key)  # its thread hangs in the kernel: on a dead mount, say
                    self._answers.append(Answer(*key, well=False, words=f"no answer for {spell_seconds(span)}"))
            if len(self._given_up) >= HUNG:  # nobody is left to look at the others
                for ask in self._waiting:
                    del self._flying[ask.run.id, ask.kind]
                    words = f"not looked at: {HUNG} other looks hang"
                    self._answers.append(Answer(ask.run.id, ask.kind, well=False, words=words))
                self._waiting.clear()
            found, self._answers = tuple(self._answers), []
        self._man()
        self._start_some()
        runs = frozenset(living)
        if len(self.asked) > 2 * len(runs):
            self.asked = {k: at for k, at in self.asked.items() if k[0] in runs}
            self._places = {r: p for r, p in self._places.items() if r in runs}
            self._stamps = {r: s for r, s in self._stamps.items() if r in runs}
        return found

    def asking(self) -> bool:
        """Whether an answer is still to come."""
        with self._lock:
            return bool(self._commands or self._queue or self._answers or self._flying.keys() - self._given_up)

    def soonest(self) -> float:
        """Return in how many seconds a look must be given up."""
        with self._lock:
            ends = [b + s for k, (b, s) in self._flying.items() if b is not None and k not in self._given_up]
        ends += [until for _, _, until in self._commands.values()]
        return max(0.0, min(ends) - self._now()) if ends else _NEVER

    def procs(self) -> list[Proc]:
        """Return whose end is an answer."""
        return [proc for proc, _, _ in self._commands.values()]

    def drop(self) -> None:
        """End the commands that still run: whoever asked is going."""
        for proc, out, _ in self._commands.values():
            self._children.forget(proc)
            _kill(proc)
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
                self._children.forget(proc)
                _kill(proc)
            elif code and (said := os.pread(out, _SAID, 0).decode(errors="replace").strip()):
                words += f": {said.splitlines()[0]}"
            os.close(out)
            del self._commands[key]
            self._answers.append(Answer(*key, well=code == 0, words=words))

    # -- threads: looks that the kernel may keep waiting

    def _man(self) -> None:
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
            words = self._look(ask)
            with self._lock:
                late = key in self._given_up
                self._given_up.discard(key)
                del self._flying[key]
                if not late:
                    self._answers.append(Answer(*key, well=not words, words=words))
                quiet = not words and ask.kind == "alive" and bool(self._flying.keys() - self._given_up)
            if not quiet:  # that one of many is still alive can wait until all have been looked at
                self._wake()

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
        self._answers.append(Answer(ask.run.id, ask.kind, well=False, words=words))
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


def _kill(proc: Proc) -> None:
    """End a command of ours with its session; it has not been reaped, so its number is its own."""
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
