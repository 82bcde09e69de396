"""Which releases stay on a node, and what a pull needs on its disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.value import record
from whiz.core.words import spell_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.release.trial import State

RESERVE = 16_000_000  # bytes that a pull leaves to others, where the disk is large enough for that
_SHARE = 50  # else this part of the disk
_NAMES = 100  # inodes that it leaves
_BLOCK = 4096


@record
class Room:
    """What a file system has. `inodes`: None where it does not count them."""

    free: int
    whole: int
    inodes: int | None = None


def stay(
    there: Iterable[str],
    state: State,
    keep: int,
    current: str | None,
    previous: str | None,
    named: Iterable[str] = (),
) -> frozenset[str]:
    """Return which of these releases stay. `named`: by a pin, or by what runs."""
    here = frozenset(there)
    must = {current, previous, *named}
    if state.trial is not None:
        must |= {state.trial.id, state.trial.previous}
    good = [g for g in state.good if g in here]
    return here & (must | frozenset(good[len(good) - min(keep, len(good)) :]))


def needed(sizes: Iterable[int]) -> int:
    """Return the bytes that files of these sizes take on a disk."""
    return sum((size + _BLOCK - 1) // _BLOCK * _BLOCK for size in sizes)


def lacks(room: Room, size: int, files: int) -> str | None:
    """Say with both numbers why a disk has no room for so many bytes and files; None where it has."""
    reserve = min(RESERVE, room.whole // _SHARE)
    if room.free < size + reserve:
        return f"need {spell_bytes(size)} and {spell_bytes(reserve)} in reserve, have {spell_bytes(room.free)}"
    if room.inodes is not None and room.inodes < files + _NAMES:
        return f"need {files} inodes and {_NAMES} in reserve, have {room.inodes}"
    return None
