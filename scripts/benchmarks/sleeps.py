"""Programs to keep, that are told apart from all others by an argument of their own, and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

PATIENCE = 60.0  # s until programs that do not come up are given up
LOOK = 0.02  # s between two looks at /proc: each takes time from those it watches
_tags = iter(range(1000))


class Late(Exception):
    """What was waited for did not come."""


def new_tag() -> str:
    """Return the beginning of a number of seconds that no other process sleeps for."""
    return f"1000.{os.getpid():07d}{next(_tags):03d}"


def seconds(tag: str, n: int) -> list[str]:
    """Return the arguments of n programs of this tag."""
    return [f"{tag}{i:04d}" for i in range(n)]


def pids() -> set[int]:
    """Return every process there is."""
    return {int(word) for word in os.listdir("/proc") if word.isdigit()}


def alive(tag: str, known: set[int]) -> Iterator[tuple[int, str]]:
    """Yield the living processes of this tag but those known, each with its argument."""
    for pid in pids() - known:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().split(b"\0")
        except OSError:
            continue  # gone since the listing
        if len(argv) == 3 and argv[0].endswith(b"sleep") and argv[1].startswith(tag.encode()):  # noqa: PLR2004
            yield pid, argv[1].decode()


def wait_up(tag: str, n: int, before: set[int]) -> float:
    """Watch /proc; return the moment when n programs of this tag live, none of which is among those before.

    A look takes longer where there are more processes, so the pause grows with it: a third of one core at most.
    """
    known: set[int] = set()
    end = time.perf_counter() + PATIENCE
    while True:
        begin = time.perf_counter()
        known |= {pid for pid, _ in alive(tag, known | before)}
        now = time.perf_counter()
        if len(known) >= n:
            return now
        if now > end:
            raise Late(f"{len(known)} of {n} programs came up in {PATIENCE:.0f} s")
        time.sleep(max(LOOK, 2 * (now - begin)))  # looking is not to take more than a third of the time


def wait_return(command: subprocess.Popen[bytes]) -> float:
    """Return the moment when a command has returned."""
    command.wait()  # with a patience it would look now and then, and late
    return time.perf_counter()


@contextlib.contextmanager
def ended(tag: str) -> Iterator[None]:
    """End the programs of this tag at the end, whatever happens."""
    try:
        yield
    finally:
        while found := list(alive(tag, set())):
            for pid, _ in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # they are not our children: there is nothing to wait on
