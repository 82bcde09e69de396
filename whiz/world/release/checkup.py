"""Looking at everything that a node has of its app, and having mended what can be."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.release import release as releases
from whiz.core.release.release import ReleaseError
from whiz.core.value import record
from whiz.world.release import sweeping
from whiz.world.release.asking import Asking
from whiz.world.release.building import retext
from whiz.world.release.fsck import Inspector
from whiz.world.release.mirror import Missing
from whiz.world.release.obtaining import Obtaining
from whiz.world.release.staging import Stage
from whiz.world.release.store import opened
from whiz.world.release.trying import Trials

if TYPE_CHECKING:
    from whiz.core.release.release import Release
    from whiz.world.release.ground import Here


@record
class Checked:
    """What was looked at and found. `left`: problems that are still there."""

    releases: int
    objects: int
    problems: tuple[str, ...]
    mended: int
    left: int


def checkup(here: Here, *, repair: bool) -> Checked:
    """Look at every release and object, under the store's lock; raise ReleaseError where mending fails."""
    store = here.store
    if repair:
        sweeping.tidy(store)
    problems = _problems(here)
    count, objects = len(store.ids()), sum(1 for _ in store.all_objects())
    if not repair or not problems:
        return Checked(releases=count, objects=objects, problems=problems, mended=0, left=len(problems))
    asking = here.asking or Asking(here.settings)
    try:
        held = [(name, release) for name in store.ids() if (release := _known(here, asking, name)) is not None]
        Obtaining(here, asking, Trials(here)).repair(Stage(store, here.boot), held)
    finally:
        asking.close()
    left = _problems(here)
    return Checked(releases=count, objects=objects, problems=problems, mended=len(problems) - len(left), left=len(left))


def _known(here: Here, asking: Asking, name: str) -> Release | None:
    """Return a release that is here; a text that is damaged is had anew, as far as anybody still has it."""
    store = here.store
    try:
        return store.release(name)
    except ReleaseError:
        with suppress(Missing):
            retext(store, name, asking.whole(f"m/{name}", releases.MOST, lambda packed: _whole(packed, name)))
            return store.release(name)
    return None


def _whole(packed: bytes, name: str) -> bytes:
    opened(packed, name)  # its name vouches for it
    return packed


def _problems(here: Here) -> tuple[str, ...]:
    inspector, said = Inspector(here.store), []
    for name in here.store.ids():
        said += [f"release {name[:12]}: {f.path} {f.why}" for f in inspector.release(name)]
    said += [f"{path} is damaged: it is not what its name says" for path in inspector.objects()]
    for link in ("current", "previous"):
        pointed = here.store.pointed(link)
        if pointed is not None and not here.store.has(pointed):
            said.append(f"{link} names the release {pointed[:12]}, which is not here")
    return tuple(said)
