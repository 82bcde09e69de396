"""Whom to believe: key sets that hand over to each other, and whether a channel may take the place of the last one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from whiz.core.errors import NewerFormat
from whiz.core.release.release import ReleaseError
from whiz.core.release.sshsig import fingerprint, good, public
from whiz.core.value import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whiz.core.release.channel import Channel
    from whiz.core.release.sshsig import Signature

FORMAT = 1
ROLES = ("root", "release", "channel")
_WEEK = 7 * 86400


@record
class Root:
    """A version of a repository's key set. `keys`: role -> public keys; `threshold`: how many of root's must sign."""

    repo: str
    app: str
    version: int
    keys: tuple[tuple[str, tuple[str, ...]], ...]
    threshold: int = 1

    def of(self, role: str) -> tuple[str, ...]:
        """Return the keys of a role."""
        return dict(self.keys)[role]


def namespace(role: str) -> str:
    """Return what a signature in this role is made for: one made for another role counts for nothing here."""
    return f"whiz-{role}"


def dump(root: Root) -> bytes:
    """Return the text that is signed."""
    held = {"format": FORMAT, "repo": root.repo, "app": root.app, "version": root.version, "threshold": root.threshold}
    return json.dumps(held | {"keys": dict(root.keys)}, ensure_ascii=False, indent=1).encode() + b"\n"


def load(payload: bytes) -> Root:
    """Return the key set of a payload; raise ReleaseError."""
    try:
        held = json.loads(payload)
        if held["format"] > FORMAT:
            raise NewerFormat(f"the key set is of format {held['format']}, this whiz knows {FORMAT}: update whiz first")
        keys = tuple((role, tuple(public(k) for k in held["keys"][role])) for role in ROLES)
        found = Root(
            repo=str(held["repo"]),
            app=str(held["app"]),
            version=int(held["version"]),
            keys=keys,
            threshold=int(held["threshold"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise ReleaseError(f"the key set is not as it should be: {exc}") from exc
    if not 1 <= found.threshold <= len(set(found.of("root"))) or not all(found.of(role) for role in ROLES):
        raise ReleaseError("the key set has a role without keys, or asks for more signatures than it has keys")
    return found


def signers(
    signatures: Iterable[Signature],
    payload: bytes,
    role: str,
    keys: Iterable[str],
    verify: Callable[[bytes, bytes, bytes], bool] | None = None,
) -> frozenset[str]:
    """Return which of these keys have signed this payload in this role."""
    known, how = frozenset(keys), {} if verify is None else {"verify": verify}
    held = [s for s in signatures if s.key in known and s.namespace == namespace(role)]
    return frozenset(s.key for s in held if good(s, payload, **how))


def unsigned(signatures: Iterable[Signature], role: str, keys: Iterable[str]) -> str:
    """Say why none of these signatures counts in this role: by whom and for what they are."""
    known, words = frozenset(keys), []
    for s in signatures:
        if s.key not in known:
            words.append(f"signed by a key that is not trusted as the {role} key ({fingerprint(s.key)})")
        elif s.namespace != namespace(role):
            words.append(f"signed for {s.namespace}, not for {namespace(role)}")
        else:
            words.append(f"the signature by {fingerprint(s.key)} is not of these bytes")
    return "; ".join(words) or "not signed"


def heir(old: Root, new: Root, by_old: frozenset[str], by_new: frozenset[str]) -> str | None:
    """Say why a key set may not take the place of the one before; None where it may. `by_…`: whose keys signed it."""
    if new.repo != old.repo:
        return f"it is of the repository {new.repo}, not {old.repo}"
    if new.version != old.version + 1:
        return f"it is version {new.version}; after {old.version} comes {old.version + 1}"
    if len(by_old) < old.threshold:
        return f"{len(by_old)} of the root keys of version {old.version} signed it, not {old.threshold}"
    if len(by_new) < new.threshold:
        return f"{len(by_new)} of its own root keys signed it, not {new.threshold}"
    return None


def refused(channel: Channel, repo: str, name: str, last: tuple[int, bytes] | None, payload: bytes) -> str | None:
    """Say why a well signed channel is not taken; None where it is. `last`: seq and payload of the one before."""
    if channel.repo != repo:
        return f"it is of the repository {channel.repo}, not {repo}"
    if channel.name != name:
        return f"it is the channel {channel.name}, not {name}"
    if last is not None and channel.seq < last[0]:
        return f"seq {channel.seq} < {last[0]}: somebody replays an older one"
    if last is not None and channel.seq == last[0] and payload != last[1]:
        return f"seq {channel.seq} has been seen with other content: two tell different things under one number"
    return None


def stale(channel: Channel, now: float) -> str | None:
    """Say that a channel is past its time, or from the future; that stops nothing, as clocks may be wrong."""
    if now > channel.expires:
        days = (now - channel.expires) / 86400
        return f"expired {days:.0f} days ago: nobody has published since, or somebody withholds it"
    if channel.issued > now + _WEEK:
        return f"issued {(channel.issued - now) / 86400:.0f} days from now: this clock, or the publisher's, is wrong"
    return None
