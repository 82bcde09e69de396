"""Which releases something runs of, whiz's programs and what they started: these stay."""

from __future__ import annotations

import os

from whiz.core.release.release import is_digest


def running() -> set[str]:
    """Return the releases that something runs of: whiz writes it into the environment of what it starts."""
    found, mark = set(), b"WHIZ_RELEASE="
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                held = [word for word in f.read().split(b"\0") if word.startswith(mark)]
        except OSError:
            continue  # it has ended, or is another user's, who runs nothing of ours
        found |= {os.fsdecode(word.removeprefix(mark)) for word in held}
    return {release for release in found if is_digest(release)}
