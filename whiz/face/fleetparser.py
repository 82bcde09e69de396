"""What `whiz fleet` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

ACTIONS = {
    "hosts": "list who is meant; ask nobody",
    "check": "what would happen on each",
    "apply": "take turns on each until every wish holds",
    "status": "what runs",
    "history": "what happened",
    "logs": "a program's newest output",
    "hold": "stop programs and keep them down",
    "unhold": "let held programs run again",
    "restart": "end programs and start them anew",
    "doctor": "examine each machine",
    "exec": "run any command: whiz fleet exec -- uptime",
}


def options(
    parser: argparse.ArgumentParser,
    everywhere: Callable[[argparse.ArgumentParser], None],
    kinds: tuple[Callable[[str], float], Callable[[str], int]],
) -> None:
    """Add the actions of `fleet` with what each takes. `kinds`: how durations and counts are read."""
    seconds, count = kinds
    own = type(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=own)
    for name, short in ACTIONS.items():
        sub = actions.add_parser(name, help=short, description=short[0].upper() + short[1:] + ".", allow_abbrev=False)
        everywhere(sub)
        add = sub.add_argument
        add("--fleet", metavar="FILE", help="fleet.yaml, an Ansible inventory or an ssh config (default: fleet.yaml)")
        add("--to", metavar="WHOM", default="all", help="hosts, groups, globs: cameras,pi7:!attic (default: all)")
        if name != "hosts":
            add("-j", "--jobs", metavar="N", type=count, default=32, help="how many at once (default: 32)")
            add("--timeout", metavar="S", type=seconds, help="what a host may cost at most (default: 60s)")
        if name in ("check", "apply"):
            add("--allow-empty", action="store_true", help="accept a whizzifest that names no program")
        if name in ("hold", "unhold", "restart"):
            add("names", metavar="NAME", nargs="+", help="a program, or NAME:2 for one instance")
        if name == "logs":
            add("names", metavar="NAME", nargs=1, help="a program, or NAME:2 for one instance")
        if name in ("status", "history"):
            add("names", metavar="NAME", nargs="*", help="only these")
        if name in ("logs", "history"):
            add("-n", "--lines", type=count, default=20, help="how many lines of each (default: 20)")
        if name == "exec":
            text = "one word: a shell's line; several: a command and its arguments"
            add("words", metavar="COMMAND", nargs="+", help=text)
