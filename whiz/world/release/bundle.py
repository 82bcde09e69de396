"""One file for a USB stick: a zip, stored, with a repository's files for what one channel offers."""

from __future__ import annotations

import errno
import os
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError, WhizError
from whiz.core.release.release import ReleaseError
from whiz.world.disk import sync
from whiz.world.release import objects
from whiz.world.release.putting import sync_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.world.release.repository import Repository

_PIECE = 1 << 20
_FAT = 4_294_967_295  # bytes of the largest file there


def names(repository: Repository, channel: str) -> Iterator[str]:
    """Yield what a node may ask for that follows this channel, the channel last."""
    said = repository.channel(channel)
    if said is None:
        known = ", ".join(repository.channels()) or "none yet"
        raise UsageError(f"there is no channel {channel!r}\nhint: channels here: {known}")
    yield from (f"root/{n}" for n in repository.versions())
    held: set[str] = set()
    for _, offer in said.releases:
        held |= repository.release(offer.id).objects.keys()
        yield f"m/{offer.id}"
    yield from (objects.name_of(d) for d in sorted(held))
    yield f"history/{channel}/{said.seq}"
    yield f"channel/{channel}"


def write(repository: Repository, channel: str, path: str) -> int:
    """Write a bundle in one step, the same bytes for the same content; return its size."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.new")
    try:
        with repository.lock():
            _zip(repository, channel, temporary)
        sync_file(temporary)
        os.rename(temporary, path)
        sync(folder)
    except OSError as exc:
        with suppress(OSError):
            os.unlink(temporary)
        if exc.filename == temporary:
            exc.filename = path  # the one that somebody knows of
        if exc.errno == errno.EFBIG:
            raise ReleaseError(
                f"{path}: the file system takes no file larger than {_FAT} bytes (FAT); use exFAT"
            ) from exc
        raise
    except WhizError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return os.path.getsize(path)


def _zip(repository: Repository, channel: str, path: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for name in dict.fromkeys(names(repository, channel)):
            info = zipfile.ZipInfo(name)  # with the first day that zip knows as its time
            info.external_attr = 0o100644 << 16
            full = repository.file(name)
            info.file_size = os.path.getsize(full)
            with open(full, "rb") as f, out.open(info, "w") as into:
                while piece := f.read(_PIECE):
                    into.write(piece)
