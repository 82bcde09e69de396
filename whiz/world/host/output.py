"""Where a program's output goes: its log, journald, or nowhere."""

from __future__ import annotations

import errno
import functools
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whiz.core.model import Program

_JOURNAL = "/run/systemd/journal/stdout"


def output(program: Program, log: str, owner: tuple[int, int] | None) -> int:
    """Open where output goes. A log that cannot be opened does not keep a program from running.

    `owner`: uid and gid of its user, where that is another than whiz's.
    """
    if program.log.to == "journal":
        return _journal(program.name)
    if program.log.to == "file":
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(log, flags, 0o640)
        except OSError as exc:
            _without_log(log, exc)
            return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        if owner is not None and os.getuid() == 0:
            os.fchown(fd, *owner)  # opening /dev/stdout asks for it
        return fd
    return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)


SAID: set[str] = set()  # directories of which it was said that nobody can write there


@functools.cache
def _warned(folder: str, words: str) -> None:
    import logging  # noqa: PLC0415  a megabyte that who stays does not need

    logging.getLogger("whiz.host").warning("%s: %s; output there is lost until this is mended", folder, words)


def _without_log(log: str, exc: OSError) -> None:
    """Say once that a log cannot be opened; the program runs all the same."""
    if os.path.dirname(log) in SAID and exc.errno in (errno.EROFS, errno.ENOENT):
        return
    _warned(os.path.dirname(log), exc.strerror or str(exc))


def _journal(name: str) -> int:
    """Connect to journald as sd_journal_stream_fd does: a line each for identifier, unit, priority and four flags."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(_JOURNAL)
        except OSError as exc:
            raise OSError(exc.errno, f"log.to is journal, but journald does not answer at {_JOURNAL}") from exc
        s.shutdown(socket.SHUT_RD)
        s.sendall(f"{name}\n\n6\n1\n0\n0\n0\n".encode())
        return s.detach()
