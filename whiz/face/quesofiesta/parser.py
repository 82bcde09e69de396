"""The commands of `quesofiesta` and what each takes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from whiz import __version__
from whiz.core.words import size
from whiz.face.parser import Help, Parser, count, seconds
from whiz.face.quesofiesta.helptext import COMMANDS, EXAMPLES, EXIT_CODES, MAIN, NODE, SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Add = Callable[..., argparse.Action]

_PORT = 8088
_NOTE = 1000  # characters: a channel says it to every node
_BUILDS = ("build", "publish", "deploy")
_CHANGES = ("publish", "deploy", "rollback", "pin", "unpin", "promote")
_CHANNEL = ("publish", "deploy", "history", "rollback", "pin", "unpin", "bundle")


def _bytes(text: str) -> int:
    try:
        return size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 50MB") from None


def _note(text: str) -> str:
    if len(text) > _NOTE or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a note is one line of at most {_NOTE} characters that can be printed")
    return text


def _globals(parser: argparse.ArgumentParser) -> None:
    """Add the options that may stand before or behind the command."""
    add = parser.add_argument_group("everywhere").add_argument
    quiet = argparse.SUPPRESS
    add("--json", action="store_true", default=quiet, help="print JSON, with a version number")
    add("-q", "--quiet", action="store_true", default=quiet, help="print problems only")
    add("-v", "--verbose", action="store_true", default=quiet, help="log what is done to stderr")


def _master(name: str, add: Add) -> None:
    """Add what one of the master's commands takes."""
    if name == "init":
        add("repo", metavar="DIR", help="where the repository shall be")
        add("--app", metavar="NAME", required=True, help="what it holds releases of")
    else:
        text = "the repository (default: this directory or the nearest above it)"
        add("--repo", metavar="DIR", default="", help=text)
    if name in (*_CHANGES, "init", "rotate"):
        add("--keys", metavar="DIR", default="", help="where keys lie (default: ~/.config/whiz/keys/REPOSITORY)")
    if name in ("init", "rotate"):
        kind = {"metavar": "FILE", "action": "append", "default": []}
        add("--root-key", **kind, help="a public key that may change the key set; may be given again")
        add("--key", **kind, help="a public key that signs releases and channels")
        add("--release-key", **kind, help="one that signs releases only")
        add("--channel-key", **kind, help="one that signs channels only")
    if name == "rotate":
        add("--new-key", action="store_true", help="make a new key that signs releases and channels")
        add("--new-root-key", action="store_true", help="make a new root key")
    if name in _BUILDS:
        _building(add)
    if name in ("publish", "deploy"):
        add("--label", metavar="LABEL", default="", help="its name (default: date and number: 2026-11-25.1)")
    if name in _CHANNEL:
        add("--channel", metavar="NAME", default="stable", help="which channel (default: stable)")
    if name == "publish":
        add("--pack", action="store_true", help="one more file with all of it: a first install asks once, not per file")
    if name in _CHANGES:
        add("-m", "--note", metavar="NOTE", type=_note, default="", help="what is to be known of it")
    if name == "deploy":
        _deploying(add)
    _rest(name, add)


def _deploying(add: Add) -> None:
    """Add what says to whom a release is brought, and how."""
    add("--fleet", metavar="FILE", help="fleet.yaml, an Ansible inventory or an ssh config (default: fleet.yaml)")
    add("--to", metavar="WHOM", default="all", help="hosts, groups, globs: cameras,pi7:!attic (default: all)")
    add("--canary", metavar="SHARES", default="100%", help="in waves: 1%%,10%%,100%% (default: to all at once)")
    add("--soak", metavar="S", type=seconds, default=60.0, help="after a wave, look at it again then (default: 1m)")
    add("--abort-at", metavar="SHARE", default="2%", help="take it back when more hosts fail (default: 2%%)")
    add("--dry-run", action="store_true", help="say what would happen; change nothing, here or there")
    add("-j", "--jobs", metavar="N", type=count, default=32, help="how many hosts at once (default: 32)")
    add("--timeout", metavar="S", type=seconds, default=600.0, help="what a host's pull may take (default: 10m)")


def _building(add: Add) -> None:
    """Add what a release is made from."""
    add("source", metavar="DIR", help="what was built")
    add("--preflight", metavar="COMMAND", default="", help="run in the new release before nodes switch to it")
    add("--health", metavar="COMMAND", default="", help="run after they did; failing turns them back")
    add("--exclude", metavar="PATTERN", action="append", default=[], help="leave out such paths (*.o, tests)")
    add(
        "--allow",
        metavar="PATTERN",
        action="append",
        default=[],
        help="take such paths though they look secret or large",
    )
    add("--large", metavar="SIZE", type=_bytes, default=50_000_000, help="what counts as large (default: 50MB)")


def _rest(name: str, add: Add) -> None:
    """Add what only one of the master's commands takes."""
    if name == "diff":
        add("old", metavar="A", help="a label, an id, or a directory")
        add("new", metavar="B", help="likewise")
    if name == "history":
        add("-n", "--lines", type=count, default=20, help="how many (default: 20)")
    if name == "rollback":
        add("label", metavar="LABEL", nargs="?", default="", help="what to offer (default: the one before)")
    if name in ("pin", "unpin"):
        add("host", metavar="HOST", help="a host's name, as its node.yaml has it")
    if name == "pin":
        add("release", metavar="RELEASE", help="a label, or an id")
    if name == "promote":
        add("source", metavar="FROM", help="the channel that offers it")
        add("target", metavar="TO", help="the channel that shall")
    if name == "gc":
        add("--keep", metavar="N", type=count, default=10, help="how much of each history (default: 10)")
        add("--dry-run", action="store_true", help="say it; remove nothing")
    if name == "bundle":
        add("file", metavar="FILE", help="what to write")
    if name == "serve":
        add("--port", type=count, default=_PORT, help=f"where (default: {_PORT})")
        add("--bind", metavar="ADDRESS", default="", help="on which address only (default: all)")


def _node(name: str, add: Add) -> None:
    """Add what one of a node's commands takes."""
    add("--home", metavar="DIR", default=None, help="everything under DIR, instead of the system's places")
    if name in ("pull", "fsck"):
        add("--wait", metavar="S", type=seconds, default=0.0, help="wait so long for another one at work here")
    if name == "pull":
        add("--dry-run", action="store_true", help="say what would happen; write nothing")
        add("--force", action="store_true", help="also what failed here before; look at what is here already")
    if name == "fsck":
        add("--repair", action="store_true", help="fetch anew what is damaged")


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser with the commands among these words; with all where there are none."""
    parser = Parser(prog="quesofiesta", description=MAIN, epilog=f"{EXAMPLES}\n{EXIT_CODES}", formatter_class=Help)
    parser.add_argument("--version", action="version", version=f"quesofiesta {__version__}")
    _globals(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name in [n for n in COMMANDS if n in words] or COMMANDS:
        short, text = COMMANDS[name]
        sub = commands.add_parser(name, help=short, description=text, epilog=EXIT_CODES, formatter_class=Help)
        _globals(sub)
        if name in SHELLS:
            sub.add_argument("shell", choices=("bash", "zsh"))
            continue
        (_node if name in NODE else _master)(name, sub.add_argument)
    return parser
