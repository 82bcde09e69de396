"""The repository: a plain directory of files that never change, but for one small signed file for each channel.

root/<n>  channel/<name>  history/<name>/<seq>  m/<id>  o/<aa>/<sha256>  d/<from>-<to>
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whiz.core.errors import Busy, UsageError
from whiz.core.release import channel as channels
from whiz.core.release import release as releases
from whiz.core.release import trust
from whiz.core.release.release import ReleaseError, is_digest
from whiz.core.release.sshsig import Signature, split
from whiz.core.shape import good_name
from whiz.core.value import record
from whiz.world import disk
from whiz.world.release import putting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.release.channel import Channel, Offer
    from whiz.core.release.release import Release
    from whiz.core.release.trust import Root

_NUMBER = re.compile(r"[1-9]\d{0,18}")
_SHORT = 6  # digits of an id that may stand for all


@record
class Signed:
    """A signed file: all its bytes, and what they are made of."""

    data: bytes
    payload: bytes
    signatures: tuple[Signature, ...]


class Repository:
    """One repository. Raise ReleaseError for what is not as it should be, OSError for what the disk refuses."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let nobody else change it meanwhile; raise Busy."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as exc:
            raise Busy(f"another quesofiesta is at work in {self.path}") from exc
        finally:
            os.close(fd)

    # -- what is there

    def file(self, name: str) -> str:
        """Return where a file of this name is."""
        return os.path.join(self.path, name)

    def signed(self, name: str, most: int = channels.MOST) -> Signed:
        """Return a signed file; nobody has looked yet who signed it."""
        try:
            data = disk.read(self.file(name), most)
        except OSError as exc:
            raise ReleaseError(f"{self.file(name)}: {exc.strerror}") from exc
        if data is None:
            raise ReleaseError(f"{self.file(name)} is missing")
        return _split(data, self.file(name))

    def names(self, folder: str) -> list[str]:
        """Return what is in a directory of it; raise ReleaseError where that cannot be told: it might be anything."""
        try:
            found = os.listdir(self.file(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:
            raise ReleaseError(f"{self.file(folder)}: {exc.strerror}") from exc
        return sorted(n for n in found if not n.startswith("."))

    def versions(self) -> list[int]:
        """Return the versions of the key set."""
        return self._numbers("root")

    def root(self, version: int = 0) -> Root:
        """Return a version of the key set, the newest where none is said."""
        known = self.versions()
        if not known:
            raise UsageError(f"{self.path} is no repository\nhint: quesofiesta init {self.path} --app NAME makes one")
        return trust.load(self.signed(f"root/{version or known[-1]}").payload)

    def channels(self) -> list[str]:
        """Return the names of the channels."""
        return self.names("channel")

    def channel(self, name: str) -> Channel | None:
        """Return what a channel says now, None where there is none; raise ReleaseError where nobody trusted said it."""
        if not good_name(name):
            raise UsageError(f"{name!r} cannot name a channel: letters, digits, '.', '_' and '-' can")
        if not os.path.lexists(self.file(f"channel/{name}")):
            return None
        held, root = self.signed(f"channel/{name}"), self.root()
        if not trust.signers(held.signatures, held.payload, "channel", root.of("channel")):
            why = trust.unsigned(held.signatures, "channel", root.of("channel"))
            raise ReleaseError(f"{self.file(f'channel/{name}')}: {why}")
        return channels.load(held.payload)

    def seqs(self, name: str) -> list[int]:
        """Return the numbers in a channel's history."""
        return self._numbers(f"history/{name}")

    def history(self, name: str, most: int | None = None) -> list[Channel]:
        """Return what a channel said, newest last."""
        now = self.channel(name)
        numbers = [n for n in self.seqs(name) if now and n <= now.seq]
        wanted = numbers if most is None else numbers[len(numbers) - min(most, len(numbers)) :]
        said = [channels.load(self.signed(f"history/{name}/{n}").payload) for n in wanted]
        return said if now is None or now.seq in numbers or most == 0 else [*said, now]  # what was copied without it

    def labels(self) -> dict[str, Offer]:
        """Return label -> release, for all that a channel ever offered."""
        return {label: o for name in self.channels() for c in self.history(name) for label, o in c.releases}

    def ids(self) -> list[str]:
        """Return the ids of all releases that are here."""
        return [n for n in self.names("m") if is_digest(n)]

    def manifest(self, name: str) -> Signed:
        """Return a release's signed text, which is the one of this name."""
        try:
            packed = disk.read(self.file(f"m/{name}"), releases.MOST)
        except OSError as exc:
            raise ReleaseError(f"{self.file(f'm/{name}')}: {exc.strerror}") from exc
        if packed is None:
            raise ReleaseError(f"the release {name[:12]} is not in {self.path}: gc removed it, or it never was there")
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(packed, releases.MOST)
        except zlib.error as exc:
            raise ReleaseError(f"{self.file(f'm/{name}')} is damaged: {exc}") from exc
        found = _split(data, self.file(f"m/{name}"))
        if not inflate.eof or releases.name_of(found.payload) != name:
            raise ReleaseError(f"{self.file(f'm/{name}')} is damaged: its content has another digest")
        return found

    def release(self, name: str) -> Release:
        """Return the release with this id."""
        return releases.load(self.manifest(name).payload)

    def find(self, word: str) -> tuple[str, str]:
        """Return (label, id) of the release that a label, or the beginning of an id, names; raise UsageError."""
        known = self.labels()
        if word in known:
            return word, known[word].id
        found = [i for i in self.ids() if i.startswith(word)] if len(word) >= _SHORT else []
        if len(found) != 1:
            shown = ", ".join(list(known)[-10:]) or "none yet"
            what = f"{len(found)} releases are" if found else "no release is"
            raise UsageError(f"{what} called {word!r}\nhint: the newest labels: {shown}")
        return next((label for label, o in known.items() if o.id == found[0]), ""), found[0]

    def _numbers(self, folder: str) -> list[int]:
        return sorted(int(n) for n in self.names(folder) if _NUMBER.fullmatch(n))

    # -- changing it, under its lock

    def put(self, name: str, data: bytes) -> None:
        """Make or replace a file, in one step."""
        putting.put(self.path, name, data)

    def put_manifest(self, name: str, signed: bytes) -> None:
        """Add a release's signed text."""
        self.put(f"m/{name}", zlib.compress(signed, 9))

    def put_channel(self, name: str, seq: int, signed: bytes) -> None:
        """Say something new in a channel: first to its history, then to everybody."""
        now = self.channel(name)
        for orphan in self.seqs(name):  # written by a publish that was cut before anybody could see it
            if orphan > (now.seq if now else 0):
                os.unlink(self.file(f"history/{name}/{orphan}"))
        self.put(f"history/{name}/{seq}", signed)
        self.put(f"channel/{name}", signed)

    def last(self, name: str) -> int:
        """Return the highest number that a channel ever had, 0 where there is none."""
        now = self.channel(name)
        return max([now.seq if now else 0, *self.seqs(name)])


def _split(data: bytes, path: str) -> Signed:
    try:
        payload, signatures = split(data)
    except ValueError as exc:
        raise ReleaseError(f"{path} is not a signed file: {exc}") from exc
    return Signed(data=data, payload=payload, signatures=signatures)


def create(path: str, signed_root: bytes) -> Repository:
    """Make a repository with its first key set, which makes it one; raise UsageError where there is something."""
    refuse_occupied(path)
    disk.make(os.path.abspath(path), 0o755)
    repository = Repository(path)
    with repository.lock():
        for folder in ("channel", "history", "m", "o", "d"):
            disk.make(repository.file(folder), 0o755)
        repository.put("root/1", signed_root)
    return repository


def refuse_occupied(path: str) -> None:
    """Raise UsageError where a repository cannot be made."""
    try:
        held = os.listdir(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror}") from exc
    if not {*held} <= {putting.SCRATCH, "root", "channel", "history", "m", "o", "d"} or _files(path):
        raise UsageError(f"{path} is not empty\nhint: a repository gets a directory of its own")


def _files(path: str) -> bool:
    return any(files for folder, _, files in os.walk(path) if os.path.basename(folder) != putting.SCRATCH)


def nearest(at: str) -> str | None:
    """Return the repository that this directory is, or lies in."""
    here = os.path.abspath(at)
    while not os.path.isfile(os.path.join(here, "root", "1")):
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above
    return here
