"""A resident whiz becomes the one that is installed now: tried first, then executed in its place."""

from __future__ import annotations

import os
import subprocess
import sys

from whiz import CARRY

_TRIAL = 30.0  # s for the new one to show that it can work


def renew(lock: int) -> str:
    """Execute the new whiz in our place, with the home's lock. Return why not, where that cannot be.

    The same process goes on: its children, their exit codes and what was signalled meanwhile are kept by the kernel.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    try:
        trial = subprocess.run(  # noqa: S603  what started us
            [*command, "--trial"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL, check=False
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return f"the new one cannot be tried: {exc}"
    if trial.returncode != 0:
        last = trial.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return f"the new one fails its trial: {last or f'exit status {trial.returncode}'}"
    os.set_inheritable(lock, True)
    try:
        os.execve(sys.executable, command, {**os.environ, CARRY: str(lock)})  # noqa: S606
    except OSError as exc:
        os.set_inheritable(lock, False)
        return f"cannot be executed: {exc.strerror}"


def carried() -> int | None:
    """Return the lock's descriptor that the whiz before us left, None where we are the first."""
    text = os.environ.pop(CARRY, "")
    if not text.isdigit():
        return None
    os.set_inheritable(int(text), False)
    return int(text)
