"""The `whiz` command: words in, exit status out."""

from __future__ import annotations

import os
import signal
import sys

from whiz.core.errors import ManifestError, WhizError
from whiz.face import commands
from whiz.face.parser import build_parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _normal()
    try:
        args = build_parser().parse_args(argv)
        if getattr(args, "verbose", False):
            import logging  # noqa: PLC0415

            logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        return int(getattr(commands, args.command)(args))
    except ManifestError as exc:
        for problem in exc.problems:
            _warn(str(problem))
        return exc.code
    except WhizError as exc:
        _warn(str(exc))
        return exc.code
    except KeyboardInterrupt:
        _warn("interrupted; programs go on")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's own flush finds somewhere to write
        return 141


def _normal() -> None:
    """Shed what the caller left on this process, because every program started from here would inherit it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
            os.open(os.devnull, os.O_RDWR)  # a closed stream's number must not go to the next file we open
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  None where it was closed
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  likewise
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as score:
            if score.read().strip() != "0":
                score.seek(0)
                score.write("0")
    except OSError:
        return  # lowering it is root's right


def _warn(text: str) -> None:
    print(f"whiz: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
