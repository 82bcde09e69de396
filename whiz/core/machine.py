"""What can be known of a machine before anything runs on it. None, wherever it may be: cannot tell."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from whiz.core.limits import Ground
from whiz.core.value import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.limits import Grip

# no owners, no modes, names that are the same but for case, and no file is replaced in one step
FOREIGN = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"})


def unfit(kind: str | None) -> str | None:
    """Say why whiz cannot keep things on a file system of this type, None where it can."""
    return "which knows no owners and replaces no file in one step" if kind in FOREIGN else None


class Memory(StrEnum):
    """Where the kernel has its memory controller."""

    UNIFIED = "unified"  # where whiz can use it
    OFF = "off"
    OLDER = "older"  # in a hierarchy of version 1, be it beside a unified one
    UNMOUNTED = "unmounted"


@record
class Place:
    """A directory of the home and the file system it is on. `inodes`: free ones, None where there is no such limit."""

    role: str
    path: str
    kind: str | None
    read_only: bool
    free: int
    inodes: int | None


@record
class Unit:
    """A systemd service that runs whiz or in which programs of ours live. `settings`: as its files give them."""

    name: str
    user: bool
    settings: Mapping[str, str]


@record
class Other:
    """Another home of which programs run on this machine."""

    home: str
    uid: int
    programs: tuple[str, ...]


@record
class Facts:
    """What was found. `programs`: of this home, those that run; `loose`: the limits that the kernel does not hold.

    `stays`: whether a whiz does here.
    """

    root: bool
    clock: bool | None
    memory: Memory | None
    pidfd: bool
    places: tuple[Place, ...]
    units: tuple[Unit, ...]
    programs: tuple[str, ...]
    others: tuple[Other, ...]
    psutil: str | None
    python: str
    host: str
    node_yaml: bool
    ground: Ground = Ground()
    loose: tuple[tuple[str, Grip], ...] = ()
    stays: bool = False
