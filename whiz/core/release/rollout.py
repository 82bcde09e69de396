"""How a release reaches a fleet: in waves, each with the hosts of the one before, until too many hosts fail."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.release.channel import Rule, bucket, wanted
from whiz.core.release.publish import ALL, same
from whiz.core.value import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from whiz.core.release.channel import Channel

_DIGITS = 20  # of a share, with its point
_SALT = 16  # digits of a release's id: waves of one release are the same whenever they are reckoned


@record
class Wave:
    """A step of a rollout. `hosts`: all whom it covers, with those of the waves before; `percent`: as it was asked."""

    percent: Fraction
    permille: int
    hosts: tuple[str, ...]

    @property
    def last(self) -> bool:
        """Whether all are covered, whoever they are."""
        return self.percent == 100  # noqa: PLR2004  percent


def percent(text: str) -> Fraction:
    """Return a share of '2%' or '0.5%', 0 to 100; raise UsageError."""
    digits = text.strip().removesuffix("%").strip()
    whole, _, part = digits.partition(".")
    good = whole.isascii() and whole.isdigit() and (not part or (part.isascii() and part.isdigit()))
    if not good or len(digits) > _DIGITS:
        raise UsageError(f"{text!r} is no share of hosts such as 10%")
    if (found := Fraction(digits)) > 100:  # noqa: PLR2004  percent
        raise UsageError(f"{text!r} is more than all hosts")
    return found


def steps(text: str) -> tuple[Fraction, ...]:
    """Return the shares of '1%,10%,100%', which grow and end with all; raise UsageError."""
    found = tuple(percent(t) for t in text.split(","))
    if found[0] == 0 or any(b <= a for a, b in pairwise(found)):
        raise UsageError(f"--canary {text}: each wave must have more hosts than the one before, the first one some")
    return found if found[-1] == 100 else (*found, Fraction(100))  # noqa: PLR2004  percent


def salt(release: str) -> str:
    """Return by what hosts are sorted into the waves of a release."""
    return release[:_SALT]


def waves(shares: Iterable[Fraction], hosts: Mapping[str, str], by: str) -> tuple[Wave, ...]:
    """Return the waves over hosts: a name -> what the host calls itself, by which it falls in or out. `by`: the salt.

    A wave of p % covers p % of these hosts, rounded up; one that would add nobody is left out, but for the last.
    """
    falls = {h: bucket(by, node) for h, node in hosts.items()}
    order = sorted(hosts, key=lambda h: (falls[h], h))
    found: list[Wave] = []
    for share in shares:
        whole = share == 100  # noqa: PLR2004  percent
        if not whole and not order:
            continue
        top = ALL if whole else falls[order[ceil(share * len(order) / 100) - 1]] + 1
        covered = tuple(h for h in order if falls[h] < top)
        if whole or not found or found[-1].hosts != covered:
            found.append(Wave(percent=share, permille=top, hosts=covered))
    return tuple(found)


def rest(found: Sequence[Wave], reached: int) -> tuple[Wave, ...]:
    """Return the waves that are left of a rollout that has come to a permille: with the one that is under way."""
    return tuple(w for w in found if w.last or w.permille >= reached)


def underway(channel: Channel | None, rule: Rule) -> Rule | None:
    """Return the rollout of this release to these hosts, where one is under way or was left."""
    rules = channel.rules if channel else ()
    return next((r for r in rules if same(r, rule) and r.use == rule.use), None)


def moved(known: Channel | None, now: Channel | None, rule: Rule) -> bool:
    """Whether somebody else has changed what is offered; more hosts for this release, and pins, are no such change."""
    if known is None or now is None:
        return known is not now
    had, has = underway(known, rule), underway(now, rule)
    less = had is not None and (has is None or has.permille < had.permille)
    return less or _others(known, rule) != _others(now, rule)


def _others(channel: Channel, rule: Rule) -> tuple[str, list[Rule]]:
    return channel.default, [r for r in channel.rules if r.kind == "rollout" and not same(r, rule)]


def complete(channel: Channel | None, label: str, nodes: Iterable[str] | None) -> bool:
    """Whether a channel offers a release to these nodes already, None: to all; whatever pins say."""
    if channel is None or label not in dict(channel.releases):
        return False
    rollouts = tuple(r for r in channel.rules if r.kind == "rollout")
    if nodes is None:
        return channel.default == label and not rollouts
    only = replace(channel, rules=rollouts)
    return all(wanted(only, n, ()) == label for n in nodes)


def before(said: Sequence[Channel], rule: Rule) -> Channel | None:
    """Return what a channel said before it offered this release to these hosts; None where it always did."""
    for channel in reversed(said):
        if channel.default != rule.use and underway(channel, rule) is None:
            return channel
    return None


def over(failed: int, answered: int, limit: Fraction) -> bool:
    """Whether more hosts failed than may."""
    return failed * 100 > limit * answered


def spell(share: Fraction) -> str:
    """Say a share: 10 %, 0.5 %."""
    return f"{float(share):g} %"
