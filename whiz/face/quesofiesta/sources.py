"""What the master's commands are given: a repository, its keys, and a directory to make a release of."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.release.release import Release, ReleaseError
from whiz.face import voice
from whiz.face.quesofiesta import told
from whiz.world.release import repository as repositories
from whiz.world.release import tree as trees
from whiz.world.release.publishing import Publisher
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    import argparse

    from whiz.world.release.tree import Tree


def key_folder(args: argparse.Namespace, repo: str) -> str:
    """Return where the keys of a repository lie."""
    given: str = args.keys
    return os.path.abspath(given or os.path.expanduser(f"~/.config/whiz/keys/{repo}"))


def folders(folder: str) -> tuple[str, ...]:
    """Return where private keys may be."""
    return folder, os.path.expanduser("~/.ssh")


def near(args: argparse.Namespace, *, need: bool) -> Repository | None:
    """Return the repository that is meant."""
    path: str | None = args.repo or repositories.nearest(".")
    if path is None and need:
        raise UsageError("no repository is here or above\nhint: --repo DIR, or quesofiesta init DIR --app NAME")
    return Repository(path) if path else None


def existing(args: argparse.Namespace) -> Repository:
    """Return the repository that is meant, which is one."""
    found = near(args, need=True)
    assert found is not None  # noqa: S101  it was needed
    found.root()
    return found


def publisher(args: argparse.Namespace, found: Repository) -> Publisher:
    """Return who changes it."""
    folder = key_folder(args, found.root().repo) if hasattr(args, "keys") else ""
    if hasattr(args, "note") and (line := told.clock_line(found.channel(getattr(args, "channel", "") or args.target))):
        voice.warn(line)
    return Publisher(found, folders(folder), time.time)


def read(args: argparse.Namespace) -> Tree:
    """Read the source; tell what is doubtful in it."""
    taste = trees.Taste(exclude=tuple(args.exclude), allow=tuple(args.allow), large=args.large)
    step = told.progress(args, "read")
    held = trees.read(args.source, taste, lambda files, _bytes: step(files))
    if not held.entries:
        raise ReleaseError(f"{args.source} is empty: a release has at least one file")
    for line in told.doubts(held):
        voice.warn(line)
    return held


def release(args: argparse.Namespace, held: Tree, app: str) -> Release:
    """Return the release of a tree."""
    try:
        commands = [tuple(shlex.split(text)) for text in (args.preflight, args.health)]
    except ValueError as exc:
        raise UsageError(f"--preflight or --health: {exc}") from exc
    return Release(app, held.entries, *commands)
