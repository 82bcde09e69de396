"""What processes cost, as the kernel counts it."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TICK = 1 / os.sysconf("SC_CLK_TCK")
Files = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Cost:
    """Seconds of processor, context switches of either kind, bytes that were to go to a disk."""

    cpu: float = 0.0
    switches: int = 0
    written: int = 0


def costs(pids: Iterable[int]) -> dict[int, Cost]:
    """Return what each has cost since its start; those that are gone are left out."""
    out = {}
    for pid in pids:
        try:
            out[pid] = _cost(pid)
        except (OSError, ValueError):
            continue
    return out


def since(before: dict[int, Cost], after: dict[int, Cost]) -> Cost:
    """Return what all cost together in between. Who came and went in between counts only as its parent's child."""
    pairs = [(before.get(pid, Cost()), cost) for pid, cost in after.items()]
    return Cost(
        cpu=sum(b.cpu - a.cpu for a, b in pairs),
        switches=sum(b.switches - a.switches for a, b in pairs),
        written=sum(b.written - a.written for a, b in pairs),
    )


def pss(pids: Iterable[int]) -> float:
    """Return the MB that these take together, each shared page divided among those that share it."""
    kb = 0
    for pid in pids:
        try:
            kb += int(_found(r"^Pss:\s+(\d+)", _read(f"/proc/{pid}/smaps_rollup")))
        except OSError:
            continue
    return kb * 1024 / 1e6


def files(place: str) -> Files:
    """Return inode, size and time of change of every file below."""
    out = {}
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                st = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            out[f"{folder}/{name}"] = (st.st_ino, st.st_size, st.st_mtime_ns)
    return out


def grown(before: Files, after: Files) -> int:
    """Return the bytes written to files at least: what grew, and the whole of what is new or written over."""
    total = 0
    for path, (inode, size, changed) in after.items():
        was = before.get(path)
        if was is None or was[0] != inode:
            total += size
        elif was[2] != changed:
            total += size - was[1] if size > was[1] else size
    return total


def _cost(pid: int) -> Cost:
    cpu, switches = 0.0, 0
    for task in os.listdir(f"/proc/{pid}/task"):
        base = f"/proc/{pid}/task/{task}"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            cpu += int(_read(f"{base}/schedstat").split()[0]) / 1e9
            switches += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", _read(f"{base}/status")))
    children = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[13:15]  # cutime, cstime: those waited for
    written = int(_found(r"^write_bytes: (\d+)", _read(f"/proc/{pid}/io")))
    return Cost(cpu + sum(int(n) for n in children) * TICK, switches, written)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else "0"
