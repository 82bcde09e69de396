"""sd_notify(3): what systemd is told by a service that it started with Type=notify."""

from __future__ import annotations

import os
import socket


def notify(*words: str) -> bool:
    """Send these NAME=value words; return whether anybody listens. What cannot be told is not told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.sendto("\n".join(words).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
    except OSError:
        return False
    return True


def watchdog() -> float | None:
    """Return how often (s) systemd wants to hear WATCHDOG=1 of this very process, None when it does not."""
    pid, span = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not span.isdigit() or int(span) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(span) / 1e6
