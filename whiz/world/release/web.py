"""A repository behind a web server, a CDN, a proxy: over http.client, with bounds on everything."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from whiz import __version__
from whiz.world.release import meter as meters
from whiz.world.release.meter import Meter, Wire
from whiz.world.release.mirror import PIECE, Broken, Missing, Refused
from whiz.world.release.secure import believed

if TYPE_CHECKING:
    from collections.abc import Iterator

_REDIRECTS = 5
_DIALS = 15.0  # s for a connection
_PATIENT = 600.0  # s: no server's Retry-After counts for more


class Web:
    """One mirror, with the connections to the hosts that it leads to. For one thread."""

    apart = True

    def __init__(self, address: str, ca: str | None = None) -> None:
        self.address, self._ca = address, ca
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._meter = Meter()
        self._trust: ssl.SSLContext | None = None

    def pieces(self, name: str, start: int = 0, *, fresh: bool = False) -> Iterator[bytes]:
        """Yield a file's bytes from an offset."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if fresh:
            headers |= {"Cache-Control": "no-cache", "Pragma": "no-cache"}
        query = f"?again={time.time_ns():x}" if fresh else ""
        yield from self._body(self._get(name, headers, query), name, start)

    def changed(self, name: str, tag: str) -> tuple[Iterator[bytes] | None, str]:
        """Return a file's pieces and its tag now; None where it is the one of this tag."""
        response = self._get(name, {"If-None-Match": tag} if tag else {}, "")
        now = response.headers.get("ETag", "")
        if response.status == http.client.NOT_MODIFIED:
            response.read()
            return None, tag
        return self._body(response, name, 0), now

    def close(self) -> None:
        """Let go of connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _body(self, response: http.client.HTTPResponse, name: str, start: int) -> Iterator[bytes]:
        skip = start
        if start and response.status == http.client.PARTIAL_CONTENT:
            said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if said is None or int(said[1]) != start:
                self.close()
                raise Broken(f"sent another part of {name} than was asked for")
            skip = 0
        try:
            while piece := self._read(response, name):
                held, skip = piece[skip:], max(0, skip - len(piece))
                if held:
                    yield held
        finally:
            if not response.isclosed():
                response.close()
                self.close()  # what is left of it would be taken for the next answer

    def _read(self, response: http.client.HTTPResponse, name: str) -> bytes:
        if response.length == 0:  # http.client's read1 does not say so to its connection
            response.close()
            return b""
        try:
            piece = response.read1(PIECE)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Broken(f"broke off in {name}: {_said(exc)}") from exc
        if not piece and (response.length or 0) > 0:
            self.close()
            raise Broken(f"broke off in {name}: {response.length} bytes are missing")
        return piece

    def _get(self, name: str, headers: dict[str, str], query: str) -> http.client.HTTPResponse:
        """Ask for a file, wherever that leads; raise Missing, Broken."""
        at = f"{self.address}/{name}{query}"
        for _ in range(_REDIRECTS + 1):
            response = self._ask(at, headers)
            status = response.status
            if status in (200, 206) or (status == http.client.NOT_MODIFIED and "If-None-Match" in headers):
                return response
            location, after = response.headers.get("Location"), response.headers.get("Retry-After", "")
            self._drain(response)
            if status in (301, 302, 303, 307, 308) and location:
                at = self._allowed(at, location)
            elif status in (404, 410):
                raise Missing(f"has no {name} ({status})")
            elif status in (429, 500, 502, 503, 504):
                raise Broken(f"answers {status} {response.reason}", _seconds(after))
            else:
                raise Refused(f"answers {status} {response.reason} to {name}")
        raise Refused(f"leads in a circle: more than {_REDIRECTS} redirects for {name}")

    def _drain(self, response: http.client.HTTPResponse) -> None:
        """Read a short answer to its end, so that the connection can be used again."""
        try:
            response.read(65536)
        except (OSError, http.client.HTTPException, ValueError):
            response.close()
        if not response.isclosed() or response.will_close:
            response.close()
            self.close()

    def _allowed(self, at: str, location: str) -> str:
        """Return where a redirect leads; raise Refused where nobody is to be led."""
        try:
            to = urljoin(at, location)
            parts = urlsplit(to)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound:
            raise Refused(f"redirects to {location[:200]!r}, which is no web server")
        if at.startswith("https:") and parts.scheme != "https":
            raise Refused(f"redirects from https to {to[:200]}")
        return to

    def _ask(self, at: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send one request; on a kept connection that has gone meanwhile, on a new one."""
        parts = urlsplit(at)
        where = (parts.scheme, parts.netloc)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        held = {"User-Agent": f"quesofiesta/{__version__}", "Accept-Encoding": "identity", **headers}
        for kept in (where in self._open, False):
            try:
                connection = self._open.get(where) or self._connect(*where)
                target = at if getattr(connection, "absolute", False) else path
                connection.request("GET", target, headers=held)
                return connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError) as exc:
                if (lost := self._open.pop(where, None)) is not None:
                    lost.close()
                if kept and not isinstance(exc, TimeoutError):
                    continue
                kind = Refused if isinstance(exc, ssl.SSLCertVerificationError) else Broken
                raise kind(f"cannot be asked: {_said(exc)}") from exc
        raise AssertionError  # the second time is the last

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        proxy = _proxy(scheme, netloc)
        host = urlsplit(f"//{proxy or netloc}")
        name, port = host.hostname or "", host.port
        if scheme == "https" and proxy is None:
            secure = http.client.HTTPSConnection(name, port, timeout=_DIALS, context=self._context())
            connection: http.client.HTTPConnection = secure
        else:
            connection = http.client.HTTPConnection(name, port, timeout=_DIALS)
        if proxy is not None and scheme == "https":
            far = urlsplit(f"//{netloc}")
            connection.set_tunnel(far.hostname or "", far.port or 443)
        connection.absolute = proxy is not None and scheme == "http"  # type: ignore[attr-defined]
        try:
            connection.connect()
            if proxy is not None and scheme == "https":
                far_name = urlsplit(f"//{netloc}").hostname
                connection.sock = self._context().wrap_socket(connection.sock, server_hostname=far_name)
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(meters.SILENCE)
        connection.sock = Wire(connection.sock, self._meter)
        self._open[scheme, netloc] = connection
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._trust is None:
            try:
                self._trust = believed(self._ca)
            except (OSError, ssl.SSLError) as exc:
                raise Refused(f"ca: {self._ca}: {_said(exc)}") from exc
        return self._trust


def _proxy(scheme: str, netloc: str) -> str | None:
    """Return host and port of the proxy that the environment names for a server."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib import request  # noqa: PLC0415  slow to load, and rare

    found = request.getproxies_environment()
    address = found.get(scheme) or found.get("all")
    if not address or request.proxy_bypass(netloc):
        return None
    parts = urlsplit(address if "//" in address else f"//{address}")
    return parts.netloc.rpartition("@")[2] or None


def _seconds(after: str) -> float:
    """Return the seconds of a Retry-After, at most what we have patience for."""
    if after.strip().isdigit():
        return min(_PATIENT, float(after.strip()[:12]))
    if not after:
        return 0.0
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  http.client has loaded it

    try:
        return min(_PATIENT, max(0.0, parsedate_to_datetime(after).timestamp() - time.time()))
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _said(exc: BaseException) -> str:
    """Return an error in the system's words."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
