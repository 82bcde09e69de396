"""A cgroup subtree for tests: made under the machine's unified hierarchy, and ended whole with the test."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whiz.world.host.cgroup import MOUNTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTER = 'echo 0 >"$0/cgroup.procs" && exec "$@"'
_OOM = Path("/sys/fs/cgroup/memory")  # the hierarchy of the memory controller where it is not in the unified one


def unified() -> Path | None:
    """Return where the unified hierarchy is mounted."""
    return next((Path(m) for m in MOUNTS if os.path.exists(f"{m}/cgroup.controllers")), None)


def _made(above: Path | None, name: str, why: str) -> Path:
    """Make a directory, or skip where that cannot be; CI must be able to."""
    try:
        if above is None:
            raise FileNotFoundError("no unified hierarchy is mounted")
        (above / name).mkdir()
    except OSError as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{why}: {exc}")
    assert above is not None
    return above / name


def delegated(name: str) -> Iterator[Path]:
    """Make a subtree that is its processes' own, as systemd does with Delegate=yes."""
    room = _made(unified(), name, "needs root and a unified cgroup hierarchy that can be written")
    try:
        os.setxattr(room, "trusted.delegate", b"1")
        yield room
    finally:
        (room / "cgroup.kill").write_text("1")
        _removed(room)


def bounded(name: str, limit: int) -> Iterator[Path]:
    """Make a cgroup in which the kernel holds memory to a limit, so that it kills for want of it."""
    above = _OOM if _OOM.is_dir() else unified()
    at = _made(above, name, "needs root and a memory controller")
    files = [at / n for n in ("memory.limit_in_bytes", "memory.max") if (at / n).exists()]
    try:
        if not files:
            pytest.skip("the memory controller is not to be had here")
        files[0].write_text(str(limit))
        yield at
    finally:
        _removed(at)


def within(cgroup: Path, *argv: str) -> tuple[str, ...]:
    """Return a command that runs in a cgroup."""
    return ("/bin/sh", "-c", _ENTER, str(cgroup), *argv)


def names(room: Path) -> list[str]:
    """Return the names of what is in it, but for where whiz itself is."""
    return sorted(p.name.partition("@")[0] for p in room.iterdir() if p.is_dir() and not p.name.startswith("@"))


def procs(cgroup: Path) -> list[int]:
    return [int(word) for word in (cgroup / "cgroup.procs").read_text().split()]


def _removed(cgroup: Path) -> None:
    end = time.monotonic() + 20
    while cgroup.exists():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):  # who is dying is there for a moment
                os.rmdir(folder)
        assert time.monotonic() < end, f"{cgroup} is still populated"
        time.sleep(0.01)
