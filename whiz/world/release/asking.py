"""Asking mirrors in their order, with patience that ends: what is wrong at one is had from the next."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from whiz.core.release.release import ReleaseError
from whiz.world.release.inflating import Inflating, Unpacking
from whiz.world.release.mirror import Broken, Mirror, Missing, Refused, mirror, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whiz.core.release.settings import Settings
    from whiz.world.release.inflating import Sink

_T = TypeVar("_T")
TRIES = 3  # of one mirror for one file
PATIENCE = 120.0  # s that a pull waits in all for mirrors that want to be left alone
_FIRST = 0.5  # s before the second try


class Asking:
    """The mirrors of one pull. `complaints`: what was wrong at which, though it was had elsewhere."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings, self._sleep = settings, sleep
        self._here = threading.local()  # connections are one thread's
        self._lock = threading.Lock()
        self._dead: dict[str, str] = {}
        self._patience = PATIENCE
        self.complaints: list[str] = []
        self.got = 0  # bytes that came
        self.ended = False  # nobody waits for it any more

    def mirrors(self) -> list[Mirror]:
        """Return those of this thread."""
        if not hasattr(self._here, "all"):
            self._here.all = [mirror(a, self._settings.ca) for a in self._settings.mirrors]
        held: list[Mirror] = self._here.all
        return held

    @property
    def apart(self) -> bool:
        """Whether several connections are worth while."""
        return any(m.apart and m.address not in self._dead for m in self.mirrors())

    def _count(self, size: int) -> None:
        with self._lock:
            self.got += size

    def close(self) -> None:
        """Let go of this thread's connections."""
        for m in self.mirrors():
            m.close()

    def whole(self, name: str, most: int, check: Callable[[bytes], _T]) -> _T:
        """Return what `check` makes of a file; it raises ReleaseError for one that is not as it should be."""
        return self.each(name, lambda m, fresh: check(self._counted(m, name, most, fresh=fresh)))

    def each(self, what: str, ask: Callable[[Mirror, bool], _T]) -> _T:
        """Return what the first mirror gives that gives it well; raise Missing where those that answer have none."""
        said: list[str] = []
        missing = wrong = False
        for m in self.mirrors():
            if m.address in self._dead:
                said.append(f"{m.address}: {self._dead[m.address]}")
                continue
            try:
                found = self._patiently(m, ask)
            except ReleaseError as exc:
                said.append(f"{m.address}: {exc}")
                missing = missing or isinstance(exc, Missing)
                wrong = wrong or not isinstance(exc, (Missing, Broken))
            else:
                with self._lock:
                    self.complaints += [f"{what}: {s}" for s in said if s not in self._told()]
                return found
        raise (Missing if missing and not wrong else ReleaseError)(f"{what} cannot be had:\n  " + "\n  ".join(said))

    def _told(self) -> set[str]:
        """Return what was said of dead mirrors: once is enough."""
        if not self.complaints:
            return set()
        return {f"{a}: {why}" for a, why in self._dead.items() if any(f"{a}: {why}" in c for c in self.complaints)}

    def _patiently(self, m: Mirror, ask: Callable[[Mirror, bool], _T]) -> _T:
        fresh, wait = False, _FIRST
        for left in range(TRIES - 1, -1, -1):
            try:
                return ask(m, fresh)
            except Refused as exc:
                self._dead[m.address] = str(exc)
                raise
            except Broken as exc:
                if not left or not self._wait(max(exc.after, wait * random.uniform(0.5, 1.5))):  # noqa: S311
                    self._dead[m.address] = str(exc)
                    raise
                wait *= 3
            except ReleaseError:  # missing or wrong: perhaps only in a cache on the way
                if fresh or not m.apart:
                    raise
                fresh = True
        return ask(m, fresh)

    def _wait(self, seconds: float) -> bool:
        """Wait, where patience is left for it."""
        with self._lock:
            if seconds > self._patience or self.ended:
                return False
            self._patience -= seconds
        self._sleep(seconds)
        return True

    def _counted(self, m: Mirror, name: str, most: int, *, fresh: bool) -> bytes:
        data = whole(m.pieces(name, fresh=fresh), most, name)
        self._count(len(data))
        return data

    def object(self, digest: str, size: int, make: Callable[[], Sink]) -> None:
        """Have an object's plain bytes written; a transfer that broke off goes on where it was."""
        name = f"o/{digest[:2]}/{digest}"
        self.each(f"the object {digest}", lambda m, fresh: self._object(m, name, size, make(), fresh=fresh))

    def _object(self, m: Mirror, name: str, size: int, sink: Sink, *, fresh: bool) -> None:
        flow = Inflating(size)
        try:
            for left in range(TRIES - 1, -1, -1):
                before = flow.taken
                try:
                    self._flow(m.pieces(name, before, fresh=fresh), flow, sink)
                    break
                except Broken as exc:
                    if not left or flow.taken == before or not self._wait(exc.after):
                        raise
            sink.done()
        except BaseException:
            sink.drop()
            raise

    def _flow(self, pieces: Iterator[bytes], flow: Inflating, sink: Sink) -> None:
        for piece in pieces:
            self._count(len(piece))
            if self.ended:
                raise Refused("nobody waits for it any more")
            for plain in flow.feed(piece):
                sink.write(plain)
        if not flow.ended:
            raise Broken("it ends too soon")

    def pack(self, m: Mirror, name: str, sizes: dict[str, int], make: Callable[[str], Sink | None]) -> None:
        """Have the objects of a pack written, as far as `make` wants them; raise ReleaseError where it ends badly."""
        held = Unpacking(sizes, make)
        flow = Inflating(sum(sizes.values()) + 100 * len(sizes))
        try:
            for piece in m.pieces(name):
                self._count(len(piece))
                for plain in flow.feed(piece):
                    held.take(plain)
            if not flow.ended:
                raise ReleaseError(f"{name} ends too soon")
            held.end()
        finally:
            held.drop()
