"""One node put together: home, manifest, store and host, as every command needs them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from whiz.core.errors import Busy, ManifestError, UsageError
from whiz.core.value import replace
from whiz.loop import Clock, observe
from whiz.world.disk import is_file, quoted
from whiz.world.home import Home, home
from whiz.world.host import LocalHost
from whiz.world.sources import Loaded, Source
from whiz.world.store import FileStore

if TYPE_CHECKING:
    import argparse

    from whiz.core.model import Manifest, Run
    from whiz.core.shape import Node as YamlNode
    from whiz.core.shape import Report

CLOCK = Clock(
    boot=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    wall=time.time,
    name=lambda: os.urandom(6).hex(),
)


class Node:
    """The parts of this machine's whiz. `act`: whether the command may change anything."""

    def __init__(self, args: argparse.Namespace, *, act: bool = False) -> None:
        self.home: Home = home(getattr(args, "home", None))
        if act:
            self.home.make()
        self.path: str = getattr(args, "manifest", None) or _default(self.home.config)
        self.store = FileStore(self.home.records, self.home.tasks, self.home.state, mend=act)
        self.host = LocalHost(self.home.id, self.home.log, self.home.records, self.home.tasks)
        self.clock = CLOCK

    def load(self, *, allow_empty: bool = False, keep: bool = False) -> Loaded:
        """Return the manifest in force, complete with what its programs are made of. Raise ManifestError."""
        source = Source(self.path, self.home.config, self.home.state, _parse_yaml)
        loaded = source.load(allow_empty=allow_empty, keep=keep)
        return replace(loaded, manifest=self._complete(loaded.manifest, keep=keep))

    def load_or_empty(self) -> Loaded:
        """Return the manifest in force; an empty one with its problems where there is none: for those who only look."""
        try:
            return self.load()
        except ManifestError as exc:
            return Loaded({}, exc.problems)

    def _complete(self, manifest: Manifest, *, keep: bool) -> Manifest:
        files = [f for p in manifest.values() for f in p.files]
        secret = [p.env_file for p in manifest.values() if p.env_file is not None]
        if not files and not secret:
            return manifest
        from whiz.core.complete import complete  # noqa: PLC0415
        from whiz.world.files import Contents  # noqa: PLC0415

        contents = Contents(f"{self.home.run}/contents.json", f"{self.home.state}/key")
        secrets = {}
        if secret:
            from whiz.world.host.spawn import env_pairs  # noqa: PLC0415

            secrets = contents.secrets(secret, env_pairs)
        whole = complete(manifest, contents.digests(files), secrets)
        if keep:
            contents.save()
        return whole

    def doubt(self, loaded: Loaded) -> bool:
        """Whether the records may not be all there is."""
        self.store.runs()
        return loaded.changed or bool(self.store.complaints)

    def runs(self, loaded: Loaded) -> tuple[Run, ...]:
        """Look, and return every Run; nothing is written."""
        return observe(self.host, self.store, loaded.manifest, self.clock, doubt=self.doubt(loaded))

    def lock(self, patience: float = 0.0) -> int:
        """Take the home's lock, waiting so long (s) for whoever has it; raise Busy."""
        end = time.monotonic() + patience
        while True:
            try:
                return self.home.lock()
            except Busy:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)  # flock has no wait with a bound

    def log(self, name: str) -> str:
        """Return the path of a program's output."""
        return f"{self.home.log}/{quoted(name)}.log"

    def has_log(self, name: str) -> bool:
        """Whether there is output of this name, be it of a program long gone."""
        return is_file(self.log(name))

    def named(self, asked: list[str], manifest: Manifest, more: list[str] | None = None) -> list[str]:
        """Return the programs that these names mean, instances included; raise UsageError for an unknown one.

        `more`: names that count besides the manifest's and those of what lives.
        """
        live = [r.program.name for r in self.store.runs() if r.live]
        known = [*manifest, *(n for n in [*live, *(more or [])] if n not in manifest)]
        out = []
        for name in asked:
            found = [n for n in known if n == name or n.partition(":")[0] == name]
            if not found:
                from whiz.core.words import near  # noqa: PLC0415

                close = near(name, known)
                hint = f"did you mean {close!r}?" if close else f"whiz status lists the programs of {self.path}"
                raise UsageError(f"there is no program {name!r}\nhint: {hint}")
            out += found
        return list(dict.fromkeys(out))


def _parse_yaml(text: str, report: Report) -> YamlNode | None:
    from whiz.world.yamltree import parse_yaml  # noqa: PLC0415  PyYAML costs 15 ms; a quiet turn parses nothing

    return parse_yaml(text, report)


def _default(config: str) -> str:
    """Return the whizzifest of a home; raise UsageError when there are two."""
    there = [p for p in (f"{config}/whizzifest{end}" for end in ("", ".yaml", ".yml")) if os.path.lexists(p)]
    if len(there) > 1:
        raise UsageError(f"two whizzifests: {' and '.join(there)}\nhint: remove one, or name one with -m")
    return there[0] if there else f"{config}/whizzifest"
