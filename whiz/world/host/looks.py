"""The ways to look at a program from outside: a file, a port, a URL, its output. Each may take its time.

A look returns nothing when all is well, else what is the matter, in the system's words.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from whiz.core.value import value
from whiz.core.words import spell_seconds
from whiz.world import disk

if TYPE_CHECKING:
    from typing import BinaryIO

    from whiz.core.model import Check

_LONGEST = 1 << 20  # bytes of output that one look reads, and that a line may have
_HEAD = 4096  # bytes in which a status line must be over
_WELL = range(200, 400)
_SEARCH = """
import re, resource, sys
seconds = int(sys.argv[2])  # of CPU, should whoever asked be gone
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
text = sys.stdin.buffer.read().decode(errors="replace")
sys.stdout.write("1" if re.search(sys.argv[1], text, re.MULTILINE) else "0")
"""


def port(check: Check) -> str:
    """Connect to HOST:PORT."""
    host, _, number = check.what.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(number)), check.timeout):
        return ""


def unix(check: Check) -> str:
    """Connect to a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(check.timeout)
        s.connect(check.what)
        return ""


def http(check: Check) -> str:
    """Ask a URL and read the status line: all of it within the timeout, however slowly the answer drips."""
    url, end = urlsplit(check.what), time.monotonic() + check.timeout
    number = url.port or (443 if url.scheme == "https" else 80)
    with socket.create_connection((url.hostname or "", number), check.timeout) as plain:
        s = _secured(plain, url.hostname or "") if url.scheme == "https" else plain
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = f"GET {path} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\nUser-Agent: whiz\r\nAccept: */*\r\n"
        s.sendall(f"{head}Connection: close\r\n\r\n".encode())
        got = b""
        while b"\n" not in got and len(got) < _HEAD:
            s.settimeout(max(0.001, end - time.monotonic()))
            piece = s.recv(_HEAD)
            if not piece:
                break
            got += piece
    found = re.match(rb"HTTP/\d\.\d (\d{3})", got)
    if found is None:
        return "it hung up without an answer" if not got else "it does not answer in HTTP"
    status = int(found[1])
    return "" if status in (check.status or _WELL) else f"HTTP status {status}"


def _secured(plain: socket.socket, host: str) -> socket.socket:
    import ssl  # noqa: PLC0415  5 MB, for who asks for https

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def stamp(st: os.stat_result) -> str:
    """Return what changes when a file is made or written again."""
    return f"{st.st_ino}:{st.st_mtime_ns}:{st.st_size}"


def stamp_of(path: str) -> str:
    """Return that of a file; nothing where there is none."""
    try:
        return stamp(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return ""


def file(check: Check, before: str) -> str:
    """Look whether a file is there that was not, or not like this, when the program started."""
    now = stamp_of(check.what)
    if not now:
        return f"there is no {check.what}"
    return "" if now != before else f"{check.what} is as it was before the start"


@value
class Place:
    """How far a log has been read: the file's inode, and the offset counted from the first byte ever written to it."""

    inode: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.inode}:{self.offset}"


def end_of(path: str) -> Place:
    """Return the place behind all that is in a log now."""
    try:
        st = os.stat(path)
    except OSError:
        return Place()
    return Place(st.st_ino, disk.trimmed(path, st.st_ino) + st.st_size)


def place(text: str) -> Place:
    """Return the place that was written down."""
    inode, _, offset = text.partition(":")
    return Place(int(inode), int(offset)) if inode.isdigit() and offset.isdigit() else Place()


def log(check: Check, path: str, read: Place, own: str) -> tuple[str, Place]:
    """Look for a line behind this place; return also up to where no whole line matches. `own`: its standard output."""
    end, more = time.monotonic() + check.timeout, True
    while more and time.monotonic() < end:
        try:
            text, behind, more = _unread(path, read, own)
        except FileNotFoundError:
            return "it has written nothing yet", read
        found = _matches(check.what, text, end) if text else False
        if found is None:
            return f"to look for {check.what!r} in its output takes longer than {spell_seconds(check.timeout)}", read
        if found:
            return "", read  # not behind it: should this answer be lost, the next look finds the line again
        read = behind
    return f"no line of its output matches {check.what!r} yet", read


def _unread(path: str, read: Place, own: str) -> tuple[bytes, Place, bool]:
    """Return what is behind a place, the place behind its whole lines, and whether there is more."""
    with _opened(path, read, own) as f:
        while True:
            st = os.fstat(f.fileno())
            cut, busy = disk.trimming(path, st.st_ino)
            at = max(read.offset - cut, 0) if read.inode == st.st_ino else 0
            if at > st.st_size:
                at = st.st_size if busy else 0  # being trimmed; else somebody emptied it, as logrotate can
            f.seek(at)
            text = f.read(_LONGEST)
            if disk.trimming(path, st.st_ino) == (cut, busy):
                break  # else it was trimmed meanwhile, and this began somewhere else
    if busy and not text:
        return b"", read, False
    more = len(text) == _LONGEST
    whole = len(text) if more else text.rfind(b"\n") + 1
    return text, Place(st.st_ino, cut + at + whole), more


def _opened(path: str, read: Place, own: str) -> BinaryIO:
    """Open the log; the one read before where that is still written to, though it was renamed or deleted meanwhile."""
    try:
        if read.inode in (0, os.stat(path).st_ino):
            return open(path, "rb")
    except FileNotFoundError:
        pass
    with suppress(OSError):
        st, folder = os.stat(own), os.stat(os.path.dirname(path))
        if (st.st_dev, st.st_ino) == (folder.st_dev, read.inode):
            return open(own, "rb")
    return open(path, "rb")


def _matches(pattern: str, text: bytes, end: float) -> bool | None:
    """Search in a process of its own; None when it is not done by then.

    A pattern can take for ever, and nothing in this process would go on: re does not let go of the interpreter.
    """
    seconds = max(0.1, end - time.monotonic())
    argv = [sys.executable, "-I", "-S", "-c", _SEARCH, pattern, str(int(seconds) + 2)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}) as p:  # noqa: S603
        try:
            said = p.communicate(text, timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            p.kill()
            return None
    if said not in (b"0", b"1"):
        raise OSError(0, "the search in its output was ended")
    return said == b"1"
