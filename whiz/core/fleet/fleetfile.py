"""fleet.yaml: from its tree to hosts and groups, with every mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.fleet import keys
from whiz.core.fleet.ansible import placed
from whiz.core.fleet.draft import ALL, Draft, Entry
from whiz.core.fleet.ranges import expand
from whiz.core.shape import BAD, Node, unique
from whiz.core.words import near

if TYPE_CHECKING:
    from whiz.core.manifest import Document
    from whiz.core.shape import Record, Report

_TOP = {k.name: k for k in keys.TOP}


def read(document: Document, draft: Draft) -> None:
    """Add what a fleet file says."""
    root, report = document.root, document.report
    if root is None or root.kind == "null":
        report.at(Node("null", None, 0, 0), "the file names no host", "write hosts: and a NAME: line for each")
        return
    if root.kind != "map":
        report.at(root, "expected top keys such as hosts: and groups:, found something else")
        return
    for key, value in unique(root, report):
        if key.value not in _TOP:
            close = near(str(key.value), _TOP)
            report.at(
                key, f"unknown key {key.value!r}", f"did you mean {close!r}?" if close else f"known: {', '.join(_TOP)}"
            )
        elif key.value == "version":
            if value.value != "1":
                report.at(value, f"version {value.value} is not known to this whiz", "write version: 1")
        elif key.value == "defaults":
            _options(draft.group(ALL, key, report), value, _TOP["defaults"].shape, report)  # type: ignore[arg-type]
        elif key.value in ("hosts", "groups"):
            _named(key, value, draft, report)
        else:
            _TOP[key.value].shape.read(value, report)


def includes(document: Document) -> tuple[Node, ...]:
    """Return the files that this one includes, each with its place."""
    root = document.root
    for key, value in root.value if root is not None and root.kind == "map" else ():
        if key.value == "include":
            return tuple(n for n in (value.value if value.kind == "list" else [value]) if n.kind == "str" and n.value)
    return ()


def _named(top: Node, value: Node, draft: Draft, report: Report) -> None:
    """Read what stands below hosts: or groups:."""
    if value.kind != "map":
        if value.kind != "null":
            report.at(value, f"{top.value}: expects NAME: lines below it")
        return
    for key, options in unique(value, report):
        if top.value == "groups":
            if key.value == ALL:
                report.at(key, "'all' is every host", "write defaults:")
            _options(draft.group(key.value, key, report, again=False), options, keys.GROUP, report)
            continue
        try:
            names = expand(key.value)
        except ValueError as exc:
            report.at(key, str(exc))
            continue
        for name in names:
            if name == ALL:
                report.at(key, "'all' is every host", "give it another name")
            _options(draft.host(name, key, report, again=False), options, keys.HOST, report)


def _options(entry: Entry, value: Node, record: Record, report: Report) -> None:
    """Read the options of one entry; none are fine."""
    if value.kind == "null":
        return
    given = record.read(value, report)
    if given is BAD:
        return
    at = {k.value: v for k, v in value.value}
    for group in given.pop("groups", ()):
        entry.groups.setdefault(group, (at["groups"], report))
    if "key" in given:
        given["key"] = placed(given["key"], report)
    entry.take(given)
