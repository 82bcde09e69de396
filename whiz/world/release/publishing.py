"""What the master does with its repository and keys: publish, offer otherwise, change who may sign."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.release import channel as channels
from whiz.core.release import publish as edits
from whiz.core.release import release as releases
from whiz.core.release import trust
from whiz.core.release.channel import Channel, Offer
from whiz.core.release.publish import Issue
from whiz.core.release.release import Release, ReleaseError
from whiz.core.shape import good_name
from whiz.core.value import record, replace
from whiz.world.release import keys, objects
from whiz.world.release.repository import Repository, create

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from whiz.core.release.trust import Root
    from whiz.world.release.tree import Tree

    Edit = Callable[[Channel, str, Offer, Issue], Channel]  # what a channel says next, given a label and its release

_PACKED = 64_000_000  # bytes of changed files that are worth a pack


@record
class Done:
    """A publish. `added`: new objects; `stored`: their bytes here; `pack`: bytes of the pack from the one before."""

    channel: Channel
    label: str
    id: str
    size: int
    files: int
    added: int
    stored: int
    pack: int


def begin(path: str, root: Root, folders: Sequence[str]) -> Repository:
    """Make a repository with this first key set."""
    payload = trust.dump(root)
    signed = payload + keys.sign_by(payload, "root", root.of("root"), folders, root.threshold)
    return create(path, signed)


class Publisher:
    """Changes a repository under its lock. `folders`: where key files are; `clock`: the time of day."""

    def __init__(self, repository: Repository, folders: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self.repository, self._folders, self._clock = repository, tuple(folders), clock

    def publish(
        self,
        release: Release,
        tree: Tree,
        channel: str,
        label: str = "",
        note: str = "",
        progress: Callable[[int], object] = lambda _: None,
        edit: Edit = edits.offered,
    ) -> Done:
        """Add a release and offer it: to all, or as `edit` says, where the channel is there already."""
        repo = self.repository
        with repo.lock():
            root, before = repo.root(), repo.channel(channel)
            text = releases.dump(release)
            name = releases.name_of(text)
            label = self.label(label, name)
            files = {e.digest: os.path.join(tree.path, e.path) for e in release.entries if e.digest}
            new = objects.missing(repo.path, files)
            stored: list[int] = []

            def took(size: int) -> None:
                stored.append(size)
                progress(size)

            objects.add(repo.path, {d: files[d] for d in new}, took)
            self._manifest(name, text, root)
            pack = self._pack(before, name, release)
            offer = Offer(name, release.size)
            issue = self.issue(channel, root, note)
            first = edits.first(root.repo, channel, label, offer, issue)
            said = first if before is None else edit(before, label, offer, issue)
            self._say(said, root)
        return Done(
            channel=said,
            label=label,
            id=name,
            size=release.size,
            files=sum(1 for e in release.entries if e.digest),
            added=len(new),
            stored=sum(stored),
            pack=pack,
        )

    def pack(self, name: str) -> None:
        """Write the pack of all that is in a release, where there is none."""
        repo = self.repository
        with repo.lock():
            if not os.path.exists(repo.file(f"d/0-{name}")):
                objects.pack(repo.path, f"d/0-{name}", repo.release(name).objects)

    def offer(self, channel: str, label: str, name: str, note: str, edit: Edit = edits.offered) -> Channel:
        """Offer a release that is here already, in a channel that may be new."""
        repo = self.repository
        with repo.lock():
            root, before = repo.root(), repo.channel(channel)
            release = repo.release(name)
            self._manifest(name, releases.dump(release), root)
            issue = self.issue(channel, root, note)
            offer = Offer(name, release.size)
            first = edits.first(root.repo, channel, label, offer, issue)
            said = first if before is None else edit(before, label, offer, issue)
            self._say(said, root)
        return said

    def pin(self, channel: str, host: str, label: str, name: str, note: str) -> Channel:
        """Have a host run one release."""
        repo = self.repository
        with repo.lock():
            root, before = repo.root(), self.known(channel)
            release = repo.release(name)
            self._manifest(name, releases.dump(release), root)
            issue = self.issue(channel, root, note)
            said = edits.pinned(before, host, label, Offer(name, release.size), issue)
            self._say(said, root)
        return said

    def unpin(self, channel: str, host: str, note: str) -> Channel:
        """Let a host run what is offered to all."""
        with self.repository.lock():
            root, before = self.repository.root(), self.known(channel)
            said = edits.unpinned(before, host, self.issue(channel, root, note))
            self._say(said, root)
        return said

    def rotate(self, following: Callable[[Root], Root]) -> Root:
        """Bring in the key set that follows; return it. `following`: called under the lock, as it may make keys.

        At each step what is there is good for nodes that know the old one or the new.
        """
        repo = self.repository
        with repo.lock():
            old = repo.root()
            new = following(old)
            payload = trust.dump(new)
            by_old = keys.sign_by(payload, "root", old.of("root"), self._folders, old.threshold)
            fresh = [k for k in new.of("root") if k not in old.of("root")]
            kept = len(new.of("root")) - len(fresh)
            by_new = keys.sign_by(payload, "root", fresh, self._folders, max(1, new.threshold - kept)) if fresh else b""
            held = [c for c in (repo.channel(n) for n in repo.channels()) if c is not None]
            for name in {offer.id for c in held for _, offer in c.releases}:
                self._manifest(name, repo.manifest(name).payload, old, new)
            for c in held:  # by both, so that a node which meets the new set before the next lines believes it too
                self._say(edits.issued(c, self.issue(c.name, old, c.note)), old, new)
            repo.put(f"root/{new.version}", payload + by_old + by_new)
            for c in held:
                self._say(edits.issued(c, self.issue(c.name, new, c.note)), new)
        return new

    def known(self, channel: str) -> Channel:
        """Return what a channel says; raise UsageError where there is none."""
        found = self.repository.channel(channel)
        if found is None:
            names = ", ".join(self.repository.channels()) or "none yet: quesofiesta publish makes one"
            raise UsageError(f"there is no channel {channel!r}\nhint: channels here: {names}")
        return found

    def issue(self, channel: str, root: Root, note: str) -> Issue:
        """Return when and by whom a channel is changed now."""
        last = self.repository.last(channel)
        return Issue(now=self._clock(), last=last, root=root.version, by=_me(), note=note)

    def label(self, label: str, name: str) -> str:
        """Return the label of a release: this one, the one that it has, or the next of today; raise UsageError."""
        known = self.repository.labels()
        if label and not good_name(label):
            raise UsageError(f"{label!r} cannot be a label: letters, digits, '.', '_' and '-' can")
        if label and label in known and known[label].id != name:
            raise UsageError(f"{label!r} is the label of another release ({known[label].id[:12]}) already")
        same = [held for held, offer in known.items() if offer.id == name]
        day = time.strftime("%Y-%m-%d", time.localtime(self._clock()))
        return label or (same[-1] if same else edits.label_for(day, known))

    def _manifest(self, name: str, text: bytes, *roots: Root) -> None:
        """See to it that a release's text is here, signed by a key of each of these sets."""
        blocks: dict[str, bytes] = {}  # key -> its signature
        trusted = [frozenset(r.of("release")) for r in roots]
        if os.path.exists(self.repository.file(f"m/{name}")):
            blocks = keys.blocks(self.repository.manifest(name).data)
            if all(t & trust.signers(keys.read(text, blocks), text, "release", t) for t in trusted):
                return
            blocks = {k: b for k, b in blocks.items() if any(k in t for t in trusted)}
        self._signed(text, "release", roots, blocks)
        self.repository.put_manifest(name, text + b"".join(blocks.values()))

    def _signed(self, payload: bytes, role: str, roots: Sequence[Root], blocks: dict[str, bytes]) -> None:
        """Add signatures until a key of each set has signed; of all but the last, the keys may be lost."""
        for root in roots:
            if blocks.keys() & set(root.of(role)):
                continue
            try:
                block = keys.sign_by(payload, role, root.of(role), self._folders)
            except ReleaseError:
                if root is roots[-1]:
                    raise
                continue
            blocks |= keys.blocks(payload + block)

    def _pack(self, before: Channel | None, name: str, release: Release) -> int:
        """Write the pack that leads from what the channel offered before; return its size, 0 where none is worth it."""
        old = before.offer(before.default).id if before else name
        if old == name or os.path.exists(self.repository.file(f"d/{old}-{name}")):
            return 0
        try:
            known = self.repository.release(old).objects
        except ReleaseError:
            return 0  # gone or damaged: verify tells
        new = {d: n for d, n in release.objects.items() if d not in known}
        if len(new) < 2 or sum(new.values()) > _PACKED:  # noqa: PLR2004  one object is a pack of its own
            return 0
        return objects.pack(self.repository.path, f"d/{old}-{name}", new)

    def _say(self, said: Channel, *roots: Root) -> None:
        payload = channels.dump(said)
        if len(payload) > channels.MOST - 4096 * len(roots):
            raise ReleaseError(
                f"the channel would have {len(payload)} bytes, more than a node takes\n"
                "hint: hosts that are named one by one fill it: unpin them, or give them a channel of their own"
            )
        blocks: dict[str, bytes] = {}
        self._signed(payload, "channel", roots, blocks)
        self.repository.put_channel(said.name, said.seq, payload + b"".join(blocks.values()))


def after(old: Root, keys_of: Mapping[str, Sequence[str]]) -> Root:
    """Return the key set that follows, with other keys in some roles."""
    held = dict(old.keys) | {role: tuple(dict.fromkeys(given)) for role, given in keys_of.items() if given}
    new = replace(old, version=old.version + 1, keys=tuple(held.items()))
    if held == dict(old.keys):
        raise UsageError("these are the keys of the present set\nhint: --new-key, or --key FILE")
    return replace(new, threshold=min(old.threshold, len(new.of("root"))))


def _me() -> str:
    import pwd  # noqa: PLC0415

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"
