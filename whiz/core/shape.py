"""What a value in a YAML file may look like: one description reads it, makes its JSON Schema and its reference."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from whiz.core import words
from whiz.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NAME = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST = 200  # of the 255 that a file name may have


def good_name(text: str) -> bool:
    """Whether this can name a program: it will be part of file names too."""
    return NAME.fullmatch(text) is not None and text not in (".", "..") and len(text) <= _LONGEST


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value with its place. `value`: text of a scalar, Nodes of a list, (Node, Node) pairs of a map."""

    kind: str  # map list str int float bool null
    value: Any
    line: int
    column: int


@dataclass(slots=True)
class Report:
    """Collects the problems of one file."""

    file: str
    lines: Sequence[str] = ()
    problems: list[Problem] = field(default_factory=list)

    def at(self, node: Node, message: str, hint: str = "") -> None:
        """Note a problem at this node, with the line it stands on."""
        text = self.lines[node.line - 1] if 0 < node.line <= len(self.lines) else ""
        self.problems.append(Problem(self.file, node.line, node.column, message, text, hint))


class Bad:
    """What `read` returns for a value it has reported."""


BAD = Bad()
JSON = dict[str, Any]


class Shape(Protocol):
    """Reads a Node into a value (BAD once reported), and describes itself."""

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Return the value, or BAD once the problem is reported."""

    def schema(self) -> JSON:
        """Return the JSON Schema of what `read` accepts."""


@dataclass(frozen=True)
class Text:
    """A string; `accept` returns the value or raises ValueError, which `speaks` for itself or not."""

    what: str
    accept: Callable[[str], Any] = str
    pattern: str | None = None
    kinds: tuple[str, ...] = ("str",)
    speaks: bool = False

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read a scalar."""
        if node.kind in self.kinds:
            try:
                return self.accept(node.value)
            except ValueError as exc:
                if self.speaks:
                    report.at(node, str(exc))
                    return BAD
        report.at(node, f"expected {self.what}, found {_found(node)}")
        return BAD

    def schema(self) -> JSON:
        """Describe it."""
        types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
        shown: JSON = {"type": [types[k] for k in self.kinds] if len(self.kinds) > 1 else types[self.kinds[0]]}
        return shown | ({"pattern": self.pattern} if self.pattern else {}) | {"description": self.what}


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]
    make: Callable[[str], Any] = str

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read one of the words; YAML's on, off, yes and no are words here too."""
        if node.kind in ("str", "bool", "null") and node.value in self.options:
            return self.make(node.value)
        near = words.near(str(node.value), self.options)
        hint = f"did you mean {near!r}?" if near else ""
        report.at(node, f"expected one of {', '.join(self.options)}, found {_found(node)}", hint)
        return BAD

    def schema(self) -> JSON:
        """Describe it."""
        return {"enum": list(self.options)}


@dataclass(frozen=True)
class Many:
    """A list; a single value counts as a list of one."""

    item: Shape

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read every item, reporting each bad one."""
        items = node.value if node.kind == "list" else [node]
        read = [self.item.read(n, report) for n in items]
        return BAD if any(v is BAD for v in read) else tuple(read)

    def schema(self) -> JSON:
        """Describe it."""
        return {"anyOf": [self.item.schema(), {"type": "array", "items": self.item.schema()}]}


@dataclass(frozen=True)
class Words:
    """A command: a string split as a shell splits words (no shell runs), or a list of words."""

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read the words; the first one must be there."""
        if node.kind == "list":
            argv = Many(SCALAR).read(node, report)
        else:
            argv = SCALAR.read(node, report)
            if argv is not BAD:
                try:
                    argv = tuple(shlex.split(argv))
                except ValueError as exc:
                    report.at(node, f"cannot split into words: {str(exc).lower()}", "close the quote or escape it")
                    return BAD
        if isinstance(argv, tuple) and (not argv or not argv[0]):
            report.at(node, "no destination: a path with optional arguments is needed")
            return BAD
        if isinstance(argv, tuple) and any("\0" in w for w in argv):
            report.at(node, "a NUL character cannot stand in a command")
            return BAD
        return argv

    def schema(self) -> JSON:
        """Describe it."""
        return {
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
        }


@dataclass(frozen=True)
class Pairs:
    """A map from names to strings, such as an environment."""

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read the pairs, in the order they stand."""
        if node.kind != "map":
            report.at(node, f"expected NAME: value lines, found {_found(node)}")
            return BAD
        pairs, bad = {}, False
        for key, value in unique(node, report):
            held = SCALAR.read(value, report)
            if not key.value or "=" in key.value or "\0" in key.value:
                report.at(key, f"{key.value!r} cannot name an environment variable")
                bad = True
            if isinstance(held, str) and "\0" in held:
                report.at(value, "a NUL character cannot stand in an environment")
                bad = True
            bad = bad or held is BAD
            pairs[key.value] = held
        return BAD if bad else tuple(pairs.items())

    def schema(self) -> JSON:
        """Describe it."""
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}


@dataclass(frozen=True)
class Key:
    """One key of a Record, with the sentence that the reference prints."""

    name: str
    shape: Shape
    doc: str
    default: str = ""


@dataclass(frozen=True)
class Record:
    """A map with known keys; an unknown one is an error."""

    keys: tuple[Key, ...]
    required: tuple[str, ...] = ()
    closed: ClassVar[bool] = True

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read the given keys into a dict, without those that were reported."""
        if node.kind != "map":
            report.at(node, f"expected a map with {', '.join(k.name for k in self.keys[:5])} …, found {_found(node)}")
            return BAD
        known = {k.name: k for k in self.keys}
        out = {}
        for key, value in unique(node, report):
            if key.value not in known:
                near = words.near(str(key.value), known)
                hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
                report.at(key, f"unknown key {key.value!r}", hint)
                continue
            held = known[key.value].shape.read(value, report)
            if held is not BAD:
                out[key.value] = held
        for name in self.required:
            if name not in (k.value for k, _ in node.value):
                report.at(node, f"{name!r} is missing")
        return out

    def schema(self) -> JSON:
        """Describe it."""
        shown: JSON = {"type": "object", "additionalProperties": False}
        shown["properties"] = {k.name: {**k.shape.schema(), "description": k.doc} for k in self.keys}
        return shown | ({"required": list(self.required)} if self.required else {})


@dataclass(frozen=True)
class OneOf:
    """A Record in which exactly one of `ways` is to be given."""

    record: Record
    ways: tuple[str, ...]

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read the record."""
        held = self.record.read(node, report)
        if held is BAD:
            return BAD
        given = [k.value for k, _ in node.value if k.value in self.ways]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            report.at(node, f"expected exactly one of {', '.join(self.ways)}, found {found}")
        return held

    def schema(self) -> JSON:
        """Describe it."""
        return self.record.schema() | {"oneOf": [{"required": [way]} for way in self.ways]}


def unique(node: Node, report: Report) -> Iterable[tuple[Node, Node]]:
    """Yield the pairs of a map, reporting a key that stands twice."""
    seen: dict[str, Node] = {}
    for key, value in node.value:
        if key.kind in ("map", "list"):
            report.at(key, f"a key must be a word, found {_found(key)}")
            continue
        if key.value in seen:
            report.at(key, f"{key.value!r} stands twice: also in line {seen[key.value].line}")
            continue
        seen[key.value] = key
        yield key, value


def _found(node: Node) -> str:
    named = {"map": "a map", "list": "a list", "null": "nothing"}
    return named.get(node.kind) or repr(node.value)


SCALAR = Text("a string", kinds=("str", "int", "float", "bool"))
