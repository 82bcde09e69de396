"""The gate that asks only the release itself: the health command that it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.world.release.commands import WITHIN, run
from whiz.world.release.gate import Verdict

if TYPE_CHECKING:
    from whiz.world.release.gate import Held


class Health:
    """A release stays where its health command ends well, or it has none. `within`: s that the command may take."""

    def __init__(self, within: float = WITHIN) -> None:
        self._within = within
        self._new: Held | None = None

    def before(self, old: Held | None, new: Held) -> None:  # noqa: ARG002  what was before has no say
        """Take note of the release."""
        self._new = new

    def after(self) -> Verdict:
        """Ask it."""
        if self._new is None or not self._new.release.health:
            return Verdict(True)
        ran = run(self._new.release.health, self._new.path, self._within)
        return Verdict(True) if ran.why is None else Verdict(False, f"its health command {ran.why}", ran.lines)

    def back(self) -> None:
        """Do nothing: nothing was started."""
