"""A manifest as it was loaded, and whether the files it was made of are still as they were."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, TypeAlias

from whiz.core.value import replace, value
from whiz.world import disk

if TYPE_CHECKING:
    from whiz.core.errors import Problem
    from whiz.core.model import Manifest

Hooks: TypeAlias = tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


@value
class Loaded:
    """The manifest in force. `problems` say why it is not what the file says now."""

    manifest: Manifest
    problems: tuple[Problem, ...] = ()
    kept: str | None = None  # what keeping it as the last good failed with
    changed: bool = False  # since the last good copy was made
    texts: tuple[tuple[str, tuple[int, ...]], ...] = ()  # the files it was made of, as they were before they were read
    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()  # the patterns that named them, and what they found
    busy: bool = False  # somebody is writing one of them just now
    hooks: Hooks = ()  # event -> the commands that are told of it

    @property
    def stale(self) -> bool:
        """Whether an older text than the file's is in force."""
        return bool(self.problems)


def fresh(loaded: Loaded) -> bool:
    """Whether every file that a manifest was made of is as it was before it was read."""
    return all(times(p) == was for p, was in loaded.texts) and all(tuple(matches(g)) == f for g, f in loaded.globs)


def as_now(loaded: Loaded) -> Loaded:
    """Return it as if it had been read from the files as they are now: they were tried, and are not to be again."""
    texts = tuple((p, times(p)) for p, _ in loaded.texts)
    return replace(loaded, texts=texts, globs=tuple((g, tuple(matches(g))) for g, _ in loaded.globs))


def times(path: str) -> tuple[int, ...]:
    """Return what changes whenever a file may have changed; of one that is not there, the system's error number."""
    try:
        st = os.stat(path)
    except OSError as exc:
        return (exc.errno or 0,)
    return st.st_dev, st.st_ino, st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def hooks_of(held: object) -> Hooks:
    """Return the hooks that JSON holds; none where it is not of their shape."""
    try:
        return tuple((str(e), tuple(tuple(map(str, argv)) for argv in argvs)) for e, argvs in held)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return ()


def matches(pattern: str) -> list[str]:
    """Return the files a path or glob means, sorted, without what editors leave beside them."""
    droppings = ("~", ".swp", ".swo", ".swx", ".tmp", ".bak", ".orig", ".dpkg-dist", ".dpkg-old", ".dpkg-new")
    found = sorted(os.path.abspath(p) for p in glob.glob(pattern) if disk.is_file(p))
    if not glob.has_magic(pattern):
        return found
    return [
        p
        for p in found
        if not p.endswith(droppings) and os.path.basename(p)[0] not in ".#" and os.path.basename(p) != "4913"
    ]
