"""The cgroup subtree that is whiz's own, where there is one: a directory for each Run, to limit and end it whole."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from whiz.core.limits import Ground, files, needed
from whiz.core.model import Want
from whiz.core.value import value
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.core.model import Run

UNIT = "whiz-programs.service"  # with Delegate=yes; it holds no process of its own
MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_ASIDE = "@whiz"  # for whiz and chaperones: who has children with controllers may hold no process (cgroups(7))
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
        there = frozenset() if room is None else frozenset(_words(f"{room}/cgroup.controllers"))
        pi = "Raspberry Pi" in _text("/proc/device-tree/model")
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
            held = _enabled(room, needed(run.program.limits))
            os.mkdir(leaf, 0o755)
            if run.program.kept:
                os.makedirs(f"{room}/{_ASIDE}", 0o755, exist_ok=True)
        except OSError:
            return None
        for name, words in files(run.program.limits, held):
            try:
                put(f"{leaf}/{name}", words)
            except OSError:
                held -= {name.removesuffix(".max")}
        home = f"{self._mount()}{_path_of(os.getpid())}/cgroup.procs"
        return Seat(f"{leaf}/cgroup.procs", home, f"{room}/{_ASIDE}/cgroup.procs", held)

    def of(self, run: Run) -> str | None:
        """Return the directory that is this Run's own, be it in the room of a whiz that was started elsewhere."""
        if run.adopted or run.program.want is Want.DOWN:
            return None
        room, _ = self._room()
        if room is not None and os.path.isdir(f"{room}/{_leaf(run)}"):
            return f"{room}/{_leaf(run)}"
        mount = self._mount()
        path = _path_of(run.proc.pid) if mount is not None and run.proc is not None and run.exited is None else None
        return None if path is None or os.path.basename(path) != _leaf(run) else f"{mount}{path}"

    def members(self, run: Run) -> list[int]:
        """Return the numbers of who lives in a Run's cgroup and below."""
        path = self.of(run)
        if path is None or "populated 1" not in _text(f"{path}/cgroup.events"):
            return []
        return [pid for at in _below(path) for pid in map(int, _words(f"{at}/cgroup.procs")) if pid > 0]

    def raze(self, run: Run) -> None:
        """End everybody in it with SIGKILL at once, unless that would be ourselves too."""
        path = self.of(run)
        own = _path_of(os.getpid())
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
            _remove(path)
        if room is not None:
            self._sweep(room)

    def held(self, run: Run) -> frozenset[str]:
        """Return the controllers that hold a living Run to its limits, as its cgroup shows them."""
        path = self.of(run)
        if path is None:
            return frozenset()
        return frozenset(n for n in needed(run.program.limits) if _words(f"{path}/{n}.max")[:1] not in ([], ["max"]))

    def events(self, run: Run) -> tuple[str, int | None]:
        """Return what a Run's memory.events says, and its ceiling in bytes."""
        path = self.of(run)
        if path is None:
            return "", None
        most = _words(f"{path}/memory.max")[:1]
        return _text(f"{path}/memory.events"), None if most in ([], ["max"]) else run.program.limits.memory

    def _mount(self) -> str | None:
        return next((m for m in self._mounts if os.path.exists(f"{m}/cgroup.controllers")), None)

    def _room(self) -> tuple[str | None, bool]:
        """Return the subtree, or None and whether there is one that is closed to us."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def _find(self) -> tuple[str | None, bool]:
        mount = self._mount()
        own = None if mount is None else _path_of(os.getpid())
        if own is None or "/.." in own:
            return None, False
        closed = False
        if self._installed:
            user = f"user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service/app.slice"
            at = f"/{'system.slice' if os.getuid() == 0 else user}/{UNIT}"
            if os.path.isdir(f"{mount}{at}"):
                above = os.path.commonpath([own, at]).rstrip("/")  # who moves a process must be let into this too
                if all(os.access(f"{mount}{p}", os.W_OK) for p in (at, f"{above}/cgroup.procs")):
                    return f"{mount}{at}", False
                closed = True
        for at in (own, os.path.dirname(own)) if "@" in os.path.basename(own) else (own,):
            if at != "/" and _delegated(f"{mount}{at}") and os.access(f"{mount}{at}/cgroup.procs", os.W_OK):
                return f"{mount}{at}", False
        return None, closed

    def _sweep(self, room: str) -> None:
        """Remove what nobody lives in any more, once: those of Runs whose end no whiz saw to."""
        if self._swept:
            return
        self._swept = True
        for name in os.listdir(room):
            try:
                if "@" in name[1:] and time.time() - os.stat(f"{room}/{name}").st_mtime > _LEFT:
                    _remove(f"{room}/{name}")
            except OSError:
                continue  # another whiz was faster


def _leaf(run: Run) -> str:
    return f"{disk.quoted(run.program.name)}@{run.id}"


def _path_of(pid: int) -> str | None:
    """Return where a process is in the unified hierarchy."""
    lines = _text(f"/proc/{pid}/cgroup").splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)


def _delegated(path: str) -> bool:
    """Whether systemd says that a subtree is ours to arrange (Delegate=yes)."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _enabled(room: str, wanted: frozenset[str]) -> frozenset[str]:
    """Have these controllers work below the room; return those that do."""
    wanted &= {*_words(f"{room}/cgroup.controllers")}
    for name in sorted(wanted - {*_words(f"{room}/cgroup.subtree_control")}):
        for _ in range(3):  # somebody may come in between
            _vacate(room)
            try:
                put(f"{room}/cgroup.subtree_control", f"+{name}")
                break
            except OSError as exc:
                if exc.errno != errno.EBUSY:
                    break
    return wanted & {*_words(f"{room}/cgroup.subtree_control")}


def _vacate(room: str) -> None:
    """Move who sits in the room itself into a leaf."""
    for pid in _words(f"{room}/cgroup.procs"):
        os.makedirs(f"{room}/{_ASIDE}", 0o755, exist_ok=True)
        try:
            put(f"{room}/{_ASIDE}/cgroup.procs", pid)
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


def _below(path: str) -> Iterator[str]:
    """Yield a cgroup and those in it, the innermost first."""
    try:
        inner = [e.path for e in os.scandir(path) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for each in inner:
        yield from _below(each)
    yield path


def _remove(path: str) -> None:
    for at in _below(path):
        try:
            os.rmdir(at)
        except OSError:
            return  # somebody lives there


def put(path: str, words: str) -> None:
    """Have the kernel take these words; raise OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, words.encode())
    finally:
        os.close(fd)


def _words(path: str) -> list[str]:
    return _text(path).split()


def _text(path: str) -> str:
    try:
        return (disk.read(path) or b"").decode(errors="replace")
    except OSError:
        return ""
