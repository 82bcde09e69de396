"""What a release needs and this node lacks: whether there is room for it, and having it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.release.prune import lacks, needed
from whiz.core.release.release import Release, ReleaseError
from whiz.core.words import counted, spell_bytes
from whiz.world.release.fetching import fetch
from whiz.world.release.fsck import Inspector, mend
from whiz.world.release.staging import Stage, Want, flush, wants
from whiz.world.release.store import remove

if TYPE_CHECKING:
    from whiz.core.release.trial import State
    from whiz.world.release.asking import Asking
    from whiz.world.release.ground import Here
    from whiz.world.release.staging import Inventory
    from whiz.world.release.trying import Trials


class Obtaining:
    """What one pull has come. `need`: bytes that it found to be needed; `staged`: whether anything was written."""

    def __init__(self, here: Here, asking: Asking, trials: Trials) -> None:
        self._here, self._asking, self._trials = here, asking, trials
        self.need, self.staged = 0, False

    def room(self, state: State, wanted: list[Want], lacking: list[Want], release: Release) -> None:
        """Raise ReleaseError where the disk has no room for it, even without what is not needed any more."""
        twins = [w for w in wanted if len(w.forms) > 1]
        size = needed(w.size for w in (*lacking, *twins)) + needed([len(release.entries) * 100])
        files = len(lacking) + len(twins) + sum(1 for e in release.entries if not e.size) + len(release.entries) // 10
        self.need = size
        if lacks(self._here.store.room(), size, files) is None:
            return
        if self._here.store.ids():
            self._trials.prune(state, spare=(w.digest for w in wanted))
        if (why := lacks(self._here.store.room(), size, files)) is not None:
            raise ReleaseError(f"{self._here.store.path}: no room for the new release: {why}")

    def obtain(self, stage: Stage, wanted: list[Want], release: Release, pack: tuple[str | None, str]) -> Inventory:
        """Have everything staged that a release needs and that is not here; return where it is."""
        self.staged = True
        stage.begin(wanted)
        for _ in range(2):  # what turns out to be damaged while it is copied is fetched
            held = stage.inventory()
            lacking = held.lacking(wanted)
            if lacking:
                size = sum(w.size for w in lacking)
                self._here.say(f"fetching {len(lacking)} of {counted(len(wanted), 'object')}, {spell_bytes(size)}")
                fetch(self._asking, stage, lacking, release, pack, self._here.progress)
                held.again()
            if not stage.twins(wanted, held):
                held.again()
                return held
        raise ReleaseError("objects of the release are damaged as soon as they are written: is the disk failing?")

    def repair(self, stage: Stage, held: list[tuple[str, Release]]) -> None:
        """Have what is damaged in these releases fetched and mended; raise ReleaseError."""
        inspector = Inspector(self._here.store)
        for path in list(inspector.objects()):
            remove(path)
        for name, release in held:
            wanted = wants(release)
            self.obtain(stage, wanted, release, (None, name))
            flush(stage.folder)
            stage.settle()
            for _ in range(2):  # the second time sees to directories that the first one made
                mend(self._here.store, stage, list(Inspector(self._here.store).release(name)))
        stage.end()
