"""What a channel says next: each change of it is a whole new one, with a higher number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.release.channel import WEEKS, Channel, Offer, Rule
from whiz.core.value import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL = 1000  # permille


@record
class Issue:
    """When, by whom and why a channel is changed. `last`: the highest number that it had; `root`: of the key set."""

    now: float
    last: int
    root: int
    by: str = ""
    note: str = ""


def first(repo: str, name: str, label: str, offer: Offer, issue: Issue) -> Channel:
    """Return a channel that offers one release to all."""
    blank = Channel(repo=repo, name=name, seq=0, issued=0, expires=0, root=0, releases=((label, offer),), default=label)
    return issued(blank, issue)


def issued(channel: Channel, issue: Issue) -> Channel:
    """Return what a channel says as it is issued now, without releases that it names for nobody."""
    used = {channel.default, *(r.use for r in channel.rules)}
    now = int(issue.now)
    return replace(
        channel,
        seq=max(issue.last + 1, now),
        issued=now,
        expires=now + WEEKS,
        root=issue.root,
        releases=tuple((label, offer) for label, offer in channel.releases if label in used),
        by=issue.by,
        note=issue.note,
    )


def offered(channel: Channel, label: str, offer: Offer, issue: Issue) -> Channel:
    """Offer a release to all; waves of earlier ones are over, what hosts and groups are told stays."""
    rules = tuple(r for r in channel.rules if r.kind != "rollout")
    return issued(replace(channel, releases=_with(channel, label, offer), default=label, rules=rules), issue)


def rolled(channel: Channel, offer: Offer, rule: Rule, issue: Issue) -> Channel:
    """Offer a release to whom a rollout covers. Earlier rollouts stay behind it; at the end they lose its hosts."""
    rules = [r for r in channel.rules if not same(r, rule)]
    if rule.permille == ALL:
        left = [replace(r, hosts=tuple(h for h in r.hosts if h not in rule.hosts)) if r.hosts else r for r in rules]
        rules = [new for old, new in zip(rules, left, strict=True) if new.hosts or not old.hosts]
    first = next((i for i, r in enumerate(rules) if r.kind == "rollout"), len(rules))
    rules.insert(first, rule)
    return issued(replace(channel, releases=_with(channel, rule.use, offer), rules=tuple(rules)), issue)


def same(one: Rule, other: Rule) -> bool:
    """Whether both are waves of one release to the same hosts."""
    return (one.kind, one.salt, one.hosts) == (other.kind, other.salt, other.hosts)


def restored(channel: Channel, before: Channel, issue: Issue) -> Channel:
    """Offer what was offered before, by default and by rollouts; what hosts and groups are told since then stays."""
    rules = [r for r in channel.rules if r.kind != "rollout"] + [r for r in before.rules if r.kind == "rollout"]
    releases = dict(before.releases) | dict(channel.releases)
    said = replace(channel, releases=tuple(releases.items()), default=before.default, rules=tuple(rules))
    return issued(said, issue)


def pinned(channel: Channel, host: str, label: str, offer: Offer, issue: Issue) -> Channel:
    """Have a host run one release, whatever else is offered."""
    rules = (Rule("host", label, host), *_without(channel, host))
    return issued(replace(channel, releases=_with(channel, label, offer), rules=rules), issue)


def unpinned(channel: Channel, host: str, issue: Issue) -> Channel:
    """Let a host run what is offered to all; raise UsageError where it is not pinned."""
    rules = _without(channel, host)
    if rules == channel.rules:
        held = ", ".join(r.who for r in channel.rules if r.kind == "host") or "no host is"
        raise UsageError(f"{host} is not pinned in {channel.name}\nhint: pinned there: {held}")
    return issued(replace(channel, rules=rules), issue)


def label_for(day: str, known: Iterable[str]) -> str:
    """Return a label of a day that is not known yet: 2026-11-25.1."""
    behind = [label.removeprefix(f"{day}.") for label in known if label.startswith(f"{day}.")]
    numbers = [int(n) for n in behind if n.isascii() and n.isdigit()]
    return f"{day}.{max(numbers, default=0) + 1}"


def _with(channel: Channel, label: str, offer: Offer) -> tuple[tuple[str, Offer], ...]:
    return tuple((dict(channel.releases) | {label: offer}).items())


def _without(channel: Channel, host: str) -> tuple[Rule, ...]:
    return tuple(r for r in channel.rules if not (r.kind == "host" and r.who == host))
