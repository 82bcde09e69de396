"""A socket that is not waited for without end: neither in silence nor while it trickles."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

SILENCE = 30.0  # s without a byte
SPAN, LEAST = 20.0, 20_000  # s in which so many bytes must come: 1 kB/s


class Meter:
    """Counts what comes; raise TimeoutError where that is too slow."""

    def __init__(self, span: float | None = None) -> None:
        self.span = SPAN if span is None else span
        self.begin()

    def begin(self) -> None:
        """Start anew, as for each request."""
        self._since, self._bytes = time.monotonic(), 0

    def count(self, size: int) -> None:
        """Take note of bytes that came."""
        self._bytes += size
        passed = time.monotonic() - self._since
        if passed >= self.span:
            if self._bytes < LEAST * self.span / SPAN:
                raise TimeoutError(f"too slow: {self._bytes} bytes in {passed:.0f} s")
            self.begin()


class Wire:
    """A socket for http.client whose answers are metered. Like a real one it stays open for who still reads."""

    def __init__(self, sock: socket.socket, meter: Meter) -> None:
        self._sock, self._meter = sock, meter
        self._readers, self._closed = 0, False

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002  http.client reads bytes
        """Return it as a file."""
        self._meter.begin()
        self._readers += 1
        return io.BufferedReader(Metered(self, self._sock, self._meter), 65536)

    def sendall(self, data: bytes) -> None:
        """Send a request."""
        self._sock.sendall(data)

    def left(self) -> None:
        """Take note that a reader is done."""
        self._readers -= 1
        if self._closed and not self._readers:
            self._sock.close()

    def close(self) -> None:
        """Let go of it."""
        self._closed = True
        if not self._readers:
            self._sock.close()


class Metered(io.RawIOBase):
    """What http.client takes for a socket's file."""

    def __init__(self, wire: Wire, sock: socket.socket, meter: Meter) -> None:
        super().__init__()
        self._wire, self._sock, self._meter = wire, sock, meter

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  whatever has a buffer
        """Read what is there, at least a byte."""
        size = self._sock.recv_into(buffer)
        self._meter.count(size)
        return size

    def close(self) -> None:
        """Read no more."""
        if not self.closed:
            self._wire.left()
        super().close()
