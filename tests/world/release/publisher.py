"""A repository for tests, made by hand from the core's own texts; keys are made of words."""

from __future__ import annotations

import time
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.core.release.signing import Signer
from whiz.core.release import channel as channels
from whiz.core.release import release as releases
from whiz.core.release import trust
from whiz.core.release.channel import Channel, Offer, Rule
from whiz.core.release.release import Entry, Release
from whiz.core.value import replace

if TYPE_CHECKING:
    from pathlib import Path

REPO = "feedc0de"
ROOT, BOTH = Signer("root"), Signer("release and channel")
Tree = dict[str, Any]  # path -> bytes (a file), (bytes,) (executable), str (a symlink), None (an empty directory)


def entries(tree: Tree) -> tuple[Entry, ...]:
    out = []
    for path, held in tree.items():
        if held is None:
            out.append(Entry(path, "dir"))
        elif isinstance(held, str):
            out.append(Entry(path, "link", target=held))
        else:
            data = held[0] if isinstance(held, tuple) else held
            kind = "exec" if isinstance(held, tuple) else "file"
            out.append(Entry(path, kind, len(data), sha256(data).hexdigest()))
    return tuple(out)


class Repo:
    """A repository in a directory."""

    def __init__(self, path: Path, app: str = "camera", repo: str = REPO) -> None:
        self.path, self.app, self.repo = path, app, repo
        self.seq, self.roots = 0, 0
        self.root_key, self.release_key, self.channel_key = ROOT, BOTH, BOTH
        self.rotate()

    def put(self, name: str, data: bytes) -> None:
        to = self.path / name
        to.parent.mkdir(parents=True, exist_ok=True)
        new = to.with_name(f".{to.name}.new")
        new.write_bytes(data)
        new.rename(to)

    def rotate(self, root_key: Signer | None = None, *, by_old: bool = True) -> None:
        """Write the next key set."""
        old, self.root_key = self.root_key, root_key or self.root_key
        self.roots += 1
        keys = (
            ("root", (self.root_key.public,)),
            ("release", (self.release_key.public,)),
            ("channel", (self.channel_key.public,)),
        )
        payload = trust.dump(trust.Root(repo=self.repo, app=self.app, version=self.roots, keys=keys))
        data = self.root_key.signed(payload, "root")
        if old is not self.root_key and by_old:
            data += old.armored(payload, "whiz-root")
        self.put(f"root/{self.roots}", data)

    def release(self, tree: Tree, **more: Any) -> str:
        """Add objects and the signed text; return the id."""
        held = Release(self.app, entries(tree), **more)
        for data in tree.values():
            plain = data[0] if isinstance(data, tuple) else data
            if isinstance(plain, bytes):
                digest = sha256(plain).hexdigest()
                self.put(f"o/{digest[:2]}/{digest}", zlib.compress(plain))
        return self.text(releases.dump(held))

    def text(self, payload: bytes) -> str:
        name = releases.name_of(payload)
        self.put(f"m/{name}", zlib.compress(self.release_key.signed(payload, "release")))
        return name

    def offer(self, name: str, label: str = "", **more: Any) -> Channel:
        """Publish a channel that offers a release to all."""
        self.seq = more.pop("seq", self.seq + 1)
        label = label or f"r{self.seq}"
        now = int(time.time())
        said = Channel(
            repo=self.repo,
            name="stable",
            seq=self.seq,
            issued=now,
            expires=now + channels.WEEKS,
            root=self.roots,
            releases=((label, Offer(name, 0)),),
            default=label,
        )
        said = replace(said, **more)
        self.channel(said)
        return said

    def channel(self, said: Channel, signer: Signer | None = None, role: str = "channel") -> None:
        self.put("channel/stable", (signer or self.channel_key).signed(channels.dump(said), role))

    def publish(self, tree: Tree, label: str = "", **more: Any) -> str:
        name = self.release(tree, **more)
        self.offer(name, label)
        return name

    def pack(self, name: str, tree: Tree, old: str = "0") -> None:
        """Add the pack of these objects."""
        plains = (v[0] if isinstance(v, tuple) else v for v in tree.values())
        held = {sha256(d).hexdigest(): d for d in plains if isinstance(d, bytes) and d}
        plain = b"".join(f"{digest} {len(d)}\n".encode() + d for digest, d in held.items())
        self.put(f"d/{old}-{name}", zlib.compress(plain))

    def object(self, data: bytes) -> Path:
        digest = sha256(data).hexdigest()
        return self.path / "o" / digest[:2] / digest


def pinned(said: Channel, host: str, label: str, name: str) -> Channel:
    """Return a channel with one more release, for one host."""
    rules = (*said.rules, Rule("host", label, host))
    return replace(said, releases=(*said.releases, (label, Offer(name, 0))), rules=rules)
