"""The repository by HTTP, for a LAN: what a static web server does, and nothing of the directory but the repository."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import threading
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

from whiz import __version__

_DIGEST = r"[0-9a-f]{64}"
_NAME = r"(?!\.)[A-Za-z0-9._-]{1,200}"
_KNOWN = re.compile(
    rf"/(root/\d{{1,19}}|channel/{_NAME}|history/{_NAME}/\d{{1,19}}|m/{_DIGEST}|o/[0-9a-f]{{2}}/{_DIGEST}"
    rf"|d/(0|{_DIGEST})-{_DIGEST})"
)
_RANGE = re.compile(r"bytes=(?!-$)(\d{0,18})-(\d{0,18})", re.ASCII)
_IDLE = 15  # s that a connection may be silent
_MOST = 64  # connections at a time; more wait to be taken
_log = logging.getLogger("whiz.serve")


class Server(ThreadingMixIn, HTTPServer):
    """Serves one repository; at most so many threads."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, repo: str, address: str, port: int, most: int = _MOST) -> None:
        self.repo = os.path.realpath(repo)
        self._free = threading.BoundedSemaphore(most)
        if ":" in address or (not address and socket.has_dualstack_ipv6()):
            self.address_family = socket.AF_INET6
        super().__init__((address, port), Handler)

    def server_bind(self) -> None:
        """Listen on both kinds of address where none is said."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]  # without asking DNS

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as socketserver has it
        """Serve one connection in a thread, as soon as one is free."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Give the thread back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Note who went away in the middle."""
        _log.debug("%s: went away", client_address[0], exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = f"quesofiesta/{__version__}"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE
    wbufsize = 1 << 16
    server: Server
    connection: socket.socket

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Send what GET would send before the file."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tell the log."""
        _log.debug("%s %s", self.address_string(), format % args)

    def address_string(self) -> str:
        """Return the address, without asking DNS for a name."""
        return str(self.client_address[0])

    def _answer(self, *, body: bool) -> None:
        name = _KNOWN.fullmatch(self.path.partition("?")[0])
        if name is None:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file in this repository", body=body)
            return
        try:
            fd = os.open(f"{self.server.repo}/{name[1]}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file in this repository", body=body)
            return
        except OSError as exc:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, exc.strerror or "cannot be read", body=body)
            return
        try:
            self._send(fd, name[1], body=body)
        finally:
            os.close(fd)

    def _send(self, fd: int, name: str, *, body: bool) -> None:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            self._refuse(HTTPStatus.NOT_FOUND, "no such file in this repository", body=body)
            return
        changes = name.startswith("channel/")
        said = os.read(fd, st.st_size) if changes else b""
        tag = f'"{sha256(said).hexdigest()[:32]}"' if changes else f'"{st.st_mtime_ns:x}-{st.st_size:x}"'
        head = {"ETag": tag, "Cache-Control": "max-age=30" if changes else "max-age=31536000, immutable"}
        if _any(tag, self.headers.get("If-None-Match")):
            self._head(HTTPStatus.NOT_MODIFIED, head)
            return
        first, last, status = 0, st.st_size - 1, HTTPStatus.OK
        if self.headers.get("If-Range", tag) == tag and (part := _RANGE.fullmatch(self.headers.get("Range", ""))):
            cut = _cut(part[1], part[2], st.st_size)
            if cut is None:
                said_range = {"Content-Range": f"bytes */{st.st_size}", "Content-Length": "0"}
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, head | said_range)
                return
            first, last, status = *cut, HTTPStatus.PARTIAL_CONTENT
            head["Content-Range"] = f"bytes {first}-{last}/{st.st_size}"
        head |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        head["Content-Length"] = str(last + 1 - first)
        self._head(status, head)
        if body and last >= first:
            self.wfile.flush()
            with open(fd, "rb", closefd=False) as f:
                self.connection.sendfile(f, first, last + 1 - first)

    def _head(self, status: HTTPStatus, head: dict[str, str]) -> None:
        self.send_response(status)
        for key, held in head.items():
            self.send_header(key, held)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, why: str, *, body: bool) -> None:
        text = f"{why}\n".encode()
        head = {"Content-Type": "text/plain", "Content-Length": str(len(text)), "Cache-Control": "no-store"}
        self._head(status, head)
        if body:
            self.wfile.write(text)


def _any(tag: str, asked: str | None) -> bool:
    words = [w.strip().removeprefix("W/") for w in (asked or "").split(",")]
    return tag in words or words == ["*"]


def _cut(first: str, last: str, size: int) -> tuple[int, int] | None:
    """Return which bytes are meant, None where there are none such."""
    if first:
        a, b = int(first), min(int(last or size), size - 1)
    elif last:
        a, b = max(0, size - int(last)), size - 1
    else:
        return 0, size - 1
    return (a, b) if a <= b else None
