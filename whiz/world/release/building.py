"""A release's directory: made of links to objects, given its name when all of it is on the disk."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from whiz.core.release.release import ReleaseError
from whiz.world import disk
from whiz.world.release.staging import copy, flush, put
from whiz.world.release.store import MANIFEST, NEW, remove

if TYPE_CHECKING:
    from whiz.core.release.release import Entry, Release
    from whiz.world.release.staging import Inventory, Stage
    from whiz.world.release.store import Store

_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)  # EPERM: a file system without hard links


def build(store: Store, held: Inventory, release: Release, packed: bytes) -> str:
    """Make the directory under a name that means nothing yet; return it. All objects are here or staged."""
    new = f"{store.releases}/{NEW}"
    remove(new)
    os.makedirs(store.releases, 0o755, exist_ok=True)
    os.mkdir(new, 0o700)
    folders = _folders(release)
    try:
        for folder in folders:
            os.mkdir(f"{new}/{folder}", 0o755)
        for e in release.entries:
            if e.kind == "link":
                os.symlink(e.target, f"{new}/{e.path}")
            elif e.kind != "dir":
                place(held, e, f"{new}/{e.path}")
    except FileExistsError as exc:
        path = os.path.relpath(exc.filename2 or exc.filename, new)
        raise ReleaseError(
            f"{path!r} stands twice here: this file system takes names that differ by case, or by how an accent is "
            f"written, for one\nhint: keep {store.path} on ext4"
        ) from exc
    os.mkdir(f"{new}/{os.path.dirname(MANIFEST)}", 0o755)
    _write(f"{new}/{MANIFEST}", packed)
    for folder in reversed([".", os.path.dirname(MANIFEST), *folders]):
        os.chmod(f"{new}/{folder}", 0o555)
    return new


def _write(path: str, packed: bytes, *, durable: bool = False) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        put(fd, packed)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def retext(store: Store, name: str, packed: bytes) -> None:
    """Put the text of a release that is here back into its place, in one step."""
    top = f"{store.releases}/{name}"
    folder = os.path.dirname(f"{top}/{MANIFEST}")
    os.chmod(top, 0o755)
    os.makedirs(folder, 0o755, exist_ok=True)
    os.chmod(folder, 0o755)
    temporary = f"{folder}/.whiz-mending"
    remove(temporary)
    _write(temporary, packed, durable=True)
    os.rename(temporary, f"{top}/{MANIFEST}")
    for at in (folder, top):
        os.chmod(at, 0o555)
        disk.sync(at)


def place(held: Inventory, e: Entry, to: str) -> None:
    """Put a file at its path: a link to its object; a file of its own where that cannot be, or where it is empty."""
    executable = e.kind == "exec"
    if e.size == 0:
        fd = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o555 if executable else 0o444)
        os.close(fd)
        return
    source = held.find(e.digest, e.size, executable=executable)
    if source is None:
        raise ReleaseError(f"the object {e.digest} went missing")
    try:
        os.link(source, to, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        copy(source, to, 0o555 if executable else 0o444)


def name(store: Store, stage: Stage, new: str, release: str) -> None:
    """Give a built release its name: after one flush of everything, which is what makes it whole for ever."""
    flush(store.releases)
    os.makedirs(store.objects, 0o755, exist_ok=True)
    stage.settle()
    os.rename(new, f"{store.releases}/{release}")
    disk.sync(store.releases)


def _folders(release: Release) -> list[str]:
    """Return all directories, each behind the one that it is in."""
    found: set[str] = set()
    for e in release.entries:
        at = e.path if e.kind == "dir" else os.path.dirname(e.path)
        while at and at not in found:
            found.add(at)
            at = os.path.dirname(at)
    return sorted(found)
