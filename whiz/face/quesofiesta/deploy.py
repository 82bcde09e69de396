"""`quesofiesta deploy`: a release to a fleet: published, pulled there now, wave by wave, taken back if it is bad."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from whiz.core.errors import Busy, UsageError, WhizError
from whiz.core.fleet.answers import Fate, Reply
from whiz.core.release import publish as edits
from whiz.core.release import reports, rollout
from whiz.core.release.channel import wanted
from whiz.core.release.release import ReleaseError
from whiz.core.release.reports import BAD, WELL, Goal, Result, Told
from whiz.core.value import replace
from whiz.core.words import counted, spell_seconds
from whiz.face import hosts, voice
from whiz.face.quesofiesta import deploytold
from whiz.face.quesofiesta.deployplan import Plan, prepare, question

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence
    from fractions import Fraction
    from typing import TypeVar

    from whiz.core.fleet.model import Host
    from whiz.core.release.channel import Channel, Offer
    from whiz.core.release.publish import Issue
    from whiz.core.release.rollout import Wave
    from whiz.face.hosts import Ways
    from whiz.world.fleet.pool import Turn
    from whiz.world.release.publishing import Edit

    T = TypeVar("T")

PENDING, INTERRUPTED = 3, 130
_OPEN = (Result.WAITING, Result.OFFLINE, Result.STALE)  # of hosts that are asked with the next wave, too
_WAIT = 300.0  # s at most that a pull waits for another one at work there
_PATIENCE, _AGAIN = 60.0, 0.2  # s that another one may be at work in the repository, and between looks at it


def deploy(args: argparse.Namespace, ways: Callable[[], Ways] = hosts.lines) -> int:
    """Bring a release to a fleet."""
    shares, limit = rollout.steps(args.canary), rollout.percent(args.abort_at)
    if args.timeout <= 0:
        raise UsageError("--timeout must be more than nothing")
    try:
        plan = prepare(args, shares, ways)
    except KeyboardInterrupt:
        voice.warn("interrupted: nothing was published, and no host was asked to pull")
        return INTERRUPTED
    deploytold.say(args, *deploytold.plan_lines(plan))
    if args.dry_run:
        code = PENDING if plan.changes else 0
        return deploytold.table(args, plan, deploytold.would(plan), code)
    return Deploy(args, plan, limit, ways).run()


class Interrupted(Exception):
    """Somebody pressed Ctrl-C while hosts were asked."""


class Fuse:
    """Ways to hosts that lead to no more of them once too many failed: what they would be asked for is taken back."""

    def __init__(self, ways: Ways, failed: Callable[[Reply], bool], allowed: float) -> None:
        self._ways, self._failed, self._left = ways, failed, allowed
        self._lock = threading.Lock()
        self.blown = False

    def run(self, turn: Turn, command: str) -> Reply:
        """Run a command on a host, unless it is too late for that."""
        if self.blown:
            return Reply(turn.host.name, fate=Fate.NEVER, why="too many failed before its turn")
        reply = self._ways.run(turn, command)
        if self._failed(reply):
            with self._lock:
                self._left -= 1
                self.blown = self.blown or self._left < 0
        return reply

    def close(self) -> None:
        """Let go of all."""
        self._ways.close()


class Deploy:
    """One deploy. `told`: what is known of each host; `holds`: what is offered now, and what to do if we were gone."""

    def __init__(self, args: argparse.Namespace, plan: Plan, limit: Fraction, ways: Callable[[], Ways]) -> None:
        self._args, self._plan, self._limit, self._ways = args, plan, limit, ways
        self._told = deploytold.at_first(plan)
        self._goal, self._known = plan.goal, plan.before  # what the channel said when we last looked
        self._holds, self._ended, self._added = "nothing is published yet, the same command begins anew", "", False
        self._asked, self._waits = False, ""

    def run(self) -> int:
        """Carry it out; return the exit status."""
        code = None
        try:
            self._waves()
        except (KeyboardInterrupt, Interrupted):
            voice.warn(f"interrupted: {self._holds}")
            code, self._ended = INTERRUPTED, "interrupted"
        except (WhizError, OSError) as exc:
            if self._holds:
                voice.warn(self._holds)
            if not self._asked or isinstance(exc, BrokenPipeError):
                raise
            text = str(exc) if isinstance(exc, WhizError) else f"{exc.filename or 'a file'}: {exc.strerror}"
            voice.warn(text)
            code, self._ended = 1, f"stopped: {text.splitlines()[0]}"
        rows = [self._told[h] for h in self._plan.hosts]
        if self._ended:
            rows = [replace(r, says=r.says.removeprefix(reports.LATER)) for r in rows]
        if code is None:
            code = reports.verdict(rows, ended=bool(self._ended))
        return deploytold.table(self._args, self._plan, rows, code, seq=self._goal.seq, ended=self._ended)

    def _say(self, text: str) -> None:
        deploytold.say(self._args, text)

    # -- forth

    def _waves(self) -> None:
        waves = self._plan.waves
        for wave in waves:
            self._offer(wave)
            self._nudge(wave)
            if not wave.last:
                self._soak(wave)
            failed, answered = reports.tally(self._told[h] for h in wave.hosts)
            if rollout.over(failed, answered, self._limit):
                why = f"{failed} of {counted(answered, 'host')} failed, more than {rollout.spell(self._limit)}"
                self._abort(wave, why)
                return
            if not wave.last and answered == failed:
                self._ended = "stopped: no host of this wave has proven it"
                voice.warn(f"{self._ended}; {self._holds}")
                return

    def _offer(self, wave: Wave) -> None:
        """Have the channel say it, where it does not yet; say before and after what holds."""
        plan, number = self._plan, self._plan.number(wave)
        now = plan.repository.channel(plan.goal.channel)
        self._alone(now)
        if plan.offered(now, wave):
            assert now is not None  # noqa: S101  it offers something
            self._goal, self._known = replace(plan.goal, seq=now.seq), now
            self._hold(f"number {now.seq} says so already: {plan.said(wave)}", plan.undo)
            return
        self._hold(f"{number}offering {plan.goal.label} to {plan.whom(wave)}", plan.undo)
        edit = self._unless_moved(plan.edit(wave))
        note = f"{self._args.note}; " * bool(self._args.note) + f"{number}to {plan.whom(wave)}"
        goal = plan.goal
        if self._added:
            said = self._patiently(lambda: plan.master.offer(goal.channel, goal.label, goal.id, note, edit))
        else:
            step = deploytold.progress(self._args)
            new = plan.release, plan.tree, goal.channel, goal.label, note, step, edit
            said, self._added = self._patiently(lambda: plan.master.publish(*new)).channel, True
        self._goal, self._known = replace(goal, seq=said.seq), said
        self._hold(f"number {said.seq}: {plan.said(wave)}", plan.undo)

    def _alone(self, now: Channel | None) -> None:
        """Raise ReleaseError where somebody else has changed what is offered: we do not undo what they did."""
        plan = self._plan
        if rollout.moved(self._known, now, plan.rule) and not plan.offered(now, plan.waves[-1]):
            self._holds = ""  # no more
            what = f"number {now.seq} by {now.by}: {now.note or now.default}" if now else "it is gone"
            raise ReleaseError(
                f"{plan.goal.channel} was changed while this deploy ran, so it ends: {what}\n"
                "hint: quesofiesta history says more; the same command begins with what is offered then"
            )

    def _unless_moved(self, edit: Edit) -> Edit:
        """Return a change that is made, under the lock, only where nobody else made one."""

        def change(channel: Channel, label: str, offer: Offer, issue: Issue) -> Channel:
            self._alone(channel)
            return edit(channel, label, offer, issue)

        return change

    def _patiently(self, act: Callable[[], T]) -> T:
        """Change the repository; wait a while for another one that is at work there."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return act()
            except Busy as exc:
                if time.monotonic() > end:
                    raise
                if not self._waits:
                    self._waits = f"waiting: {exc}"
                    self._say(self._waits)
            time.sleep(_AGAIN)  # flock tells nobody

    def _hold(self, what: str, then: str) -> None:
        """Say what holds, and what to do if we were gone, unless that is said already."""
        new = then not in self._holds
        self._holds = f"{what}\n{then}"
        self._say(self._holds if new else what)

    def _nudge(self, wave: Wave) -> None:
        """Have the hosts of a wave pull that were not asked yet, or had not got it."""
        names = [h for h in wave.hosts if self._told[h].result in _OPEN]
        if not names:
            return
        self._say(f"{counted(len(names), 'host')} asked to pull: {deploytold.named(names)}")
        self._asked = True

        def told(reply: Reply) -> Told:
            return reports.pulled(reply, self._plan.standings[reply.host], self._goal)

        failed, _ = reports.tally(self._told[h] for h in wave.hosts)
        allowed = float(self._limit * len(wave.hosts) / 100 - failed)  # were all to answer, which is the most
        if self._plan.complete or self._plan.before is None:
            allowed = math.inf  # nothing will be taken back
        fuse = Fuse(self._ways(), lambda reply: told(reply).result in BAD, allowed)
        try:
            replies = self._pull(names, fuse)
        except KeyboardInterrupt:  # a second one, while the first one's was being done
            for name in names:
                self._told[name] = replace(self._told[name], result=Result.UNKNOWN, says="maybe asked, not waited for")
            raise
        for reply in replies:
            self._told[reply.host] = told(reply)
        results = {self._told[n].result for n in names}
        if Result.UNKNOWN in results or (Result.WAITING in results and not fuse.blown):
            raise Interrupted

    def _pull(self, names: Iterable[str], ways: Ways) -> tuple[Reply, ...]:
        timeout = self._args.timeout
        words = ["pull", "--json", "--wait", f"{min(_WAIT, timeout / 2):g}"]
        chosen = [replace(self._plan.host(n), timeout=timeout) for n in names]
        return self._ask(chosen, lambda host: hosts.line(host, words, reports.TOOL), ways)

    def _ask(self, chosen: Sequence[Host], line: Callable[[Host], str], ways: Ways) -> tuple[Reply, ...]:
        """Ask them; by new ways each time, as a host may have been off since."""
        replies = hosts.ask(self._args, ways, chosen, line)
        ways.close()
        return replies

    def _soak(self, wave: Wave) -> None:
        """Wait, and see who is still well."""
        if self._args.soak:
            self._say(f"looking at them again in {spell_seconds(self._args.soak)}")
            time.sleep(self._args.soak)  # what it is for
        self._alone(self._plan.repository.channel(self._goal.channel))  # else they may rightly run something else
        chosen = [self._plan.host(n) for n in wave.hosts]
        replies = self._ask(chosen, question, self._ways())
        if any(r.fate in (Fate.CUT, Fate.NEVER) for r in replies):
            raise Interrupted
        for reply in replies:
            was = self._plan.standings[reply.host]
            self._told[reply.host] = reports.looked(self._told[reply.host], reply, was, self._goal)

    # -- and back

    def _abort(self, wave: Wave, why: str) -> None:
        """Offer what was offered before, and have those go back that were updated."""
        plan = self._plan
        old = None if plan.complete else rollout.before(plan.repository.history(plan.goal.channel), plan.rule)
        if old is None:
            nothing = "it was offered before this deploy" if plan.complete else "nothing was offered before it"
            self._ended = f"{why}; it is not taken back, because {nothing}"
            voice.warn(f"{self._ended}; {self._holds}")
            return
        self._ended = f"aborted: {why}"
        self._hold(f"{self._ended}; offering again what was before", plan.undo)

        def edit(channel: Channel, _label: str, _offer: Offer, issue: Issue) -> Channel:
            return edits.restored(channel, old, issue)

        note = f"{self._args.note}; " * bool(self._args.note) + self._ended
        first = old.default, old.offer(old.default).id
        change = self._unless_moved(edit)
        said = self._patiently(lambda: plan.master.offer(plan.goal.channel, *first, note, change))
        then = "hosts that were updated go back at their next pull"
        self._hold(f"number {said.seq}: {said.name} offers again what it did before, {old.default} to all", then)
        back = [h for h in wave.hosts if self._told[h].result in WELL | (BAD - {Result.BACK})]
        if not back:
            return
        self._say(f"{counted(len(back), 'host')} asked to go back: {deploytold.named(back)}")
        replies = self._pull(back, self._ways())
        for reply in replies:
            self._told[reply.host] = reports.returned(self._told[reply.host], reply, self._before(said, reply.host))
        if any(r.fate in (Fate.CUT, Fate.NEVER) for r in replies):
            raise Interrupted

    def _before(self, said: Channel, host: str) -> Goal:
        was = self._plan.standings[host]
        label = wanted(said, was.node, was.groups)
        return replace(self._goal, label=label, id=said.offer(label).id, seq=said.seq)
