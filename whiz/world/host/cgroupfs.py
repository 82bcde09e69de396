"""The kernel's unified cgroup hierarchy as files: cgroups(7) and Documentation/admin-guide/cgroup-v2.rst."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterator

ASIDE = "@whiz"  # for whiz and chaperones: who has children with controllers may hold no process (cgroups(7))


def path_of(pid: int) -> str | None:
    """Return where a process is in the unified hierarchy."""
    lines = text_of(f"/proc/{pid}/cgroup").splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)


def delegated(path: str) -> bool:
    """Whether systemd says that a subtree is ours to arrange (Delegate=yes)."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue
    return False


def enabled(room: str, wanted: frozenset[str]) -> frozenset[str]:
    """Have these controllers work below the room; return those that do."""
    wanted &= {*words_of(f"{room}/cgroup.controllers")}
    for name in sorted(wanted - {*words_of(f"{room}/cgroup.subtree_control")}):
        for _ in range(3):  # somebody may come in between
            _vacate(room)
            try:
                put(f"{room}/cgroup.subtree_control", f"+{name}")
                break
            except OSError as exc:
                if exc.errno != errno.EBUSY:
                    break
    return wanted & {*words_of(f"{room}/cgroup.subtree_control")}


def _vacate(room: str) -> None:
    """Move who sits in the room itself into a leaf."""
    for pid in words_of(f"{room}/cgroup.procs"):
        os.makedirs(f"{room}/{ASIDE}", 0o755, exist_ok=True)
        try:
            put(f"{room}/{ASIDE}/cgroup.procs", pid)
        except OSError:
            continue  # it has ended, or is not ours to move


def enter(*procs: str) -> None:
    """Go to the first of these cgroups that lets us in."""
    for place in procs:
        try:
            put(place, "0")
        except OSError:
            continue
        return


def below(path: str) -> Iterator[str]:
    """Yield a cgroup and those in it, the innermost first."""
    try:
        inner = [e.path for e in os.scandir(path) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for each in inner:
        yield from below(each)
    yield path


def remove(path: str) -> None:
    """Remove a cgroup and those in it, unless somebody lives there."""
    for at in below(path):
        try:
            os.rmdir(at)
        except OSError:
            return


def put(path: str, words: str) -> None:
    """Have the kernel take these words; raise OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, words.encode())
    finally:
        os.close(fd)


def words_of(path: str) -> list[str]:
    """Return the words of a file of the kernel's, none where it cannot be read."""
    return text_of(path).split()


def text_of(path: str) -> str:
    """Return its text."""
    try:
        return (disk.read(path) or b"").decode(errors="replace")
    except OSError:
        return ""
