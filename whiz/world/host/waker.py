"""Sleep until a process ends, a bell rings, or the time is over."""

from __future__ import annotations

import os
import resource
import select
import time
from typing import TYPE_CHECKING

from whiz.world.host.stat import alive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.model import Proc

_LONGEST = 86400.0  # s
_LOOK = 1.0  # s between looks at processes that cannot be watched
_SPARE = 40  # descriptors left for everything else
_PIECE = 1 << 16
SAID = 300  # bytes of a command's output that are kept


class Waker:
    """Watches processes through pidfds. `bell`: a descriptor that ends a sleep when it can be read, for who stays.

    With a bell our own children ring it (SIGCHLD), and the pidfds of others are kept from sleep to sleep.
    """

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._fds: dict[Proc, int] = {}
        self._ended: set[Proc] = set()  # who has been seen to end, and wakes nobody again
        self.bell: int | None = None
        self.answers: int | None = None  # likewise, of looks that are under way
        self.outputs: dict[int, bytearray] = {}  # what commands print: read while we sleep, and its beginning kept

    def wait(self, procs: Iterable[Proc], seconds: float) -> None:
        """Sleep so long at the most."""
        wanted = set(procs)
        self._ended &= wanted
        wanted -= self._ended
        for proc in self._fds.keys() - wanted:
            os.close(self._fds.pop(proc))
        poll, most = select.poll(), resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE
        try:
            for proc in wanted:
                if proc not in self._fds and len(self._fds) >= most:
                    seconds = min(seconds, _LOOK)
                    continue
                if not self._open(proc):
                    self._ended.add(proc)  # since the look
                    return
                if proc in self._fds:
                    poll.register(self._fds[proc], select.POLLIN)
                else:
                    seconds = min(seconds, _LOOK)
            for fd in (self.bell, self.answers):
                if fd is not None:
                    poll.register(fd, select.POLLIN)
            rung = self._slept(poll, min(max(0.0, seconds), _LONGEST))
            if self.answers in rung:
                hush(self.answers)
            self._ended |= {proc for proc, fd in self._fds.items() if fd in rung}
        finally:
            if self.bell is None:
                self._close()

    def _slept(self, poll: select.poll, seconds: float) -> set[int]:
        """Return what ended the sleep. That a command prints does not: it is only not to wait for us."""
        for fd in self.outputs:
            poll.register(fd, select.POLLIN)
        end = time.monotonic() + seconds
        while True:
            rung = {fd for fd, _ in poll.poll(max(0.0, end - time.monotonic()) * 1000)}
            for fd in rung & self.outputs.keys():
                said, piece = self.outputs[fd], os.read(fd, _PIECE)
                said.extend(piece[: max(0, SAID - len(said))])
                if not piece:  # nobody holds the other end any more
                    poll.unregister(fd)
                    del self.outputs[fd]
                rung.discard(fd)
            if rung or time.monotonic() >= end:
                return rung

    def _open(self, proc: Proc) -> bool:
        """Return whether it lives; one that cannot be watched is left to the next look."""
        if proc in self._fds:
            return True
        try:
            self._fds[proc] = os.pidfd_open(proc.pid)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return alive(proc, self._boot)

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])


def hush(bell: int | None) -> None:
    """Take away what rang a bell; whoever wakes looks for himself."""
    try:
        while bell is not None and os.read(bell, 4096):
            continue
    except BlockingIOError:
        return
