"""Having the objects of a release fetched: as a pack where one fits, else one by one over a few connections."""

from __future__ import annotations

import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from whiz.core.release.release import ReleaseError
from whiz.world.release.mirror import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.release.release import Release
    from whiz.world.release.asking import Asking
    from whiz.world.release.staging import Stage, Staged, Want

LANES = 4  # connections at once
_FEW = 4  # objects: fewer are not worth looking for a pack
_MOST = 0.5  # of a release that is missing: then the pack of everything will do


@runtime_checkable
class Batching(Protocol):
    """A mirror that asks for many files at once, where it knows which come next."""

    def ahead(self, names: Iterable[str]) -> None:
        """Take note of them."""


def fetch(
    asking: Asking,
    stage: Stage,
    lacking: list[Want],
    release: Release,
    pack: tuple[str | None, str] | None,
    progress: Callable[[int, int], object] = lambda _done, _all: None,
) -> None:
    """Stage these objects. `pack`: from which release to which; `progress`: told how many are here, of how many."""
    if pack is not None and len(lacking) >= _FEW:
        _packs(asking, stage, lacking, release, pack)
        lacking = [w for w in lacking if not os.path.exists(stage.at(w.digest, executable=w.forms[0]))]
    lanes = min(LANES, len(lacking)) if asking.apart else 1
    work: SimpleQueue[Want] = SimpleQueue()
    lacking = sorted(lacking, key=lambda w: -w.size)  # the large ones first: no lane is to end long after the others
    for want in lacking:
        work.put(want)
    lane = _Lane(asking, stage, work, lambda done: progress(done, len(lacking)))
    if lanes <= 1:
        for m in asking.mirrors():
            if isinstance(m, Batching):
                m.ahead([f"o/{w.digest[:2]}/{w.digest}" for w in lacking])
        lane.run()
        if lane.failed is not None:
            raise lane.failed
        return
    threads = [threading.Thread(target=lane.run, daemon=True) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        asking.ended = True
    asking.ended = False
    if lane.failed is not None:
        raise lane.failed


class _Lane:
    """What each connection does until nothing is left, or something failed."""

    def __init__(
        self, asking: Asking, stage: Stage, work: SimpleQueue[Want], progress: Callable[[int], object]
    ) -> None:
        self._asking, self._stage, self._work, self._progress = asking, stage, work, progress
        self.failed: BaseException | None = None
        self._lock, self._done = threading.Lock(), 0

    def run(self) -> None:
        try:
            while self.failed is None:
                want = self._work.get_nowait()
                self._asking.object(want.digest, want.size, lambda w=want: self._stage.sink(w))  # type: ignore[misc]
                with self._lock:
                    self._done += 1
                    self._progress(self._done)
        except Empty:
            return
        except BaseException as exc:  # noqa: BLE001  it is raised where somebody hears it
            self.failed = self.failed or exc
        finally:
            self._asking.close()


def _packs(asking: Asking, stage: Stage, lacking: list[Want], release: Release, pack: tuple[str | None, str]) -> None:
    """Take what a pack has of it, where a mirror has one; what it lacks is fetched one by one, so nothing can fail."""
    old, new = pack
    sizes, wanted = release.objects, {w.digest: w for w in lacking}
    share = sum(w.size for w in lacking) / max(1, release.size)
    names = ([f"d/{old}-{new}"] if old else []) + ([f"d/0-{new}"] if share >= _MOST else [])
    held: set[str] = set()

    def make(digest: str) -> Staged | None:
        if digest not in wanted or digest in held:
            return None
        held.add(digest)
        return stage.sink(wanted[digest])

    for m in asking.mirrors():
        if m.address.startswith(("file:", "bundle:")):
            continue
        for name in names:
            try:
                asking.pack(m, name, sizes, make)
            except Missing:
                continue
            except ReleaseError as exc:
                asking.complaints.append(f"{name}: {m.address}: {exc}")
            return
        return
