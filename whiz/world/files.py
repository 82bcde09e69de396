"""What programs are made of: digests of their files and keyed digests of their env_files, each read once per change."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from whiz.core.wire import FORMAT
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PIECE = 1 << 20


class Contents:
    """Digests, remembered with the (device, inode, size, times) they were read at."""

    def __init__(self, cache: str, key: str) -> None:
        self._cache, self._key = cache, key
        self._known: dict[str, list[object]] = {}
        self._changed = False
        try:
            held = disk.read_json(cache)
        except (OSError, ValueError):
            held = None  # read everything again
        if isinstance(held, dict) and held.get("format") == FORMAT and isinstance(held.get("files"), dict):
            self._known = held["files"]

    def digests(self, paths: Iterable[str]) -> dict[str, str]:
        """Return path -> digest, of a directory that of all that is in it.

        What cannot be read changes nothing: its last digest stays ('' for none).
        """
        return {path: self._digest(path) for path in set(paths)}

    def _digest(self, path: str) -> str:
        if not os.path.isdir(path):
            return str(self._of(path, _sha256) or "")
        from whiz.core.digest import sha256  # noqa: PLC0415

        h = sha256()
        try:
            for file in sorted(_below(path)):
                made_of = os.readlink(file) if os.path.islink(file) else self._of(file, _sha256)
                h.update(f"{os.path.relpath(file, path)}\0{made_of}\n".encode(errors="surrogateescape"))
        except OSError:
            known = self._known.get(path)
            return str(known[-1]) if known else ""
        found = h.hexdigest()[:16]
        if self._known.get(path) != [found]:
            self._known[path], self._changed = [found], True
        return found

    def secrets(
        self, paths: Iterable[str], read: Callable[[str], Iterable[tuple[str, str]]]
    ) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return env_file -> (name, keyed digest of the value), so that a change is seen and no value is kept."""

        def keyed(path: str) -> object:
            import hmac  # noqa: PLC0415  only env_files need it

            return [
                [n, hmac.new(self._secret(), f"{n}={v}".encode(errors="surrogateescape"), "sha256").hexdigest()[:16]]
                for n, v in read(path)
            ]

        out = {}
        for path in set(paths):
            pairs = self._of(path, keyed)
            out[path] = tuple((str(n), str(d)) for n, d in pairs) if isinstance(pairs, list) else ()
        return out

    def save(self) -> None:
        """Keep what was read for the next turn."""
        if not self._changed:
            return
        try:
            disk.write(self._cache, json.dumps({"format": FORMAT, "files": self._known}), durable=False)
        except OSError:
            return  # it is read again next time
        self._changed = False

    def _of(self, path: str, read: Callable[[str], object]) -> object:
        known = self._known.get(path)
        try:
            st = os.stat(path)
            at = [st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns]
            if known is not None and known[:-1] == at:
                return known[-1]
            if not stat.S_ISREG(st.st_mode):
                return known[-1] if known else ""
            value = read(path)
            now = os.stat(path)
        except OSError:
            return known[-1] if known else ""
        if [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns] != at:
            return known[-1] if known else ""  # it moves under our eyes: next time
        self._known[path] = [*at, value]
        self._changed = True
        return value

    def _secret(self) -> bytes:
        """Return the key of this home's digests, made at first need."""
        key = disk.read(self._key)
        if key is None or len(key) < 32:  # noqa: PLR2004
            key = os.urandom(32).hex().encode()
            disk.write(self._key, key.decode(), durable=True)
        return key


def _below(folder: str) -> Iterator[str]:
    """Yield the files and links of a directory; not what Python and quesofiesta keep there. Raise OSError."""
    with os.scandir(folder) as there:
        for entry in there:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in ("__pycache__", ".whiz"):
                    yield from _below(entry.path)
            else:
                yield entry.path


def _sha256(path: str) -> str:
    from whiz.core.digest import sha256  # noqa: PLC0415  only what changed is read

    h = sha256()
    with open(path, "rb") as f:
        while piece := f.read(_PIECE):
            h.update(piece)
    return h.hexdigest()[:16]
