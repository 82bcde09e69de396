"""Removing what a node needs no more. No database: an object that no release links to has a link count of 1."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.release.release import ReleaseError
from whiz.world.release.store import NEW, OLD, remove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.world.release.store import Store


def tidy(store: Store) -> None:
    """Remove what a pull that was cut has left half built, or half removed."""
    with suppress(FileNotFoundError):
        for name in os.listdir(store.releases):
            if name == NEW or name.startswith(OLD):
                remove(f"{store.releases}/{name}")
    for link in (".current.new", ".previous.new"):
        remove(f"{store.path}/{link}")


def prune(store: Store, stay: Iterable[str], spare: Iterable[str] = ()) -> list[str]:
    """Remove all other releases, and the objects that none needs; return those releases. `spare`: digests."""
    stay = frozenset(stay)
    gone = [name for name in store.ids() if name not in stay]
    for name in gone:  # first it loses its name, then its files: it is never half there
        os.rename(f"{store.releases}/{name}", f"{store.releases}/{OLD}{name}")
        remove(f"{store.releases}/{OLD}{name}")
    keep = frozenset(spare) | _unlinked(store, stay)
    for path in store.all_objects():
        if os.path.basename(path).removesuffix("x") not in keep and os.lstat(path).st_nlink == 1:
            os.unlink(path)
    return gone


def _unlinked(store: Store, stay: frozenset[str]) -> frozenset[str]:
    """Return the objects whose link count says nothing, as releases lie on another file system."""
    try:
        if os.stat(store.objects).st_dev == os.stat(store.releases).st_dev:
            return frozenset()
    except FileNotFoundError:
        return frozenset()
    found: set[str] = set()
    for name in stay:
        with suppress(ReleaseError):
            found |= store.release(name).objects.keys()
    return frozenset(found)
