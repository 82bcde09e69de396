"""From documents to a Manifest: what was released beneath what is the node's own, roles, names and the hit list."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whiz.core import keys
from whiz.core.entry import Entry, anchored, joined, merged, pairs, placed, programs
from whiz.core.errors import ManifestError
from whiz.core.model import Program, Want
from whiz.core.order import cycles
from whiz.core.shape import BAD, Node, Report, good_name, unique
from whiz.core.value import replace
from whiz.core.words import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.errors import Problem
    from whiz.core.model import Manifest


@dataclass(frozen=True, slots=True)
class Identity:
    """What node.yaml says of this machine."""

    name: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(slots=True)
class Document:
    """One file, read: its tree, or the problems that kept it from being one.

    `layer`: the whizzifest that brought it, by its main file; 0 is the node's own, which goes before all that follow.
    """

    path: str
    root: Node | None
    report: Report
    layer: int = 0


def includes(document: Document) -> tuple[tuple[str, Node], ...]:
    """Return the patterns this document includes, each with its place."""
    for key, value in pairs(document.root):
        if key.value == "include":
            nodes = value.value if value.kind == "list" else [value]
            return tuple((n.value, n) for n in nodes if n.kind == "str" and n.value)
    return ()


def build(documents: Iterable[Document], node: Identity) -> Manifest:
    """Return the Programs of all documents, the first being the main one; raise ManifestError with every problem.

    What depends on other files (the digests of a program's own files and of its env_file) is not yet in them.
    """
    docs = list(documents)
    entries: dict[str, Program] = {}
    where: dict[str, Entry] = {}
    names: dict[str, str] = {}  # in lower case -> as it stands first
    families: dict[str, list[str]] = {}
    common: dict[int, dict[str, Any]] = {}
    layers: dict[str, int] = {}
    for doc in docs:
        top = _top(doc)
        base = posixpath.dirname(doc.path)
        top["defaults"] = anchored(top.get("defaults", {}), base)
        common[doc.layer] = common.get(doc.layer) or top["defaults"]
        defaults = merged(common[doc.layer], top["defaults"])
        for key, value in top.get("programs", ()):
            if layers.setdefault(key.value, doc.layer) < min(doc.layer, 1):
                continue  # the node has its own of this name
            given = keys.PROGRAM.read(value, doc.report)
            taken = _name_taken(key, where, names, doc.report)
            where.setdefault(key.value, Entry(key, value, doc.report))
            names.setdefault(key.value.lower(), key.value)
            if taken or given is BAD or not _wanted(key, value, given, node, doc.report):
                continue
            made = programs(anchored(given, base), defaults, base, where[key.value])
            families[key.value] = [p.name for p in made]
            entries |= {p.name: p for p in made}
        for entry in top.get("hitlist", ()):
            path = joined(base, entry) if "/" in entry else entry
            entries[f"hitlist/{path}"] = Program(name=f"hitlist/{path}", argv=(path,), want=Want.DOWN)
    entries = {name: _expanded(p, families, where) for name, p in entries.items()}
    _refuse_cycles(entries, where)
    problems = tuple(sorted({p for doc in docs for p in doc.report.problems}, key=_place))
    if problems:
        raise ManifestError(problems)
    return entries


def hooks(documents: Iterable[Document]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return event -> the commands that are told of it, of documents that `build` found right."""
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for doc in documents:
        for event, argv in _top(doc).get("on", {}).items():
            found[event] = (*found.get(event, ()), placed(argv, posixpath.dirname(doc.path)))
    return found


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.message


def _top(doc: Document) -> dict[str, Any]:
    """Read the top keys of a document; `programs` stays a list of nodes."""
    out: dict[str, Any] = {}
    known = {k.name: k for k in keys.TOP}
    if doc.root is None or doc.root.kind == "null":
        return out
    if doc.root.kind != "map":
        doc.report.at(doc.root, "expected top keys such as programs: and hitlist:, found something else")
        return out
    for key, value in unique(doc.root, doc.report):
        if key.value == "programs":
            if value.kind == "map":
                out["programs"] = list(unique(value, doc.report))
            elif value.kind != "null":
                doc.report.at(value, "programs: expects NAME: lines below it")
        elif key.value not in known:
            close = near(str(key.value), [*known, "programs"])
            doc.report.at(key, f"unknown key {key.value!r}", f"did you mean {close!r}?" if close else "")
        elif key.value == "version":
            if value.value != "1":
                doc.report.at(value, f"version {value.value} is not known to this whiz", "write version: 1")
        else:
            held = known[key.value].shape.read(value, doc.report)
            if held is not BAD:
                out[key.value] = held
    return out


def _name_taken(key: Node, where: Mapping[str, Entry], names: Mapping[str, str], report: Report) -> bool:
    """Report a name that is malformed, or that another entry has, also in other letters."""
    if not good_name(key.value):
        report.at(key, f"{key.value!r} cannot be a name", "use letters, digits, '.', '_' and '-', at most 200")
        return True
    name = names.get(key.value.lower())
    if name is None:
        return False
    other = where[name]
    same = "stands twice" if name == key.value else f"differs from {name!r} only by case"
    again = other.report.file == report.file and other.key.line == key.line
    hint = "the file is included twice" if again else "give it another name"
    report.at(key, f"{key.value!r} {same}: also in {other.report.file}:{other.key.line}", hint)
    return True


def _wanted(key: Node, value: Node, given: dict[str, Any], node: Identity, report: Report) -> bool:
    """Whether the entry is for this node."""
    for asked, have, what in (("roles", node.roles, "roles"), ("hosts", node.name, "a name")):
        if asked not in given:
            continue
        if not have:
            place = next((k for k, _ in value.value if k.value == asked), key)
            report.at(
                place,
                f"{key.value!r} is for certain {asked}, but this node has no {what}",
                f"write {'roles: [...]' if asked == 'roles' else 'name: ...'} into node.yaml",
            )
            return False
        if not set(given[asked]) & ({have} if isinstance(have, str) else set(have)):
            return False
    return True


def _expanded(p: Program, families: Mapping[str, list[str]], where: Mapping[str, Entry]) -> Program:
    """Turn the names in `after` into the programs they mean; an entry for other nodes only is skipped."""
    after: list[str] = []
    for name in p.after:
        if name not in where:
            entry = where[p.name.partition(":")[0]]
            close = near(name, where)
            hint = f"did you mean {close!r}?" if close else "no entry has this name"
            entry.report.at(entry.at("after"), f"{entry.key.value!r} comes after unknown {name!r}", hint)
        after += families.get(name, [])
    return p if tuple(after) == p.after else replace(p, after=tuple(after))


def _refuse_cycles(entries: Manifest, where: Mapping[str, Entry]) -> None:
    for path in cycles({n: p.after for n, p in entries.items()}):
        entry = where[path[0].partition(":")[0]]
        entry.report.at(entry.at("after"), f"a cycle in after: {' → '.join(path)}", "remove one of these")


def mentions(document: Document) -> bool:
    """Whether a document names anything at all, be it for other nodes."""
    return any(k.value in ("programs", "hitlist") and v.value for k, v in pairs(document.root))
