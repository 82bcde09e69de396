"""What whiz wrote into the environment of what it started, and how that is read from a process that lives."""

from __future__ import annotations

import time
from typing import NamedTuple

from whiz.core.value import value
from whiz.world.host.stat import Stat, places, read_stat

RUN, KEEPER, EVENT = "WHIZ_RUN", "WHIZ_KEEPER", "WHIZ_EVENT"
_PATIENCE = 2.0  # s that an exec may take, from a slow card, before its process counts as closed to us


@value
class Mark:
    """Home id, program, run id, digest of the Program."""

    home: str
    name: str
    run: str
    digest: str

    def __str__(self) -> str:
        return f"{self.home}/{self.name}/{self.run}/{self.digest}"


class Marks(NamedTuple):
    """The marks of one process. `readable`: whether its environment could be read: unknown is not absent."""

    mark: Mark | None = None
    keeper: Mark | None = None
    readable: bool = True
    helper: bool = False  # a command that whiz tells of facts, or what that started


def parse_mark(text: str) -> Mark | None:
    """Return the mark in a variable's value, None when it is not one of whiz's."""
    words = text.split("/")
    return Mark(*words) if len(words) == 4 else None  # noqa: PLR2004


def read_marks(stat: Stat) -> Marks:
    """Read the marks of a process, again until it was in no exec meanwhile: there its environment cannot be seen."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            found = _marks(_environ(stat))
        except (FileNotFoundError, ProcessLookupError):
            return Marks()  # it is gone
        except OSError:
            return Marks(readable=False)
        if found.mark is not None or found.keeper is not None or found.helper:
            return found
        now = read_stat(stat.pid)
        if now is None or now.ticks != stat.ticks:
            return Marks()
        if now.image == stat.image and not now.in_exec:
            return Marks()
        if time.monotonic() > end:
            return Marks(readable=False)
        stat = now
        time.sleep(0.001)  # nothing announces the end of an exec


def _environ(stat: Stat) -> bytes:
    """Return the environment as the kernel shows it; raise OSError."""
    for place in places(stat.pid):
        try:
            with open(f"{place}/environ", "rb") as f:
                return f.read()
        except ProcessLookupError:
            continue  # this thread has exited
    return b""


def _marks(block: bytes) -> Marks:
    """Find the marks; a variable without its final NUL has not been laid out yet."""
    pairs = (word.partition(b"=") for word in block.split(b"\0")[:-1] if word.startswith(b"WHIZ_"))
    held = {name: parse_mark(value.decode(errors="replace")) for name, _, value in pairs}
    return Marks(held.get(RUN.encode()), held.get(KEEPER.encode()), helper=EVENT.encode() in held)
