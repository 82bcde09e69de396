"""The words of the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from whiz import __version__
from whiz.core.errors import UsageError
from whiz.core.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_CODES = """\
exit status:
  0   every wish holds
  1   something failed: a program cannot run, gave up, or keeps failing
  2   bad usage, or a whizzifest that cannot be used (the last good one stays in force)
  3   changes are pending (check), not everything has converged yet (apply), or not
      all was carried over (import)
  75  another whiz is at work on the same home"""

MAIN = """\
Write down what should run; whiz makes it so.

A whizzifest names programs, one a line:

    # processName|destination
    camera|/opt/app/camera.py --fps 10
    web|/opt/app/web.py

whiz looks at the machine, starts what is missing and ends what should not run."""

EXAMPLES = """\
examples:
  whiz check                        what would happen; changes nothing
  whiz apply                        make it so, then exit: for people, cron and timers
  whiz status --watch               what runs, since when, and why not
  whiz hold camera                  stop it and keep it down, reboots included
  whiz logs web -f                  its output as it comes
  whiz --home /tmp/trial -m ./whizzifest apply     try it without touching the system's own
"""

_COMMANDS: dict[str, tuple[str, str]] = {
    "check": (
        "print what would happen; change nothing",
        """\
Print every step that apply would take, turn by turn to the end, each with its
reason, supposing that each start succeeds. Nothing is changed.

examples:
  whiz check && echo all is well
  whiz check --json | jq '.steps[].program'
""",
    ),
    "apply": (
        "take turns until every wish holds, then exit",
        """\
Look at the machine, compare it with the whizzifest, act; again until every wish
holds. Short waits, such as a back-off, are slept through for at most --wait.
Programs go on when whiz exits.

examples:
  whiz apply
  whiz apply --wait 2m
  * * * * * whiz apply -q       (crontab: once a minute)
""",
    ),
    "run": (
        "stay, and take a turn whenever something happens",
        """\
The same turn as apply, resident: wakes when a program ends, when the whizzifest or
a wish is edited, when a wait is over, and at least every --every. For systemd
(Type=notify) and for terminals. SIGTERM leaves the programs running (--stop ends
them), Ctrl-C in a terminal ends them, SIGHUP takes a turn, SIGUSR2 renews whiz itself.

examples:
  whiz run
  whiz run --every 10s --stop
""",
    ),
    "status": (
        "show what runs, and why what does not",
        """\
One line per program: name, state, pid, since when, restarts, cpu, memory and the
reason for all that.

examples:
  whiz status
  whiz status --watch
  whiz status --json | jq '.programs[] | select(.state != "running")'
""",
    ),
    "logs": (
        "print a program's newest output",
        """\
Print the end of a program's output; -f goes on printing as it comes, also when
the file is trimmed.

examples:
  whiz logs web
  whiz logs web -n 100 -f
""",
    ),
    "hold": (
        "stop programs and keep them down",
        """\
Stop the programs and keep them down until unhold; a hold survives whiz and
reboots.

examples:
  whiz hold camera web
""",
    ),
    "unhold": (
        "let held programs run again",
        """\
Undo a hold.

examples:
  whiz unhold camera
""",
    ),
    "restart": (
        "end programs and start them anew",
        """\
End the present run of each program and start another; a program in back-off
starts at once, a task that has succeeded runs again. Asked twenty times at once
it happens once.

examples:
  whiz restart web
  whiz restart --self           (the whiz that stays becomes the one installed now)
""",
    ),
    "stop": (
        "end every program, once; wishes stay",
        """\
End every program, in reverse order of `after`, as when the machine shuts down, which
is what calls it where whiz install was run. What is wished stays as it is: the next
turn starts them again. A whiz that stays is asked to go first. To keep programs down
use hold.

examples:
  whiz stop
  sudo systemctl stop whiz-programs     (ends them, and who would start them again)
""",
    ),
    "install": (
        "have whiz come up with the machine",
        """\
Write and enable what brings whiz up after a boot: a systemd service in which it stays
(--systemd, the default), a systemd timer (--timer) or cron (--cron) that has it take a
turn a minute. Where there is systemd, programs end in reverse order when the machine
shuts down. Run again, it changes what is not as it should be and says so; another
mode takes the place of the one before. Programs go on meanwhile.

examples:
  sudo whiz install
  whiz install --user --timer     (your own programs, without root)
  whiz install --print            (show it; change nothing)
""",
    ),
    "uninstall": (
        "have whiz no longer come up with the machine",
        """\
Remove what install made. Programs go on; whiz stop ends them.

