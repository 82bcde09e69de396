"""The pull that finds all as the last one left it, which most do: one question, asked before all else is loaded.

It decides nothing but that. Where anything is in doubt the whole pull is made, which asks again.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from whiz import __version__
from whiz.core.digest import sha256
from whiz.world import disk
from whiz.world.release.notes import Notes, stamp, wishes

if TYPE_CHECKING:
    from whiz.world.release.notes import Settled

SECONDS = 5.0  # for the answer: who takes longer is asked by the whole pull, which is patient
_HEAD = 16384  # bytes of an answer's head that are read
_CHANNEL = 65536  # bytes of a channel that are read


def unchanged(config: str, run: str, state: str, now: float) -> str | None:
    """Return the words for a pull that has nothing to do, None where that is not certain.

    `config`, `run`, `state`: the home's directories; `now`: Unix seconds.
    """
    try:
        (name,) = disk.names(f"{run}/quesofiesta", ".json")
        settled = Notes(run, name).settled()
        app, stamped = f"{state}/apps/{name}", stamp(wishes(config))
        same = settled is not None and settled.stamp == stamped and _as_it_was(settled, app, now) and _asked(settled)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return settled.words if same and settled is not None else None


def _as_it_was(settled: Settled, app: str, now: float) -> bool:
    """Whether this node is as the last pull left it, which ended well and is not long ago; and no other is at work."""
    if settled.code or not settled.first or not settled.issued <= now < settled.expires:
        return False
    if settled.current is None or os.readlink(f"{app}/current") != f"releases/{settled.current}":
        return False
    state = disk.read_json(f"{app}/state.json")
    if not os.path.isdir(f"{app}/current/") or not isinstance(state, dict) or state["trial"] is not None:
        return False
    fd = os.open(app, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)
    return True


def _asked(settled: Settled) -> bool:
    """Whether the first mirror says that its channel is the one that was settled."""
    scheme, _, place = f"{settled.mirror}/channel/{settled.channel}".partition("://")
    if scheme == "file":
        data = disk.read(place.removeprefix("localhost"), _CHANNEL) or b""
        return f"sha256:{sha256(data).hexdigest()}" == settled.digest
    if scheme not in ("http", "https") or not settled.tag or any(n.lower().endswith("_proxy") for n in os.environ):
        return False
    return _not_modified(settled, *place.partition("/")[::2], secure=scheme == "https")


def _not_modified(settled: Settled, netloc: str, path: str, *, secure: bool) -> bool:
    """Whether a web server says so, in one short answer."""
    import socket  # noqa: PLC0415  who has a stick needs none

    end = time.monotonic() + SECONDS
    name, _, port = netloc.rpartition(":") if netloc[-1:].isdigit() and ":" in netloc else (netloc, "", "")
    host = name.strip("[]")
    line = socket.create_connection((host, int(port or (443 if secure else 80))), SECONDS)
    try:
        if secure:
            from whiz.world.release.secure import believed  # noqa: PLC0415  ssl is half of what a pull costs

            line = believed(settled.ca).wrap_socket(line, server_hostname=host)
        head = [f"GET /{path} HTTP/1.1", f"Host: {netloc}", f"User-Agent: quesofiesta/{__version__}"]
        head += [f"If-None-Match: {settled.tag}", "Accept-Encoding: identity", "Connection: close", "", ""]
        line.sendall("\r\n".join(head).encode("latin-1"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _HEAD:
            line.settimeout(max(0.01, end - time.monotonic()))
            piece = line.recv(_HEAD)
            if not piece:
                return False
            answer += piece
    finally:
        line.close()
    return b"\r\n\r\n" in answer and answer.startswith((b"HTTP/1.1 304 ", b"HTTP/1.0 304 "))
