"""Threads that hear no signals: known to all rooms of world/ that start some."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def deaf() -> Iterator[None]:
    """Have threads that are started here hear no signal.

    One that hears it would take what the main thread has blocked, as it does until it has become another whiz: taken
    but not yet handled, it would be lost with the exec.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
