"""The gate of a release on trial, as a pull sees it: who watches is told before the flip, and judges behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from whiz.core.value import value

if TYPE_CHECKING:
    from whiz.core.release.release import Release


@value
class Held:
    """A release that is here."""

    id: str
    path: str
    release: Release


@value
class Verdict:
    """Whether a release may stay. `log`: the last lines of what failed."""

    good: bool
    why: str = ""
    log: tuple[str, ...] = ()


class Gate(Protocol):
    """Who watches a release on trial. `old` is None on a node that had none."""

    def before(self, old: Held | None, new: Held) -> None:
        """Look at how things are; the flip comes next."""

    def after(self) -> Verdict:
        """Have the new release run, and judge it."""

    def back(self) -> None:
        """Have the old one run again: `current` names it already."""


class Open:
    """A gate that lets everything pass."""

    def before(self, old: Held | None, new: Held) -> None:
        """Do nothing."""

    def after(self) -> Verdict:
        """Pass it."""
        return Verdict(True)

    def back(self) -> None:
        """Do nothing."""
