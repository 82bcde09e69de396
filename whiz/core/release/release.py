"""A Release: which files, with what in them. Its text is canonical, so the same files are the same release anywhere."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING

from whiz.core.errors import NewerFormat, WhizError
from whiz.core.release.paths import problems
from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1
MOST = 64_000_000  # bytes of a release's text
FILES = 500_000
BYTES = 1 << 40
_KINDS = {"f": "file", "x": "exec", "l": "link", "d": "dir"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_DIGEST = re.compile("[0-9a-f]{64}")


class ReleaseError(WhizError):
    """A release, or what tells of one, cannot be used."""


@value
class Entry:
    """One thing of a release. `kind`: file, exec (a file that may be executed), link or dir (an empty one)."""

    path: str
    kind: str
    size: int = 0
    digest: str = ""  # SHA-256 of a file's bytes, hexadecimal
    target: str = ""  # of a link


@value
class Release:
    """What a node gets of one app. `id`: SHA-256 of the text, so it names the content and nothing else."""

    app: str
    entries: tuple[Entry, ...]
    preflight: tuple[str, ...] = ()  # what is run in the new tree before the flip
    health: tuple[str, ...] = ()  # what is asked after it

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(e.size for e in self.entries)

    @property
    def objects(self) -> dict[str, int]:
        """Digest -> size of what is in its files."""
        return {e.digest: e.size for e in self.entries if e.kind in ("file", "exec")}


def is_digest(text: object) -> bool:
    """Whether this is a SHA-256 as we write it."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def dump(release: Release) -> bytes:
    """Return the canonical text: entries in the order of their paths' bytes."""
    rows = [_row(e) for e in sorted(release.entries, key=lambda e: e.path.encode())]
    held: dict[str, object] = {"format": FORMAT, "app": release.app}
    held |= {k: list(v) for k, v in (("preflight", release.preflight), ("health", release.health)) if v}
    lines = ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows)
    head = json.dumps(held, ensure_ascii=False, separators=(",", ":"))
    return f'{head[:-1]},"files":[\n{lines}\n]}}\n'.encode()


def _row(e: Entry) -> list[object]:
    more: dict[str, list[object]] = {"link": [e.target], "dir": []}
    return [e.path, _LETTERS[e.kind], *more.get(e.kind, [e.size, e.digest])]


def name_of(text: bytes) -> str:
    """Return the id of the release with this text."""
    return sha256(text).hexdigest()


def load(text: bytes) -> Release:
    """Return the release of a text that its digest vouches for; raise ReleaseError with all that is wrong."""
    if len(text) > MOST:
        raise ReleaseError(f"its text is longer than {MOST} bytes")
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ReleaseError(f"its text is no JSON: {exc}") from exc
    if not isinstance(held, dict) or not isinstance(held.get("format"), int):
        raise ReleaseError("its text is not that of a release")
    if held["format"] > FORMAT:
        raise NewerFormat(f"the release is of format {held['format']}, this whiz knows {FORMAT}: update whiz first")
    rows = held.get("files")
    if not isinstance(held.get("app"), str) or not isinstance(rows, list) or len(rows) > FILES:
        raise ReleaseError(f"its text lacks an app or files, or has more than {FILES} of them")
    entries = tuple(_entry(row) for row in rows)
    wrong = list(problems(entries))
    if sum(e.size for e in entries) > BYTES:
        wrong.append(f"all files together are larger than {BYTES} bytes")
    if wrong:
        more = f"\nand {len(wrong) - 20} more" if len(wrong) > 20 else ""  # noqa: PLR2004  a screenful
        raise ReleaseError("\n".join(wrong[:20]) + more)
    return Release(held["app"], entries, _words(held, "preflight"), _words(held, "health"))


def _entry(row: object) -> Entry:
    match row:
        case [str(path), "f" | "x" as letter, int(size), str(digest)] if 0 <= size <= BYTES and is_digest(digest):
            return Entry(path, _KINDS[letter], size, digest)
        case [str(path), "l", str(target)]:
            return Entry(path, "link", target=target)
        case [str(path), "d"]:
            return Entry(path, "dir")
    raise ReleaseError(f"not an entry of a release: {str(row)[:200]}")


def _words(held: dict[str, object], key: str) -> tuple[str, ...]:
    words = held.get(key, [])
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise ReleaseError(f"{key} is not a command")
    return tuple(words)


def changed(old: Iterable[Entry], new: Iterable[Entry]) -> dict[str, tuple[Entry | None, Entry | None]]:
    """Return path -> (as it was, as it will be), where these differ; None: it is not there."""
    before, after = {e.path: e for e in old}, {e.path: e for e in new}
    paths = sorted(before.keys() | after.keys())
    return {p: (before.get(p), after.get(p)) for p in paths if before.get(p) != after.get(p)}
