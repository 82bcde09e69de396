"""What can go from a repository: releases that no channel and no recent history names, and what only they need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from whiz.core.release.release import ReleaseError, is_digest
from whiz.core.value import record
from whiz.world.release import putting

if TYPE_CHECKING:
    from whiz.world.release.repository import Repository


@record
class Spared:
    """What was removed, or would be."""

    kept: int
    releases: tuple[str, ...]
    objects: int
    packs: int
    bytes: int


def prune(repository: Repository, keep: int, *, dry: bool = False) -> Spared:
    """Remove what is not needed; raise ReleaseError, with nothing removed, where it cannot be told what is."""
    with repository.lock():
        return _prune(repository, keep, dry=dry)


def _prune(repository: Repository, keep: int, *, dry: bool) -> Spared:
    there = set(repository.ids())
    kept = _named(repository, keep) & there
    needed: set[str] = set()
    for name in sorted(kept):
        needed |= repository.release(name).objects.keys()
    packs = [n for n in repository.names("d") if not _useful(n, kept)]
    spare = [f"o/{aa}/{n}" for aa in repository.names("o") for n in repository.names(f"o/{aa}") if n not in needed]
    gone = tuple(sorted(there - kept))
    names = [*(f"d/{n}" for n in packs), *(f"m/{n}" for n in gone), *spare]  # a release goes before what it needs
    total = 0
    for name in names:
        total += os.lstat(repository.file(name)).st_size
        if not dry:
            os.unlink(repository.file(name))
    if not dry:
        putting.clean(repository.path)
    return Spared(kept=len(kept), releases=gone, objects=len(spare), packs=len(packs), bytes=total)


def _named(repository: Repository, keep: int) -> set[str]:
    """Return the releases that are offered, or were lately."""
    named: set[str] = set()
    channels = repository.channels()
    if not channels and repository.ids():
        raise ReleaseError(
            f"{repository.path} has releases and no channel: nothing is removed\n"
            "hint: copy channel/ too, or publish: then it can be told what is offered"
        )
    for name in channels:
        now = repository.channel(name)
        offered = {offer.id for _, offer in now.releases} if now else set()
        if lost := offered - set(repository.ids()):
            raise ReleaseError(
                f"the channel {name} offers {', '.join(i[:12] for i in lost)}, which is not here: nothing is removed\n"
                "hint: quesofiesta verify"
            )
        named |= offered | {o.id for c in repository.history(name, keep) for _, o in c.releases}
    return named


def _useful(pack: str, kept: set[str]) -> bool:
    old, _, new = pack.partition("-")
    return new in kept and (old == "0" or (is_digest(old) and old in kept))
