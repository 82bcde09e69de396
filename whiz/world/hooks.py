"""Commands that are told what happened: a few at a time, each for a bounded time, and nobody waits for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from whiz.core.words import spell_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from whiz.core.model import Proc

    class Reaper(Protocol):
        """Who reaps our children; see whiz/world/host/children.py."""

        def helped(self, pid: int) -> Proc | None:
            """Take up a child that was just started."""

        def ended(self, proc: Proc) -> int | None:
            """Return how it ended, None while it runs."""


AT_ONCE = 4  # commands that run at the same time
WAITING = 100  # facts that wait for them; more are not told, and that is said
LONG = 10.0  # s that a command may take


class Hooks:
    """Starts `commands` (event -> argvs) with the fact as a line of JSON on stdin; output goes to the log `@on.log`.

    `now`: seconds of a clock that nobody sets.
    """

    def __init__(self, log: str, env: Mapping[str, str], reaper: Reaper, now: Callable[[], float]) -> None:
        self.commands: dict[str, tuple[tuple[str, ...], ...]] = {}
        self._log, self._env, self._reaper, self._now = f"{log}/@on.log", dict(env), reaper, now
        self._waiting: list[tuple[tuple[str, ...], str, str]] = []
        self._running: dict[Proc, tuple[float, str]] = {}
        self._lost = 0
        self.troubles: list[str] = []  # what is to be said, once

    def hear(self, fact: dict[str, object]) -> None:
        """Take note of a fact; nothing is started yet."""
        event = str(fact.get("event"))
        for argv in self.commands.get(event, ()):
            if len(self._waiting) < WAITING:
                self._waiting.append((argv, event, json.dumps(fact, ensure_ascii=False) + "\n"))
            else:
                self._lost += 1

    def tend(self) -> float | None:
        """Start what waits, end what takes too long; return when (s) to come again, None when all is done."""
        now = self._now()
        for proc, (until, what) in list(self._running.items()):
            code = self._reaper.ended(proc)
            if code is None and now < until:
                continue
            if code is None:
                self.troubles.append(f"on {what}: took longer than {LONG:.0f} s and was killed")
                _kill(proc)
            elif code:
                self.troubles.append(f"on {what}: {spell_exit(code)}; see {self._log}")
            del self._running[proc]
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(*self._waiting.pop(0), now)
        if self._lost and not self._waiting:
            self.troubles.append(f"{self._lost} facts came too fast for the commands of on: and were not told to them")
            self._lost = 0
        soonest = min((until for until, _ in self._running.values()), default=None)
        return None if soonest is None else max(0.0, soonest - now)

    def finish(self, wait: Callable[[float], None]) -> None:
        """Let those that wait run before we go, all together for no longer than one may take."""
        end = self._now() + LONG
        while (again := self.tend()) is not None:
            if self._now() >= end:
                self._lost += len(self._waiting)
                self._waiting.clear()
            wait(min(again, 0.05))

    def _start(self, argv: tuple[str, ...], event: str, line: str, now: float) -> None:
        what = f"{event}: {argv[0]}"
        told = os.memfd_create("whiz-fact", os.MFD_CLOEXEC)
        out = -1
        try:
            os.write(told, line.encode(errors="backslashreplace"))
            os.lseek(told, 0, os.SEEK_SET)
            out = _append(self._log)
            env = {**self._env, "WHIZ_EVENT": event}
            process = subprocess.Popen(  # noqa: S603  running what the manifest says is the purpose
                argv, stdin=told, stdout=out, stderr=out, env=env, cwd="/", start_new_session=True, close_fds=False
            )
        except (OSError, ValueError) as exc:
            words = exc.strerror if isinstance(exc, OSError) else exc
            self.troubles.append(f"on {what}: {words}")
            return
        finally:
            os.close(told)
            if out >= 0:
                os.close(out)
        process.returncode = 0  # subprocess is to leave it alone
        proc = self._reaper.helped(process.pid)
        if proc is not None:
            self._running[proc] = (now + LONG, what)


def _kill(proc: Proc) -> None:
    """End a command of ours with its session; it has not been reaped, so its number is its own."""
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _append(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
