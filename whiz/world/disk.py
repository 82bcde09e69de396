"""Files that are old or new and never half: the bottom of world/, known to all its other rooms."""

from __future__ import annotations

import errno
import json
import os
import stat


def write(path: str, text: str, *, durable: bool, mode: int = 0o600) -> None:
    """Replace a file in one step. `durable` also survives a power cut. Raise OSError.

    One writer at a time per path (the home's lock sees to it), so the temporary name can be fixed and a crash
    leaves at most one dropping, which the next write takes over.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(fd, rest) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        sync(folder)


def sync(folder: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
