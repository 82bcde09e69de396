"""Objects: a file's bytes, compressed, named by the SHA-256 of what they are plain; and packs of them."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

from whiz.core.release.release import ReleaseError
from whiz.world.release.putting import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PIECE = 1 << 20
_LEVEL = 5  # 6 takes a quarter longer for 1 % less
_HARD = 0.97  # compressed to more than this share of itself: not worth the time


def name_of(digest: str) -> str:
    """Return what an object is called in a repository."""
    return f"o/{digest[:2]}/{digest}"


def missing(repo: str, digests: Iterable[str]) -> list[str]:
    """Return those objects that a repository does not have."""
    return [d for d in digests if not os.path.exists(os.path.join(repo, name_of(d)))]


def add(repo: str, files: dict[str, str], progress: Callable[[int], object]) -> None:
    """Add objects: digest -> file; raise ReleaseError where a file does not have that content any more."""
    if not files:
        return
    with Batch(repo) as batch:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for size in pool.map(lambda item: _pack_one(batch, *item), files.items()):
                progress(size)
        batch.commit()


def _pack_one(batch: Batch, digest: str, path: str) -> int:
    """Compress one file; return the size it has then."""
    seen = sha256()
    with open(path, "rb", buffering=0) as f, batch.open(name_of(digest)) as out:
        first = f.read(_PIECE)
        squeezed = zlib.compress(first, _LEVEL)
        hard = len(squeezed) > len(first) * _HARD
        seen.update(first)
        if len(first) < _PIECE and not hard and not f.read(1):
            out.write(squeezed)
        else:
            f.seek(len(first))
            packer = zlib.compressobj(0 if hard else _LEVEL)
            out.write(packer.compress(first))
            while piece := f.read(_PIECE):
                seen.update(piece)
                out.write(packer.compress(piece))
            out.write(packer.flush())
        size = out.tell()
    if seen.hexdigest() != digest:
        raise ReleaseError(f"{path} changed while it was published: publish again when nothing writes to it")
    return size


def plain(path: str, size: int) -> Iterator[bytes]:
    """Yield an object's plain bytes, at most `size` and one piece; raise ReleaseError, which does not say where."""
    inflate, got = zlib.decompressobj(), 0
    try:
        with open(path, "rb", buffering=0) as f:
            while not inflate.eof and got <= size:
                held = inflate.unconsumed_tail or f.read(_PIECE)
                piece = inflate.decompress(held, _PIECE)  # which may still hold something back when all is read
                if not held and not piece and not inflate.eof:
                    raise ReleaseError("it is cut short")
                got += len(piece)
                yield piece
            if inflate.eof and (inflate.unused_data or f.read(1)):
                raise ReleaseError("something stands behind its end")
    except zlib.error as exc:
        raise ReleaseError(str(exc)) from exc


def wrong(repo: str, digest: str, size: int) -> str | None:
    """Say what is wrong with an object; None where it is whole."""
    path = os.path.join(repo, name_of(digest))
    seen, got = sha256(), 0
    try:
        for piece in plain(path, size):
            seen.update(piece)
            got += len(piece)
    except FileNotFoundError:
        return f"{path} is missing"
    except ReleaseError as exc:
        return f"{path} is damaged: {exc}"
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    if got != size or seen.hexdigest() != digest:
        return f"{path} is damaged: its content has another digest or size"
    return None


def pack(repo: str, name: str, held: dict[str, int]) -> int:
    """Write objects (digest -> size) into one file; return its size."""
    with Batch(repo) as batch:
        with batch.open(name) as out:
            packer = zlib.compressobj(_LEVEL)
            for digest, size in held.items():
                out.write(packer.compress(f"{digest} {size}\n".encode()))
                for piece in plain(os.path.join(repo, name_of(digest)), size):
                    out.write(packer.compress(piece))
            out.write(packer.flush())
            total = out.tell()
        batch.commit()
    return total
