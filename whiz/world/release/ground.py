"""What a pull stands on: this node as it is, and who is told what."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whiz.core.value import record
from whiz.world.release.gate import Gate, Open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.release.settings import Settings
    from whiz.world.release.asking import Asking
    from whiz.world.release.notes import Notes
    from whiz.world.release.store import Store


@record
class Outcome:
    """How a pull ended. `did`: nothing, updated, pending, bad or back; `words`: for people.

    `why`: of what was turned back, with the last lines of it.
    """

    did: str
    code: int
    words: str
    why: str = ""
    release: str | None = None
    label: str = ""
    warnings: tuple[str, ...] = ()
    fetched: int = 0  # bytes


@dataclass
class Here:
    """What a pull needs to know of this node. `named`: releases that what runs names; `warnings`: are added to."""

    settings: Settings
    store: Store
    notes: Notes
    host: str
    groups: tuple[str, ...]
    stamp: tuple[tuple[int, ...], ...]
    gate: Gate = field(default_factory=Open)
    named: Callable[[], Iterable[str]] = tuple
    say: Callable[[str], object] = lambda _: None
    progress: Callable[[int, int], object] = lambda _done, _all: None
    now: Callable[[], float] = time.time
    asking: Asking | None = None
    boot: str | None = None
    preflight: float = 60.0  # s
    warnings: list[str] = field(default_factory=list)
