"""The commands of `whiz` and what each takes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from whiz import __version__
from whiz.core.errors import UsageError
from whiz.core.words import duration
from whiz.face.helptext import COMMANDS, EXAMPLES, EXIT_CODES, MAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FORMATS = ("supervisor", "procfile", "pm2", "systemd", "older", "hitlist")  # as whiz/core/importing/guess.py has them


_MODES = {
    "systemd": "a service in which whiz stays (the default)",
    "timer": "a systemd timer: whiz apply, once a minute",
    "cron": "cron: whiz apply, once a minute",
}


class Parser(argparse.ArgumentParser):
    """Raises what is wrong with a call, where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise UsageError(f"{message}\nhint: {self.prog} --help")


class Help(argparse.RawDescriptionHelpFormatter):
    """Lays help out for 80 columns: asking how many there are loads shutil, 3 ms of every quiet turn."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def seconds(text: str) -> float:
    """Return how long a duration is."""
    try:
        return duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30, 1.5s or 2m") from None


def _interval(text: str) -> float:
    span = seconds(text)
    if not 0.1 <= span <= 86400.0:  # noqa: PLR2004  a tenth of a second to a day
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0.1s to 1d")
    return span


def count(text: str) -> int:
    """Return a whole number, not below 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _globals(parser: argparse.ArgumentParser) -> None:
    """Add the options that may stand before or behind the command."""
    add = parser.add_argument_group("everywhere").add_argument
    quiet = argparse.SUPPRESS
    add(
        "-m",
        "--manifest",
        metavar="FILE",
        default=quiet,
        help="the whizzifest (default: in /etc/whiz or ~/.config/whiz)",
    )
    add("--home", metavar="DIR", default=quiet, help="keep everything under DIR: for trials and tests")
    add("--json", action="store_true", default=quiet, help="print JSON, with a version number")
    add("-q", "--quiet", action="store_true", default=quiet, help="print problems only")
    add("-v", "--verbose", action="store_true", default=quiet, help="log what whiz does to stderr")


def _options(name: str, add: Callable[..., argparse.Action]) -> None:
    """Add what one command takes."""
    if name in ("apply", "hold", "unhold", "restart"):
        text = "how long to sleep through short waits (default: 30s)"
        add("--wait", metavar="S", type=seconds, default=30.0, help=text)
    if name in ("stop", "install", "uninstall"):
        _boot_options(name, add)
    if name == "run":
        text = "take a turn at least so often (default: 60s)"
        add("--every", metavar="S", type=_interval, default=60.0, help=text)
        add("--stop", action="store_true", help="on SIGTERM end the programs, in reverse order")
        add("--trial", action="store_true", help=argparse.SUPPRESS)  # what a renewal tries first
    if name in ("apply", "check", "run"):
        add("--allow-empty", action="store_true", help="accept a whizzifest that names no program")
    if name in ("hold", "unhold", "restart"):
        few = "*" if name == "restart" else "+"
        add("names", metavar="NAME", nargs=few, help="a program, or NAME:2 for one instance")
    if name == "restart":
        add("--self", action="store_true", help="renew the whiz that stays; programs go on")
    if name in ("explain", "logs"):
        add("name", metavar="NAME", help="a program, or NAME:2 for one instance")
    if name in ("status", "history"):
        add("names", metavar="NAME", nargs="*", help="only these")
    if name == "status":
        add("-w", "--watch", action="store_true", help="show it again every second")
    _telling_options(name, add)


def _telling_options(name: str, add: Callable[..., argparse.Action]) -> None:
    """Add what the commands take that print something and change nothing."""
    if name in ("logs", "history", "events"):
        if name != "history":
            add("-f", "--follow", action="store_true", help="go on as it comes")
        add("-n", "--lines", type=count, default=20, help="how many lines (default: 20)")
    if name == "import":
        add("files", metavar="FILE", nargs="+", help="what to read; - is stdin")
        add("--format", choices=_FORMATS, help="what it is, where name and text do not tell")
    if name == "completion":
        add("shell", choices=("bash", "zsh"))


def _boot_options(name: str, add: Callable[..., argparse.Action]) -> None:
    """Add what the commands take that see to boot and shutdown."""
    if name == "stop":
        add("--wait", metavar="S", type=seconds, default=100.0, help="how long that may take (default: 100s)")
        return
    if name == "install":
        for mode, text in _MODES.items():
            add(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)
    add("--user", action="store_true", help="for your own programs, without root")
    add("--print", action="store_true", help="show what would be written and run; change nothing")


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of `whiz` with the commands among these words; with all where there are none."""
    raw = Help
    parser = Parser(prog="whiz", description=MAIN, epilog=f"{EXAMPLES}\n{EXIT_CODES}", formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"whiz {__version__}")
    _globals(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name in [n for n in COMMANDS if n in words] or COMMANDS:  # each costs 0.6 ms
        short, text = COMMANDS[name]
        sub = commands.add_parser(name, help=short, description=text, epilog=EXIT_CODES, formatter_class=raw)
        _globals(sub)
        if name == "fleet":
            from whiz.face.fleetparser import options  # noqa: PLC0415

            options(sub, _globals, (seconds, count))
        _options(name, sub.add_argument)
    return parser
