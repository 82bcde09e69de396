"""Running a command that a release brings: bounded in time and output, and nothing of it stays behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 64_000  # bytes of output that are looked at: its end
LINES = 20
WITHIN = 60.0  # s


@value
class Ran:
    """How it went: None is well. `lines`: the last ones that it said."""

    why: str | None
    lines: tuple[str, ...] = ()


def run(argv: Iterable[str], folder: str, within: float = WITHIN) -> Ran:
    """Run a command in a release's directory, which its relative path counts from too."""
    words = list(argv)
    path = os.path.realpath(folder)
    if "/" in words[0]:
        words[0] = os.path.join(path, words[0])
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    env |= {"HOME": os.environ.get("HOME", "/"), "WHIZ_RELEASE": os.path.basename(path)}
    try:
        process = subprocess.Popen(  # noqa: S603  a signed release says so
            words,
            cwd=path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as exc:
        return Ran(f"{words[0]}: {exc.strerror}")
    try:
        held, ended = _listen(process, within)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines = tuple(held.decode(errors="replace").splitlines()[-LINES:])
    if not ended:
        return Ran(f"did not end within {within:.0f} s", lines)
    code = process.returncode
    if code == 0:
        return Ran(None, lines)
    return Ran(f"exited {code}" if code > 0 else f"was killed by signal {-code}", lines)


def _listen(process: subprocess.Popen[bytes], within: float) -> tuple[bytes, bool]:
    """Return the end of what it says, and whether it ended in time."""
    assert process.stdout is not None  # noqa: S101  a pipe
    end, held = time.monotonic() + within, b""
    with process.stdout as out:
        ended = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(out.fileno(), select.POLLIN)
            poll.register(ended, select.POLLIN)
            while (left := end - time.monotonic()) > 0:
                ready = [fd for fd, _ in poll.poll(left * 1000)]
                if out.fileno() in ready:
                    data = os.read(out.fileno(), 65536)
                    held = (held + data)[-_MOST:]
                    if not data:
                        poll.unregister(out.fileno())
                    continue
                if ended in ready:  # what it left running may hold the pipe open
                    return held, True
        finally:
            os.close(ended)
    return held, False
