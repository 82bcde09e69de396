"""A directory as a release: every file read, hashed and judged."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from whiz.core.release import doubts
from whiz.core.release.paths import RESERVED, problems, twins
from whiz.core.release.release import BYTES, FILES, Entry, ReleaseError
from whiz.core.value import record
from whiz.core.words import spell_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 1 << 20  # bytes in memory at a time, however large a file is
_TRIES = 3
_SHOWN = 20  # problems of one kind
_KINDS = {
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


@record
class Taste:
    """What of a tree is wanted. `allow`: paths taken though they look secret or large; `large`: bytes."""

    exclude: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    large: int = 50_000_000


@record
class Tree:
    """A directory that was read. `left_out`: paths that are not in it; `warnings`: what is doubtful."""

    path: str
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(path: str, taste: Taste | None = None, progress: Callable[[int, int], object] | None = None) -> Tree:
    """Read a tree; raise ReleaseError with all that is wrong. `progress`: called with the files and bytes so far."""
    if not os.path.isdir(path):
        raise ReleaseError(f"{path} is not a directory")
    return _Reader(path, taste or Taste(), progress or (lambda _files, _bytes: None)).tree()


class _Reader:
    """One reading of one tree."""

    def __init__(self, path: str, taste: Taste, progress: Callable[[int, int], object]) -> None:
        self._path, self._taste, self._progress = path, taste, progress
        self._entries: list[Entry] = []
        self._wrong: list[str] = []
        self._warnings: list[str] = []
        self._left_out: list[str] = []
        self._seen: dict[str, tuple[int, ...]] = {}  # path -> what told it unchanged
        self._bytes = 0

    def tree(self) -> Tree:
        self._walk()
        for path, known in self._seen.items():
            if _told(_stat(os.path.join(self._path, path))) != known:
                self._wrong.append(f"{path or '.'!r} changes while the tree is read")
        self._wrong += problems(self._entries)
        self._wrong += [
            f"{a!r} and {b!r} are one name where case does not count" for a, b in twins(e.path for e in self._entries)
        ]
        if len(self._entries) > FILES or self._bytes > BYTES:
            self._wrong.append(f"it has more than {FILES} files, or {BYTES} bytes")
        if self._wrong:
            more = [f"and {len(self._wrong) - _SHOWN} more"] if len(self._wrong) > _SHOWN else []
            raise ReleaseError("\n".join([f"{self._path} cannot be released:", *self._wrong[:_SHOWN], *more]))
        entries = tuple(sorted(self._entries, key=lambda e: e.path.encode()))
        return Tree(path=self._path, entries=entries, left_out=tuple(self._left_out), warnings=tuple(self._warnings))

    def _walk(self) -> None:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                self._seen[folder] = _told(os.stat(os.path.join(self._path, folder)))
                with os.scandir(os.path.join(self._path, folder)) as found:
                    items = sorted(found, key=lambda i: i.name)
            except OSError as exc:
                self._wrong.append(f"{folder or '.'!r}: {exc.strerror}")
                continue
            taken = [i for i in items if not self._unwanted(os.path.join(folder, i.name))]
            if folder and not items:
                self._entries.append(Entry(folder, "dir"))
            for item in taken:
                path = os.path.join(folder, item.name)
                if item.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    self._thing(path)
            if {"root", "channel", "history"} <= {i.name for i in taken}:
                self._wrong.append(
                    f"{folder or '.'!r} is a repository of releases: keep it outside of what is released"
                )

    def _unwanted(self, path: str) -> bool:
        never = path in RESERVED or doubts.matches(path.rpartition("/")[2], doubts.NEVER)
        if never or doubts.matches(path, self._taste.exclude):
            self._left_out.append(path)
            return True
        return False

    def _thing(self, path: str) -> None:
        full = os.path.join(self._path, path)
        try:
            st = os.lstat(full)
            if stat.S_ISLNK(st.st_mode):
                self._seen[path] = _told(st)
                self._entries.append(Entry(path, "link", target=os.readlink(full)))
                if not os.path.exists(full):
                    self._warnings.append(f"{path!r} is a symlink to nothing here: {os.readlink(full)!r}")
            elif stat.S_ISREG(st.st_mode):
                self._file(path, full)
            else:
                what = next((said for test, said in _KINDS.items() if test(st.st_mode)), "no file")
                self._wrong.append(f"{path!r} is {what}: a release holds files, directories and symlinks")
        except OSError as exc:
            self._wrong.append(f"{path!r}: {exc.strerror}")

    def _file(self, path: str, full: str) -> None:
        for _ in range(_TRIES):
            st, digest, head = _hashed(full)
            if digest:
                break
        else:
            self._wrong.append(f"{path!r} changes while it is read: build again when nothing writes to it")
            return
        if doubts.timed_bytecode(path, head):
            self._left_out.append(path)
            return
        self._seen[path] = _told(st)
        if not doubts.matches(path, self._taste.allow):
            if (what := doubts.secret(path, head)) is not None:
                self._wrong.append(f"{path!r} {what}: every node would get it; --exclude or --allow it")
            if st.st_size > self._taste.large:
                self._warnings.append(f"{path!r} is large: {spell_bytes(st.st_size)}")
        if st.st_mode & (stat.S_ISUID | stat.S_ISGID):
            self._warnings.append(f"{path!r} is set-user-id or set-group-id: nodes do not keep that")
        kind = "exec" if st.st_mode & stat.S_IXUSR else "file"
        self._entries.append(Entry(path, kind, st.st_size, digest))
        self._bytes += st.st_size
        self._progress(len(self._entries), self._bytes)


def _hashed(full: str) -> tuple[os.stat_result, str, bytes]:
    """Return a file's stat, digest and beginning; no digest where it changed meanwhile."""
    fd = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb", buffering=0) as f:
        before = os.fstat(fd)
        digest, got, head = sha256(), 0, b""
        while piece := f.read(min(_PIECE, before.st_size + 1 - got) or 1):
            digest.update(piece)
            head = head or piece[: doubts.HEAD]
            got += len(piece)
            if got > before.st_size:
                break
        same = _told(before) == _told(os.fstat(fd)) and got == before.st_size
    return before, digest.hexdigest() if same else "", head


def _told(st: os.stat_result | None) -> tuple[int, ...]:
    return () if st is None else (st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
