"""One place that a repository is had from: what all kinds have in common, and those on this machine's own disks."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from whiz.core.release.release import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 18


class Missing(ReleaseError):
    """A mirror has no such file."""


class Broken(ReleaseError):
    """A mirror cannot be asked just now, or broke off. `after`: s that it wants to be left alone."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


class Refused(Broken):
    """A mirror that is not to be asked again in this pull."""


class Mirror(Protocol):
    """A repository's files by their names. Raise Missing, Broken."""

    address: str
    apart: bool  # whether several connections at once are worth while

    def pieces(self, name: str, start: int = 0, *, fresh: bool = False) -> Iterator[bytes]:
        """Yield a file's bytes from an offset. `fresh`: past all caches."""

    def changed(self, name: str, tag: str) -> tuple[Iterator[bytes] | None, str]:
        """Return a file's pieces and its tag now; None where it is the one of this tag."""

    def close(self) -> None:
        """Let go of connections."""


def whole(pieces: Iterator[bytes], most: int, name: str) -> bytes:
    """Return all pieces; raise ReleaseError for more than `most` bytes."""
    held, got = [], 0
    for piece in pieces:
        got += len(piece)
        if got > most:
            raise ReleaseError(f"{name} is longer than {most} bytes")
        held.append(piece)
    return b"".join(held)


def digest_tag(data: bytes) -> str:
    """Return the tag of who sends none that can be relied on."""
    return f"sha256:{sha256(data).hexdigest()}"


class Folder:
    """A repository in a directory: a disk, a stick, a mounted share."""

    apart = False

    def __init__(self, address: str) -> None:
        self.address, self._path = address, unquote(urlsplit(address).path)

    def pieces(self, name: str, start: int = 0, *, fresh: bool = False) -> Iterator[bytes]:  # noqa: ARG002  no caches
        """Yield a file's bytes from an offset."""
        path = os.path.join(self._path, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if not os.path.isdir(self._path):
                raise Refused(f"{self._path} is not there: is it mounted?") from None
            raise Missing(f"has no {name}") from None
        except OSError as exc:
            raise Broken(f"{path}: {exc.strerror}") from exc
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Missing(f"{name} is no file there")
            os.lseek(fd, start, os.SEEK_SET)
            while piece := os.read(fd, PIECE):
                yield piece
        except OSError as exc:
            raise Broken(f"{path}: {exc.strerror}") from exc
        finally:
            os.close(fd)

    def changed(self, name: str, tag: str) -> tuple[Iterator[bytes] | None, str]:  # noqa: ARG002  who reads it, compares
        """Return a file's pieces."""
        return self.pieces(name), ""

    def close(self) -> None:
        """Do nothing: nothing stays open."""


class Bundle:
    """A repository in one file, as `quesofiesta bundle` writes it: a zip."""

    apart = False

    def __init__(self, address: str) -> None:
        self.address, self._path = address, unquote(urlsplit(address).path)

    def pieces(self, name: str, start: int = 0, *, fresh: bool = False) -> Iterator[bytes]:  # noqa: ARG002  no caches
        """Yield a file's bytes from an offset."""
        import zipfile  # noqa: PLC0415  only who has a stick needs it
        import zlib  # noqa: PLC0415

        try:
            with zipfile.ZipFile(self._path) as held, held.open(name) as f:
                f.seek(start)
                while piece := f.read(PIECE):
                    yield piece
        except FileNotFoundError:
            raise Refused(f"{self._path} is not there: is it mounted?") from None
        except KeyError:
            raise Missing(f"has no {name}") from None
        except OSError as exc:
            raise Broken(f"{self._path}: {exc.strerror or exc}") from exc
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as exc:
            raise Refused(f"{self._path} is no whole bundle: {exc}") from exc

    def changed(self, name: str, tag: str) -> tuple[Iterator[bytes] | None, str]:  # noqa: ARG002  who reads it, compares
        """Return a file's pieces."""
        return self.pieces(name), ""

    def close(self) -> None:
        """Do nothing: nothing stays open."""


def mirror(address: str, ca: str | None = None) -> Mirror:
    """Return what is at an address."""
    scheme = address.partition(":")[0]
    if scheme == "file":
        return Folder(address)
    if scheme == "bundle":
        return Bundle(address)
    if scheme == "ssh":
        from whiz.world.release.ssh import Ssh  # noqa: PLC0415  who needs it, loads it

        return Ssh(address)
    from whiz.world.release.web import Web  # noqa: PLC0415  likewise

    return Web(address, ca)
