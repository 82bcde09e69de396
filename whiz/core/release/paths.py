"""Which paths a release may have. One that may not makes the whole release unusable: nothing of it is written."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.core.release.release import Entry

PART, WHOLE = 255, 4096  # bytes of one part and of a path: what Linux takes
DEPTH = 200  # parts of a path: who goes down a tree, or removes it, does so part by part
RESERVED = frozenset({".whiz"})  # at the top: for what quesofiesta may have to keep beside a release's files
# Most paths are plain, and this says so 20 times as fast as the questions below: no part begins with a dot.
_PLAIN = re.compile(r"[\w+@~=,-][\w.+@~=,-]{,199}(?:/[\w+@~=,-][\w.+@~=,-]{,199}){,19}", re.ASCII)


def wrong(path: str) -> str | None:
    """Say what is wrong with a path by itself, None where nothing is."""
    if _PLAIN.fullmatch(path):
        return None
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    parts = path.split("/")
    if path.startswith("/"):
        return "is absolute"
    if any(p in ("", ".", "..") for p in parts):
        return "has a part that is empty, . or .."
    if any(unicodedata.category(c) == "Cc" for c in path):
        return "holds a control character"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode's form NFC"
    if size > WHOLE or any(len(p.encode()) > PART for p in parts):
        return f"is longer than {WHOLE} bytes, or a part of it than {PART}"
    if len(parts) > DEPTH:
        return f"has more than {DEPTH} parts"
    if parts[0] in RESERVED:
        return f"is reserved: {parts[0]}"
    return None


def leads_out(path: str, target: str) -> bool:
    """Whether a symlink at this path leads out of the release, step by step from its own directory."""
    at = path.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            if not at:
                return True
            at.pop()
        elif part not in ("", "."):
            at.append(part)
    return target.startswith("/")


def turns_back(target: str) -> bool:
    """Whether a symlink's target goes up behind a name: where that is a symlink too, it leads nobody knows where."""
    parts = [p for p in target.split("/") if p not in ("", ".")]
    return any(p == ".." and before != ".." for before, p in pairwise(parts))


def problems(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield what is wrong with these entries, each with its path, also as a whole."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        if (why := wrong(entry.path)) is not None:
            yield f"{entry.path!r} {why}"
        elif entry.path in seen:
            yield f"{entry.path!r} stands twice"
        elif entry.kind == "link" and not entry.target:
            yield f"{entry.path!r} is a symlink to nothing"
        elif entry.kind == "link" and leads_out(entry.path, entry.target):
            yield f"{entry.path!r} is a symlink out of the release: {entry.target!r}"
        elif entry.kind == "link" and turns_back(entry.target):
            yield f"{entry.path!r} is a symlink that goes up behind a name: {entry.target!r} (say it without)"
        seen[entry.path] = entry
    for path in seen:
        above = path.rpartition("/")[0]
        while above:
            if above in seen and seen[above].kind != "dir":
                what = "a symlink" if seen[above].kind == "link" else "a file"
                yield f"{path!r} goes through {above!r}, which is {what}"
            above = above.rpartition("/")[0]


def twins(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield paths, or directories of theirs, that a file system which folds case would take for one."""
    first: dict[str, str] = {}
    told: set[tuple[str, str]] = set()
    for path in sorted(paths):
        parts = path.split("/")
        for i in range(1, len(parts) + 1):
            name = "/".join(parts[:i])
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            pair = (first.setdefault(folded, name), name)
            if pair[0] != pair[1] and pair not in told:
                told.add(pair)
                yield pair
