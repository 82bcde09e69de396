"""JSON as pm2 reads it, which is JavaScript's: comments, single quotes, bare keys and a comma too many do no harm."""

from __future__ import annotations

import bisect
import json
import re
from typing import TYPE_CHECKING

from whiz.core.importing.ledger import refuse
from whiz.core.shape import Node

if TYPE_CHECKING:
    from whiz.core.importing.values import Source

_BLANK = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_DEEP = 50
_KINDS = {"true": "bool", "false": "bool", "null": "null"}


def parse(source: Source) -> Node:
    """Return the tree of the text; raise ManifestError with its place."""
    reader = _Reader(source)
    root = reader.value(0)
    reader.blank()
    if reader.at != len(source.text):
        raise reader.refuse("something follows the end of the JSON")
    return root


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source, self._text, self.at = source, source.text, 0
        self._begins = [0, *(found.end() for found in re.finditer("\n", source.text))]  # of lines

    def refuse(self, message: str, hint: str = "") -> Exception:
        line = self._place()[0]
        text = (self._text.splitlines() or [""])[min(line, len(self._text.splitlines()) or 1) - 1]
        return refuse(self._source.file, line, f"not JSON: {message}", text, hint)

    def blank(self) -> None:
        found = _BLANK.match(self._text, self.at)
        self.at = found.end() if found else self.at

    def value(self, depth: int) -> Node:
        """Read one value."""
        self.blank()
        if depth > _DEEP:
            raise self.refuse(f"nested deeper than {_DEEP} levels")
        start, here = self._place(), self._text[self.at : self.at + 1]
        if here == "{":
            return Node("map", self._items("}", depth), *start)
        if here == "[":
            return Node("list", self._items("]", depth), *start)
        if here in ('"', "'"):
            return Node("str", self._string(), *start)
        if (found := _NUMBER.match(self._text, self.at)) is not None:
            self.at = found.end()
            return Node("float" if found[1] or found[2] else "int", found[0], *start)
        found = _WORD.match(self._text, self.at)
        if found is None or found[0] not in _KINDS:
            said = f"{found[0]!r} is code, which whiz does not run" if found else "a value is missing"
            raise self.refuse(said, HINT if found else "")
        self.at = found.end()
        return Node(_KINDS[found[0]], found[0], *start)

    def _items(self, end: str, depth: int) -> list[Node | tuple[Node, Node]]:
        items: list[Node | tuple[Node, Node]] = []
        self.at += 1
        while True:
            self.blank()
            if self._text[self.at : self.at + 1] == end:
                self.at += 1
                return items
            items.append(self._pair(depth) if end == "}" else self.value(depth + 1))
            self.blank()
            here = self._text[self.at : self.at + 1]
            if here == ",":
                self.at += 1
            elif here != end:
                raise self.refuse("it ends too early" if not here else f"expected ',' or {end!r}, found {here!r}")

    def _pair(self, depth: int) -> tuple[Node, Node]:
        start = self._place()
        if (word := _WORD.match(self._text, self.at)) is not None:
            key, self.at = word[0], word.end()
        else:
            key = self._string()
        self.blank()
        if self._text[self.at : self.at + 1] != ":":
            raise self.refuse(f"expected ':' behind {key[:40]!r}")
        self.at += 1
        return Node("str", key, *start), self.value(depth + 1)

    def _string(self) -> str:
        found = _TEXT.match(self._text, self.at)
        if found is None:
            raise self.refuse("it ends too early" if self.at >= len(self._text) else "expected a word in quotes")
        body = found[0][1:-1]
        if found[0][0] == "'":
            body = body.replace("\\'", "'").replace('"', '\\"')
        try:
            held = str(json.loads(f'"{body}"', strict=False))
            held.encode()
        except ValueError:
            raise self.refuse("a '\\' that JSON does not know") from None
        self.at = found.end()
        return held

    def _place(self) -> tuple[int, int]:
        line = bisect.bisect_right(self._begins, self.at)
        return line, self.at - self._begins[line - 1] + 1


HINT = "make JSON of it: node -p \"JSON.stringify(require('./ecosystem.config.js'), null, 2)\" > ecosystem.json"
