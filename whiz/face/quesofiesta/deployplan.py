"""What a deploy is made of before anything is changed: the release, the hosts and how they are, the waves."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError, WhizError
from whiz.core.fleet.select import select
from whiz.core.release import publish as edits
from whiz.core.release import release as releases
from whiz.core.release import reports, rollout
from whiz.core.release.channel import Rule, ruling
from whiz.core.release.release import ReleaseError
from whiz.core.release.reports import Goal, Result
from whiz.core.value import record, replace
from whiz.core.words import counted
from whiz.face import hosts, voice
from whiz.face.quesofiesta import sources

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping
    from fractions import Fraction

    from whiz.core.fleet.model import Host
    from whiz.core.release.channel import Channel, Offer
    from whiz.core.release.publish import Issue
    from whiz.core.release.release import Release
    from whiz.core.release.reports import Standing
    from whiz.core.release.rollout import Wave
    from whiz.face.hosts import Ways
    from whiz.world.release.publishing import Edit, Publisher
    from whiz.world.release.repository import Repository
    from whiz.world.release.tree import Tree


@record
class Plan:
    """A deploy that may begin. `asked`: hosts that a wave may have; `fetch`: what each has to get, in bytes."""

    repository: Repository
    keys: str  # where they lie, if that was said
    master: Publisher
    tree: Tree
    release: Release
    goal: Goal
    before: Channel | None
    hosts: Mapping[str, Host]  # by name, in the order of the fleet
    to: str
    whole: bool  # all hosts of the fleet are meant, and so the channel's default
    standings: Mapping[str, Standing]
    rule: Rule  # of the rollout; its permille is that of no wave
    waves: tuple[Wave, ...]
    count: int  # of all waves, also those that are over
    complete: bool  # nothing has to be published
    fetch: Mapping[str, int]

    def host(self, name: str) -> Host:
        """Return the host of this name."""
        return self.hosts[name]

    @property
    def able(self) -> tuple[Standing, ...]:
        """Those that are here, and may be asked to pull."""
        return tuple(s for s in self.standings.values() if s.out is None)

    @property
    def changes(self) -> bool:
        """Whether this deploy would change something, here or there."""
        return not self.complete or any(s.current != self.goal.id for s in self.able)

    def number(self, wave: Wave) -> str:
        """Name a wave, where there are several."""
        n = self.count - len(self.waves) + self.waves.index(wave) + 1
        return f"wave {n} of {self.count}: " if self.count > 1 else ""

    def whom(self, wave: Wave) -> str:
        """Say to whom a wave goes."""
        whose = "" if self.whole else f" of --to {self.to}"
        if wave.last:
            return f"all hosts{whose}"
        return f"{len(wave.hosts)} of {counted(len(self.able), 'host')}{whose} ({rollout.spell(wave.percent)})"

    def said(self, wave: Wave) -> str:
        """Say what the channel offers in a wave."""
        others = "" if self.before is None or (wave.last and self.whole) else f", {self.before.default} to the others"
        return f"{self.goal.channel} offers {self.goal.label} to {self.whom(wave)}{others}"

    @property
    def undo(self) -> str:
        """Say what to do if this process were gone."""
        again = "if this is cut off, the same command goes on"
        if self.before is None or self.before.default == self.goal.label:
            return again
        where = ["--channel", self.goal.channel, "--repo", self.repository.path]
        where += ["--keys", self.keys] if self.keys else []
        return f"{again}, and `quesofiesta rollback {self.before.default} {shlex.join(where)}` takes it back"

    def offered(self, now: Channel | None, wave: Wave) -> bool:
        """Whether a channel offers the release to a wave already."""
        if rollout.complete(now, self.goal.label, None if self.whole else self.rule.hosts):
            return True
        under = rollout.underway(now, self.rule)
        return not wave.last and under is not None and under.permille >= wave.permille

    def edit(self, wave: Wave) -> Edit:
        """Return how the channel comes to offer it to a wave."""

        def roll(channel: Channel, label: str, offer: Offer, issue: Issue) -> Channel:
            if wave.last and self.whole:
                return edits.offered(channel, label, offer, issue)
            return edits.rolled(channel, offer, replace(self.rule, permille=wave.permille), issue)

        return roll


def question(host: Host) -> str:
    """Return what a host is asked to say how it is; what whiz says of its programs comes first."""
    return f"{hosts.line(host, ['status', '--json'])}; {hosts.line(host, ['status', '--json'], reports.TOOL)}"


def prepare(args: argparse.Namespace, shares: tuple[Fraction, ...], ways: Callable[[], Ways]) -> Plan:
    """Read the source, ask the hosts, and reckon the waves; raise WhizError where it cannot begin."""
    repository = sources.existing(args)
    root = repository.root()
    fleet = hosts.load(args)
    chosen = hosts.chosen(fleet, args.to)
    whole = len(select(fleet, args.to)) == len(fleet.hosts)
    tree = sources.read(args)
    release = sources.release(args, tree, root.app)
    master, before = sources.publisher(args, repository), repository.channel(args.channel)
    name = releases.name_of(releases.dump(release))
    label = master.label(args.label, name)
    goal = Goal(app=root.app, repo=root.repo, channel=args.channel, id=name, label=label)
    if before is None and not whole:
        raise UsageError(f"{args.channel} offers nothing yet, so its first release goes to all\nhint: without --to")
    standings = _standings(args, ways, chosen, goal, before)
    nodes = tuple(sorted({s.node for s in standings.values() if s.out is not Result.ELSEWHERE}))
    if not nodes:
        follow = "\n".join(sorted({f"hint: {s.host} {s.says}" for s in standings.values()})[:3])
        raise UsageError(f"none of these hosts follows {root.app} in the channel {args.channel}\n{follow}")
    rule = Rule("rollout", label, salt=rollout.salt(name), hosts=() if whole else nodes)
    complete = rollout.complete(before, label, None if whole else nodes)
    if before is None and len(shares) > 1:
        voice.warn(f"the first release of {args.channel} has nothing to fall back to: it goes to all hosts at once")
    able = {s.host: s.node for s in standings.values() if s.out is None}
    if before is None or complete:
        shares = shares[-1:]
    elif len(shares) > 1 and not able:
        raise WhizError("no host is there to be the first one\nhint: without --canary it is offered to all at once")
    waves = rollout.waves(shares, able, rule.salt)
    under = rollout.underway(before, rule)
    return Plan(
        repository=repository,
        keys=args.keys,
        master=master,
        tree=tree,
        release=release,
        goal=goal,
        before=before,
        hosts={h.name: h for h in chosen},
        to=args.to,
        whole=whole,
        standings=standings,
        rule=rule,
        waves=rollout.rest(waves, under.permille if under else 0),
        count=len(waves),
        complete=complete,
        fetch=_fetch(repository, release, standings.values()),
    )


def _standings(
    args: argparse.Namespace,
    ways: Callable[[], Ways],
    chosen: tuple[Host, ...],
    goal: Goal,
    before: Channel | None,
) -> dict[str, Standing]:
    """Ask the hosts how they are; raise KeyboardInterrupt where somebody has enough of it."""
    there = ways()
    replies = hosts.ask(args, there, chosen, question)
    there.close()
    found: dict[str, Standing] = {}
    called: dict[str, str] = {}
    for reply in replies:
        s = reports.standing(reply, reply.host, goal)
        if s.out is Result.WAITING:
            raise KeyboardInterrupt
        found[s.host] = _steered(s, before, goal)
        if s.out is None and (twin := called.setdefault(s.node, s.host)) != s.host:
            voice.warn(f"{s.host} and {twin} both call themselves {s.node} (node.yaml)")
    return found


def _steered(s: Standing, before: Channel | None, goal: Goal) -> Standing:
    """Return how a host is; one that is told apart by a pin or a group's rule gets what that says."""
    rule = ruling(before, s.node, s.groups) if before and s.out in (None, Result.OFFLINE) else None
    if before is None or rule is None or rule.kind == "rollout" or before.offer(rule.use).id == goal.id:
        return s
    return replace(s, out=Result.PINNED, says=f"to {rule.use}" + ("" if rule.kind == "host" else f", as {rule.who}"))


def _fetch(repository: Repository, release: Release, standings: Iterable[Standing]) -> dict[str, int]:
    known: dict[str, Mapping[str, int]] = {}
    able = [s for s in standings if s.out is None]
    for name in {n for s in able for n in (*s.releases, s.current or "") if n}:
        try:
            known[name] = repository.release(name).objects
        except ReleaseError:
            continue  # it is of another time, or gone: then a host may have more than we count
    return {s.host: reports.fetches(s, release.objects, known) for s in able}
