"""whiz(1) and quesofiesta(1), out of the parsers that the commands themselves use."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import NamedTuple

from whiz.face import helptext, parser
from whiz.face.quesofiesta import helptext as helptext_of_releases
from whiz.face.quesofiesta import parser as parser_of_releases


class Command(NamedTuple):
    """What of a command is not in its parser. `files`: path, what it is."""

    title: str
    parser: argparse.ArgumentParser
    exit_codes: str
    files: tuple[tuple[str, str], ...]
    see: str


WHIZ = (
    (r"/etc/whiz/whizzifest", "what should run (or .yaml); a user's is in ~/.config/whiz"),
    (r"/etc/whiz/node.yaml", "this machine's name and roles"),
    (r"/run/whiz", "what is true until reboot"),
    (r"/var/lib/whiz", "what outlives it: wishes, finished tasks, history"),
    (r"/var/log/whiz/NAME.log", "output, the newest 10 MB of each program"),
    (r"~/.local/state/whiz", "a user's own three of these"),
)
QUESOFIESTA = (
    (r"/etc/whiz/quesofiesta.yaml", "which channel of which repository a node follows, and whom it believes"),
    (r"/etc/whiz/node.yaml", "this machine's name and roles"),
    (r"/var/lib/whiz/apps/APP", "releases, what they are made of, and what is remembered"),
    (r"/run/whiz/quesofiesta/APP.json", "how the last pull went"),
    (r"~/.config/whiz/keys", "a master's keys, by repository"),
)
SEE = r"All keys of a whizzifest: \fI/usr/share/doc/whiz/manifest.md\fR; examples: \fI/usr/share/doc/whiz/examples\fR."
COMMANDS = {
    "whiz": Command(
        "write down what should run; whiz makes it so",
        parser.build_parser(),
        helptext.EXIT_CODES,
        WHIZ,
        f"quesofiesta(1). {SEE}",
    ),
    "quesofiesta": Command(
        "publish built source as releases, and bring them to every node",
        parser_of_releases.build_parser(),
        helptext_of_releases.EXIT_CODES,
        QUESOFIESTA,
        "whiz(1), ssh-keygen(1)",
    ),
}


def page(name: str, version: str, epoch: int) -> str:
    """Return a command's manual page, in man(7)."""
    command = COMMANDS[name]
    parser = command.parser
    day = dt.datetime.fromtimestamp(epoch, dt.UTC).date().isoformat()
    head, _, text = (parser.description or "").partition("\n\n")
    parts = [
        f'.TH {name.upper()} 1 "{day}" "whiz {version}" "User Commands"',
        ".SH NAME",
        rf"{name} \- {plain(command.title)}",
        ".SH SYNOPSIS",
        rf".B {name}\fR [\fIOPTION\fR]... \fICOMMAND\fR [\fIARGUMENT\fR]...",
        ".SH DESCRIPTION",
        plain(head),
        ".PP",
        raw(text),
        ".SH OPTIONS",
        "These may stand before or behind the command.",
        *options(parser),
        ".SH COMMANDS",
    ]
    subs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001  no other way
    for word, sub in subs.choices.items():
        known = {tuple(a.option_strings) for a in parser._actions}  # noqa: SLF001
        parts += [f".SS {word}", raw(sub.description or ""), *options(sub, known), *actions(sub)]
    parts += [".SH EXIT STATUS", raw(command.exit_codes.partition("\n")[2]), ".SH FILES"]
    for path, what in command.files:
        parts += [".TP", rf"\fB{path}\fR", plain(what)]
    return "\n".join([*parts, ".SH SEE ALSO", command.see]) + "\n"


def actions(parser: argparse.ArgumentParser) -> list[str]:
    """Return the words that may follow a command, with what each means."""
    out = []
    for subs in (a for a in parser._actions if isinstance(a, argparse._SubParsersAction)):  # noqa: SLF001
        for choice in subs._choices_actions:  # noqa: SLF001
            out += [".TP", rf"\fB{choice.dest}\fR", plain(choice.help or "")]
    return out


def options(parser: argparse.ArgumentParser, known: set[tuple[str, ...]] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Return what a parser takes, but for what is known and for its commands."""
    out = []
    for action in parser._actions:  # noqa: SLF001
        names = tuple(action.option_strings)
        hidden = action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        if hidden or names in known:
            continue
        takes = action.metavar if isinstance(action.metavar, str) else "|".join(action.choices or ())
        shown = ", ".join(rf"\fB{plain(n)}\fR" for n in names) or rf"\fI{plain(takes)}\fR"
        value = rf" \fI{plain(takes)}\fR" if names and takes else ""
        out += [".TP", shown + value, plain(action.help or "one of these")]
    return out


def plain(text: str) -> str:
    """Return text that troff takes as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line[:1] in (".", "'") else line for line in text.splitlines())


def raw(text: str) -> str:
    """Return lines that stay lines."""
    return f".nf\n{plain(text.rstrip())}\n.fi"
