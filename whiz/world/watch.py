"""Edits of files, through watchdog: its threads do nothing but ring a bell."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from whiz.world.threads import deaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from watchdog.observers.api import ObservedWatch

# that a watch was taken down amid an event is no error of ours
logging.getLogger("watchdog").setLevel(logging.CRITICAL)

_EDITS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]


class _Ring(FileSystemEventHandler):
    def __init__(
        self, ring: Callable[[], None], gone: Callable[[], None], folder: str, kinds: list[type[FileSystemEvent]]
    ) -> None:
        self._ring, self._gone, self._folder, self._kinds = ring, gone, os.fsencode(folder), tuple(kinds)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Ring; which event it was, the next look tells, but for the end of the watched folder itself."""
        if not isinstance(event, self._kinds):
            return  # Debian 12's watchdog tells of everything
        if os.fsencode(event.src_path) == self._folder and isinstance(event, DirDeletedEvent | DirMovedEvent):
            self._gone()
        self._ring()


class Watch:
    """Rings when something is edited in the folders of interest, or begins to grow in the one of the logs."""

    def __init__(self, ring: Callable[[], None], logs: str) -> None:
        with deaf():
            self._observer = InotifyObserver()
            self._observer.start()
        # from watchdog 4 on the kernel can be asked for just these events; Debian 12 has 2.2
        self._filters = "event_filter" in self._observer.schedule.__code__.co_varnames
        self._ring, self._logs = ring, logs
        self._seen: dict[tuple[int, int], ObservedWatch] = {}  # by device and inode: a folder may have several names
        self._quiet: ObservedWatch | None = None
        self.growing = self._stale = False

    def see(self, folders: Iterable[str]) -> None:
        """Watch just these folders; one that is not there, or cannot be watched, is left to the next look."""
        if self._stale:  # a new folder may have the number of the old one
            self._stale = False
            while self._seen:
                self._drop(self._seen.popitem()[1])
        wanted = {key: f for f in map(_there, folders) if (key := _inode(f)) is not None}
        for key in self._seen.keys() - wanted.keys():
            self._drop(self._seen.pop(key))
        for key in wanted.keys() - self._seen.keys():
            watch = self._add(wanted[key], self._ring, _EDITS)
            if watch is not None:
                self._seen[key] = watch

    def hush(self) -> None:
        """Ring once when a log grows: who writes all the time would ring all the time."""
        self.growing = False
        if self._quiet is not None:
            self._drop(self._quiet)
        self._quiet = self._add(self._logs, self._grew, [FileModifiedEvent])
        if self._quiet is None:
            self.growing = True  # nobody will tell: it is to be looked after

    def loud(self) -> None:
        """Stop listening to the logs."""
        if self._quiet is not None:
            self._drop(self._quiet)
            self._quiet = None

    def _grew(self) -> None:
        if not self.growing:
            self.growing = True
            self._ring()

    def _went(self) -> None:
        self._stale = True

    def _add(self, folder: str, ring: Callable[[], None], kinds: list[type[FileSystemEvent]]) -> ObservedWatch | None:
        handler = _Ring(ring, self._went, folder, kinds)
        only: dict[str, Any] = {"event_filter": kinds} if self._filters else {}
        try:
            with deaf():
                return self._observer.schedule(handler, folder, recursive=False, **only)
        except OSError:
            return None

    def _drop(self, watch: ObservedWatch) -> None:
        try:
            self._observer.unschedule(watch)
        except (KeyError, OSError):
            return  # its folder went, and the watch with it


def _there(folder: str) -> str:
    """Return the folder, or the nearest one above it that is there: its coming is to be heard."""
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder


def _inode(folder: str) -> tuple[int, int] | None:
    try:
        st = os.stat(folder)
    except OSError:
        return None
    return st.st_dev, st.st_ino
