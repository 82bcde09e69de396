"""The `quesofiesta` command: words in, exit status out."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["pull"] and _nothing_to_pull(words[1:]):
        return 0
    from whiz.core.errors import WhizError  # noqa: PLC0415  what follows is most of what a pull with nothing to do costs
    from whiz.face import voice  # noqa: PLC0415
    from whiz.face.cli import descriptors, fail, guarded  # noqa: PLC0415
    from whiz.face.quesofiesta.parser import build_parser  # noqa: PLC0415

    voice.NAME = "quesofiesta"
    descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.umask(0o022)
    try:
        return guarded(words, build_parser, _command, "interrupted")
    except OSError as exc:
        return fail(words, WhizError(f"{exc.filename or 'a file'}: {exc.strerror}"))


def _nothing_to_pull(words: list[str]) -> bool:
    """Whether a pull has nothing to do, which is said then. Only of the plainest calls, such as a timer's."""
    from whiz.core.errors import WhizError  # noqa: PLC0415
    from whiz.world.home import home  # noqa: PLC0415
    from whiz.world.release.quick import unchanged  # noqa: PLC0415

    quiet, given = False, None
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("-q", "--quiet"):
            quiet = True
        elif word == "--home" and left:
            given = left.pop(0)
        else:
            return False
    try:
        here = home(given)
        said = unchanged(here.config, here.run, here.state, time.time())
        if said is not None and not quiet:
            print(said, flush=True)  # noqa: T201
    except (WhizError, OSError):
        return False
    except KeyboardInterrupt:
        print("quesofiesta: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    return said is not None


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what carries out a command: the function of its name, in the module that has it; imported only now."""
    from whiz.face.quesofiesta.helptext import room  # noqa: PLC0415

    carry: Callable[[argparse.Namespace], int] = getattr(import_module(f"whiz.face.quesofiesta.{room(name)}"), name)
    return carry


if __name__ == "__main__":
    sys.exit(main())
