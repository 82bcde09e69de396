"""Supervisor's %(name)s expansions, and its NAME="value",… environments."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whiz.core.importing.command import HOLE, LONGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = re.compile(r"%\((\w+)\)([ #0+-]*\d{0,3})([sdir])|%%|%")


def expand(text: str, known: Mapping[str, str | int]) -> str:
    """Replace what is known; a variable of supervisord's own environment becomes a hole. Raise ValueError."""

    def put(found: re.Match[str]) -> str:
        name, width, kind = found.groups()
        if found[0] == "%%":
            return "%"
        if name is None:
            raise ValueError(f"a '%' that is no %(name)s and no '%%' in {text[:60]!r}")
        if name in known:
            held = known[name]
            return held if isinstance(held, str) else f"%{width}{kind}" % held
        if name.startswith("ENV_"):
            return f"{HOLE}{name[4:]}{HOLE}"
        raise ValueError(f"%({name})s is nothing that supervisor or whiz knows")

    return _NAMED.sub(put, text)


def variables(text: str) -> dict[str, str]:
    """Read A="1",B=2 as supervisor does, its quirks included; raise ValueError."""
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} letters, which the system takes for no variable")
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():" + HOLE
    try:
        tokens = list(lexer)
    except ValueError as exc:
        raise ValueError(f"environment: {str(exc).lower()}") from None
    out = {}
    for i in range(0, len(tokens), 4):
        match tokens[i : i + 4]:
            case [name, "=", held, *_]:
                out[name] = held.strip("'\"")
            case rest:
                raise ValueError(f'environment is A="1",B="2", and {" ".join(rest)!r} is not')
    return out


def filled(text: str, known: Mapping[str, str | int]) -> str:
    """Expand a text of which everything must be known."""
    text = expand(text, known)
    if HOLE in text:
        name = text.split(HOLE)[1]
        raise ValueError(f"%(ENV_{name})s is of supervisord's own environment, which is not known here")
    return text
