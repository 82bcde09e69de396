"""Output files: their newest lines, their growth, and the cap on their bytes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ONE = 10_000_000  # bytes of a log that no manifest speaks of any more
TOTAL = 100_000_000  # bytes of all logs together
_COLLAPSE = 0x08  # FALLOC_FL_COLLAPSE_RANGE (linux/falloc.h)
_PIECE = 1 << 16


def cap(folder: str, limits: Mapping[str, int], total: int = TOTAL) -> int:
    """Trim every log to its limit (bytes), and the largest further until all together fit; return what they have.

    `limits`: path -> bytes; a log of no present program has the default. Raise OSError.
    """
    sizes = {}
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name.endswith(".log") and entry.is_file(follow_symlinks=False):
                sizes[entry.path] = entry.stat(follow_symlinks=False).st_size
    for path, size in sizes.items():
        most = limits.get(path, ONE)
        if size > most:
            sizes[path] = trim(path, most)
    while sum(sizes.values()) > total:
        path = max(sizes, key=lambda p: sizes[p])
        before = sizes[path]
        sizes[path] = trim(path, before // 2)
        if sizes[path] >= before:
            break  # this disk does not let us; the next turn tries again
    return sum(sizes.values())


def trim(path: str, most: int) -> int:
    """Cut a log from the front to about half of `most` bytes while its writer goes on; return its size after.

    ext4 and xfs take whole blocks away under the writer. Elsewhere the newest bytes are copied to the front, and a
    line written in between is lost.
    """
    with open(path, "r+b", buffering=0) as f:
        st = os.fstat(f.fileno())
        cut = (st.st_size - most // 2) // st.st_blksize * st.st_blksize
        before = disk.trimmed(path, st.st_ino)
        if cut > 0:
            with suppress(OSError):  # a full disk needs the trim first; else who reads meanwhile is told of it
                disk.write(disk.sidecar(path), f"{st.st_ino} {before} {cut} {st.st_size}", durable=False)
        if cut > 0 and not _collapse(f.fileno(), cut):
            f.seek(cut)
            newest = f.read()
            f.truncate(0)
            with open(path, "ab", buffering=0) as again:
                again.write(newest)
        if cut > 0:
            disk.write(disk.sidecar(path), f"{st.st_ino} {before + cut}", durable=False)
        return os.fstat(f.fileno()).st_size


def _collapse(fd: int, length: int) -> bool:
    import ctypes  # noqa: PLC0415  2 ms, and most turns trim nothing

    libc = ctypes.CDLL(None, use_errno=True)
    off = ctypes.c_int64
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, off, off)
    return bool(libc.fallocate(fd, _COLLAPSE, 0, length) == 0)


def tail(path: str, lines: int) -> tuple[bytes, int]:
    """Return the last lines and the offset behind them; raise OSError."""
    with open(path, "rb") as f:
        end = f.seek(0, os.SEEK_END)
        at, got = end, b""
        while at > 0 and got.count(b"\n") <= lines:
            step = min(_PIECE, at)
            at -= step
            f.seek(at)
            got = f.read(step) + got
    parts = got.splitlines(keepends=True)
    return (b"".join(parts[-lines:]) if lines else b""), end


def follow(path: str, offset: int, every: float = 0.2) -> Iterator[bytes]:
    """Yield what is appended behind `offset`, for ever; trimmed, renamed or deleted, a log is taken up again."""
    f, inode, at = None, 0, offset  # at: counted from the first byte ever written to this file
    short = False
    while True:
        try:
            st = os.stat(path)
        except OSError:
            time.sleep(every)  # nothing there to wait on
            continue
        if f is None or st.st_ino != inode:
            if f is None:
                at = offset + disk.trimmed(path, st.st_ino)
            else:
                yield f.read()
                f.close()
                at = 0
            f, inode = open(path, "rb"), st.st_ino  # noqa: SIM115  it stays open between yields
        here = at - disk.trimmed(path, inode)
        if here > st.st_size and not short:
            short = True  # being trimmed just now, or truncated by somebody: the next look tells
            time.sleep(every)
            continue
        if here > st.st_size:
            at = here = 0
        short = False
        f.seek(max(0, here))
        new = f.read(_PIECE)
        at = max(at, at - here) + len(new)
        if new:
            yield new
        else:
            time.sleep(every)  # as `tail -f` does where it cannot ask the kernel
