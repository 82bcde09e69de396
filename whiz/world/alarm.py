"""When to wake for the next task that is due, reckoned by the `schedule` library. What is due, the core decides."""

from __future__ import annotations

import math

import schedule


class Alarm:
    """One alarm, set anew after every turn, and so also after the clock was set."""

    def __init__(self) -> None:
        self._scheduler = schedule.Scheduler()

    def set(self, seconds: float) -> float:
        """Set it to so many seconds from now, and return how long to sleep until it rings: never too short."""
        self._scheduler.clear()
        self._scheduler.every(max(1, math.ceil(seconds))).seconds.do(self._scheduler.clear)
        rest = self._scheduler.idle_seconds
        return max(0.0, rest if rest is not None else seconds)
