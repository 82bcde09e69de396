"""Whom the kernel killed for want of memory: read from its log, and from what a cgroup counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whiz.core.words import spell_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

# a record of /dev/kmsg: level and facility, number, µs since boot, flags; text (Documentation/ABI/testing/dev-kmsg)
_RECORD = re.compile(r"(\d+),\d+,(\d+),[^;]*;(.*)")
_KERNEL = 8  # what is written by a process has a facility, which begins here
_VICTIM = re.compile(r"(Memory cgroup out of memory|Out of memory)[^:]*: Kill(?:ed)? process (\d+) \(")
_WHERE = re.compile(r"oom-kill:constraint=CONSTRAINT_MEMCG,.*?oom_memcg=(.*?),task_memcg=")
_SLACK = 60.0  # s that the log's clock may be off, and a thousandth of the time since boot: nobody sets it right
OURS = "killed: out of memory"


def from_log(records: Iterable[str], pid: int, started: float, now: float) -> str | None:
    """Say of a process that lived since `started` (s since boot) how it was killed, if it is in the kernel's log."""
    found, where = None, None
    for held in records:
        match = _RECORD.match(held)
        if match is None or int(match[1]) >= _KERNEL:
            continue
        if limit := _WHERE.match(match[3]):
            where = limit[1]
        victim = _VICTIM.match(match[3])
        if victim is None or int(victim[2]) != pid:
            continue
        if int(match[2]) / 1e6 < started - _SLACK - now / 1000:
            continue  # that was another one, which had the number before
        if victim[1].startswith("Memory"):
            found = f"{OURS} (the limit of {'a cgroup' if where is None else f'the cgroup {where}'})"
        else:
            found = f"{OURS} of the machine"
    return found


def from_events(text: str, limit: int | None) -> str | None:
    """Say how a cgroup's processes were killed, if its memory.events counts any; `limit`: its own, in bytes."""
    counts = {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}  # noqa: PLR2004
    if counts.get("oom_kill", "0") == "0":
        return None
    if limit is None or counts.get("oom", "0") == "0":
        return f"{OURS} of the machine"  # or of what is above us: the log may know
    return f"{OURS} (its limit of {spell_bytes(limit)})"
