"""Ansible's inventories in their INI form."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whiz.core.fleet.ansible import hosts, take
from whiz.core.fleet.draft import UNGROUPED
from whiz.core.shape import Node
from whiz.core.words import near

if TYPE_CHECKING:
    from whiz.core.fleet.draft import Draft
    from whiz.core.shape import Report

_SECTION = re.compile(r"\[([^:\]]+)(?::(\w+))?\]\s*(?:[#;].*)?")
_KINDS = ("hosts", "children", "vars")
_QUOTED = 2  # letters that a quoted value has at least


def read(report: Report, draft: Draft) -> None:
    """Add what the lines of an inventory say."""
    group, kind = Node("str", UNGROUPED, 0, 0), "hosts"
    for number, line in enumerate(report.lines, 1):
        text = line.strip()
        here = Node("str", text, number, len(line) - len(line.lstrip()) + 1)
        if not text or text[0] in "#;":
            continue
        if text.startswith("[") and (found := _SECTION.fullmatch(text)) is not None:
            group, kind = Node("str", found[1].strip(), number, here.column), found[2] or "hosts"
            if kind not in _KINDS:
                close = near(kind, _KINDS)
                report.at(here, f"unknown section :{kind}", f"did you mean :{close}?" if close else "")
                kind = ""
            else:
                draft.group(group.value, group, report)
        elif kind == "hosts":
            _host(here, group, draft, report)
        elif kind == "children":
            name = text.split("#")[0].strip()
            child = draft.group(name, here, report)
            if group.value != "all":
                child.groups.setdefault(group.value, (group, report))
        elif kind == "vars":
            _variable(here, group, draft, report)


def _host(here: Node, group: Node, draft: Draft, report: Report) -> None:
    """Read a pattern and the key=value words behind it."""
    try:
        first, *rest = shlex.split(here.value, comments=True)
    except ValueError as exc:
        report.at(here, f"cannot split into words: {str(exc).lower()}", "close the quote or escape it")
        return
    given = []
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals:
            report.at(here, f"expected key=value, found {word!r}")
            continue
        given.append((Node("str", key, here.line, here.column), _value(value, here)))
    hosts(Node("str", first, here.line, here.column), given, group, (draft, report))


def _variable(here: Node, group: Node, draft: Draft, report: Report) -> None:
    """Read key = value."""
    key, equals, value = here.value.partition("=")
    if not equals:
        report.at(here, f"expected key=value, found {here.value!r}")
        return
    text = re.sub(r"\s+#.*$", "", value).strip()
    if len(text) >= _QUOTED and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    name = Node("str", key.strip(), here.line, here.column)
    take(draft.group(group.value, group, report), [(name, _value(text, here))], report, draft)


def _value(text: str, here: Node) -> Node:
    """Return the value: a number or a truth where it looks like one."""
    kind = "int" if re.fullmatch(r"-?\d+", text) else "bool" if text.lower() in ("true", "false") else "str"
    return Node(kind, text, here.line, here.column)
