"""systemd's unit files: their lines, their quoting, their specifiers."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from whiz.core.importing.values import Entry
from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.importing.values import Source

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_FOLDERS = {"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp", "V": "/var/tmp"}  # noqa: S108
_LATER = {
    "A": "image version", "a": "architecture", "b": "boot", "B": "build", "c": "control group", "d": "credentials",
    "H": "host name", "l": "host name", "m": "machine", "M": "image", "o": "operating system", "q": "host name",
    "v": "kernel", "w": "version", "W": "variant", "Y": "unit's folder", "y": "unit's path",
}  # fmt: skip


@value
class Unit:
    """A unit by its full name, with its own file, and with drop-ins behind it in the order in which they hold."""

    name: str
    sources: tuple[Source, ...]

    @property
    def stem(self) -> str:
        """Return the name without its kind."""
        return self.name.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """Return service or timer."""
        return self.name.rpartition(".")[2]


def read(source: Source) -> Iterator[Entry]:
    """Yield each option; the key is empty where a line is none."""
    section, number, start, held = "", 0, 0, ""
    for number, raw in enumerate(source.text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not held):
            continue
        start = start if held else number
        held = f"{held} {line}".strip() if held else line
        if held.endswith("\\"):
            held = held[:-1].rstrip() + " "
            continue
        section, entry = _line(held.strip(), section, start, source.file)
        if entry is not None:
            yield entry
        held = ""
    if held.strip():
        yield Entry(source.file, start, f"{held.strip()} (a line that goes on, at the end of the file)", "", "")


def _line(line: str, section: str, number: int, file: str) -> tuple[str, Entry | None]:
    if line.startswith("[") and line.endswith("]"):
        return line, None
    key, equals, held = line.partition("=")
    if not equals or not section or not key.strip():
        return section, Entry(file, number, line, "", "")
    return section, Entry(file, number, section, key.strip(), held.strip())


def words(text: str) -> list[str]:
    """Split as systemd does: quotes at word's ends or within, C's escapes. Raise ValueError."""
    out: list[str] = []
    word, quote, inside, at = "", "", False, 0
    while at < len(text):
        c = text[at]
        if c == "\\" and at + 1 < len(text):
            found = _ESCAPE.match(text, at)
            assert found is not None  # noqa: S101  a letter follows
            word, inside, at = word + _unescaped(found[1]), True, found.end()
            continue
        if quote:
            word, quote = (word, "") if c == quote else (word + c, quote)
        elif c in "'\"":
            quote, inside = c, True
        elif c.isspace():
            if inside:
                out.append(word)
            word, inside = "", False
        else:
            word, inside = word + c, True
        at += 1
    if quote:
        raise ValueError(f"a quote is not closed in {text[:60]!r}")
    return [*out, word] if inside else out


def _unescaped(code: str) -> str:
    if len(code) == 1:  # "\\;" is for the reader of commands, to whom ";" alone is an end
        return "\\;" if code == ";" else _NAMED.get(code, code)
    return chr(int(code, 8) if code[0].isdigit() else int(code[1:], 16))


def specified(text: str, unit: Unit) -> str:
    """Replace specifiers by what they mean for this unit; raise ValueError for what only its machine knows."""
    if "%" not in text:
        return text
    prefix, at, instance = unit.stem.partition("@")
    folder = unit.sources[0].folder
    user = folder.endswith("/systemd/user")
    known = {"n": unit.name, "N": unit.stem, "p": prefix, "P": _unpathed(prefix), "j": prefix.rpartition("-")[2]}
    known |= {"J": _unpathed(prefix.rpartition("-")[2]), "f": f"/{_unpathed(instance or prefix)}".replace("//", "/")}
    if at and instance:
        known |= {"i": instance, "I": _unpathed(instance)}
    if not user:
        known |= {"h": "/root", "u": "root", "U": "0", "g": "root", "G": "0", "s": "/bin/sh", **_FOLDERS}
    elif "/.config/" in folder:
        known |= {"h": folder.partition("/.config/")[0], "u": posixpath.basename(folder.partition("/.config/")[0])}

    def put(found: re.Match[str]) -> str:
        letter = found[1]
        if letter == "%":
            return "%"
        if letter in known:
            return known[letter]
        if letter in "iI":
            raise ValueError(f"%{letter} is the instance of a template, and this one has none")
        said = f" ({_LATER[letter]})" if letter in _LATER else ""
        raise ValueError(f"%{letter}{said} is known to systemd only")

    return re.sub(r"%(.)", put, text)


def _unpathed(text: str) -> str:
    """Undo systemd's escaping of names."""
    text = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), text)
