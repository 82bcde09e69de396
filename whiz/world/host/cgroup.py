"""The cgroup subtree that is whiz's own, where there is one: a directory for each Run, to limit and end it whole."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from whiz.core.limits import Ground, files, needed
from whiz.core.model import Want
from whiz.core.subtree import cgroup
from whiz.core.value import value
from whiz.world import disk
from whiz.world.host.cgroupfs import ASIDE, below, delegated, enabled, path_of, put, remove, text_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.model import Run

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_LEFT = 60.0  # s after which an empty directory is nobody's who is just starting


@value
class Seat:
    """A place for one Run: the file that takes in who writes 0 to it.

    `home`: the same of where we are; `aside`: of where its chaperone belongs; `held`: the controllers that limit it.
    """

    procs: str
    home: str
    aside: str
    held: frozenset[str]


class Cgroups:
    """Where this home's Runs have their cgroups. `installed`: whether the units of `whiz install` are this home's."""

    def __init__(self, *, installed: bool, mounts: tuple[str, ...] = MOUNTS) -> None:
        self._installed, self._mounts = installed, mounts
        self._swept = False
        self._found: tuple[str | None, bool] | None = None

    def look(self) -> None:
        """Have the subtree looked for anew, when it is needed: one may come or go under who stays."""
        self._found = None

    def ground(self, runs: Iterable[Run] = ()) -> Ground:
        """Return what there is to hold limits with: for these Runs, or for one that starts now."""
        room, closed = self._room()
        if path := next(filter(None, map(self.of, runs)), None):
            room, closed = os.path.dirname(path), False
        there = frozenset() if room is None else frozenset(words_of(f"{room}/cgroup.controllers"))
        pi = "Raspberry Pi" in text_of("/proc/device-tree/model")
        return Ground(
            room=room, controllers=there, closed=closed, trial=not self._installed, root=os.getuid() == 0, pi=pi
        )

    def seat(self, run: Run) -> Seat | None:
        """Make a place for a Run that is about to start, with its limits; None where there is none to be had."""
        room, _ = self._room()
        if room is None:
            return None
        self._sweep(room)
        leaf = f"{room}/{_leaf(run)}"
        try:
            held = enabled(room, needed(run.program.limits))
            os.mkdir(leaf, 0o755)
            if run.program.kept:
                os.makedirs(f"{room}/{ASIDE}", 0o755, exist_ok=True)
        except OSError:
            return None
        for name, words in files(run.program.limits, held):
            try:
                put(f"{leaf}/{name}", words)
            except OSError:
                held -= {name.removesuffix(".max")}
        home = f"{self._mount()}{path_of(os.getpid())}/cgroup.procs"
        return Seat(f"{leaf}/cgroup.procs", home, f"{room}/{ASIDE}/cgroup.procs", held)

    def of(self, run: Run) -> str | None:
        """Return the directory that is this Run's own, be it in the room of a whiz that was started elsewhere."""
        if run.adopted or run.program.want is Want.DOWN:
            return None
        room, _ = self._room()
        if room is not None and os.path.isdir(f"{room}/{_leaf(run)}"):
            return f"{room}/{_leaf(run)}"
        mount = self._mount()
        path = path_of(run.proc.pid) if mount is not None and run.proc is not None and run.exited is None else None
        return None if path is None or os.path.basename(path) != _leaf(run) else f"{mount}{path}"

    def members(self, run: Run) -> list[int]:
        """Return the numbers of who lives in a Run's cgroup and below."""
        path = self.of(run)
        if path is None or "populated 1" not in text_of(f"{path}/cgroup.events"):
            return []
        return [pid for at in below(path) for pid in map(int, words_of(f"{at}/cgroup.procs")) if pid > 0]

    def raze(self, run: Run) -> None:
        """End everybody in it with SIGKILL at once, unless that would be ourselves too."""
        path = self.of(run)
        own = path_of(os.getpid())
        if path is None or own is None or f"{self._mount()}{own}/".startswith(f"{path}/"):
            return
        try:
            put(f"{path}/cgroup.kill", "1")
        except OSError:
            return  # a kernel before 5.14: each gets a signal of its own

    def clear(self, run: Run) -> None:
        """Remove the directory of a Run that has ended, and what a crash left behind."""
        room, _ = self._room()
        if (path := self.of(run)) is not None:
            remove(path)
        if room is not None:
            self._sweep(room)

    def held(self, run: Run) -> frozenset[str]:
        """Return the controllers that hold a living Run to its limits, as its cgroup shows them."""
        path = self.of(run)
        if path is None:
            return frozenset()
        return frozenset(n for n in needed(run.program.limits) if words_of(f"{path}/{n}.max")[:1] not in ([], ["max"]))

    def events(self, run: Run) -> tuple[str, int | None]:
        """Return what a Run's memory.events says, and its ceiling in bytes."""
        path = self.of(run)
        if path is None:
            return "", None
        most = words_of(f"{path}/memory.max")[:1]
        return text_of(f"{path}/memory.events"), None if most in ([], ["max"]) else run.program.limits.memory

    def _mount(self) -> str | None:
        return next((m for m in self._mounts if os.path.exists(f"{m}/cgroup.controllers")), None)

    def _room(self) -> tuple[str | None, bool]:
        """Return the subtree, or None and whether there is one that is closed to us."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def _find(self) -> tuple[str | None, bool]:
        mount = self._mount()
        own = None if mount is None else path_of(os.getpid())
        if own is None or "/.." in own:
            return None, False
        closed = False
        if self._installed:
            at = cgroup(os.getuid())
            if os.path.isdir(f"{mount}{at}"):
                above = os.path.commonpath([own, at]).rstrip("/")  # who moves a process must be let into this too
                doors = (at, *(f"{p}/cgroup.procs" for p in (above, own)))  # and back
                if all(os.access(f"{mount}{p}", os.W_OK) for p in doors):
                    return f"{mount}{at}", False
                closed = True
        for at in (own, os.path.dirname(own)) if "@" in os.path.basename(own) else (own,):
            if at != "/" and delegated(f"{mount}{at}") and os.access(f"{mount}{at}/cgroup.procs", os.W_OK):
                return f"{mount}{at}", False
        return None, closed

    def _sweep(self, room: str) -> None:
        """Remove what nobody lives in any more, once: those of Runs whose end no whiz saw to."""
        if self._swept:
            return
        self._swept = True
        for name in disk.names(room, ""):
            try:
                if "@" in name[1:] and time.time() - os.stat(f"{room}/{name}").st_mtime > _LEFT:
                    remove(f"{room}/{name}")
            except OSError:
                continue  # another whiz was faster


def _leaf(run: Run) -> str:
    return f"{disk.quoted(run.program.name)}@{run.id}"
