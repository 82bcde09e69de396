"""A repository on a host that is reached by ssh: the system's own ssh, so its keys, hosts and jumps hold here too.

One connection for all files. The other side runs a loop of sh, which prints for each name asked a line with the size,
then the bytes; for many names at once all the sizes, then all the bytes: two processes there for a whole batch. What a
login prints before it begins is skipped.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from whiz.world.release.meter import SILENCE, Meter
from whiz.world.release.mirror import PIECE, Broken, Missing, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIALS = 15  # s for a connection
_NOISE = 1 << 20  # bytes that a login may print
OPTIONS = ("-T", "-x", "-a", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_DIALS}", "-o", "ClearAllForwardings=yes")
_LOOP = """\
cd {path} || exit 90
echo {mark}
set -f
many() {{
  for one; do [ -f "$one" ] || {{ echo none; return; }}; done
  wc -c -- "$@"
  cat -- "$@"
}}
while read -r start name; do
  if [ "$start" = all ]; then many $name
  elif [ -f "$name" ]; then
    size=$(wc -c <"$name")
    echo "has $((size - start))"
    if [ "$start" = 0 ]; then cat -- "$name"; else tail -c "+$((start + 1))" -- "$name"; fi
  elif [ -d . ] && [ -d channel ]; then echo none
  else exit 91; fi
done"""
BATCH = 64  # files
_NO_PLACE, _NO_REPOSITORY = 90, 91
_FINAL = ("Permission denied", "Host key verification failed", "Could not resolve hostname")  # a retry changes nothing


class Ssh:
    """One mirror, with one connection. For one thread."""

    apart = False

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.address, self._meter = address, Meter()
        path = unquote(parts.path)
        self._path = path.removeprefix("/~/") if path.startswith("/~/") else path
        user = ("-l", unquote(parts.username)) if parts.username else ()
        port = ("-p", str(parts.port)) if parts.port else ()
        self._where = (*user, *port, "--", parts.hostname or "")
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = -1
        self._held = b""
        self._names: deque[str] = deque()  # that will be asked for, in this order
        self._coming: deque[tuple[str, int]] = deque()  # what was asked for at once, and its sizes

    def ahead(self, names: Iterable[str]) -> None:
        """Take note of what will be asked for next, in this order; that something else is asked for only costs time."""
        self._names = deque(names)

    def pieces(self, name: str, start: int = 0, *, fresh: bool = False) -> Iterator[bytes]:  # noqa: ARG002  no caches
        """Yield a file's bytes from an offset."""
        if self._coming and (start or self._coming[0][0] != name):
            self.close()
        self._begin()
        if not start and not self._coming and self._names and self._names[0] == name:
            self._batch()
        if self._coming:
            yield from self._body(self._coming.popleft()[1])
            return
        self._send(f"{start} {name}\n".encode())
        head = self._line(200).split()
        if head == [b"none"]:
            raise Missing(f"has no {name}")
        if len(head) != 2 or head[0] != b"has" or not head[1].isdigit():  # noqa: PLR2004  has, size
            self.close()
            raise Broken(f"{name}: the other side does not answer as it should")
        yield from self._body(int(head[1]))

    def _batch(self) -> None:
        """Ask for the next files at once; where one of them is missing, for none: each is asked for by itself then."""
        names = [self._names.popleft() for _ in range(min(BATCH, len(self._names)))]
        if len(names) == 1:
            return
        self._send(f"all {' '.join(names)}\n".encode())
        for name in (*names, "total"):
            said = self._line(200).split()
            if said == [b"none"] and not self._coming:
                return
            if len(said) != 2 or not said[0].isdigit() or said[1] != name.encode():  # noqa: PLR2004  size, name
                self.close()
                raise Broken(f"{name}: the other side does not answer as it should")
            self._coming.append((name, int(said[0])))
        self._coming.pop()  # the total

    def _body(self, left: int) -> Iterator[bytes]:
        try:
            while left:
                piece = self._some(min(left, PIECE))
                left -= len(piece)
                yield piece
        finally:
            if left:
                self.close()

    def changed(self, name: str, tag: str) -> tuple[Iterator[bytes] | None, str]:  # noqa: ARG002  who reads it, compares
        """Return a file's pieces."""
        return self.pieces(name), ""

    def close(self) -> None:
        """End the connection."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.kill()
            self._process.wait()
            os.close(self._errors)
        self._process, self._held = None, b""
        self._coming.clear()

    def _begin(self) -> None:
        """Connect, unless that is done."""
        self._meter.begin()
        if self._process is not None:
            return
        mark = f"whiz-{os.urandom(12).hex()}"
        loop = _LOOP.format(path=shlex.quote(self._path), mark=mark)
        self._errors = os.memfd_create("ssh", os.MFD_CLOEXEC)
        try:
            self._process = subprocess.Popen(  # noqa: S603  words of our own
                ["ssh", *OPTIONS, *self._where, f"exec sh -c {shlex.quote(loop)}"],  # noqa: S607  the system's ssh
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,  # no terminal to ask for a password at
            )
        except OSError as exc:
            os.close(self._errors)
            raise Refused(f"ssh: {exc.strerror}: is openssh-client installed?") from exc
        noise = 0
        while (line := self._line(_NOISE)).strip() != mark.encode():
            noise += len(line)
            if noise > _NOISE:
                self.close()
                raise Refused("prints without end before it begins")

    def _send(self, data: bytes) -> None:
        assert self._process is not None  # noqa: S101  begun
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(data)
        except OSError:
            self._fail()

    def _line(self, most: int) -> bytes:
        while b"\n" not in self._held:
            if len(self._held) > most:
                self.close()
                raise Broken("prints a line without end")
            self._held += self._more()
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _some(self, most: int) -> bytes:
        if not self._held:
            self._held = self._more()
        piece, self._held = self._held[:most], self._held[most:]
        return piece

    def _more(self) -> bytes:
        assert self._process is not None  # noqa: S101  begun
        assert self._process.stdout is not None  # noqa: S101
        fd = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(SILENCE * 1000):
            self.close()
            raise Broken(f"nothing came for {SILENCE:.0f} s")
        data = os.read(fd, PIECE)
        if not data:
            self._fail()
        try:
            self._meter.count(len(data))
        except TimeoutError as exc:
            self.close()
            raise Broken(str(exc)) from exc
        return data

    def _fail(self) -> None:
        """Say why ssh has ended, in its own words."""
        process = self._process
        assert process is not None  # noqa: S101  begun
        end = time.monotonic() + 2
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)  # it has closed its output already
        said = os.pread(self._errors, 65536, max(0, os.fstat(self._errors).st_size - 65536)).decode(errors="replace")
        self.close()
        lines = [line.strip("@ \r") for line in said.splitlines() if line.strip("@ \r")]
        if process.returncode == _NO_PLACE:
            raise Refused(f"has no directory {self._path}")
        if process.returncode == _NO_REPOSITORY:
            raise Refused(f"{self._path} is no repository there")
        changed = [line for line in lines if "IDENTIFICATION HAS CHANGED" in line]
        words = (changed or lines[-1:] or [f"ssh ended with {process.returncode}"])[0]
        hint = " (is it another machine? ssh-keygen -R forgets the old key)" if changed else ""
        final = changed or any(word in said for word in _FINAL)
        raise (Refused if final else Broken)(f"ssh: {words}{hint}")
