"""A master with a real repository and real keys."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whiz.core.release.release import Release
from whiz.core.release.trust import Root
from whiz.world.release import keys, tree
from whiz.world.release.publishing import Done, Publisher, begin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.world.release.repository import Repository

Found = dict[str, tuple[str, bytes | str]]  # path -> kind, content or target


@dataclass
class Master:
    """A repository, its keys, and a directory that is released."""

    place: Path
    source: Path
    repository: Repository
    root: Root
    now: list[float] = field(default_factory=lambda: [1_000_000.0])

    @property
    def keys(self) -> str:
        return str(self.place / "keys")

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.repository, [self.keys], lambda: self.now[0])

    def put(self, name: str, data: bytes | str = b"", mode: int = 0o644) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(mode)
        return path

    def publish(self, label: str = "", channel: str = "stable", note: str = "") -> Done:
        held = tree.read(str(self.source))
        return self.publisher.publish(Release("app", held.entries), held, channel, label, note)

    def three(self) -> list[Done]:
        """Publish three releases, of which each shares a file with the next."""
        done = []
        for n in (1, 2, 3):
            self.put("same", "the same in all" * 100)
            self.put("run.py", f"print({n})", 0o755)
            self.put("also.py", f"print('also', {n})")
            done.append(self.publish(f"v{n}", note=f"the {n}."))
        return done


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a directory in memory, where there is one: much here waits until a disk has everything."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as found:
        yield Path(found)


@pytest.fixture
def master(tmp_path: Path) -> Master:
    folder = str(tmp_path / "keys")
    os.mkdir(folder, 0o700)
    public = {name: keys.make(f"{folder}/{name}", name) for name in ("root", "publish")}
    held = {"root": (public["root"],), "release": (public["publish"],), "channel": (public["publish"],)}
    root = Root(repo="0123456789abcdef", app="app", version=1, keys=tuple(held.items()))
    source = tmp_path / "source"
    source.mkdir()
    repository = begin(str(tmp_path / "repo"), root, [folder])
    return Master(tmp_path, source, repository, root)


def contents(path: str) -> Found:
    """Return what is in a directory: files, executable ones, symlinks and empty directories."""
    found: Found = {}
    for folder, folders, files in os.walk(path):
        here = os.path.relpath(folder, path)
        for name in [*files, *(d for d in folders if os.path.islink(f"{folder}/{d}"))]:
            full, at = f"{folder}/{name}", os.path.normpath(f"{here}/{name}")
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                found[at] = ("link", os.readlink(full))
            else:
                with open(full, "rb") as f:
                    found[at] = ("exec" if mode & 0o100 else "file", f.read())
        if not folders and not files and here != ".":
            found[here] = ("dir", b"")
    return found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a real ssh-agent; return the environment that reaches it."""
    path = str(tmp_path / "agent")
    running = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert "SSH_AUTH_SOCK" in running.stdout.readline()  # it listens by then
    yield {"SSH_AUTH_SOCK": path}
    running.kill()
    running.wait()
    running.stdout.close()
