"""How whiz speaks: words for people on stdout, problems on stderr, JSON where it was asked for."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

VERSION = 1  # of every JSON that whiz prints
NAME = "whiz"  # who speaks; quesofiesta says its own


def wants_json(args: argparse.Namespace) -> bool:
    """Whether the call asked for JSON."""
    return bool(getattr(args, "json", False))


def say_json(data: dict[str, object]) -> None:
    """Print an answer with its version."""
    print(json.dumps({"version": VERSION, **data}, ensure_ascii=False), flush=True)  # noqa: T201


def deafen() -> None:
    """Point stdout to where writing succeeds, so that the interpreter's own flush does too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line, unless quiet or JSON was asked for."""
    if not getattr(args, "quiet", False) and not wants_json(args):
        print(text, flush=True)  # noqa: T201


def verbatim() -> None:
    """Print the bytes of another encoding that a text was read with (surrogateescape) as these bytes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def warn(text: str) -> None:
    """Print a problem."""
    try:
        print(f"{NAME}: {text}", file=sys.stderr)  # noqa: T201
    except OSError:
        return  # nobody hears us
