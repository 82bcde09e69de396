"""/proc/PID/stat, read raw: the one place a process's identity comes from.

psutil's create_time is wall-clock based and, in the 5.9 of Debian 12, moves with NTP; field 22 never moves (proc(5)).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from whiz.core.model import Proc

_KTHREAD = 0x00200000  # PF_KTHREAD in the kernel's include/linux/sched.h


class Stat(NamedTuple):
    """What /proc/PID/stat says. `ticks`: start, in clock ticks since boot; `kernel`: whether it is the kernel's own."""

    pid: int
    state: str
    ppid: int
    group: int
    session: int
    ticks: int
    kernel: bool = False

    @property
    def dead(self) -> bool:
        """Whether it has exited and only waits to be reaped."""
        return self.state in "ZXx"


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f.read().strip()


def read_stat(pid: int) -> Stat | None:
    """Return the process's facts, None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    # the command may contain spaces and ')': what counts stands behind the last one
    words = text[text.rindex(b")") + 2 :].split()
    kernel = int(words[6]) & _KTHREAD != 0  # their parent is pid 2, but in a container pid 2 is anybody
    return Stat(pid, words[0].decode(), int(words[1]), int(words[2]), int(words[3]), int(words[19]), kernel)


def alive(proc: Proc, boot: str) -> bool:
    """Whether exactly this process still runs. Zombies do not."""
    if proc.boot != boot:
        return False
    now = read_stat(proc.pid)
    return now is not None and now.ticks == proc.ticks and not now.dead


def identify(pid: int, boot: str) -> Proc | None:
    """Return the identity of a process that lives now."""
    now = read_stat(pid)
    return None if now is None else Proc(boot, pid, now.ticks)
