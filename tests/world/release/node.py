"""One node in a directory, pulled by calls or by its command; and what must hold of it at any time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.world.release.publisher import REPO, ROOT, Repo, Tree
from whiz.core.release.release import ReleaseError
from whiz.core.release.settings import Settings
from whiz.core.value import replace
from whiz.world.release.asking import Asking
from whiz.world.release.fsck import Inspector
from whiz.world.release.ground import Here, Outcome
from whiz.world.release.notes import Notes
from whiz.world.release.pull import Pull
from whiz.world.release.store import Store

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "whiz.face.quesofiesta.cli")


class Node:
    """A node that follows the channel stable of the app camera."""

    def __init__(self, path: Path, *mirrors: str, **settings: Any) -> None:
        self.path, self.mirrors = path, mirrors
        self.app = path / "state/apps/camera"
        base = Settings(app="camera", channel="stable", repo=REPO, keys=(ROOT.public,), mirrors=mirrors)
        self.settings = replace(base, **settings)
        self.slept: list[float] = []
        path.mkdir(parents=True, exist_ok=True)

    def write(self) -> None:
        """Write quesofiesta.yaml."""
        s = self.settings
        lines = [f"app: {s.app}", f"channel: {s.channel}", f"repo: {s.repo}", f"keep: {s.keep}", "keys:"]
        lines += [f"  - {k}" for k in s.keys] + ["mirrors:"] + [f"  - {m}" for m in s.mirrors]
        lines += [f"ca: {s.ca}"] if s.ca else []
        (self.path / "quesofiesta.yaml").write_text("\n".join(lines) + "\n")

    @property
    def store(self) -> Store:
        return Store(str(self.app))

    def here(self, **more: Any) -> Here:
        asking = Asking(self.settings, self.slept.append)
        held: dict[str, Any] = {"host": "garden", "groups": ("cams",), "stamp": (), "asking": asking} | more
        return Here(settings=self.settings, store=self.store, notes=Notes(str(self.path / "run"), "camera"), **held)

    def pull(self, *, dry_run: bool = False, force: bool = False, **more: Any) -> Outcome:
        if dry_run:
            return Pull(self.here(**more), dry_run=True, force=force).run()
        self.store.make()
        lock = self.store.lock()
        try:
            return Pull(self.here(**more), force=force).run()
        finally:
            os.close(lock)

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command, as it would be from a timer."""
        done = subprocess.run(
            [*COMMAND, words[0], "--home", str(self.path), *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            **more,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    # -- what must hold

    def shown(self) -> Tree | None:
        """Return the tree that `current` shows; None where there is none."""
        current = self.store.pointed("current")
        return None if current is None else tree(self.app / "releases" / current)

    def sound(self) -> str | None:
        """Assert the invariant: `current` is one complete, verified release, or nothing; return it."""
        current = self.store.pointed("current")
        if (self.app / "current").is_symlink():
            assert current is not None
            findings = list(Inspector(self.store).release(current))
            assert findings == []
            assert os.path.realpath(self.app / "current") == os.path.realpath(self.app / "releases" / current)
        return current


def tree(path: Path) -> Tree:
    """Return a directory as a tree of the publisher's kind, its modes checked."""
    out: Tree = {}
    for folder, folders, files in os.walk(path):
        at = os.path.relpath(folder, path)
        if os.stat(folder).st_mode & 0o777 != 0o555:
            raise AssertionError(f"{folder} has another mode")
        if ".whiz" in folders:
            folders.remove(".whiz")
        for name in [*files, *[f for f in folders if os.path.islink(os.path.join(folder, f))]]:
            full, key = os.path.join(folder, name), os.path.normpath(os.path.join(at, name))
            st = os.lstat(full)
            if stat.S_ISLNK(st.st_mode):
                out[key] = os.readlink(full)
                continue
            with open(full, "rb") as f:
                data = f.read()
            assert st.st_mode & 0o777 in (0o444, 0o555)
            out[key] = (data,) if st.st_mode & 0o111 else data
        if not folders and not files:
            out[os.path.normpath(at)] = None
    return out


def fingerprint(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything that can be seen of what lies below a directory."""
    out = {}
    for folder, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            full = os.path.normpath(os.path.join(folder, name))
            st = os.lstat(full)
            what: Any = os.readlink(full) if stat.S_ISLNK(st.st_mode) else None
            if stat.S_ISREG(st.st_mode):
                with open(full, "rb") as f:
                    what = sha256(f.read()).hexdigest()
            out[full] = (st.st_mode, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, what)
    return out


def camera(version: int) -> Tree:
    """Return a small app: some files that change with its version, some that do not."""
    return {
        "bin/camera": (f"#!/bin/sh\necho {version}\n".encode(),),
        "lib/same.py": b"print('always the same')\n" * 50,
        "lib/changing.py": f"VERSION = {version}\n".encode() * 30,
        f"lib/only-{version}.py": b"x" * (version + 1),
        "lib/empty.py": b"",
        "lib/deep/er/file": b"deep",
        "link": "lib/same.py",
        "data": None,
    }


def fresh(tmp_path: Path, *, version: int = 1) -> tuple[Repo, Node]:
    """Return a repository that offers a version, and a node that has it as a directory."""
    repo = Repo(tmp_path / "repo")
    repo.publish(camera(version))
    return repo, Node(tmp_path / "node", f"file://{repo.path}")


def refusal(node: Node, **more: Any) -> str:
    """Return why a pull fails; what is here stays as it is."""
    before = fingerprint(node.path)
    with pytest.raises(ReleaseError) as caught:
        node.pull(**more)
    assert {k: v[5] for k, v in fingerprint(node.path).items()} == {k: v[5] for k, v in before.items()}
    return str(caught.value)
