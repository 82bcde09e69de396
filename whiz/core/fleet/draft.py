"""Hosts and groups as files name them, each option with its place; `fleet` makes the Fleet of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whiz.core.errors import ManifestError
from whiz.core.fleet.model import PORT, Fleet, Host
from whiz.core.shape import good_name
from whiz.core.words import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.errors import Problem
    from whiz.core.shape import Node, Report

ALL = "all"  # the group of every host
UNGROUPED = "ungrouped"  # Ansible's group of those in no other


@dataclass(slots=True)
class Entry:
    """A host or a group: where it stands, its options as they were read, the groups it is in."""

    node: Node
    report: Report
    options: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, tuple[Node, Report]] = field(default_factory=dict)  # and where that stands

    def take(self, options: Mapping[str, Any]) -> None:
        """Add options; variables by name."""
        self.options = _over(self.options, options)


@dataclass(slots=True)
class Draft:
    """All that the files name."""

    hosts: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, Entry] = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)

    def host(self, name: str, node: Node, report: Report, *, again: bool = True) -> Entry:
        """Return the host of this name, new or known; report a name that cannot be one."""
        return self._entry(self.hosts, name, node, report, again=again)

    def group(self, name: str, node: Node, report: Report, *, again: bool = True) -> Entry:
        """Return the group of this name."""
        return self._entry(self.groups, name, node, report, again=again)

    def _entry(self, among: dict[str, Entry], name: str, node: Node, report: Report, *, again: bool) -> Entry:
        if not good_name(name):
            report.at(node, f"{name!r} cannot be a name", "use letters, digits, '.', '_' and '-', at most 200")
        elif name in among and not again:
            first = among[name]
            report.at(node, f"{name!r} stands twice: also in {first.report.file}:{first.node.line}")
        return among.setdefault(name, Entry(node, report))


def fleet(draft: Draft, reports: Iterable[Report], known: Mapping[str, Mapping[str, Any]] | None = None) -> Fleet:
    """Return the Fleet; raise ManifestError with every problem of every file.

    `known`: host -> options that ssh's own config gives it, for what the files leave open.
    """
    parents = {name: _parents(draft, name) for name in draft.groups}
    groups: dict[str, list[str]] = {name: [] for name in draft.groups}
    given: dict[str, dict[str, Any]] = {}
    member: dict[str, tuple[str, ...]] = {}
    for name, entry in draft.hosts.items():
        if name in draft.groups:
            entry.report.at(entry.node, f"{name!r} is a group too", "give the host or the group another name")
        direct = [g for g in entry.groups if _there(draft, g, entry)] or [g for g in (UNGROUPED,) if g in draft.groups]
        all_of = {p for g in direct for p in (g, *parents[g])} | ({ALL} & set(draft.groups))
        of = sorted(all_of, key=lambda g: (g != ALL, len(parents[g]), g))  # what is wider counts for less
        for group in of:
            groups[group].append(name)
        member[name] = tuple(sorted(all_of - {ALL}))
        options: dict[str, Any] = dict((known or {}).get(name, {}))
        for layer in (*(draft.groups[g].options for g in of), entry.options):
            options = _over(options, layer)
        given[name] = options
    flat = {n: _host(n, given[n], member[n]) for n in draft.hosts}
    hosts = {n: _by_way_of(n, given, flat, draft) for n in flat}
    problems = tuple(sorted({p for r in reports for p in r.problems}, key=lambda p: (p.file, p.line, p.column)))
    if problems:
        raise ManifestError(problems)
    return Fleet(hosts, {g: tuple(n) for g, n in groups.items() if g != ALL}, tuple(draft.notes))


def _there(draft: Draft, group: str, entry: Entry) -> bool:
    """Whether a group that is named is there; report one that is not."""
    if group in draft.groups:
        return True
    close = near(group, draft.groups)
    node, report = entry.groups[group]
    report.at(node, f"no group is named {group!r}", f"did you mean {close!r}?" if close else f"add {group}: to groups:")
    return False


def _parents(draft: Draft, name: str) -> dict[str, None]:
    """Return every group that this one is in, near and far; report a circle."""
    found: dict[str, None] = {}
    todo = [name]
    while todo:
        entry = draft.groups[todo.pop()]
        for group, (node, report) in entry.groups.items():
            if not _there(draft, group, entry):
                continue
            if group == name:
                report.at(node, f"the group {name!r} is within itself", "remove one of these")
            elif group not in found:
                found[group] = None
                todo.append(group)
    return found


def _over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return options overridden by others; variables one by one, roles together."""
    out = {**low, **high}
    if "vars" in low and "vars" in high:
        out["vars"] = {**low["vars"], **high["vars"]}
    if "roles" in low and "roles" in high:
        out["roles"] = tuple(dict.fromkeys((*low["roles"], *high["roles"])))
    return out


def _host(name: str, options: Mapping[str, Any], groups: tuple[str, ...]) -> Host:
    simple = {k: options[k] for k in ("user", "port", "roles", "whiz", "become", "timeout") if k in options}
    return Host(
        name=name,
        address=options.get("address", name).replace("{name}", name),
        keys=options.get("key", ()),
        groups=groups,
        variables=tuple(options.get("vars", {}).items()),
        **simple,
    )


def _by_way_of(name: str, given: Mapping[str, Mapping[str, Any]], flat: Mapping[str, Host], draft: Draft) -> Host:
    """Return the host with its jump hosts, and theirs before them."""
    from whiz.core.value import replace  # noqa: PLC0415

    chain: list[Host] = []
    path = [name]
    hops = list(_hops(given[name]))
    while hops:
        hop = hops.pop()
        if hop in path and hop in flat:
            entry = draft.hosts[name]
            entry.report.at(entry.node, f"{name!r} is reached by way of itself: {' → '.join((*path, hop))}")
            break
        path.append(hop)
        chain.insert(0, flat.get(hop) or parse_hop(hop))
        if not hops and hop in flat:
            hops = list(_hops(given[hop]))
    return replace(flat[name], jump=tuple(chain)) if chain else flat[name]


def _hops(options: Mapping[str, Any]) -> tuple[str, ...]:
    hops: tuple[str, ...] = options.get("jump", ())
    return () if hops == ("none",) else hops


def parse_hop(text: str) -> Host:
    """Return the host that [USER@]HOST[:PORT] means."""
    user, _, where = text.rpartition("@")
    address, port = where, ""
    if where.startswith("["):
        address, _, rest = where[1:].partition("]")
        port = rest.removeprefix(":")
    elif where.count(":") == 1:
        address, _, port = where.partition(":")
    return Host(name=text, address=address, user=user, port=int(port) if port.isdecimal() else PORT)
