"""A web server that answers as it is told to: each path by the first rule that fits, once, some times or always."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Request:
    """What was asked for, and the socket to answer on."""

    path: str
    headers: dict[str, str]
    sock: socket.socket
    body: bytes | None  # of the file; None where there is none
    tag: str = ""

    def send(self, status: str, body: bytes = b"", **headers: object) -> None:
        """Answer as a server should."""
        held = {"Content-Length": len(body)} | {k.replace("_", "-"): v for k, v in headers.items()}
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in held.items()) + "\r\n"
        self.sock.sendall(head.encode() + body)

    def plain(self, *, ranges: bool = True) -> None:
        """Answer as a static server does."""
        if self.body is None:
            return self.send("404 Not Found", b"no such file")
        if self.tag and self.headers.get("if-none-match") == self.tag:
            return self.send("304 Not Modified", ETag=self.tag)
        start = int(self.headers.get("range", "bytes=0-")[6:].rstrip("-")) if ranges else 0
        if start:
            said = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            return self.send("206 Partial Content", self.body[start:], Content_Range=said)
        return self.send("200 OK", self.body, ETag=self.tag)


@dataclass
class Web:
    """The server. `rules`: (part of a path, how often or -1, what to do); what they do not answer is plain."""

    root: Path
    rules: list[list[object]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    address: str = ""
    tags: bool = True

    def rule(self, part: str, do: Callable[[Request], object], times: int = -1) -> None:
        self.rules.append([part, times, do])

    def answer(self, request: Request) -> None:
        for rule in self.rules:
            part, times, do = rule
            assert isinstance(times, int)
            if str(part) in request.path and times != 0:
                rule[1] = times - 1
                do(request)  # type: ignore[operator]
                return
        request.plain()

    def body(self, path: str) -> bytes | None:
        try:
            return (self.root / path.partition("?")[0].lstrip("/")).read_bytes()
        except OSError:
            return None


class Gone(Exception):
    """The connection is to end."""


def _serve(web: Web, sock: socket.socket) -> None:
    web.connections += 1
    with sock:
        file = sock.makefile("rb")
        try:
            while line := file.readline():
                words = line.decode().split()
                headers = {}
                while (head := file.readline().strip()) != b"":
                    name, _, value = head.decode().partition(":")
                    headers[name.lower()] = value.strip()
                path = words[1]
                if path.startswith("http://"):
                    path = "/" + path.split("/", 3)[3]
                web.asked.append(words[1])
                web.headers.append(headers)
                body = web.body(path)
                tag = f'"{hash(body)}"' if body is not None and web.tags else ""
                web.answer(Request(path, headers, sock, body, tag))
        except (OSError, Gone):
            return


@contextmanager
def serving(root: Path, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Web]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 0))
    listener.listen(64)
    web = Web(root)
    shown = f"[{host}]" if ":" in host else host
    web.address = f"{'https' if context else 'http'}://{shown}:{listener.getsockname()[1]}"
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            held.append(sock)
            threading.Thread(target=_serve, args=(web, sock), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for sock in held:
            sock.close()


# -- things to do


def status(line: str, body: bytes = b"", **headers: object) -> Callable[[Request], None]:
    return lambda request: request.send(line, body, **headers)


def truncated(at: int) -> Callable[[Request], None]:
    """Announce all, send a part, hang up."""

    def do(request: Request) -> None:
        assert request.body is not None
        start = int(request.headers.get("range", "bytes=0-")[6:].rstrip("-"))
        left = request.body[start:]
        head = (
            f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-/*\r\n" if start else "HTTP/1.1 200 OK\r\n"
        )
        request.sock.sendall(f"{head}Content-Length: {len(left)}\r\n\r\n".encode() + left[:at])
        raise Gone

    return do


def unannounced(at: int) -> Callable[[Request], None]:
    """Send a part without saying how much there is, hang up."""

    def do(request: Request) -> None:
        assert request.body is not None
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + request.body[:at])
        raise Gone

    return do


def endless(request: Request) -> None:
    """Send the file, and then more and more."""
    request.sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (request.body or b""))
    while True:
        request.sock.sendall(bytes(65536))


def dripping(request: Request) -> None:
    """Send a byte now and then."""
    request.sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for byte in request.body or b"":
        request.sock.sendall(bytes([byte]))
        time.sleep(0.05)


def silent(_: Request) -> None:
    """Never answer."""
    time.sleep(3600)


def flipped(request: Request) -> None:
    """Send the file with one bit flipped."""
    body = bytearray(request.body or b"")
    body[len(body) // 2] ^= 1
    request.send("200 OK", bytes(body))
