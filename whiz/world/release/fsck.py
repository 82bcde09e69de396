"""Whether what a node has is what was signed: every file of every release, every object, bit for bit."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.release.release import Entry, ReleaseError
from whiz.core.value import value
from whiz.world import disk
from whiz.world.release.building import place
from whiz.world.release.staging import same
from whiz.world.release.store import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whiz.world.release.staging import Stage
    from whiz.world.release.store import Store

_FOLDER = 0o555


@value
class Finding:
    """Something that is not as it was signed. `entry`: what should be there; None: nothing should."""

    release: str
    path: str
    why: str
    entry: Entry | None = None
    lost: bool = False  # its content, so it must be had anew


class Inspector:
    """Looks at files, at each inode once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._seen: dict[tuple[int, int, str], bool] = {}

    def objects(self) -> Iterator[str]:
        """Yield the paths of objects that are not what their names say."""
        for path in self.store.all_objects():
            digest, st = os.path.basename(path).removesuffix("x"), os.lstat(path)
            if not stat.S_ISREG(st.st_mode) or not self._same(path, digest, st.st_size, st):
                yield path

    def release(self, name: str) -> Iterator[Finding]:
        """Yield what is wrong in a release."""
        top = f"{self.store.releases}/{name}"
        try:
            held = self.store.release(name)
        except ReleaseError as exc:
            yield Finding(name, MANIFEST, str(exc), None, lost=True)
            return
        known, folders = {os.path.dirname(MANIFEST), MANIFEST}, {".", os.path.dirname(MANIFEST)}
        for e in held.entries:
            known.add(e.path)
            at = os.path.dirname(e.path)
            while at and at not in known:
                known.add(at)
                folders.add(at)
                at = os.path.dirname(at)
            try:
                found = self._wrong(f"{top}/{e.path}", e)
            except (FileNotFoundError, NotADirectoryError):
                found = "is missing", True
            if found is not None:
                yield Finding(name, e.path, found[0], e, found[1])
        for path in sorted(folders):
            with suppress(FileNotFoundError):
                if (mode := os.lstat(f"{top}/{path}").st_mode & 0o777) != _FOLDER:
                    yield Finding(name, path, f"has the mode {mode:o}", Entry(path, "dir"))
        for path in _below(top, ""):
            if path not in known:
                yield Finding(name, path, "is not part of the release (what programs write belongs in shared/)")

    def _wrong(self, path: str, e: Entry) -> tuple[str, bool] | None:
        st = os.lstat(path)
        if e.kind == "link":
            right = stat.S_ISLNK(st.st_mode) and os.readlink(path) == e.target
            return None if right else ("is not the symlink that it was", False)
        if e.kind == "dir":
            right = stat.S_ISDIR(st.st_mode) and st.st_mode & 0o777 == _FOLDER
            return None if right else ("is not the empty directory that it was", False)
        if not stat.S_ISREG(st.st_mode):
            return "is no file", True
        if st.st_size != e.size or (e.size and not self._same(path, e.digest, e.size, st)):
            return "has other content than was signed", True
        if st.st_mode & 0o777 != (0o555 if e.kind == "exec" else 0o444):
            return f"has the mode {st.st_mode & 0o777:o}", False
        return None

    def _same(self, path: str, digest: str, size: int, st: os.stat_result) -> bool:
        key = (st.st_dev, st.st_ino, digest)
        if key not in self._seen:
            self._seen[key] = same(path, digest, size)
        return self._seen[key]


def _below(top: str, folder: str) -> Iterator[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(os.path.join(top, folder)):
            path = f"{folder}/{entry.name}" if folder else entry.name
            yield path
            if entry.is_dir(follow_symlinks=False):
                yield from _below(top, path)


def mend(store: Store, stage: Stage, findings: Iterable[Finding]) -> None:
    """Put what should be there in its place, each in one step; its objects are here or staged."""
    touched, held = set(), stage.inventory()
    for f in findings:
        if f.entry is None:
            continue
        if f.entry.digest and not f.lost:  # its content is right
            os.chmod(f"{store.releases}/{f.release}/{f.path}", 0o555 if f.entry.kind == "exec" else 0o444)
            continue
        to = f"{store.releases}/{f.release}/{f.path}"
        folder = os.path.dirname(to)
        os.makedirs(folder, 0o755, exist_ok=True)
        os.chmod(folder, 0o755)
        temporary = f"{folder}/.whiz-mending"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if f.entry.kind == "dir":
            with suppress(FileExistsError):
                os.mkdir(to, 0o700)
            os.chmod(to, _FOLDER)
        else:
            if f.entry.kind == "link":
                os.symlink(f.entry.target, temporary)
            else:
                place(held, f.entry, temporary)
            os.rename(temporary, to)
        touched.add(folder)
    for folder in sorted(touched, reverse=True):
        os.chmod(folder, 0o555)
        disk.sync(folder)
