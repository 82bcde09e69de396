"""Compressed streams as they come: an object, or a pack of many; never more than was announced."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from whiz.core.release.release import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SLACK = 65536  # bytes that a compressed file may have beyond its plain size, and a hundredth of that


def web_page(data: bytes) -> str:
    """Return a hint where bytes that should be something else are a web page; nothing where they are none."""
    return "\nhint: it is a web page; does this network ask for a login?" if data.lstrip()[:1] == b"<" else ""


class Sink(Protocol):
    """What takes an object's plain bytes. `done` raises ReleaseError where they are not those it was to have."""

    def write(self, data: bytes) -> None:
        """Take some."""

    def done(self) -> None:
        """Take note that this was all."""

    def drop(self) -> None:
        """Forget them."""


class Inflating:
    """A zlib stream that comes in pieces and is to have no more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._inflate, self._most = zlib.decompressobj(), most
        self.taken = 0  # bytes of the stream
        self._made = 0

    @property
    def ended(self) -> bool:
        """Whether the stream came to its end."""
        return self._inflate.eof

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the plain bytes of a piece; raise ReleaseError."""
        self.taken += len(piece)
        if self.ended or self.taken > self._most + self._most // 100 + _SLACK:
            raise ReleaseError("more comes than was announced")
        hint = web_page(piece) if self.taken == len(piece) else ""
        held = piece
        while held:
            try:
                plain = self._inflate.decompress(held, 1 << 18)
            except zlib.error as exc:
                raise ReleaseError(f"its content is damaged: {exc}{hint}") from exc
            self._made += len(plain)
            if self._made > self._most:
                raise ReleaseError("more comes than was announced")
            if plain:
                yield plain
            held = self._inflate.unconsumed_tail
        while not self.ended and (plain := self._inflate.decompress(b"", 1 << 18)):  # what it still holds back
            self._made += len(plain)
            if self._made > self._most:
                raise ReleaseError("more comes than was announced")
            yield plain
        if self._inflate.unused_data:
            raise ReleaseError("something stands behind its end")


class Unpacking:
    """The plain bytes of a pack, taken apart."""

    def __init__(self, sizes: dict[str, int], make: Callable[[str], Sink | None]) -> None:
        self._sizes, self._make = sizes, make
        self._head, self._left = b"", 0
        self._sink: Sink | None = None

    def take(self, data: bytes) -> None:
        """Take some bytes of it."""
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                if self._sink is not None:
                    self._sink.write(part)
                    if not self._left:
                        sink, self._sink = self._sink, None
                        sink.done()
                continue
            line, end, rest = data.partition(b"\n")
            self._head += line
            if len(self._head) > 100:  # noqa: PLR2004  a digest, a blank and a size are less
                raise ReleaseError("the pack is not as it should be")
            data = rest
            if end:
                self._begin()

    def _begin(self) -> None:
        digest, _, size = self._head.decode("ascii", "replace").partition(" ")
        self._head = b""
        if not size.isdigit():
            raise ReleaseError("the pack is not as it should be")
        known = self._sizes.get(digest)
        if known is not None and known != int(size):
            raise ReleaseError(f"the pack gives {digest} another size")
        self._left = int(size)
        self._sink = self._make(digest) if known is not None and self._left else None

    def end(self) -> None:
        """Take note that this was all."""
        if self._left or self._head:
            raise ReleaseError("the pack ends too soon")

    def drop(self) -> None:
        """Forget what is not whole."""
        if self._sink is not None:
            self._sink.drop()