examples:
  sudo whiz uninstall
  whiz uninstall --user --print
""",
    ),
    "history": (
        "print what happened, newest last",
        """\
Print starts, stops and ends with their reasons. What is kept is bounded.

examples:
  whiz history -n 50
  whiz history camera
""",
    ),
    "events": (
        "print facts as lines of JSON, as they come",
        """\
Every start, exit, error, stop, kill, crash loop, hold … as one line of JSON, the
newest last; -f goes on as they happen.

examples:
  whiz events -f | jq 'select(.event == "exit" and .exit != 0)'
  whiz events -n 1000 > facts.jsonl
""",
    ),
    "explain": (
        "say everything about one program",
        """\
The wish, the facts, the decision and when whiz will look again.

examples:
  whiz explain camera
""",
    ),
    "doctor": (
        "examine the machine, and say what to do",
        """\
Look for what makes whiz work less well than it could: the clock, the kernel, the
file systems of its directories, systemd units that would take programs down with
whiz, other homes. Changes nothing; needs neither root nor a whizzifest. Exit
status 1 when there is trouble, 0 otherwise.

examples:
  sudo whiz doctor
  whiz doctor --json | jq '.findings[] | select(.grade != "ok")'
""",
    ),
    "import": (
        "print a whizzifest made of other supervisors' files",
        """\
Read supervisord.conf, a Procfile, pm2's ecosystem file, systemd's units, the older
whizzifest or its hitlist; print a YAML whizzifest, and on stderr what it does not hold,
with place and reason. Nothing else is read or changed. Here exit status 3 says that
something was not carried over, and 2 that a file cannot be read.

examples:
  whiz import /etc/supervisor/supervisord.conf > whizzifest.yaml
  whiz import /etc/systemd/system/{web,worker@1}.service | less
  whiz import --format procfile - < Procfile.dev
""",
    ),
    "schema": (
        "print the JSON Schema of a YAML whizzifest",
        """\
For editors that check as you type.

examples:
  whiz schema > whizzifest.schema.json
""",
    ),
    "completion": (
        "print completions for a shell",
        """\
examples:
  whiz completion bash > /etc/bash_completion.d/whiz
  whiz completion zsh > ~/.zfunc/_whiz
""",
    ),
}

_FORMATS = ("supervisor", "procfile", "pm2", "systemd", "older", "hitlist")  # as whiz/core/importing/guess.py has them


_MODES = {
    "systemd": "a service in which whiz stays (the default)",
    "timer": "a systemd timer: whiz apply, once a minute",
    "cron": "cron: whiz apply, once a minute",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\nhint: {self.prog} --help")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Lays help out for 80 columns: asking how many there are loads shutil, 3 ms of every quiet turn."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def _seconds(text: str) -> float:
    try:
        return duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30, 1.5s or 2m") from None


def _interval(text: str) -> float:
    seconds = _seconds(text)
    if not 0.1 <= seconds <= 86400.0:  # noqa: PLR2004  a tenth of a second to a day
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0.1s to 1d")
    return seconds


def _count(text: str) -> int:
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
        add("--wait", metavar="S", type=_seconds, default=30.0, help=text)
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
        add("-n", "--lines", type=_count, default=20, help="how many lines (default: 20)")
    if name == "import":
        add("files", metavar="FILE", nargs="+", help="what to read; - is stdin")
        add("--format", choices=_FORMATS, help="what it is, where name and text do not tell")
    if name == "completion":
        add("shell", choices=("bash", "zsh"))


def _boot_options(name: str, add: Callable[..., argparse.Action]) -> None:
    """Add what the commands take that see to boot and shutdown."""
    if name == "stop":
        add("--wait", metavar="S", type=_seconds, default=100.0, help="how long that may take (default: 100s)")
        return
    if name == "install":
        for mode, text in _MODES.items():
            add(f"--{mode}", dest="mode", action="store_const", const=mode, help=text)
    add("--user", action="store_true", help="for your own programs, without root")
    add("--print", action="store_true", help="show what would be written and run; change nothing")


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of `whiz` with the commands among these words; with all where there are none."""
    raw = _Help
    parser = _Parser(prog="whiz", description=MAIN, epilog=f"{EXAMPLES}\n{EXIT_CODES}", formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"whiz {__version__}")
    _globals(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name in [n for n in _COMMANDS if n in words] or _COMMANDS:  # each costs 0.6 ms
        short, text = _COMMANDS[name]
        sub = commands.add_parser(name, help=short, description=text, epilog=EXIT_CODES, formatter_class=raw)
        _globals(sub)
        _options(name, sub.add_argument)
    return parser
