"""Whom `--to` means, and who is asked once for two."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.fleet.draft import ALL
from whiz.core.words import near

if TYPE_CHECKING:
    from whiz.core.fleet.model import Fleet, Host


def select(fleet: Fleet, to: str = ALL) -> tuple[Host, ...]:
    """Return the hosts that an expression means, in the order of the fleet.

    Names of hosts and groups and globs, joined by `,` or `:`; `!x` takes x away, `&x` leaves only what x has too.
    """
    terms = [t for t in re.split(r"[,:\s]+", to) if t]
    if not terms:  # as of a variable that is not set
        raise UsageError("--to is empty, and names nobody\nhint: --to all means every host")
    plus = [t for t in terms if t[0] not in "!&"]
    chosen: set[str] = set()
    for term in plus or [ALL]:
        chosen |= _means(fleet, term)
    for term in terms:
        if term[0] == "&":
            chosen &= _means(fleet, term[1:])
    for term in terms:
        if term[0] == "!":
            chosen -= _means(fleet, term[1:])
    if not chosen:
        raise UsageError(f"--to {to}: that is no host" if fleet.hosts else "the fleet has no hosts")
    return tuple(h for n, h in fleet.hosts.items() if n in chosen)


def _means(fleet: Fleet, term: str) -> set[str]:
    if term == ALL:
        return set(fleet.hosts)
    if term in fleet.groups:
        return set(fleet.groups[term])
    if term in fleet.hosts:
        return {term}
    if re.search(r"[*?\[]", term):
        of_groups = (n for g, members in fleet.groups.items() if fnmatchcase(g, term) for n in members)
        return {n for n in fleet.hosts if fnmatchcase(n, term)} | set(of_groups)
    close = near(term, [*fleet.hosts, *fleet.groups])
    raise UsageError(f"no host and no group is named {term!r}" + (f"\nhint: did you mean {close!r}?" if close else ""))


def once(hosts: tuple[Host, ...]) -> tuple[tuple[Host, ...], tuple[tuple[str, str], ...]]:
    """Return the hosts without those that are another by a second name, and (that name, the other's)."""
    first: dict[object, str] = {}
    kept, same = [], []
    for host in hosts:
        if host.route in first:
            same.append((host.name, first[host.route]))
        else:
            first[host.route] = host.name
            kept.append(host)
    return tuple(kept), tuple(same)
