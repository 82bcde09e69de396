"""Is a program ready, is it alive: the looks at this machine's programs, and where they say themselves how they do."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.model import Answer, Ask, Proc, Program, Run
    from whiz.world.host.children import Children
    from whiz.world.host.probes import Probes
    from whiz.world.host.waker import Waker

_NEVER = 86400.0  # s


class Health:
    """Takes looks for one home. `living`: the ids of the Runs that lived at the last look at processes.

    `logs`: where outputs are; `said`: the directory of what programs say. Nothing is loaded before the first look.
    """

    def __init__(self, children: Children, waker: Waker, logs: str, said: str) -> None:
        self._children, self._waker, self._logs, self._place = children, waker, logs, said
        self._probes: Probes | None = None
        self.living: tuple[str, ...] = ()

    @property
    def asked(self) -> Mapping[tuple[str, str], float]:
        """When each look was asked for last."""
        return self._probes.asked if self._probes is not None else {}

    def ask(self, asks: Iterable[Ask], now: float) -> None:
        """Have these looks taken; nothing waits for them."""
        asks = tuple(asks)
        if asks and self._probes is None:
            self._probes = self._made()
        if self._probes is not None:
            self._probes.ask(asks, now)

    def answers(self) -> tuple[Answer, ...]:
        """Return what looks have found since this was called last."""
        return self._probes.answers(self.living) if self._probes is not None else ()

    def asking(self) -> bool:
        """Whether a look has not been answered yet."""
        return self._probes is not None and self._probes.asking()

    def awaited(self) -> tuple[list[Proc], float]:
        """Return whose end will be an answer, and in how many seconds a look must be given up."""
        if self._probes is None:
            return [], _NEVER
        return self._probes.procs(), self._probes.soonest()

    def drop(self) -> None:
        """End the looks that are under way: nobody will hear their answers."""
        if self._probes is not None:
            self._probes.drop()

    def before(self, program: Program) -> str:
        """Return what stands there already of that which will tell that a program is ready."""
        from whiz.world.host import looks  # noqa: PLC0415  most programs are not looked at

        if program.ready is not None and program.ready.way == "file":
            return looks.stamp_of(program.ready.what)
        if program.ready is not None and program.ready.way == "log":
            return str(looks.end_of(f"{self._logs}/{disk.quoted(program.name)}.log"))
        return ""

    def prepared(self, run: Run) -> str:
        """Return where a program that is about to start will say how it does; clear away what ended ones said."""
        if not run.program.says:
            return ""
        self.living = (*self.living, run.id)
        try:
            os.mkdir(self._place, 0o711)
            os.chmod(self._place, 0o711)  # noqa: S103  its users pass through to what is theirs, whatever our umask
        except FileExistsError:
            for name in os.listdir(self._place):
                if name.partition(".")[0] not in self.living:
                    with suppress(FileNotFoundError):  # its chaperone clears up, too
                        os.unlink(f"{self._place}/{name}")
        self._try(f"{self._place}/{run.id}")
        return f"{self._place}/{run.id}"

    def _try(self, path: str) -> None:
        """Raise OSError where no socket can be made: its chaperone, who finds that, could not write it down either."""
        try:
            os.mknod(path, stat.S_IFSOCK | 0o600)
            os.unlink(path)
        except OSError as exc:
            why = f"nobody would hear how it does: {self._place}: {exc.strerror or exc}"
            raise OSError(exc.errno, why) from exc

    def _made(self) -> Probes:
        from whiz.world.host.commands import Commands  # noqa: PLC0415  most whizzifests have no looks
        from whiz.world.host.probes import Probes as Looks  # noqa: PLC0415  threads and sockets

        def now() -> float:
            return time.clock_gettime(time.CLOCK_BOOTTIME)

        made = Looks(
            Commands(self._children, self._start, now, self._waker.outputs),
            (now, time.time),
            (lambda ask: f"{self._logs}/{disk.quoted(ask.run.program.name)}.log", self._told),
        )
        self._waker.answers = made.rung
        return made

    def _told(self, ask: Ask) -> str:
        """Return where to read what a program says; what it notifies, its chaperone writes down."""
        return f"{self._place}/{ask.run.id}" + (".said" if ask.check.way == "notify" else "")

    def _start(self, ask: Ask, out: int) -> Proc:
        """Start the command of a look; raise OSError."""
        from whiz.world.host.spawn import spawn_look  # noqa: PLC0415

        proc = self._children.helped(spawn_look(ask.run.program, ask.check, ask.kind, out), whole=True)
        if proc is None:
            raise OSError(0, "it vanished before it could be looked at")
        return proc
