"""One pull: ask what this node is to run, fetch what is missing, switch to it, and stay there or go back.

The steps are in order of what a cut between them leaves. Whatever fails, what runs goes on running.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from whiz.core.release import channel as channels
from whiz.core.release import release as releases
from whiz.core.release import trial, trust
from whiz.core.release.release import Release, ReleaseError
from whiz.core.value import replace
from whiz.core.words import counted, spell_bytes
from whiz.world.release import building, sweeping
from whiz.world.release.asking import Asking
from whiz.world.release.commands import run as run_command
from whiz.world.release.fsck import Inspector
from whiz.world.release.ground import Here, Outcome
from whiz.world.release.mirror import Mirror, digest_tag, whole
from whiz.world.release.notes import Settled
from whiz.world.release.obtaining import Obtaining
from whiz.world.release.staging import Stage, wants
from whiz.world.release.store import MANIFEST, opened
from whiz.world.release.trusting import Believed, Trust
from whiz.world.release.trying import Trials

if TYPE_CHECKING:
    from whiz.core.release.trial import State

STALE = 3
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Pull:
    """One pull, under the store's lock (a dry run needs none)."""

    def __init__(self, here: Here, *, dry_run: bool = False, force: bool = False) -> None:
        self.here, self._store, self._settings = here, here.store, here.settings
        self._dry_run, self._force = dry_run, force
        self._asking = here.asking or Asking(here.settings)
        self._trials = Trials(here)
        self._obtaining = Obtaining(here, self._asking, self._trials)
        self._tag = self._mirror = ""

    def run(self) -> Outcome:
        """Pull; raise ReleaseError, Busy."""
        try:
            return self._run()
        except OSError as exc:
            raise self._disk(exc) from exc
        finally:
            self._asking.close()

    def _run(self) -> Outcome:
        s = self._settings
        for link in ("current", "previous"):
            self._store.pointed(link)  # what is in its way is said before a release is on trial for it
        state = trial.following(self._store.state(), s.repo, s.channel)
        if state.trial is not None:
            if self._dry_run:
                return Outcome(
                    did="pending", code=STALE, words=f"{state.trial.label} is on trial", release=state.trial.id
                )
            state = self._trials.leftover(state)
        settled = None if self._force else self._settled(state)
        found = self._asking.each(
            f"channel/{s.channel}", lambda m, fresh: self._channel(m, settled, state, fresh=fresh)
        )
        if found is None:
            assert settled is not None  # noqa: S101  otherwise there is something to find
            return self._same(settled)
        believed, keys = found
        label = channels.wanted(believed.channel, self.here.host, self.here.groups)
        outcome = self._to(state, believed, keys, label)
        return self._ended(outcome, believed)

    # -- what is wanted

    def _settled(self, state: State) -> Settled | None:
        """Return how the last pull left things, where nothing has changed since."""
        held = self.here.notes.settled()
        fits = held is not None and held.stamp == self.here.stamp and state.trial is None
        current = self._store.pointed("current")
        if not fits or held is None or held.current != current or (current and not self._store.has(current)):
            return None
        return held

    def _channel(
        self, m: Mirror, settled: Settled | None, state: State, *, fresh: bool
    ) -> tuple[Believed, Trust] | None:
        """Return what a mirror has as the channel, None where that is what the last pull settled."""
        name = f"channel/{self._settings.channel}"
        if fresh:
            pieces, tag = m.pieces(name, fresh=True), ""
        else:
            known = settled.tag if settled is not None and settled.mirror == m.address else ""
            found, tag = m.changed(name, known)
            if found is None:
                return None
            pieces = found
        data = whole(pieces, channels.MOST, name)
        self._mirror, self._tag = m.address, tag
        if settled is not None and digest_tag(data) == settled.digest:
            if tag and tag != settled.tag and not self._dry_run:
                self.here.notes.settle(replace(settled, tag=tag, mirror=m.address, first=self._first(m.address)))
            return None
        keys = Trust(self._settings, self._store, state, self._asking)
        return keys.channel(data), keys

    def _first(self, address: str) -> bool:
        return address == self._settings.mirrors[0]

    def _same(self, settled: Settled) -> Outcome:
        said = self._stale(settled.issued, settled.expires)
        code = settled.code or (STALE if said else 0)
        words = settled.words
        return Outcome(
            did="bad" if settled.code else "nothing", code=code, words=words, release=settled.current, warnings=said
        )

    def _stale(self, issued: int, expires: int) -> tuple[str, ...]:
        held = channels.Channel(
            repo="", name="", seq=0, issued=issued, expires=expires, root=0, releases=(), default=""
        )
        said = trust.stale(held, self.here.now())
        return (f"the channel {self._settings.channel} is stale: {said}",) if said else ()

    def _ended(self, outcome: Outcome, believed: Believed) -> Outcome:
        """Note what was settled; say what was wrong on the way."""
        channel = believed.channel
        stale = self._stale(channel.issued, channel.expires)
        if outcome.did in ("nothing", "updated", "bad", "back") and not self._dry_run:
            words = outcome.words if outcome.code else f"{outcome.label} runs, as it should"
            self.here.notes.settle(
                Settled(
                    stamp=self.here.stamp,
                    current=self._store.pointed("current"),
                    mirror=self._mirror,
                    first=self._first(self._mirror),
                    channel=self._settings.channel,
                    ca=self._settings.ca,
                    tag=self._tag,
                    digest=digest_tag(believed.data),
                    issued=channel.issued,
                    expires=channel.expires,
                    code=outcome.code,
                    words=words,
                )
            )
        code = outcome.code or (STALE if stale else 0)
        warnings = (*self._asking.complaints, *self.here.warnings, *stale)
        return replace(outcome, code=code, warnings=warnings, fetched=self._asking.got)

    # -- going there

    def _to(self, state: State, believed: Believed, keys: Trust, label: str) -> Outcome:
        store, name = self._store, believed.channel.offer(label).id
        current = store.pointed("current")
        if current is not None and not store.has(current):
            self.here.warnings.append(f"{store.releases}/{current} is gone: there is no way back from what comes now")
            current = None
        against = trial.known_bad(state, name, label)
        if current == name and not self._force:
            if not self._dry_run:
                self._clear()
                self._remember(state, believed)
            return Outcome(did="nothing", code=0, words=f"{label} runs, as it should", release=name, label=label)
        if against is not None and not self._force:
            if not self._dry_run:
                self._clear()
                self._remember(state, believed)
            words = f"{label} failed here before and is not tried again: {against.why}"
            hint = "\nhint: publish it with another --label, or pass --force"
            return Outcome(did="bad", code=1, words=words + hint, release=name, label=label)
        packed, release = self._text(name, keys)
        self._trials.known[name] = release
        stage = Stage(store, self.here.boot)
        wanted = wants(release)
        lacking = stage.inventory().lacking(wanted)
        if self._dry_run:
            size = sum(w.size for w in lacking)
            words = f"{label} would be pulled: {len(lacking)} of {counted(len(wanted), 'object')}, {spell_bytes(size)}"
            return Outcome(did="pending", code=STALE, words=words, release=name, label=label)
        sweeping.tidy(store)
        if store.has(name):
            self._clear()
            self._renew(state, believed, stage, (name, release, packed))
        else:
            self._obtaining.room(state, wanted, lacking, release)
            state = self._remember(state, believed)
            held = self._obtaining.obtain(stage, wanted, release, (current, name))
            building.name(store, stage, building.build(store, held, release, packed), name)
            stage.end()
        state = self._remember(state, believed)
        if current == name:  # it was forced, and looked at
            return Outcome(did="nothing", code=0, words=f"{label} runs, as it should", release=name, label=label)
        if (why := self._preflight(release, name)) is not None:
            state = trial.refused(state, name, label, why)
            store.save(self._trials.told(state, "refused", name, label, why))
            self._trials.prune(state)
            return Outcome(did="bad", code=1, words=f"{label} is not switched to: {why}", release=name, label=label)
        state = trial.begun(state, name, label, current)
        store.save(state)
        return self._trials.go(state)

    def _clear(self) -> None:
        """Remove what a pull that was cut has left of something that is not wanted, or is complete."""
        sweeping.tidy(self._store)
        Stage(self._store, self.here.boot).end()

    def _remember(self, state: State, believed: Believed) -> State:
        """Keep what is believed: nothing older is taken from now on."""
        store, now = self._store, replace(state, seq=believed.channel.seq, root=believed.root.version)
        for name, data in (("root", believed.root_data), ("channel", believed.data)):
            if store.signed(name) != data:
                store.keep(name, data)
        if now != store.state():
            store.save(now)
        return now

    def _text(self, name: str, keys: Trust) -> tuple[bytes, Release]:
        """Return a release's text as it is sent and what it says; raise ReleaseError before anything is written."""

        def check(packed: bytes) -> tuple[bytes, Release]:
            payload = keys.release(opened(packed, name), name)
            found = releases.load(payload)
            if found.app != self._settings.app:
                raise ReleaseError(f"it is of the app {found.app!r}, not of {self._settings.app!r}")
            return packed, found

        return self._asking.whole(f"m/{name}", releases.MOST, check)

    def _renew(self, state: State, believed: Believed, stage: Stage, held: tuple[str, Release, bytes]) -> None:
        """See to it that a release that is here already is still what was signed."""
        name, release, packed = held
        findings = [f for f in Inspector(self._store).release(name) if f.entry is not None or f.lost]
        if any(f.path == MANIFEST for f in findings):  # without its text nothing else was looked at
            building.retext(self._store, name, packed)
            findings += [f for f in Inspector(self._store).release(name) if f.entry is not None or f.lost]
        if findings:
            self.here.warnings.append(f"{len(findings)} files of {name[:12]} were not as signed; they were mended")
            self._remember(state, believed)
            self._obtaining.repair(stage, [(name, release)])

    def _preflight(self, release: Release, name: str) -> str | None:
        if not release.preflight:
            return None
        ran = run_command(release.preflight, f"{self._store.releases}/{name}", self.here.preflight)
        if ran.why is None:
            return None
        return "\n".join([f"its preflight {ran.why}", *ran.lines])

    def _disk(self, exc: OSError) -> ReleaseError:
        """Say what the disk refused; leave a full one with as much as it had before."""
        at = exc.filename if isinstance(exc.filename, str) else self._store.path
        words = f"{at}: {exc.strerror}; what runs goes on running"
        if exc.errno in _FULL and not self._dry_run:
            try:
                sweeping.tidy(self._store)
                if self._obtaining.staged:
                    Stage(self._store, self.here.boot).end()
            except OSError as again:
                words += f" (and it cannot be cleaned up: {again.strerror})"
            free = spell_bytes(self._store.room().free)
            words += f"\nneed {spell_bytes(self._obtaining.need)}, have {free} with what was fetched removed again"
        return ReleaseError(words)
