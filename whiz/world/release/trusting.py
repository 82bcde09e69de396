"""From what a mirror sends to what a node believes: key sets that follow each other, then the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.errors import NewerFormat
from whiz.core.release import channel as channels
from whiz.core.release import trust
from whiz.core.release.release import ReleaseError
from whiz.core.release.sshsig import split
from whiz.core.value import record
from whiz.world.release.inflating import web_page
from whiz.world.release.mirror import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.release.channel import Channel
    from whiz.core.release.settings import Settings
    from whiz.core.release.sshsig import Signature
    from whiz.core.release.trial import State
    from whiz.core.release.trust import Root
    from whiz.world.release.asking import Asking
    from whiz.world.release.store import Store

_ROOT = 65536  # bytes of a key set
_WALK = 1000  # versions of it

Verify = "Callable[[bytes, bytes, bytes], bool] | None"


@record
class Believed:
    """A channel that is believed, by a key set that is; both as they were sent."""

    channel: Channel
    data: bytes
    root: Root
    root_data: bytes


class Trust:
    """Whom one node believes. `verify`: of Ed25519, None for our own."""

    def __init__(self, settings: Settings, store: Store, state: State, asking: Asking) -> None:
        self._settings, self._store, self._asking = settings, store, asking
        self._state = state
        self._verify = fast_verify()
        self.root: Root | None = None
        self._root_data = b""

    def channel(self, data: bytes) -> Believed:
        """Return the channel of a signed file; raise ReleaseError where it is not to be believed."""
        name = f"channel/{self._settings.channel}"
        payload, signatures = signed(data, name)
        said = channels.load(payload)
        root = self._walked(said)
        self._require("channel", root, payload, signatures, name)
        if (
            why := trust.refused(said, root.repo, self._settings.channel, self._last(said, payload), payload)
        ) is not None:
            raise ReleaseError(f"{name} is refused: {why}")
        if root.app != self._settings.app:
            raise ReleaseError(f"the repository is of the app {root.app!r}, not of {self._settings.app!r}")
        return Believed(channel=said, data=data, root=root, root_data=self._root_data)

    def release(self, text: bytes, name: str) -> bytes:
        """Return the payload of a release's signed text; raise ReleaseError."""
        assert self.root is not None  # noqa: S101  a channel was believed before
        payload, signatures = signed(text, f"m/{name}")
        self._require("release", self.root, payload, signatures, f"m/{name}")
        return payload

    def _require(self, role: str, root: Root, payload: bytes, signatures: tuple[Signature, ...], name: str) -> None:
        if not trust.signers(signatures, payload, role, root.of(role), self._verify):
            raise ReleaseError(f"{name} is refused: {trust.unsigned(signatures, role, root.of(role))}")

    def _last(self, said: Channel, payload: bytes) -> tuple[int, bytes] | None:
        """Return number and payload of the last channel that was believed."""
        seq, held = self._state.seq, self._store.signed("channel")
        try:
            before = split(held)[0] if held is not None else b""
            known = channels.load(before)
        except (ValueError, ReleaseError, NewerFormat):
            known = None
        if known is not None and (known.repo, known.name) == (said.repo, said.name) and known.seq >= seq:
            return known.seq, before
        return (seq, payload) if seq else None

    def _walked(self, said: Channel) -> Root:
        """Return the newest key set that the one known hands over to."""
        if self.root is None:
            self.root = self._known() or self._first()
        while self.root.version < _WALK:
            name = f"root/{self.root.version + 1}"
            try:
                self.root, self._root_data = self._asking.whole(name, _ROOT, self._heir)
            except Missing as exc:
                if self.root.version < said.root:
                    raise ReleaseError(f"the channel goes by key set {said.root}, but {exc}") from exc
                break
        return self.root

    def _heir(self, data: bytes) -> tuple[Root, bytes]:
        assert self.root is not None  # noqa: S101  who calls it has set it
        name = f"root/{self.root.version + 1}"
        payload, signatures = signed(data, name)
        new = trust.load(payload)
        by_old = trust.signers(signatures, payload, "root", self.root.of("root"), self._verify)
        by_new = trust.signers(signatures, payload, "root", new.of("root"), self._verify)
        if (why := trust.heir(self.root, new, by_old, by_new)) is not None:
            raise ReleaseError(f"{name} is refused: {why}")
        return new, data

    def _known(self) -> Root | None:
        """Return the key set that was believed last; None where there is none that can be read."""
        data = self._store.signed("root")
        if data is None:
            return None
        try:
            found = trust.load(split(data)[0])
        except (ValueError, ReleaseError):
            return None
        self._root_data = data
        return found if found.repo == self._settings.repo else None

    def _first(self) -> Root:
        """Return the oldest key set that the keys of quesofiesta.yaml have signed."""
        said = []
        for version in range(1, _WALK):
            try:
                found = self._asking.whole(f"root/{version}", _ROOT, self._begun)
            except Missing as exc:
                said.append(str(exc))
                break
            if isinstance(found, str):
                said.append(f"root/{version} is {found}")
                continue
            root, self._root_data = found
            return root
        raise ReleaseError("no key set of this repository is signed by the keys of quesofiesta.yaml:\n" + said[0])

    def _begun(self, data: bytes) -> tuple[Root, bytes] | str:
        payload, signatures = signed(data, "a key set")
        root = trust.load(payload)
        if root.repo != self._settings.repo:
            raise ReleaseError(f"it is of the repository {root.repo}, not {self._settings.repo}")
        by = trust.signers(signatures, payload, "root", self._settings.keys, self._verify)
        if len(by) >= min(root.threshold, len(set(self._settings.keys))):
            return root, data
        return trust.unsigned(signatures, "root", self._settings.keys)


def signed(data: bytes, name: str) -> tuple[bytes, tuple[Signature, ...]]:
    """Return payload and signatures of a signed file; raise ReleaseError."""
    try:
        return split(data)
    except ValueError as exc:
        raise ReleaseError(f"{name} is not a signed file: {exc}{web_page(data)}") from exc


def fast_verify() -> Callable[[bytes, bytes, bytes], bool] | None:
    """Return how `cryptography` verifies Ed25519, None where it is not installed: then we do it ourselves."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
    except ImportError:
        return None

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify
