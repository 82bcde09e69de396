"""How the limits of a program are held: by its cgroup, by rlimits, by looking at it, or not at all; and why so."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from whiz.core.value import record, value
from whiz.core.words import spell_bytes, spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.model import Limits

POLL = 5.0  # s between looks at what programs have in memory, where nothing else holds them to it
_PERIOD = 100_000  # µs in which the kernel counts a share (cgroup-v2, cpu.max)
_ADOPTED = "it was running already", "whiz restart, with its name"
_PI = "append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt and reboot"
CONTROLLERS = {"memory": "memory", "share": "cpu", "tasks": "pids"}  # limit -> who holds it


class By(StrEnum):
    """Who holds a limit."""

    CGROUP = "cgroup"
    RLIMIT = "rlimit"
    POLL = "polled"
    NOBODY = "not held"


@record
class Ground:
    """What there is to hold limits with. `room`: the cgroup subtree that programs are placed in.

    `closed`: there is one, but it cannot be entered from where this whiz was started; `trial`: the home is none that
    is installed.
    """

    room: str | None = None
    controllers: frozenset[str] = frozenset()
    closed: bool = False
    trial: bool = False
    root: bool = False
    pi: bool = False


@value
class Grip:
    """How one limit is held. `key`: as the whizzifest has it; `asked`: in words; `why`: why by nothing better.

    `do`: what would change that.
    """

    key: str
    asked: str
    by: By
    why: str = ""
    do: str = ""

    @property
    def firm(self) -> bool:
        """Whether the kernel holds it."""
        return self.by in (By.CGROUP, By.RLIMIT)

    def words(self, *, stays: bool) -> str:
        """Say it. `stays`: whether a whiz does, which looks without being called."""
        looks = f"every {spell_seconds(POLL)}" if stays else "at each whiz apply"
        how = f"by {self.by}" if self.firm else f"{self.by} {looks}" if self.by is By.POLL else str(self.by)
        return f"{self.key} {self.asked}: {how}" + (f" ({self.why})" if self.why else "")


def needed(limits: Limits) -> frozenset[str]:
    """Return the controllers that would hold what is asked."""
    return frozenset(c for field, c in CONTROLLERS.items() if getattr(limits, field) is not None)


def files(limits: Limits, controllers: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return which files of a program's cgroup get which words, where these controllers are there."""
    words: list[tuple[str, str]] = []
    if limits.memory is not None and "memory" in controllers:
        # whole, as one breach is to be one end: which of its processes the kernel would take is nobody's wish
        words += [("memory.max", str(limits.memory)), ("memory.oom.group", "1")]
    if limits.share is not None and "cpu" in controllers:
        words.append(("cpu.max", f"{round(limits.share * _PERIOD)} {_PERIOD}"))
    if limits.tasks is not None and "pids" in controllers:
        words.append(("pids.max", str(limits.tasks)))
    return tuple(words)


def rlimits(limits: Limits, controllers: frozenset[str]) -> dict[str, int]:
    """Return the rlimits to set for what these controllers do not hold."""
    asked = {
        "RLIMIT_CPU": None if limits.cpu is None else max(1, round(limits.cpu)),
        "RLIMIT_NOFILE": limits.files,
        "RLIMIT_NPROC": None if "pids" in controllers else limits.tasks,
        "RLIMIT_CORE": limits.core,
    }
    return {name: n for name, n in asked.items() if n is not None}


def breach(limits: Limits, usage: int) -> str | None:
    """Return what is wrong with a tree that has so many bytes in memory, if anything is."""
    if limits.memory is None or usage <= limits.memory:
        return None
    much, most = spell_bytes(usage), spell_bytes(limits.memory)
    return f"memory {much if much != most else f'{usage} B'} is over its limit of {most}"


def spelled(limits: Limits) -> dict[str, str]:
    """Return key -> value of what is asked, as the whizzifest has them, to the byte."""
    asked = {k: getattr(limits, k) for k in ("memory", "cpu", "files", "tasks", "core")}
    if limits.share is not None:
        asked["cpu"] = f"{100 * limits.share:g}%"
    return {k: str(v) for k, v in asked.items() if v is not None}


def grips(
    limits: Limits, held: frozenset[str], ground: Ground, *, root: bool, adopted: bool = False
) -> tuple[Grip, ...]:
    """Return how each limit is held.

    `held`: the controllers that do; `root`: whether the program runs as root; `adopted`: whether somebody else
    started it.
    """
    found = tuple(_grips(limits, held, ground, root=root))
    if not adopted:
        return found
    return tuple(Grip(g.key, g.asked, By.NOBODY, *_ADOPTED) if g.by is By.RLIMIT else g for g in found)


def _grips(limits: Limits, held: frozenset[str], ground: Ground, *, root: bool) -> Iterator[Grip]:
    if limits.memory is not None:
        by = By.CGROUP if "memory" in held else By.POLL
        yield Grip("memory", spell_bytes(limits.memory), by, *_lack("memory", held, ground))
    if limits.cpu is not None:
        yield Grip("cpu", spell_seconds(limits.cpu), By.RLIMIT)
    if limits.share is not None:
        by = By.CGROUP if "cpu" in held else By.NOBODY
        yield Grip("cpu", f"{100 * limits.share:g}%", by, *_lack("cpu", held, ground))
    if limits.files is not None:
        yield Grip("files", str(limits.files), By.RLIMIT)
    if limits.tasks is not None and "pids" in held:
        yield Grip("tasks", str(limits.tasks), By.CGROUP)
    elif limits.tasks is not None:
        why, do = _lack("pids", held, ground)
        also = "root is exempt from RLIMIT_NPROC" if root else "with all other processes of its user"
        yield Grip("tasks", str(limits.tasks), By.NOBODY if root else By.RLIMIT, f"{also}; {why}", do)
    if limits.core is not None:
        yield Grip("core", spell_bytes(limits.core), By.RLIMIT)


def _lack(controller: str, held: frozenset[str], ground: Ground) -> tuple[str, str]:
    """Say why a controller does not hold a limit, and what would change that; nothing where it does."""
    if controller in held:
        return "", ""
    if ground.closed:
        return "the cgroup of whiz cannot be entered from this session", "let systemd start whiz: whiz install --user"
    if ground.room is None and ground.trial:
        return "a trial home has no cgroup", ""
    if ground.room is None:
        return "whiz has no cgroup of its own", f"{'sudo ' if ground.root else ''}whiz install"
    if controller in ground.controllers:
        return "it was started without", "whiz restart, with its name"
    return f"{ground.room} has no {controller} controller", _PI if controller == "memory" and ground.pi else ""
