"""ssh_config(5), as far as it says where a host is and who logs in: Host blocks and what they set."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from whiz.core.fleet.keys import OPTIONS
from whiz.core.shape import BAD, Node, Report, good_name
from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEEP = 16  # includes within includes, as ssh has it
_OURS = {"user": "user", "port": "port", "proxyjump": "jump", "hostname": "address"}


@value
class Line:
    """One keyword of one file; `patterns`: of the Host block that it stands in, None within a Match."""

    patterns: tuple[str, ...] | None
    keyword: str
    words: tuple[str, ...]
    node: Node
    report: Report


def lines(report: Report, include: Callable[[str], Iterable[Report]]) -> list[Line]:
    """Return every line that counts, includes in their place."""
    return _lines(report, include, ("*",), 0)


def _lines(
    report: Report, include: Callable[[str], Iterable[Report]], patterns: tuple[str, ...] | None, depth: int
) -> list[Line]:
    found: list[Line] = []
    for number, text in enumerate(report.lines, 1):
        here = Node("str", text.strip(), number, len(text) - len(text.lstrip()) + 1)
        if not here.value or here.value.startswith("#"):
            continue
        keyword, _, rest = re.sub(r"^(\w+)\s*[=\s]\s*", r"\1 ", here.value).partition(" ")
        try:
            words = tuple(shlex.split(rest))
        except ValueError as exc:
            report.at(here, f"cannot split into words: {str(exc).lower()}", "close the quote")
            continue
        match keyword.lower():
            case "host":
                patterns = words
                found.append(Line(patterns, "host", words, here, report))
            case "match":
                patterns = ("*",) if [w.lower() for w in words] == ["all"] else None
            case "include" if depth >= _DEEP:
                report.at(here, f"includes go deeper than {_DEEP} files")
            case "include":
                for each in words:
                    for below in include(each):
                        found += _lines(below, include, patterns, depth + 1)
            case name:
                found.append(Line(patterns, name, words, here, report))
    return found


def names(held: Iterable[Line]) -> list[Line]:
    """Return the Host lines, each with only the names that stand for one host."""
    found = []
    for line in held:
        if line.keyword == "host":
            single = tuple(w for w in line.words if good_name(w))
            found.append(Line(line.patterns, "host", single, line.node, line.report))
    return found


def options(name: str, held: Iterable[Line]) -> dict[str, Any]:
    """Return what ssh would take for this name: of each keyword the first that fits, of keys all."""
    out: dict[str, Any] = {}
    for line in held:
        if line.patterns is None or not _fits(name, line.patterns) or not line.words:
            continue
        if line.keyword == "identityfile":
            out["key"] = (*out.get("key", ()), line.words[0])
        elif line.keyword in _OURS and _OURS[line.keyword] not in out:
            option = _OURS[line.keyword]
            given = line.words[0].replace("%h", name).replace("%n", name) if option == "address" else line.words[0]
            if option == "jump":
                nodes = [Node("str", hop, line.node.line, line.node.column) for hop in given.split(",")]
                read = OPTIONS["jump"].read(Node("list", nodes, line.node.line, line.node.column), line.report)
            else:
                read = OPTIONS[option].read(Node("str", given, line.node.line, line.node.column), line.report)
            if read is not BAD:
                out[option] = read
    return out


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a Host line is for this name: one pattern fits, and none that begins with `!`."""
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))
