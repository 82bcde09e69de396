"""Edits of files, through watchdog: its threads do nothing but ring a bell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from watchdog.events import (
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import ObservedWatch

_EDITS: list[type[FileSystemEvent]] = [
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]


class _Ring(FileSystemEventHandler):
    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002  which one it was, the next look tells
        self._ring()


class Watch:
    """Rings when something is edited in the folders of interest, or begins to grow in the one of the logs."""

    def __init__(self, ring: Callable[[], None], logs: str) -> None:
        self._observer = InotifyObserver()
        self._ring, self._logs = ring, logs
        self._seen: dict[tuple[str, int], ObservedWatch] = {}
        self._quiet: ObservedWatch | None = None
        self.growing = False
        self._observer.start()

    def see(self, folders: Iterable[str]) -> None:
        """Watch just these folders; one that is not there, or cannot be watched, is left to the next look."""
        wanted = {(f, inode) for f in folders if (inode := _inode(f)) is not None}
        for key in self._seen.keys() - wanted:
            self._drop(self._seen.pop(key))
        for key in wanted - self._seen.keys():
            watch = self._add(key[0], _Ring(self._ring), _EDITS)
            if watch is not None:
                self._seen[key] = watch

    def hush(self) -> None:
        """Ring once when a log grows: who writes all the time would ring all the time."""
        self.growing = False
        if self._quiet is not None:
            self._drop(self._quiet)
        self._quiet = self._add(self._logs, _Ring(self._grew), [FileModifiedEvent])
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

    def _add(self, folder: str, handler: _Ring, kinds: list[type[FileSystemEvent]]) -> ObservedWatch | None:
        try:
            return self._observer.schedule(handler, folder, recursive=False, event_filter=kinds)
        except OSError:
            return None

    def _drop(self, watch: ObservedWatch) -> None:
        try:
            self._observer.unschedule(watch)
        except (KeyError, OSError):
            return  # its folder went, and the watch with it


def _inode(folder: str) -> int | None:
    try:
        return os.stat(folder).st_ino
    except OSError:
        return None
