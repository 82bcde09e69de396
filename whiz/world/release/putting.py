"""Files that appear whole or not at all, many at a time: written beside, made safe together, then named."""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.world.disk import make, sync

if TYPE_CHECKING:
    from typing import BinaryIO, Self

SCRATCH = ".new"  # in the repository, of one writer at a time; whatever a crash leaves there is nothing
_FEW = 8  # files for which fsync of each costs less than syncfs of all


class Batch:
    """New files of a repository, none of which is there before `commit`. Raise OSError."""

    def __init__(self, repo: str) -> None:
        self._repo = repo
        self._scratch = os.path.join(repo, SCRATCH)
        self._names: dict[str, str] = {}  # name in the repository -> temporary file

    def __enter__(self) -> Self:
        clean(self._repo)
        os.mkdir(self._scratch, 0o755)
        return self

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        if isinstance(exc, OSError) and exc.filename is None:
            exc.filename = self._repo  # a write does not say where
        clean(self._repo)  # a full disk needs every byte

    def open(self, name: str) -> BinaryIO:
        """Return a new file to write, which `commit` will call by this name."""
        path = os.path.join(self._scratch, name.replace("/", "-"))
        self._names[name] = path
        return open(path, "xb")

    def put(self, name: str, data: bytes) -> None:
        """Add a small file."""
        with self.open(name) as f:
            f.write(data)

    def commit(self) -> None:
        """Make everything safe, then name it."""
        folders = sorted({os.path.dirname(os.path.join(self._repo, n)) for n in self._names})
        few = len(self._names) <= _FEW
        for folder in folders:
            make(folder, 0o755) if few else os.makedirs(folder, 0o755, exist_ok=True)
        if few or not _syncfs(self._scratch):
            for path in self._names.values():
                sync_file(path)
        for name, path in self._names.items():
            os.rename(path, os.path.join(self._repo, name))
        if few or not _syncfs(self._repo):
            for folder in [*folders, os.path.dirname(folders[0])]:
                sync(folder)


def put(repo: str, name: str, data: bytes) -> None:
    """Make one file of a repository, or replace it, in one step that survives a power cut."""
    with Batch(repo) as batch:
        batch.put(name, data)
        batch.commit()


def clean(repo: str) -> None:
    """Remove what a writer that was killed has left."""
    with suppress(FileNotFoundError):
        shutil.rmtree(os.path.join(repo, SCRATCH))


def sync_file(path: str) -> None:
    """Make a file's bytes survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _syncfs(path: str) -> bool:
    """Make all of a file system survive a power cut, at once; False where that cannot be done."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(ctypes.CDLL(None).syncfs(fd) == 0)
    except AttributeError:
        return False
    finally:
        os.close(fd)
