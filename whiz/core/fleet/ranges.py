"""Names that stand for many, as Ansible writes them: web[01:10], rack[a:c]-[1:9:2]."""

from __future__ import annotations

import re

_RANGE = re.compile(r"\[([^\[\]]*)\]")
_PARTS = re.compile(r"(\d+|[a-z]|[A-Z]):(\d+|[a-z]|[A-Z])(?::(\d+))?")
MOST = 100_000  # hosts that one name may stand for


def expand(pattern: str) -> list[str]:
    """Return the names that a pattern stands for; raise ValueError, which says why, where it is none."""
    names = [""]
    for n, piece in enumerate(_RANGE.split(pattern)):
        pieces = _counted(piece) if n % 2 else [piece]
        if len(names) * len(pieces) > MOST:
            raise ValueError(f"{pattern!r} stands for more than {MOST} hosts")
        names = [name + each for name in names for each in pieces]
    return names


def _counted(text: str) -> list[str]:
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError(f"[{text}] is no range such as [01:10] or [a:f]")
    low, high, step = found[1], found[2], int(found[3] or 1)
    if step == 0 or low.isdigit() != high.isdigit() or low.islower() != high.islower():
        raise ValueError(f"[{text}] is no range such as [01:10] or [a:f]")
    if low.isdigit():
        if int(high) - int(low) >= MOST:
            raise ValueError(f"[{text}] stands for more than {MOST} hosts")
        width = len(low) if low.startswith("0") else 0
        made = [str(i).zfill(width) for i in range(int(low), int(high) + 1, step)]
    else:
        made = [chr(c) for c in range(ord(low), ord(high) + 1, step)]
    if not made:
        raise ValueError(f"[{text}] ends before it begins")
    return made
