"""Ask the first mirror whether its channel is as the last pull settled it, before anything heavy is loaded.

Most pulls find nothing new. This decides only "unchanged", and only where every sign says so; else the pull
that follows looks at everything by itself, and asks again. Nothing is written. No argparse, YAML or http.client here:
with them a pull costs several times what it does.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time

from whiz.core.errors import WhizError
from whiz.world import disk
from whiz.world.release.notes import Notes, Settled, stamp

_PATIENCE = 5.0  # s for the answer; the pull that follows has more
_HEAD, _MOST = 16384, 65536  # bytes of an answer's headers, of a channel
_SANE = 1_735_689_600  # 2025: with an earlier clock certificates are looked at in another way
_FROM_FUTURE = 7 * 86400.0  # s


def unchanged(files: tuple[str, ...], run: str, state: str) -> str | None:
    """Say how it is where a pull would have nothing to do; None where that is to be found out.

    `files`: those that say what is wanted here; `run`, `state`: directories of the home.
    """
    if any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    try:
        return _settled(files, run, state)
    except (OSError, ValueError, WhizError):
        return None


def _settled(files: tuple[str, ...], run: str, state: str) -> str | None:
    if os.getuid() == 0:
        for path in filter(os.path.lexists, files):
            disk.refuse_foreign(path)
    now = stamp(files)
    for app in disk.names(f"{run}/quesofiesta", ".json"):
        notes = Notes(run, app)
        held = notes.settled()
        if held is not None and held.stamp == now:
            return held.words if _still(held, notes, f"{state}/apps/{app}") else None
    return None


def _still(held: Settled, notes: Notes, place: str) -> bool:
    """Whether these notes hold, looked at under the lock of the app's directory (store.py)."""
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        good = (
            held == notes.settled()
            and held.code == 0
            and held.current is not None
            and held.mirror == held.first
            and (held.state,) == stamp((f"{place}/state.json",))  # no trial has begun
            and os.readlink(f"{place}/current") == f"releases/{held.current}"
            and os.path.isdir(f"{place}/releases/{held.current}")
            and held.words.isascii()
            and held.issued - _FROM_FUTURE <= time.time() <= held.expires
        )
        return good and _same(held)
    finally:
        os.close(lock)


def _same(held: Settled) -> bool:
    """Whether the first mirror has the channel that was settled. Raise OSError, ValueError."""
    address = f"{held.first}/channel/{held.channel}"
    scheme, _, rest = address.partition("://")
    if not address.isascii() or "%" in address:
        return False
    if scheme == "file":
        from hashlib import sha256  # noqa: PLC0415  5 ms that http does not need

        data = disk.read(f"/{rest.partition('/')[2]}", _MOST)
        return data is not None and f"sha256:{sha256(data).hexdigest()}" == held.digest
    return scheme in ("http", "https") and held.tag.isascii() and held.tag.isprintable() and _not_modified(held, rest)


def _not_modified(held: Settled, rest: str) -> bool:
    """Whether the server says 304 to the tag that the channel had, in whole headers."""
    netloc, _, path = rest.partition("/")
    secure = held.first.startswith("https:")
    name, port = _host(netloc)
    if not held.tag or (secure and time.time() < _SANE):
        return False
    end = time.monotonic() + _PATIENCE
    asked = f"GET /{path} HTTP/1.1\r\nHost: {netloc}\r\nUser-Agent: quesofiesta\r\nAccept-Encoding: identity\r\n"
    asked += f"If-None-Match: {held.tag}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((name, port or (443 if secure else 80)), _PATIENCE) as plain:
        line = _secured(plain, name, held.ca) if secure else plain
        line.sendall(asked.encode())
        said = b""
        while b"\r\n\r\n" not in said:
            left = end - time.monotonic()
            if left <= 0 or len(said) > _HEAD:
                return False
            line.settimeout(left)
            piece = line.recv(4096)
            if not piece:
                return False
            said += piece
    return said[:9] in (b"HTTP/1.1 ", b"HTTP/1.0 ") and said[9:12] == b"304" and said[12:13] in b" \r"


def _host(netloc: str) -> tuple[str, int]:
    """Return name and port, 0 where none is named; an IPv6 address is in brackets."""
    if netloc.startswith("["):
        name, _, port = netloc[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = netloc.partition(":")
    return name, int(port or 0)


def _secured(plain: socket.socket, name: str, ca: str | None) -> socket.socket:
    import ssl  # noqa: PLC0415  30 ms, with its certificates, that http does not need

    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(ca)
    return context.wrap_socket(plain, server_hostname=name)
