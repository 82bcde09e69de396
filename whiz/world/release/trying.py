"""A release on trial: switched to, watched, and kept or turned back, whatever comes between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.release import trial
from whiz.core.release.prune import stay
from whiz.core.release.release import Release, ReleaseError
from whiz.core.value import replace
from whiz.world.release import sweeping
from whiz.world.release.gate import Held, Verdict
from whiz.world.release.ground import Outcome
from whiz.world.release.staging import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.release.trial import State
    from whiz.world.release.ground import Here


class Trials:
    """The trials of one node. `known`: releases whose text was looked at a moment ago."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self.known: dict[str, Release] = {}

    def leftover(self, state: State) -> State:
        """End a trial that a cut has left unfinished."""
        sweeping.tidy(self._here.store)
        Stage(self._here.store, self._here.boot).end()
        state = trial.started(state)
        assert state.trial is not None  # noqa: S101  it was asked
        if trial.hopeless(state):
            self._back(state, Verdict(False, "it was cut short twice while it was on trial"))
        elif not self._here.store.has(state.trial.id):
            self._back(state, Verdict(False, "its directory was removed"))
        else:
            self._here.store.save(state)
            self.go(state)
        return self._here.store.state()

    def go(self, state: State) -> Outcome:
        """Switch to the release on trial, and stay or go back."""
        store, held = self._here.store, state.trial
        assert held is not None  # noqa: S101  who calls it has begun one
        old = self._before(held.previous)
        new = self._held(held.id)
        assert new is not None  # noqa: S101  it was built
        self._here.gate.before(old, new)
        if store.pointed("current") != held.id:
            if held.previous is not None:
                store.point("previous", held.previous)
            store.point("current", held.id)
            store.sync()
        verdict = self._here.gate.after()
        if not verdict.good:
            return self._back(state, verdict)
        state = trial.kept(state)
        store.save(self.told(state, "updated", held.id, held.label, ""))
        self.prune(state)
        return Outcome(did="updated", code=0, words=f"{held.label} runs now", release=held.id, label=held.label)

    def _back(self, state: State, verdict: Verdict) -> Outcome:
        store, held = self._here.store, state.trial
        assert held is not None  # noqa: S101  who calls it looked
        there = held.previous if self._here.store.has(held.previous) else None
        if store.pointed("current") != there:
            store.point("current", there)
            store.sync()
        why = "\n".join([verdict.why, *verdict.log])
        store.save(self.told(trial.taken_back(state, why), "turned back", held.id, held.label, why))
        self._here.gate.back()
        end = "what ran before runs again" if there else "there was nothing before it, so nothing runs"
        words = f"{held.label} was turned back, {end}: {why}"
        self._here.warnings.append(words)
        return Outcome(did="back", code=1, words=words, why=why, release=held.id, label=held.label)

    def _held(self, name: str | None) -> Held | None:
        if name is None or not self._here.store.has(name):
            return None
        release = self.known.get(name) or self._here.store.release(name)
        return Held(name, f"{self._here.store.releases}/{name}", release)

    def _before(self, name: str | None) -> Held | None:
        """Return what ran before, also where its text is damaged: no new release is to be held up by that."""
        try:
            return self._held(name)
        except ReleaseError as exc:
            assert name is not None  # noqa: S101  else there was nothing to read
            self._here.warnings.append(f"{exc}\nhint: quesofiesta fsck --repair")
            return Held(name, f"{self._here.store.releases}/{name}", Release(self._here.settings.app, ()))

    def told(self, state: State, did: str, name: str, label: str, why: str) -> State:
        """Return the state that also says what was done last."""
        said = {"at": round(self._here.now()), "did": did, "id": name, "label": label, "why": why}
        return replace(state, last=tuple(said.items()))

    def prune(self, state: State, spare: Iterable[str] = ()) -> None:
        """Remove what is needed no more. That it fails costs room, nothing else."""
        store = self._here.store
        try:
            keep = stay(
                store.ids(),
                state,
                self._here.settings.keep,
                store.pointed("current"),
                store.pointed("previous"),
                self._here.named(),
            )
            sweeping.prune(store, keep, spare)
        except OSError as exc:
            self._here.warnings.append(
                f"{exc.filename or store.path}: {exc.strerror}; old releases are not all removed"
            )
