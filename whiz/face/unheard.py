"""Output that never keeps us waiting: what nobody takes is counted and dropped, and that is said when somebody does."""

from __future__ import annotations

import io
import os
import select
import sys

_ATOM = select.PIPE_BUF  # bytes that a pipe which has room takes at once (pipe(7))


def never_wait() -> None:
    """Have stdout and stderr drop what cannot be written at once: a full pipe, or a terminal that was stopped."""
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        new = io.TextIOWrapper(_Patient(old.fileno(), name), old.encoding, "backslashreplace", line_buffering=True)
        setattr(sys, name, new)
        for handler in sys.modules["logging"].root.handlers if "logging" in sys.modules else ():
            if getattr(handler, "stream", None) is old:
                handler.setStream(new)


class _Patient(io.BufferedIOBase):
    """Writes to a descriptor that others may share, so it must not be made non-blocking for all of them."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self._lost, self.name = fd, 0, name
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]  # any buffer; these two are what comes
        words = bytes(data)
        if self._lost and self._free():
            lines, self._lost = self._lost, 0
            os.write(self._fd, f"whiz: {lines} lines before this one were dropped: nobody read them\n".encode())
        for i in range(0, len(words), _ATOM):
            if not self._free():
                self._lost += words.count(b"\n", i)
                break
            os.write(self._fd, words[i : i + _ATOM])
        return len(words)

    def _free(self) -> bool:
        return any(event & ~select.POLLNVAL for _, event in self._poll.poll(0))
