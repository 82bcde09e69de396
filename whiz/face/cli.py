"""The `whiz` command: words in, exit status out."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from whiz import CARRY
from whiz.core.errors import ManifestError, WhizError
from whiz.face import voice
from whiz.face.parser import build_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _normal()
    return guarded(sys.argv[1:] if argv is None else argv, build_parser, _command, "interrupted; programs go on")


def guarded(
    words: list[str],
    parser: Callable[[list[str]], argparse.ArgumentParser],
    command: Callable[[str], Callable[[argparse.Namespace], int]],
    interrupted: str,
) -> int:
    """Carry out the words of a call by what `command` finds; return its exit status, or that of what went wrong."""
    try:
        args = parser(words).parse_args(words)
        if getattr(args, "verbose", False):
            import logging  # noqa: PLC0415

            logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        return command(args.command)(args)
    except WhizError as exc:
        return fail(words, exc)
    except KeyboardInterrupt:
        voice.warn(interrupted)
        return 130
    except BrokenPipeError:
        voice.deafen()
        return 141


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what carries out a command; those that only ask are imported only then."""
    if name == "import":
        from whiz.face.importing import carry as ported  # noqa: PLC0415

        return ported
    if name == "fleet":
        from whiz.face.fleet import carry as fleet  # noqa: PLC0415

        return fleet
    from whiz.face import commands  # noqa: PLC0415

    if (found := getattr(commands, name, None)) is None:
        from whiz.face import questions  # noqa: PLC0415

        found = getattr(questions, name)
    carry: Callable[[argparse.Namespace], int] = found
    return carry


def _normal() -> None:
    """Shed what the caller left on this process, because every program started from here would inherit it."""
    if CARRY not in os.environ:  # what came for the whiz before us waits until we can hear it
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    pythons = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}  # reset in every child, and SIGINT below
    for number in signal.valid_signals() - pythons:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.umask(0o022)
    if os.getuid() == 0:
        _as_root()
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as score:
            if score.read().strip() != "0":
                score.seek(0)
                score.write("0")
    except OSError:
        return  # lowering it is root's right


def descriptors() -> None:
    """Keep what the caller left open from the programs, and the standard streams' numbers from our files."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # noqa: PLR2004  standard streams stay
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the listing's own descriptor is gone by now
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  None where it was closed
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  likewise


def _as_root() -> None:
    """Shed the caller's groups and priority, as only root can."""
    import pwd  # noqa: PLC0415

    try:
        entry = pwd.getpwuid(0)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        if sorted(os.getgroups()) != sorted(groups):
            os.setgroups(groups)
        if os.getpriority(os.PRIO_PROCESS, 0) != 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
    except (KeyError, OSError):
        return  # a root without the rights of root: what the caller has stays


def fail(words: list[str], exc: WhizError) -> int:
    """Say what went wrong, as JSON too where that was asked for."""
    if "--json" in words:
        said = {"version": voice.VERSION, "error": str(exc), "exit": exc.code}
        print(json.dumps(said, ensure_ascii=False))  # noqa: T201
    for line in exc.problems if isinstance(exc, ManifestError) else [exc]:
        voice.warn(str(line))
    return exc.code


if __name__ == "__main__":
    sys.exit(main())
