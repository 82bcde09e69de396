"""/proc/PID/stat, read raw: the one place a process's identity comes from.

psutil's create_time is wall-clock based and, in the 5.9 of Debian 12, moves with NTP; field 22 never moves (proc(5)).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from whiz.core.model import Proc

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXITING, _KTHREAD = 0x00000004, 0x00200000  # PF_ flags in the kernel's include/linux/sched.h


class Stat(NamedTuple):
    """What /proc/PID/stat says. `ticks`: start, in clock ticks since boot; `kernel`: whether it is the kernel's own.

    `image`: where its code begins and ends and its stack begins, which every exec lays anew.
    """

    pid: int
    state: str
    ppid: int
    group: int
    session: int
    ticks: int
    kernel: bool = False
    exiting: bool = False
    threads: int = 1
    image: tuple[bytes, ...] = ()

    @property
    def dead(self) -> bool:
        """Whether it has exited and only waits to be reaped: its first thread may have gone before others."""
        return self.state in "Xx" or (self.state == "Z" and self.threads <= 1)

    @property
    def in_exec(self) -> bool:
        """Whether it is becoming another program just now.

        The kernel notes where the code ends after arguments and environment are laid out (fs/binfmt_elf.c), so before
        that these show nothing, or half of what they will be.
        """
        return self.image[1] == b"0" and not self.exiting


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f.read().strip()


def read_stat(pid: int) -> Stat | None:
    """Return the process's facts, None when there is no such process."""
    own = f"/task/{pid}" if pid == os.getpid() else ""  # qemu-user makes up /proc/PID/stat for who reads his own
    try:
        fd = os.open(f"/proc/{pid}{own}/stat", os.O_RDONLY | os.O_CLOEXEC)
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
    flags = int(words[6])
    return Stat(
        pid=pid,
        state=words[0].decode(),
        ppid=int(words[1]),
        group=int(words[2]),
        session=int(words[3]),
        ticks=int(words[19]),
        kernel=flags & _KTHREAD != 0,  # their parent is pid 2, but in a container pid 2 is anybody
        exiting=flags & _EXITING != 0,
        threads=int(words[17]),
        image=tuple(words[23:26]),
    )


def places(pid: int) -> Iterator[str]:
    """Yield the directories that tell of a process: its own, then its threads', for when the first has exited."""
    yield f"/proc/{pid}"
    yield from (f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task"))


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
