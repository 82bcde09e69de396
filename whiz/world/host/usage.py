"""What a process uses, through psutil."""

from __future__ import annotations

import psutil


def usage(pid: int) -> tuple[float, int] | None:
    """Return CPU seconds (user and system) and resident bytes, None when it is gone or closed to us."""
    try:
        with psutil.Process(pid).oneshot() as _:
            process = psutil.Process(pid)
            times = process.cpu_times()
            return times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return None
