"""A whizzifest as YAML text, from what was translated: for people to read, and for every YAML 1.1 to read alike."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whiz.core import keys
from whiz.core.importing.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from whiz.core.importing.values import Ported, Remark

_PLAIN = re.compile(r"(?:--?)?[A-Za-z/][A-Za-z0-9_./+=@%-]*(?: [A-Za-z0-9_./+=@%-]+)*")
_SPAN = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|[KMG]i?B|B|%)")  # a duration, a size or a share
# what YAML 1.1 takes for something else than a word
_TRAPS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_ORDER = {key.name: i for i, key in enumerate(keys.PROGRAM.keys)} | {"schedule": 1.5, "instances": 0.5}


def scalar(text: str) -> str:
    """Return a string so that it is read as this string."""
    if (_PLAIN.fullmatch(text) and text.lower() not in _TRAPS) or _SPAN.fullmatch(text):
        return text
    return '"' + "".join(map(_letter, text)) + '"'


def _letter(c: str) -> str:
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if c in named:
        return named[c]
    if c.isprintable():
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004


def flow(held: object) -> str:
    """Return any value on one line."""
    match held:
        case bool():
            return "true" if held else "false"
        case int():
            return str(held)
        case dict():
            return "{" + ", ".join(f"{scalar(str(k))}: {flow(v)}" for k, v in held.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, held)) + "]"
        case _:
            return scalar(str(held))


def _command(words: Iterable[str]) -> str:
    """Return a command as one string where that reads the same, else as a list."""
    words = list(words)
    line = shlex.join(words)
    return flow(line if line == " ".join(words) and scalar(line) == line else words)


def said(remarks: Iterable[Remark]) -> Iterator[list[str]]:
    """Yield each remark as lines; those of one file that say the same are one."""
    alike: dict[tuple[object, ...], list[Remark]] = {}
    for r in remarks:
        alike.setdefault((r.kind, r.file, r.why, r.hint, r.programs), []).append(r)
    for (kind, file, why, hint, _), held in alike.items():
        lines = ",".join(dict.fromkeys(str(r.line) for r in held if r.line))
        what = ", ".join(dict.fromkeys(r.what for r in held))
        told = f"{file}:{lines}: {what}: {kind}" if lines else f"{file}: {what}: {kind}"
        others = held[0].programs[1:]
        also = f" (and so of {', '.join(others)})" if others else ""
        yield [
            clean(text)
            for text in (f"{told}: {why}{also}" if why else told + also, *([f"  hint: {hint}"] if hint else []))
        ]


def clean(text: str) -> str:
    """Return a text that stays on its line in a comment and does nothing to a terminal."""
    return "".join(c if c.isprintable() else _letter(c) for c in text)


def programs_of(ported: Ported) -> dict[str, dict[str, object]]:
    """Return name -> its keys, sub-maps as maps; what came later holds."""
    out: dict[str, dict[str, object]] = {}
    for name, key, held, *_ in ported.translations:
        top, _, below = key.partition(".")
        program = out.setdefault(name, {})
        if not below:
            program[top] = held
        else:
            inner = program.setdefault(top, {})
            assert isinstance(inner, dict)  # noqa: S101  a key of a map is never the map
            inner[below] = held
    return out


def render(ported: Ported, came_from: str) -> str:
    """Return the whizzifest."""
    told = [r for r in ported.remarks if r.kind is not Kind.SAME]
    lines = [f"# made by whiz import from {clean(came_from)}", "version: 1"]
    programs, withheld, titles = programs_of(ported), dict(ported.withheld), dict(ported.titles)
    about: dict[str, list[Remark]] = {}
    for r in told:
        about.setdefault(next(iter(r.programs), ""), []).append(r)
    if own := [r for r in told if not programs.keys() & {*r.programs[:1]}]:
        lines += ["", *(f"# {text}" for texts in said(own) for text in texts)]
    if ported.hitlist:
        lines += ["", "hitlist:", *(f"  - {scalar(path)}" for path in ported.hitlist)]
    if programs:
        lines += ["", "programs:" if programs.keys() - withheld.keys() else "programs: {}"]
    for name, held in programs.items():
        remarks = [text for texts in said(about.get(name, ())) for text in texts]
        if title := titles.get(name):
            lines.append(f"  # {clean(title)}")
        if name in withheld:
            lines += [f"  # {clean(text)}" for text in remarks]
            lines.append(f"  # WITHHELD, {clean(withheld[name])}:")
            lines += [f"#{line}" for line in _program(name, held, ())]
        else:
            lines += _program(name, held, remarks)
    return "\n".join(lines) + "\n"


def _program(name: str, held: Mapping[str, object], remarks: Iterable[str]) -> Iterator[str]:
    yield f"  {scalar(name)}:"
    for text in remarks:
        yield f"    # {text}"
    for key in sorted(held, key=lambda k: _ORDER[k]):
        value = held[key]
        if key == "run" and isinstance(value, list | tuple):
            yield f"    run: {_command(value)}"
        elif key == "env" and isinstance(value, dict):
            yield "    env:"
            yield from (f"      {scalar(k)}: {flow(str(v))}" for k, v in value.items())
        else:
            yield f"    {key}: {flow(value)}"
