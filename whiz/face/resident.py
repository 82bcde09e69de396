"""`whiz run`: a node that stays, joined to what wakes it: signals, edits, ends of processes, systemd."""

from __future__ import annotations

import os
import signal
from subprocess import SubprocessError
from typing import TYPE_CHECKING

from whiz.core.errors import HomeError, ManifestError, Problem, WhizError
from whiz.core.limits import POLL
from whiz.core.status import report
from whiz.core.value import replace
from whiz.face import render, voice
from whiz.face.reading import read_apart
from whiz.face.renewal import renew
from whiz.keep import Told
from whiz.world.host.waker import hush
from whiz.world.notify import notify, watchdog
from whiz.world.sources import Loaded, as_now, fresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from whiz.core.model import Manifest, Plan
    from whiz.face.node import Node
    from whiz.world.alarm import Alarm
    from whiz.world.hooks import Hooks
    from whiz.world.watch import Watch

CARES = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
_STORM = 0.2  # s between two readings of a whizzifest that is edited without end
_SPEW = 0.25  # s between looks at logs that grow fast, and how many bytes in that time are fast
_FAST = 250_000
_RETRY = 5.0  # s before what a disk refused is written again
_CALM = 1.0  # s before the logs are listened to again


class Standing:
    """What the resident loop stands on: see whiz/keep.py, Ground."""

    def __init__(self, node: Node, lock: int, *, allow_empty: bool, end_on_term: bool) -> None:
        self._node, self._lock = node, lock
        self._allow_empty = allow_empty
        self._told = {signal.SIGTERM: Told.END if end_on_term else Told.LEAVE, signal.SIGUSR2: Told.RENEW}
        self._told[signal.SIGINT] = Told.END if os.isatty(0) else self._told[signal.SIGTERM]
        self._heard: list[Told] = []
        self._loaded: Loaded | None = None
        self._doubted = False
        self._read_at = 0.0
        self._complained: tuple[object, ...] = ()
        self._complaints = 0
        self._status = ""
        self._watch: Watch | None = None
        self._hooks: Hooks | None = None
        self._alarm: Alarm | None = None
        self._bytes, self._logs_at = 0, 0.0
        self._bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ring: Callable[[], None] = lambda: _ring(ring)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        for number in CARES:
            signal.signal(number, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CARES)  # what came while we became another is heard now
        node.host.waker.bell = self._bell

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._doubted = True  # read it again, whether or not it looks edited
        told = self._told.get(signal.Signals(number))
        if told is not None:
            self._heard.append(told)

    # -- Ground

    def heard(self) -> Told | None:
        """Return what was asked for since the last turn, and hush the bell."""
        hush(self._bell)
        if len(self._heard) > 1:
            self._ring()  # so that the next turn, with the next asking, comes at once
        return self._heard.pop(0) if self._heard else None

    def load(self) -> tuple[Manifest, bool]:
        """Return the manifest in force; read it again when something of it was edited. Raise ManifestError at first."""
        before, doubt = self._loaded, self._lost_its_place()
        if self._node.unannounced:
            self._node.announce()
        edited = before is None or self._doubted or before.busy or not fresh(before)
        if edited and (before is None or self._node.clock.boot() - self._read_at >= _STORM):
            self._doubted = False  # who asks again from here on, asks again
            loaded = self._read(before)
            doubt = doubt or before is None or loaded.manifest != before.manifest
            self._loaded, self._read_at = loaded, self._node.clock.boot()
            self._hooks = self._node.hooked(loaded, self._hooks)
            self._complain(loaded)
        assert self._loaded is not None  # noqa: S101  read, or raised
        self._listen(self._loaded)
        if len(self._node.store.complaints) != self._complaints:
            doubt, self._complaints = True, len(self._node.store.complaints)
        whole = self._node.completed(self._loaded.manifest, keep=True)
        return whole, doubt

    def tended(self, manifest: Manifest, steps: Plan) -> float | None:
        """Trim logs that grew, tell systemd how things are; return when (s) to come again."""
        again = [self._trimmed(manifest)]
        if self._loaded is not None and (self._doubted or self._loaded.busy or not fresh(self._loaded)):
            again.append(_CALM if self._loaded.busy else _STORM)
        if coming := [s for _, s in self._node.wishes(manifest).coming]:
            again.append(self._alarmed(min(coming)))
        if self._node.store.unwritten:
            again.append(_RETRY)
        if self._node.host.watchful.polls:
            again.append(POLL)
        if self._hooks is not None:
            again.append(self._hooks.tend())
            self._say_troubles()
        if os.environ.get("NOTIFY_SOCKET"):
            again.append(self._notified(manifest, steps))
        return min((s for s in again if s is not None), default=None)

    def renew(self) -> None:
        """Become the whiz that is installed now, unless that one cannot do with what is here."""
        self.finish()
        signal.pthread_sigmask(signal.SIG_BLOCK, CARES)
        if {Told.LEAVE, Told.END} & {*self._heard}:  # who was told to go does not become another
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CARES)
            return
        notify("RELOADING=1")
        words = "what is on record here cannot be written" if self._node.store.unwritten else renew(self._lock)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CARES)
        notify("READY=1")
        self._node.announce(refused=words)
        self._node.store.note({"event": "refuse", "program": "whiz", "why": words})
        voice.warn(f"not renewed: {words}; this whiz goes on")

    def finish(self) -> None:
        """Let the commands that are told of facts come to their ends, which is a matter of seconds."""
        self._node.host.health.drop()
        if self._hooks is not None:
            self._hooks.finish(lambda s: self._node.host.wait((), s))
            self._say_troubles()

    # -- parts

    def _say_troubles(self) -> None:
        while self._hooks is not None and self._hooks.troubles:
            voice.warn(self._hooks.troubles.pop(0))

    def _lost_its_place(self) -> bool:
        """Take the home's lock again where somebody removed the directory that it is on; raise Busy."""
        home = self._node.home
        if home.locked(self._lock):
            if not os.path.isdir(home.tasks):
                home.make()
            return False
        try:
            home.make()
        except HomeError:
            return False  # a disk that does not let us: the next turn tries again, and programs need none
        lock = home.lock()
        os.close(self._lock)
        self._lock = lock
        self._node.announce()
        voice.warn(f"{home.run}: was removed; made again, going by what runs")
        return True

    def _read(self, before: Loaded | None) -> Loaded:
        """Return the manifest in force. Once there was one, no mistake leaves us without."""
        node = self._node
        try:
            return read_apart(node.path, node.home.config, node.home.state, allow_empty=self._allow_empty)
        except (WhizError, OSError, SubprocessError) as exc:
            if before is None:
                raise
            words = exc.problems if isinstance(exc, ManifestError) else (_unread(node.path, exc),)
            return replace(as_now(before), problems=words, busy=not isinstance(exc, ManifestError))

    def _listen(self, loaded: Loaded) -> None:
        """Watch the folders of everything that can be edited: whizzifests, node.yaml, wishes."""
        if self._watch is None:
            from whiz.world.watch import Watch  # noqa: PLC0415  threads, only once all else is in place

            self._watch = Watch(self._ring, self._node.home.log)
            self._watch.hush()
        files = [p for p, _ in (*loaded.texts, *loaded.globs)]
        folders = [os.path.dirname(p) for path in files for p in (path, os.path.realpath(path))]
        self._watch.see([*folders, *self._node.store.wishes_at()])

    def _complain(self, loaded: Loaded) -> None:
        """Say once what is wrong with the whizzifest, and once that it is mended."""
        now = (*loaded.problems, loaded.kept)
        if now == self._complained:
            return
        if self._complained and not loaded.problems:
            voice.warn(f"{self._node.path}: is in force again")
        self._complained = now if loaded.problems or loaded.kept else ()
        self._node.complain(loaded)

    def _trimmed(self, manifest: Manifest) -> float | None:
        """Hold the logs to their caps while they grow; return when to look at them again."""
        if self._watch is None or not self._watch.growing:
            return None
        now = self._node.clock.boot()
        if now < self._logs_at:
            return self._logs_at - now
        self._watch.loud()
        size = self._node.trim(manifest)
        fast = abs(size - self._bytes) > _FAST
        steady = size == self._bytes
        self._bytes = size
        if steady:
            self._watch.hush()
        self._logs_at = now + (_SPEW if fast else _CALM)
        return None if steady else self._logs_at - now

    def _alarmed(self, seconds: float) -> float:
        """Return how long to sleep until the next scheduled task is due."""
        if self._alarm is None:
            from whiz.world.alarm import Alarm  # noqa: PLC0415  most whizzifests have no schedule

            self._alarm = Alarm()
        return self._alarm.set(seconds)

    def _notified(self, manifest: Manifest, steps: Plan) -> float | None:
        """Tell systemd that we live and how things are; return when it wants to hear of us again."""
        store, now = self._node.store, self._node.clock.boot()
        rows = report(manifest, store.runs(), self._node.wishes(manifest), steps, now)
        status = render.summary(rows, steps)
        new = ["READY=1"] if not self._status else []
        if status != self._status:
            self._status = status
            new.append(f"STATUS={status}")
        span = watchdog()
        notify(*new, *(["WATCHDOG=1"] if span is not None else []))
        return None if span is None else span / 2


def _unread(path: str, exc: Exception) -> Problem:
    words = exc.strerror if isinstance(exc, OSError) else None
    return Problem(path, 0, 0, f"cannot be read just now: {words or exc}")


def _ring(fd: int) -> None:
    try:
        os.write(fd, b"\0")
    except BlockingIOError:
        return  # it rings already
