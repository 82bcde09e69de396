"""The whole repository read, and everything in it that is not as it should be."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

from whiz.core.errors import WhizError
from whiz.core.release import channel as channels
from whiz.core.release import trust
from whiz.core.release.release import ReleaseError, is_digest, load
from whiz.core.value import record
from whiz.world.release import objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.release.trust import Root
    from whiz.world.release.repository import Repository


@record
class Checked:
    """What was read, and what is wrong with it. `spare`: objects that no release here names."""

    releases: int
    objects: int
    spare: int
    problems: tuple[str, ...]


def check(repository: Repository, progress: Callable[[int], object] = lambda _: None) -> Checked:
    """Read all of a repository."""
    return _Check(repository, progress).run()


class _Check:
    def __init__(self, repository: Repository, progress: Callable[[int], object]) -> None:
        self._repo, self._progress = repository, progress
        self._problems: list[str] = []
        self._sizes: dict[str, int] = {}

    def run(self) -> Checked:
        roots = self._roots()
        needed = self._channels(roots) if roots else set()
        ids = self._repo.ids()
        self._problems += [f"the release {i[:12]}, which a channel offers, is missing" for i in sorted(needed - {*ids})]
        for name in ids:
            self._manifest(name, roots, offered=name in needed)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = pool.map(lambda item: objects.wrong(self._repo.path, *item), self._sizes.items())
            for n, why in enumerate(found):
                self._progress(n + 1)
                self._problems += [why] if why else []
        for name in self._repo.names("d"):
            self._pack(name)
        there = {n for aa in self._repo.names("o") for n in self._repo.names(f"o/{aa}")}
        return Checked(
            releases=len(ids),
            objects=len(self._sizes),
            spare=len(there - self._sizes.keys()),
            problems=tuple(self._problems),
        )

    def _roots(self) -> list[Root]:
        """Return the key sets, as far as each hands over to the next."""
        found: list[Root] = []
        for version in self._repo.versions():
            path = self._repo.file(f"root/{version}")
            try:
                held = self._repo.signed(f"root/{version}")
                new = trust.load(held.payload)
            except WhizError as exc:
                self._problems.append(f"{path}: {exc}")
                break
            by_new = trust.signers(held.signatures, held.payload, "root", new.of("root"))
            old = found[-1] if found else None
            if old is None:
                why = None if len(by_new) >= new.threshold and version == 1 else "the first key set did not sign itself"
            else:
                by_old = trust.signers(held.signatures, held.payload, "root", old.of("root"))
                why = trust.heir(old, new, by_old, by_new)
            if why:
                self._problems.append(f"{path}: {why}")
                break
            found.append(new)
        return found

    def _channels(self, roots: list[Root]) -> set[str]:
        """Return the releases that channels offer."""
        needed: set[str] = set()
        every = {k for r in roots for k in r.of("channel")}
        for name in self._repo.channels():
            path, now = self._repo.file(f"channel/{name}"), roots[-1]
            try:
                held = self._repo.signed(f"channel/{name}")
                said = channels.load(held.payload)
                if not trust.signers(held.signatures, held.payload, "channel", now.of("channel")):
                    raise ReleaseError(trust.unsigned(held.signatures, "channel", now.of("channel")))
                if why := trust.refused(said, now.repo, name, None, held.payload):
                    raise ReleaseError(why)
                needed |= {offer.id for _, offer in said.releases}
                for seq in self._repo.seqs(name):
                    self._entry(name, seq, every, held.data if seq == said.seq else None)
                if said.seq not in self._repo.seqs(name):
                    self._problems.append(f"{path} is number {said.seq}, which is not in its history")
            except WhizError as exc:
                self._problems.append(f"{path}: {exc}")
        return needed

    def _entry(self, name: str, seq: int, every: set[str], same: bytes | None) -> None:
        path = self._repo.file(f"history/{name}/{seq}")
        try:
            held = self._repo.signed(f"history/{name}/{seq}")
            if channels.load(held.payload).seq != seq:
                raise ReleaseError("its number is another one")
            if not trust.signers(held.signatures, held.payload, "channel", every):
                raise ReleaseError(trust.unsigned(held.signatures, "channel", every))
            if same is not None and held.data != same:
                raise ReleaseError("the channel says something else under this number")
        except WhizError as exc:
            self._problems.append(f"{path}: {exc}")

    def _manifest(self, name: str, roots: list[Root], *, offered: bool) -> None:
        try:
            held = self._repo.manifest(name)
            trusted = {k for r in (roots[-1:] if offered else roots) for k in r.of("release")}
            if not trust.signers(held.signatures, held.payload, "release", trusted):
                raise ReleaseError(f"{name[:12]}: {trust.unsigned(held.signatures, 'release', trusted)}")
            self._sizes |= load(held.payload).objects
        except WhizError as exc:
            self._problems.append(str(exc))

    def _pack(self, name: str) -> None:
        """Check that a pack holds objects as they are."""
        path = self._repo.file(f"d/{name}")
        try:
            with open(path, "rb") as f:
                inflate = zlib.decompressobj()
                _walk(_Stream(lambda: f.read(1 << 16), inflate))
        except (OSError, ReleaseError, zlib.error, ValueError) as exc:
            self._problems.append(f"{path} is damaged: {exc}")


class _Stream:
    """Bytes of a compressed file, some at a time."""

    def __init__(self, more: Callable[[], bytes], inflate: zlib._Decompress) -> None:
        self._more, self._inflate, self._held = more, inflate, b""

    def fill(self) -> bool:
        piece = self._inflate.unconsumed_tail or self._more()
        got = self._inflate.decompress(piece, 1 << 20)
        self._held += got
        return bool(piece or got)

    def line(self) -> bytes:
        """Return up to the end of a line, nothing at the end of all."""
        while b"\n" not in self._held and len(self._held) < 100 and not self._inflate.eof and self.fill():  # noqa: PLR2004
            continue
        line, end, self._held = self._held.partition(b"\n")
        if line and not end:
            raise ReleaseError("it is cut short")
        return line

    def take(self, most: int) -> bytes:
        """Return some of the next bytes."""
        while not self._held and not self._inflate.eof and self.fill():
            continue
        got, self._held = self._held[:most], self._held[most:]
        return got

    def whole(self) -> bool:
        return self._inflate.eof


def _walk(stream: _Stream) -> None:
    while line := stream.line():
        digest, _, size = line.decode().partition(" ")
        left, seen = int(size), sha256()
        while left > 0 and (piece := stream.take(left)):
            seen.update(piece)
            left -= len(piece)
        if left or not is_digest(digest) or seen.hexdigest() != digest:
            raise ReleaseError(f"the content of {digest[:12]} has another digest or size")
    if not stream.whole():
        raise ReleaseError("it is cut short")
