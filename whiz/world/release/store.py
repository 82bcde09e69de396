"""What a node keeps of one app: objects, releases made of them, which one is current, and what it remembers.

    objects/<aa>/<sha256>[x]   releases/<id>/   current -> releases/<id>   previous -> …   shared/   staging/<boot id>/
    state.json   root   channel

Everything gets its name only when it is whole and on the disk, so a cut at any moment leaves the old or the new.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.errors import Busy, NewerFormat
from whiz.core.release import release as releases
from whiz.core.release import trial
from whiz.core.release.prune import Room
from whiz.core.release.release import Release, ReleaseError, is_digest
from whiz.core.release.sshsig import split
from whiz.core.release.trial import State
from whiz.world import disk
from whiz.world.release.inflating import web_page

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = ".whiz/release"  # within a release: its signed text, compressed as it came
NEW, OLD = ".new", ".old-"  # in releases/: one that is being built; those that are being removed


class Store:
    """The directory of one app. Raise OSError for what the disk refuses."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.objects, self.releases = f"{path}/objects", f"{path}/releases"

    # -- the lock

    def make(self) -> None:
        """Make the directory, where it is missing."""
        disk.make(self.path, 0o755)

    def lock(self, patience: float = 0.0) -> int:
        """Let no other pull work here; raise Busy. On the directory itself, so that a full disk cannot hinder it."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    os.close(fd)
                    raise Busy(f"another quesofiesta is at work in {self.path}") from None
                time.sleep(0.02)  # flock has no wait with a bound
            else:
                return fd

    # -- what is remembered

    def state(self) -> State:
        """Return what is remembered; raise ReleaseError where it cannot be read."""
        path = f"{self.path}/state.json"
        try:
            held = disk.read_json(path)
            return State() if held is None else trial.load(held)
        except NewerFormat as exc:
            raise NewerFormat(f"{path}: {exc}") from exc
        except ValueError as exc:
            hint = "remove it: what is bad or on trial is forgotten, nothing else"
            raise ReleaseError(f"{path}: {exc}\nhint: {hint}") from exc

    def save(self, state: State) -> None:
        """Remember, also past a power cut."""
        text = json.dumps(trial.dump(state), ensure_ascii=False, indent=1) + "\n"
        disk.write(f"{self.path}/state.json", text, durable=True, mode=0o644)

    def signed(self, name: str) -> bytes | None:
        """Return the last good copy of the key set or the channel; None where there is none that can be read."""
        try:
            return disk.read(f"{self.path}/{name}")
        except OSError:
            return None

    def keep(self, name: str, data: bytes) -> None:
        """Keep such a copy."""
        disk.write(f"{self.path}/{name}", data.decode(), durable=True, mode=0o644)

    # -- releases

    def ids(self) -> list[str]:
        """Return the releases that are here."""
        return [n for n in disk.names(self.releases, "") if is_digest(n)]

    def has(self, name: str | None) -> bool:
        """Whether a release is here."""
        return name is not None and os.path.isdir(f"{self.releases}/{name}")

    def pointed(self, link: str) -> str | None:
        """Return the release that `current` or `previous` names, there or not; raise ReleaseError for no link."""
        path = f"{self.path}/{link}"
        try:
            at = os.readlink(path)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise ReleaseError(f"{path} is in the way: it is to be a symlink\nhint: move it away") from exc
            return None
        name = at.removeprefix("releases/")
        return name if is_digest(name) else None

    def point(self, link: str, name: str | None) -> None:
        """Have `current` or `previous` name a release, in one step; none: remove the link."""
        at, temporary = f"{self.path}/{link}", f"{self.path}/.{link}.new"
        for old in (temporary,) if name is not None else (temporary, at):
            with suppress(FileNotFoundError):
                os.unlink(old)
        if name is not None:
            os.symlink(f"releases/{name}", temporary)
            os.rename(temporary, at)

    def sync(self) -> None:
        """Have the links survive a power cut."""
        disk.sync(self.path)

    def text(self, name: str) -> bytes:
        """Return a release's signed text; raise ReleaseError."""
        path = f"{self.releases}/{name}/{MANIFEST}"
        try:
            packed = disk.read(path, releases.MOST)
        except OSError as exc:
            raise ReleaseError(f"{path}: {exc.strerror}") from exc
        if packed is None:
            raise ReleaseError(f"{path} is missing")
        return opened(packed, name)

    def release(self, name: str) -> Release:
        """Return a release that is here; raise ReleaseError."""
        return releases.load(split(self.text(name))[0])

    # -- objects

    def object(self, digest: str, *, executable: bool) -> str:
        """Return where an object is, or would be."""
        return f"{self.objects}/{digest[:2]}/{digest}{'x' if executable else ''}"

    def all_objects(self) -> Iterator[str]:
        """Yield the path of each object."""
        for folder in disk.names(self.objects, ""):
            for name in disk.names(f"{self.objects}/{folder}", ""):
                if is_digest(name.removesuffix("x")):
                    yield f"{self.objects}/{folder}/{name}"

    def room(self) -> Room:
        """Return what the disk has."""
        at = self.path
        while not os.path.isdir(at):
            at = os.path.dirname(at)
        st = os.statvfs(at)
        inodes = st.f_favail if st.f_files else None
        return Room(free=st.f_bavail * st.f_frsize, whole=st.f_blocks * st.f_frsize, inodes=inodes)


def opened(packed: bytes, name: str) -> bytes:
    """Return the signed text in what a repository has as m/<name>; raise ReleaseError where it is another's."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(packed, releases.MOST)
        if not inflate.eof or inflate.unused_data:
            raise ReleaseError(f"the text of the release {name[:12]} is cut short, or too long")
        payload = split(data)[0]
    except (zlib.error, ValueError) as exc:
        raise ReleaseError(f"the text of the release {name[:12]} is damaged: {exc}{web_page(packed)}") from exc
    if releases.name_of(payload) != name:
        raise ReleaseError(f"the text of the release {name[:12]} has another digest: it was changed")
    return data


def remove(path: str) -> None:
    """Remove a file, or a directory whose own may be read-only."""
    try:
        os.unlink(path)
        return
    except FileNotFoundError:
        return
    except OSError as exc:
        if exc.errno not in (errno.EISDIR, errno.EPERM):
            raise
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
    if os.getuid() != 0:
        os.chmod(path, 0o700)
    for entry in os.scandir(path):
        remove(entry.path)
    os.rmdir(path)
