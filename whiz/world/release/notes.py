"""What a node knows only until it is switched off: under which tag it had the channel, and how the last pull went."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from whiz.core.value import fields, record
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable


@record
class Settled:
    """A pull that ended with nothing more to do, so that the same answer of the same mirror means the same again."""

    stamp: tuple[tuple[int, ...], ...]  # of the files that said what is wanted here
    current: str | None
    state: tuple[int, ...]  # the stamp of state.json
    channel: str
    first: str  # of the mirrors
    ca: str | None
    mirror: str  # that gave the channel
    tag: str
    digest: str  # of the signed channel
    issued: int
    expires: int
    code: int
    words: str


class Notes:
    """The file of one app in the run directory. Losing it costs one download of the channel."""

    def __init__(self, run: str, app: str) -> None:
        self._path = f"{run}/quesofiesta/{app}.json"

    def read(self) -> dict[str, Any]:
        """Return what is noted."""
        try:
            held = disk.read_json(self._path)
        except (OSError, ValueError):
            return {}
        return held if isinstance(held, dict) else {}

    def settled(self) -> Settled | None:
        """Return how the last pull left it, None where it left something to do."""
        try:
            held = dict(self.read()["settled"])
            held["stamp"] = tuple(map(tuple, held["stamp"]))
            held["state"] = tuple(held["state"])
            return Settled(**held)
        except (KeyError, TypeError, ValueError):
            return None

    def settle(self, settled: Settled) -> None:
        """Note that nothing is left to do; only where that is news."""
        if settled != self.settled():
            self._write({"settled": {n: getattr(settled, n) for n in fields(Settled)}})

    def failed(self, at: float, why: str) -> None:
        """Note why a pull failed."""
        self._write({"failed": {"at": at, "why": why}})

    def _write(self, held: dict[str, Any]) -> None:
        with suppress(OSError):  # nothing hangs on it
            os.makedirs(os.path.dirname(self._path), 0o755, exist_ok=True)
            disk.write(self._path, json.dumps(held), durable=False, mode=0o644)


def stamp(paths: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    """Return what changes whenever one of these files may have."""
    return tuple(_stamp(p) for p in paths)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        st = os.stat(path)
    except OSError as exc:
        return (exc.errno or 0,)
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns
