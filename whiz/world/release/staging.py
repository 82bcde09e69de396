"""Objects on their way in: fetched, checked, and not yet believed to be on the disk."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from whiz.core.release.release import Release, ReleaseError, is_digest
from whiz.core.value import value
from whiz.world import disk
from whiz.world.release.store import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.world.release.store import Store

_PIECE = 1 << 20
_BOOT = "/proc/sys/kernel/random/boot_id"
ROTTEN = (errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EREMOTEIO)  # a disk that cannot give back what it took


@value
class Want:
    """An object of a release. `forms`: as which it is needed, executable or not."""

    digest: str
    size: int
    forms: tuple[bool, ...]


def wants(release: Release) -> list[Want]:
    """Return what a release is made of; empty files are no objects."""
    found: dict[str, set[bool]] = {}
    for e in release.entries:
        if e.digest and e.size:
            found.setdefault(e.digest, set()).add(e.kind == "exec")
    sizes = release.objects
    return [Want(d, sizes[d], tuple(sorted(forms))) for d, forms in found.items()]


class Stage:
    """The staging directory of this boot."""

    def __init__(self, store: Store, boot: str | None = None) -> None:
        self.store, self.above = store, f"{store.path}/staging"
        self.folder = f"{self.above}/{boot or boot_id()}"

    def begin(self, wanted: list[Want]) -> None:
        """Make it. What an earlier boot left is looked at again: nobody knows what of it reached the disk."""
        os.makedirs(self.folder, 0o700, exist_ok=True)
        sizes = {w.digest: w.size for w in wanted}
        for other in [f"{self.above}/{n}" for n in os.listdir(self.above)]:
            if other == self.folder:
                continue
            for name in os.listdir(other) if os.path.isdir(other) else ():
                digest = name.removesuffix("x")
                if digest in sizes and same(f"{other}/{name}", digest, sizes[digest]):
                    os.rename(f"{other}/{name}", f"{self.folder}/{name}")
            remove(other)
        for name in os.listdir(self.folder):
            if name.removesuffix("x") not in sizes:  # also what broke off
                remove(f"{self.folder}/{name}")

    def end(self) -> None:
        """Remove it, with all that nobody took."""
        try:
            remove(self.above)
        except OSError as exc:
            if exc.errno != errno.EBUSY:  # a file system of its own, which is empty by now
                raise

    def at(self, digest: str, *, executable: bool) -> str:
        """Return where an object is staged, or would be."""
        return f"{self.folder}/{digest}{'x' if executable else ''}"

    def inventory(self) -> Inventory:
        """Look what is here, once for many questions."""
        return Inventory(self)

    def twins(self, wanted: list[Want], held: Inventory) -> list[Want]:
        """Make of what is here the other form, where that is needed; return what turned out to be damaged."""
        rotten = []
        for w in wanted:
            for form in w.forms:
                if held.find(w.digest, w.size, executable=form) is not None:
                    continue
                other = held.find(w.digest, w.size, executable=not form)
                if other is not None and not self._copy(other, w, form):
                    rotten.append(w)
        return rotten

    def _copy(self, path: str, want: Want, form: bool) -> bool:  # noqa: FBT001  one of its two forms
        sink = Staged(self, want, executable=form)
        try:
            for piece in pieces(path):
                sink.write(piece)
            sink.done()
        except (ReleaseError, OSError) as exc:
            sink.drop()
            if isinstance(exc, OSError) and exc.errno not in ROTTEN:
                raise
            remove(path)
            return False
        return True

    def sink(self, want: Want) -> Staged:
        """Return what takes an object's bytes."""
        return Staged(self, want, executable=want.forms[0])

    def settle(self) -> None:
        """Give every staged object its name among the objects; all of them are on the disk by now."""
        for name in os.listdir(self.folder):
            if not is_digest(name.removesuffix("x")):
                continue
            to = self.store.object(name.removesuffix("x"), executable=name.endswith("x"))
            try:
                self._rename(f"{self.folder}/{name}", to)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(to), 0o755, exist_ok=True)
                self._rename(f"{self.folder}/{name}", to)

    def _rename(self, path: str, to: str) -> None:
        try:
            os.rename(path, to)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            copy(path, f"{to}.new", 0o555 if to.endswith("x") else 0o444)
            flush(os.path.dirname(to))
            os.rename(f"{to}.new", to)
            os.unlink(path)


class Inventory:
    """What a store and a stage have: a name is asked for once where it is, and never where it is not."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._paths: dict[str, list[str]] = {}  # name -> where it may be, the store first
        self._good: dict[str, str] = {}  # name -> where it is
        objects = stage.store.objects
        for aa in disk.names(objects, ""):
            for name in disk.names(f"{objects}/{aa}", ""):
                self._paths.setdefault(name, []).append(f"{objects}/{aa}/{name}")
        self.again()

    def again(self) -> None:
        """Look what has been staged since."""
        for name in disk.names(self._stage.folder, ""):
            path = f"{self._stage.folder}/{name}"
            held = self._paths.setdefault(name, [])
            if path not in held:
                held.append(path)

    def find(self, digest: str, size: int, *, executable: bool) -> str | None:
        """Return where an object is, in this form and whole as far as its size tells."""
        name = f"{digest}x" if executable else digest
        if name not in self._good:
            for path in self._paths.get(name, ()):
                with suppress(OSError):
                    if os.lstat(path).st_size == size:
                        self._good[name] = path
                        break
        return self._good.get(name)

    def lacking(self, wanted: list[Want]) -> list[Want]:
        """Return what is here in no form."""
        return [w for w in wanted if not any(self.find(w.digest, w.size, executable=x) for x in (False, True))]


class Staged:
    """One object that is being written; raise ReleaseError where it is not what it should be."""

    def __init__(self, stage: Stage, want: Want, *, executable: bool) -> None:
        self._want, self._mode = want, 0o555 if executable else 0o444
        self._path = stage.at(want.digest, executable=executable)
        self._part = f"{self._path}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._part, flags, 0o600)
        except FileExistsError:
            os.unlink(self._part)
            self._fd = os.open(self._part, flags, 0o600)
        self._seen, self._left = sha256(), want.size

    def write(self, data: bytes) -> None:
        """Write some of it."""
        self._left -= len(data)
        if self._left < 0:
            raise ReleaseError("more comes than was announced")
        self._seen.update(data)
        put(self._fd, data)

    def done(self) -> None:
        """Take it as whole, if it is."""
        if self._left or self._seen.hexdigest() != self._want.digest:
            raise ReleaseError("its content is not what its name says")
        os.fchmod(self._fd, self._mode)
        os.close(self._fd)
        self._fd = -1
        os.rename(self._part, self._path)

    def drop(self) -> None:
        """Forget it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):
                os.unlink(self._part)


def put(fd: int, data: bytes) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def pieces(path: str) -> Iterator[bytes]:
    """Yield a file's bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while piece := os.read(fd, _PIECE):
            yield piece
    finally:
        os.close(fd)


def same(path: str, digest: str, size: int) -> bool:
    """Whether a file has this content; one that the disk cannot read has not."""
    try:
        if os.lstat(path).st_size != size:
            return False
        seen = sha256()
        for piece in pieces(path):
            seen.update(piece)
    except OSError as exc:
        if exc.errno in (*ROTTEN, errno.ENOENT, errno.ELOOP, errno.EISDIR):
            return False
        raise
    return seen.hexdigest() == digest


def copy(path: str, to: str, mode: int) -> None:
    """Copy a file's bytes into a new file."""
    fd = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        for piece in pieces(path):
            put(fd, piece)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def flush(folder: str) -> None:
    """Have everything that was written to a directory's file system on the disk, by one call for all of it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(fd)


def boot_id() -> str:
    """Return this boot's id."""
    with open(_BOOT, encoding="ascii") as f:
        return f.read().strip()
