"""Let Python sleep under libfaketime 0.9.10, which refuses each sleep until a moment (EINVAL), as time.sleep asks for.

Loaded by every Python that tests/tools.py starts with another wall clock.
"""

import select
import time


def sleep(seconds: float) -> None:
    """Sleep for so long, by a call that libfaketime lets through."""
    select.select((), (), (), seconds)


time.sleep = sleep  # type: ignore[assignment]  # the stub names its parameter otherwise
