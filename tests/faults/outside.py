"""The machine as it is, read from /proc alone: what the fault tests believe instead of whiz's own records."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import whiz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(whiz.__file__)))  # where the whiz under test was imported from
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": HOUSE}
WHIZ = (sys.executable, "-P", "-m", "whiz")


@dataclass(frozen=True, slots=True)
class Live:
    """One process that has not exited."""

    pid: int
    ticks: int
    leader: bool  # of its session
    argv: tuple[str, ...]
    env: dict[str, str]

    @property
    def chaperone(self) -> bool:
        return any(word.endswith("/chaperone.py") for word in self.argv[:6])


def stat(pid: int) -> tuple[str, int, int, tuple[bytes, ...]] | None:
    """Return (state, session, start ticks, where its image lies or nothing while it is in exec), None for nobody."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read()
    except OSError:
        return None
    words = text[text.rindex(b")") + 2 :].split()
    in_exec = words[24] == b"0" and not int(words[6]) & 4  # no end of its code yet, and not PF_EXITING
    return words[0].decode(), int(words[3]), int(words[19]), () if in_exec else tuple(words[23:26])


def processes(mark: str = "") -> Iterator[Live]:
    """Yield every process of the machine whose environment contains these words.

    Each is read again until it was in no exec meanwhile, where the kernel shows nothing, or half of what will be.
    """
    wanted = mark.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        while True:
            before = stat(int(name))
            try:
                with open(f"/proc/{name}/environ", "rb") as f:
                    environ = f.read()
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    cmdline = f.read()
            except OSError:
                break
            known = stat(int(name))
            if known is None or known[0] in "ZXx":
                break
            if before is None or known[3] != before[3] or not known[3]:
                continue
            if wanted in environ and cmdline:
                pairs = (word.partition("=") for word in environ.decode(errors="replace").split("\0"))
                argv = tuple(cmdline.decode(errors="replace").removesuffix("\0").split("\0"))
                yield Live(int(name), known[2], known[1] == int(name), argv, {n: v for n, _, v in pairs})
            break


def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Look until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.002)


def clear(mark: str) -> None:
    """Kill every process with these words in its environment, and those they start meanwhile, until none is left."""

    def none() -> bool:
        left = list(processes(mark))
        for p in left:
            known = stat(p.pid)
            if known is not None and known[2] == p.ticks:
                try:
                    os.kill(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        return not left

    until(none, "every process of the test is gone")
