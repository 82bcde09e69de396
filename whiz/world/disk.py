"""Files that are old or new and never half: the bottom of world/, known to all its other rooms."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time


def write(path: str, text: str, *, durable: bool, mode: int = 0o600) -> None:
    """Replace a file in one step. `durable` also survives a power cut. Raise OSError.

    One writer at a time per path (the home's lock sees to it), so the temporary name can be fixed and a crash
    leaves at most one dropping, which the next write takes over.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            rest = memoryview(text.encode())
            while rest:
                rest = rest[os.write(fd, rest) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # a full disk needs every byte
            os.unlink(temporary)
        raise
    if durable:
        sync(folder)


def sync(folder: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make(folder: str, mode: int) -> None:
    """Make a directory, with those above it, so that they survive a power cut as what is put there does."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    make(above, 0o755)
    try:
        os.mkdir(folder, mode)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
    sync(above)


def read(path: str, most: int = 8_000_000) -> bytes | None:
    """Return a file's bytes, None if there is none; raise OSError, also for more than `most` bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(fd).st_size
        parts, got = [], 0
        while piece := os.read(fd, max(4096, size + 1 - got)):
            parts.append(piece)
            got += len(piece)
            if got > most:
                raise OSError(27, f"larger than {most} bytes", path)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_json(path: str) -> object:
    """Return the file's JSON, None if there is no file; raise OSError, or ValueError when it is no JSON."""
    data = read(path)
    try:
        return None if data is None else json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def refuse_foreign(path: str) -> None:
    """Raise OSError when somebody other than root could change this file, which root is to obey."""
    for place in {os.path.abspath(path), os.path.realpath(path)}:
        at = place
        while True:
            st = os.stat(at)
            sticky = stat.S_ISDIR(st.st_mode) and st.st_mode & stat.S_ISVTX
            loose = st.st_mode & stat.S_IWOTH or (st.st_mode & stat.S_IWGRP and st.st_gid != 0)
            if st.st_uid != 0:
                said = f"{at} belongs to another user (uid {st.st_uid}): chown root it, or run whiz as that user"
            elif loose and not sticky:
                said = f"{at} can be written by others: chmod go-w it"
            else:
                said = ""
            if said:
                raise PermissionError(errno.EPERM, f"{said}; root would run what they write", path)
            if at == "/":
                break
            at = os.path.dirname(at)


def quoted(name: str) -> str:
    """Return a name as one part of a path."""
    return name.replace("%", "%25").replace("/", "%2F")


def unquoted(name: str) -> str:
    """Return what `quoted` was given."""
    return name.replace("%2F", "/").replace("%25", "%")


def names(folder: str, ending: str) -> list[str]:
    """Return the names with this ending, without it, sorted; none where the directory cannot be read."""
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    return sorted(n.removesuffix(ending) for n in found if n.endswith(ending) and not n.startswith("."))


def is_file(path: str) -> bool:
    """Whether a regular file is there, a symlink followed."""
    return os.path.isfile(path)


def settled(path: str, patience: float) -> bytes:
    """Return the bytes of a file that nobody is writing; raise OSError (EBUSY) when somebody will not finish.

    A read lease is granted only while nobody has the file open for writing (fcntl(2)); it is given back at once.
    Where there are no leases, a file whose times or bytes still move counts as being written.
    """
    end = time.monotonic() + patience
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", path)
            quiet = _nobody_writes(fd, before)
            data = read(path)
            after = os.stat(path)
        finally:
            os.close(fd)
        whole = (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
        if quiet and whole and data is not None and len(data) == before.st_size:
            return data
        if time.monotonic() >= end:
            raise OSError(errno.EBUSY, "is still being written; the last good one stays in force", path)
        time.sleep(0.05)  # there is nothing to wait on: a foreign writer tells nobody


def _nobody_writes(fd: int, st: os.stat_result) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, 23)  # SIGURG, ignored by default: breaking a lease must not kill us
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except OSError:  # not our file, or a file system without leases
        return not 0 <= time.time() - st.st_mtime < 1
    return True


def sidecar(path: str) -> str:
    """Return where it is kept how much of a log was trimmed."""
    folder, name = os.path.split(path)
    return f"{folder}/.{name}.trimmed"


def trimmed(path: str, inode: int) -> int:
    """Return how many bytes were cut from the front of this very file so far, so that offsets stay logical."""
    return trimming(path, inode)[0]


def trimming(path: str, inode: int) -> tuple[int, bool]:
    """Return that, and whether a trim is under way, or was when its whiz was killed.

    Then the size tells whether its bytes are gone already: it was noted before, and grows else.
    """
    try:
        words = [int(w) for w in (read(sidecar(path)) or b"").split()]
        if not words or words[0] != inode:
            return 0, False
        if len(words) == 2:  # noqa: PLR2004  inode, bytes
            return words[1], False
        _, before, more, size = words
        st = os.stat(path)
        return before + (more if st.st_ino == inode and st.st_size < size else 0), True
    except (OSError, ValueError):
        return 0, False
