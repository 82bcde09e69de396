"""A channel: the one thing of a repository that changes. It says which of its releases each host is to run."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from whiz.core.errors import NewerFormat
from whiz.core.release.release import ReleaseError, is_digest
from whiz.core.value import record, value

if TYPE_CHECKING:
    from collections.abc import Iterable

_T = TypeVar("_T")
FORMAT = 1
MOST = 65536  # bytes of a signed channel that a node takes
WEEKS = 8 * 7 * 86400  # s that one is meant to last


@value
class Offer:
    """A release that a channel offers: its id, and the bytes of its files."""

    id: str
    size: int


@value
class Rule:
    """Who gets what. `kind`: host, group (`who` says which) or rollout (`permille` of all or of `hosts`, by `salt`)."""

    kind: str
    use: str  # the label of a release
    who: str = ""
    permille: int = 0
    salt: str = ""
    hosts: tuple[str, ...] = ()  # of a rollout: only these; none: all


@record
class Channel:
    """What is published under one name. `seq` grows with each publish; times are Unix seconds."""

    repo: str
    name: str
    seq: int
    issued: int
    expires: int
    root: int  # the newest version of the key set when this was signed
    releases: tuple[tuple[str, Offer], ...]  # label -> offer
    default: str  # the label for whom no rule fits
    rules: tuple[Rule, ...] = ()
    by: str = ""
    note: str = ""

    def offer(self, label: str) -> Offer:
        """Return the release with this label."""
        return dict(self.releases)[label]


def bucket(salt: str, host: str) -> int:
    """Return where in 0 to 999 a host falls: the same for one salt, so a larger wave holds the smaller one."""
    return int.from_bytes(sha256(f"{salt}:{host}".encode()).digest()[:8], "big") % 1000


def wanted(channel: Channel, host: str, groups: Iterable[str]) -> str:
    """Return the label of what a host is to run."""
    rule = ruling(channel, host, groups)
    return channel.default if rule is None else rule.use


def ruling(channel: Channel, host: str, groups: Iterable[str]) -> Rule | None:
    """Return the rule that holds for a host: by host before group before rollout, in each the first that fits."""
    groups = frozenset(groups)
    for kind in ("host", "group", "rollout"):
        for rule in channel.rules:
            if rule.kind == kind and _fits(rule, host, groups):
                return rule
    return None


def _fits(rule: Rule, host: str, groups: frozenset[str]) -> bool:
    if rule.kind == "rollout":
        return (not rule.hosts or host in rule.hosts) and bucket(rule.salt, host) < rule.permille
    return rule.who == host if rule.kind == "host" else rule.who in groups


def dump(channel: Channel) -> bytes:
    """Return the text that is signed."""
    held: dict[str, object] = {"format": FORMAT, "repo": channel.repo, "channel": channel.name, "seq": channel.seq}
    held |= {"issued": channel.issued, "expires": channel.expires, "root": channel.root}
    held |= {"by": channel.by, "note": channel.note, "default": channel.default}
    held["releases"] = {label: {"id": offer.id, "size": offer.size} for label, offer in channel.releases}
    held["rules"] = [_rule_out(r) for r in channel.rules]
    return json.dumps(held, ensure_ascii=False, indent=1).encode() + b"\n"


def _rule_out(rule: Rule) -> dict[str, object]:
    if rule.kind == "rollout":
        wave: dict[str, object] = {"permille": rule.permille, "salt": rule.salt}
        return {"rollout": wave | ({"hosts": list(rule.hosts)} if rule.hosts else {}), "use": rule.use}
    return {rule.kind: rule.who, "use": rule.use}


def load(payload: bytes) -> Channel:
    """Return the channel of a payload whose signature is good; raise ReleaseError."""
    try:
        held = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise ReleaseError(f"the channel is no JSON: {exc}") from exc
    if not isinstance(held, dict):
        raise ReleaseError("the channel is no JSON object")
    if isinstance(number := held.get("format"), int) and number > FORMAT:
        raise NewerFormat(f"the channel is of format {number}, this whiz knows {FORMAT}: update whiz first")
    try:
        found = Channel(
            repo=_of(held, "repo", str),
            name=_of(held, "channel", str),
            seq=_of(held, "seq", int),
            issued=_of(held, "issued", int),
            expires=_of(held, "expires", int),
            root=_of(held, "root", int),
            releases=tuple((label, _offer(o)) for label, o in _of(held, "releases", dict).items()),
            default=_of(held, "default", str),
            rules=tuple(_rule(r) for r in _of(held, "rules", list)),
            by=_of(held, "by", str),
            note=_of(held, "note", str),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise ReleaseError(f"the channel is not as it should be: {exc}") from exc
    labels = dict(found.releases)
    for label in (found.default, *(r.use for r in found.rules)):
        if label not in labels:
            raise ReleaseError(f"the channel has a rule for {label!r}, which is none of its releases")
    return found


def _of(held: dict[str, object], key: str, kind: type[_T]) -> _T:
    found = held[key]
    if not isinstance(found, kind) or isinstance(found, bool):
        raise TypeError(f"{key} is {found!r}")
    return found


def _offer(held: dict[str, object]) -> Offer:
    if not is_digest(held["id"]):
        raise ValueError(f"{held['id']!r} is not the id of a release")
    return Offer(str(held["id"]), int(str(held["size"])))


def _rule(held: dict[str, object]) -> Rule:
    use = str(held["use"])
    if "rollout" in held:
        wave = held["rollout"]
        if not isinstance(wave, dict):
            raise TypeError(f"rollout is {wave!r}")
        hosts = wave.get("hosts", [])
        if not isinstance(hosts, list) or not all(isinstance(h, str) for h in hosts):
            raise TypeError(f"hosts is {hosts!r}")
        return Rule("rollout", use, permille=int(wave["permille"]), salt=str(wave["salt"]), hosts=tuple(hosts))
    kind = "host" if "host" in held else "group"
    return Rule(kind, use, str(held[kind]))
