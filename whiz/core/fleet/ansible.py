"""Ansible's inventories: which of its variables say how a host is reached; and its YAML form."""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING, Any

from whiz.core.errors import Problem
from whiz.core.fleet.draft import ALL, UNGROUPED
from whiz.core.fleet.keys import OPTIONS, plain
from whiz.core.fleet.ranges import expand
from whiz.core.shape import BAD, Node, unique

if TYPE_CHECKING:
    from whiz.core.fleet.draft import Draft, Entry
    from whiz.core.manifest import Document
    from whiz.core.shape import Report

_OURS = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key",
    "ansible_become": "become",
    "ansible_timeout": "timeout",
    "whiz_path": "whiz",
    "whiz_roles": "roles",
    "whiz_timeout": "timeout",
}
_ARGS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_become_pass", "ansible_become_password")
_GROUP_KEYS = ("hosts", "children", "vars")


def take(entry: Entry, variables: list[tuple[Node, Node]], report: Report, draft: Draft) -> None:
    """Give a host or group Ansible's variables: those that say how it is reached, and all the others as they are."""
    options: dict[str, Any] = {}
    for key, value in variables:
        name = str(key.value)
        if name in _OURS:
            if value.kind == "str" and "{{" in value.value:
                report.at(value, f"{name}: templates are not evaluated", "write the value itself")
                continue
            held = OPTIONS[_OURS[name]].read(value, report)
            if held is not BAD:
                options[_OURS[name]] = placed(held, report) if _OURS[name] == "key" else held
        elif name in _ARGS:
            options |= _arguments(name, value, report, draft)
        elif (why := _without(name, value)) is not None:
            draft.notes.append(Problem(report.file, key.line, key.column, f"{name} has no meaning here", "", why))
        else:
            options.setdefault("vars", {})[name] = plain(value)
    entry.take(options)


def placed(paths: tuple[str, ...], report: Report) -> tuple[str, ...]:
    """Return paths that count from the file that names them; `~` is left to who opens them."""
    base = posixpath.dirname(report.file)
    return tuple(p if p.startswith("~") else posixpath.normpath(posixpath.join(base, p)) for p in paths)


def _without(name: str, value: Node) -> str | None:
    """Say what to do instead of a variable that is not carried over; None for one that is just data."""
    if name in _PASSWORDS:
        return "whiz logs in by key, and becomes root by sudo without a password"
    if name == "ansible_connection" and value.value not in ("ssh", "smart", "paramiko"):
        return "every host is reached by ssh"
    if name == "ansible_become_method" and value.value != "sudo":
        return "whiz becomes root by sudo"
    if name == "ansible_become_user" and value.value != "root":
        return "whiz becomes root, or stays who logged in"
    return None


def _arguments(name: str, value: Node, report: Report, draft: Draft) -> dict[str, Any]:
    """Return what ssh's own options say: jump hosts; note the others."""
    try:
        words = shlex.split(str(value.value))
    except ValueError as exc:
        report.at(value, f"{name}: cannot split into words: {str(exc).lower()}", "close the quote or escape it")
        return {}
    found: dict[str, Any] = {}
    for flagged, given in _pairs(words):
        option, _, held = given.partition("=")
        if flagged == "-o" and option.lower() == "proxyjump":
            given = held  # noqa: PLW2901
        elif flagged != "-J":
            said = Problem(
                report.file, value.line, value.column, f"{name}: {flagged} {given}".rstrip() + " is left out"
            )
            draft.notes.append(said)
            continue
        hops = [OPTIONS["jump"].read(Node("str", hop, value.line, value.column), report) for hop in given.split(",")]
        if BAD not in hops:
            found["jump"] = tuple(h for (h,) in hops)
    return found


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Return ssh's options with their values, written apart or together."""
    pairs = []
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if word in ("-J", "-o"):
            pairs.append((word, todo.pop(0) if todo else ""))
        elif word[:2] in ("-J", "-o"):
            pairs.append((word[:2], word[2:]))
        else:
            pairs.append((word, ""))
    return pairs


def read(document: Document, draft: Draft) -> None:
    """Add what an inventory in YAML says."""
    root, report = document.root, document.report
    if root is None or root.kind != "map":
        report.at(root or Node("null", None, 0, 0), "expected all: or the name of a group")
        return
    for key, value in unique(root, report):
        _group(key, value, None, (draft, report))


def is_inventory(root: Node | None) -> bool:
    """Whether a tree looks like Ansible's: at its top only groups, which have no keys but these three."""
    return (
        root is not None
        and root.kind == "map"
        and all(
            v.kind == "null" or (v.kind == "map" and all(k.value in _GROUP_KEYS for k, _ in v.value))
            for _, v in root.value
        )
        and any(k.value not in ("hosts", "groups", "defaults") for k, _ in root.value)
    )


def _group(key: Node, value: Node, parent: Node | None, into: tuple[Draft, Report]) -> None:
    """Read one group with those below it."""
    draft, report = into
    entry = draft.group(str(key.value), key, report)
    if parent is not None and parent.value != ALL and key.value != UNGROUPED:
        entry.groups.setdefault(str(parent.value), (parent, report))
    if value.kind == "null":
        return
    if value.kind != "map":
        report.at(value, f"expected hosts:, children: or vars: in the group {key.value!r}")
        return
    for part, held in unique(value, report):
        if part.value not in _GROUP_KEYS:
            report.at(
                part, f"unknown key {part.value!r} in the group {key.value!r}", f"known: {', '.join(_GROUP_KEYS)}"
            )
        elif held.kind not in ("map", "null"):
            report.at(held, f"{part.value}: expects NAME: lines below it")
        elif held.kind == "null":
            continue
        elif part.value == "vars":
            take(entry, list(unique(held, report)), report, draft)
        else:
            for name, below in unique(held, report):
                if part.value == "children":
                    _group(name, below, key, into)
                else:
                    hosts(name, below.value if below.kind == "map" else [], key, into)


def hosts(key: Node, variables: list[tuple[Node, Node]], group: Node, into: tuple[Draft, Report]) -> None:
    """Add the hosts that a pattern stands for to a group."""
    draft, report = into
    pattern, port = str(key.value), ""
    if ":" in pattern.rpartition("]")[2]:
        pattern, _, port = pattern.rpartition(":")
    try:
        names = expand(pattern)
    except ValueError as exc:
        report.at(key, str(exc))
        return
    for name in names:
        entry = draft.host(name, key, report)
        if group.value not in (ALL, UNGROUPED):
            entry.groups.setdefault(str(group.value), (group, report))
        said = Node("str", "ansible_port", key.line, key.column), Node("int", port, key.line, key.column)
        take(entry, [*([said] if port else []), *variables], report, draft)
