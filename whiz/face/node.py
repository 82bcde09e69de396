"""One node put together: home, manifest, store and host, as every command needs them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from whiz import __version__
from whiz.core.errors import Busy, HomeError, ManifestError, UsageError
from whiz.core.model import Proc
from whiz.core.value import replace
from whiz.core.wire import FORMAT, dump, expect, load
from whiz.face import voice
from whiz.face.reading import parse_yaml
from whiz.loop import observe, wished
from whiz.ports import Clock
from whiz.world.disk import is_file, quoted, read_json, write
from whiz.world.home import Home, home
from whiz.world.host import LocalHost
from whiz.world.sources import Loaded, Source
from whiz.world.store import FileStore

if TYPE_CHECKING:
    import argparse
    from datetime import tzinfo

    from whiz.core.model import Manifest, Run, Wishes
    from whiz.world.files import Contents
    from whiz.world.hooks import Hooks


def _zone() -> tzinfo:
    """Return this machine's time zone, whoever calls: TZ may differ between a shell, cron and systemd."""
    from datetime import UTC  # noqa: PLC0415  most whizzifests have no schedule
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        with open("/etc/localtime", "rb") as f:
            return ZoneInfo.from_file(f, key="localtime")
    except (OSError, ValueError):
        return UTC


CLOCK = Clock(
    boot=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    wall=time.time,
    name=lambda: os.urandom(6).hex(),
    zone=_zone,
)


class Node:
    """The parts of this machine's whiz. `act`: whether the command may change anything."""

    def __init__(self, args: argparse.Namespace, *, act: bool = False) -> None:
        self.home: Home = home(getattr(args, "home", None))
        if act:
            self.home.make()
            _refuse_unfit(self.home)
        self._barred = self.home.barred() if act else []
        self.path: str = getattr(args, "manifest", None) or _default(self.home.config)
        self.store = FileStore(self.home.records, self.home.tasks, self.home.state, mend=act)
        own = getattr(args, "home", None) is None
        self.host = LocalHost(self.home.id, self.home.log, self.home.records, self.home.tasks, installed=own)
        self.clock = CLOCK
        self.unannounced = False  # whether we stay here and the disk kept us from saying so
        if self._barred:
            self._say_barred()
        self._contents: Contents | None = None
        self._whole: tuple[Manifest, object, object, Manifest] | None = None  # what it was made of, and the result

    def _say_barred(self) -> None:
        """Say in one line what a read-only file system costs, instead of at each thing that cannot be written."""
        from whiz.world.host import output  # noqa: PLC0415

        lost = {self.home.state: "wishes, finished tasks and history", self.home.log: "output"}
        words = " and ".join(lost[f] for f in self._barred)
        voice.warn(f"{', '.join(self._barred)}: Read-only file system; programs run, but {words} will not be kept")
        output.SAID.update(self._barred)
        if self.home.state in self._barred:
            self.store.hush()

    def load(self, *, allow_empty: bool = False, keep: bool = False) -> Loaded:
        """Return the manifest in force, complete with what its programs are made of. Raise ManifestError."""
        source = Source(self.path, self.home.config, self.home.state, parse_yaml)
        loaded = source.load(allow_empty=allow_empty, keep=keep)
        return replace(loaded, manifest=self.completed(loaded.manifest, keep=keep))

    def load_or_empty(self) -> Loaded:
        """Return the manifest in force; an empty one with its problems where there is none: for those who only look."""
        try:
            return self.load()
        except ManifestError as exc:
            return Loaded({}, exc.problems)

    def completed(self, manifest: Manifest, *, keep: bool) -> Manifest:
        """Return the manifest with what its programs are made of: digests of their files and secrets."""
        files = [f for p in manifest.values() for f in p.files]
        secret = [p.env_file for p in manifest.values() if p.env_file is not None]
        if not files and not secret:
            return manifest
        from whiz.core.complete import complete  # noqa: PLC0415
        from whiz.world.files import Contents  # noqa: PLC0415

        contents = self._contents = self._contents or Contents(
            f"{self.home.run}/contents.json", f"{self.home.state}/key"
        )
        secrets = {}
        if secret:
            from whiz.world.host.spawn import env_pairs  # noqa: PLC0415

            secrets = contents.secrets(secret, env_pairs)
        digests = contents.digests(files)
        if self._whole is None or self._whole[0] is not manifest or self._whole[1:3] != (digests, secrets):
            self._whole = (manifest, digests, secrets, complete(manifest, digests, secrets))
        if keep:
            contents.save()
        return self._whole[3]

    def hooked(self, loaded: Loaded, hooks: Hooks | None = None) -> Hooks | None:
        """Have the whizzifest's commands told of every fact from now on; return who tells them, if anybody."""
        if hooks is None and loaded.hooks:
            from whiz.world.hooks import Hooks as Teller  # noqa: PLC0415
            from whiz.world.host.spawn import base  # noqa: PLC0415

            hooks = Teller(self.home.log, base(), self.host.children, self.clock.boot)
            self.store.hear = hooks.hear
        if hooks is not None:
            hooks.commands = dict(loaded.hooks)
        return hooks

    def doubt(self, loaded: Loaded) -> bool:
        """Whether the records may not be all there is."""
        self.store.runs()
        return loaded.changed or bool(self.store.complaints)

    def wishes(self, manifest: Manifest) -> Wishes:
        """Return what is asked for by command and by the calendar."""
        return wished(self.store, manifest, self.clock)[0]

    def runs(self, loaded: Loaded) -> tuple[Run, ...]:
        """Look, and return every Run; nothing is written."""
        return observe(self.host, self.store, loaded.manifest, self.clock, doubt=self.doubt(loaded))

    def lock(self, patience: float = 0.0) -> int:
        """Take the home's lock, waiting so long (s) for whoever has it; raise Busy."""
        end = time.monotonic() + patience
        while True:
            try:
                lock = self.home.lock()
            except Busy:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)  # flock has no wait with a bound
            else:
                self.store.sweep()
                return lock

    def announce(self, refused: str | None = None) -> None:
        """Write down that this process stays, so that others can ask it. `refused`: why it was not renewed."""
        proc = self.host.name_of(os.getpid())
        facts = {
            "format": FORMAT,
            "proc": dump(proc),
            "version": __version__,
            "since": self.clock.wall(),
            "refused": refused,
            "path": os.path.abspath(self.path),
        }
        try:
            write(f"{self.home.run}/resident.json", json.dumps(facts), durable=False)
        except OSError as exc:
            if not self.unannounced:
                voice.warn(f"{self.home.run}: {exc.strerror}; other commands cannot ask this whiz until that is mended")
            self.unannounced = True
        else:
            self.unannounced = False

    def retire(self) -> None:
        """Say that nobody stays here any more."""
        try:
            os.unlink(f"{self.home.run}/resident.json")
        except OSError:
            return  # whoever reads it sees that its process is gone

    def resident(self) -> dict[str, Any] | None:
        """Return what the whiz that stays here has announced, None where none lives. `proc` is its process."""
        try:
            facts = expect(read_json(f"{self.home.run}/resident.json"))
            facts["proc"] = load(Proc, facts["proc"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return facts if self.host.lives(facts["proc"]) else None

    def complain(self, loaded: Loaded) -> None:
        """Say why the file is not in force."""
        for problem in loaded.problems:
            voice.warn(str(problem))
        if loaded.stale and loaded.manifest:
            voice.warn(f"{self.path}: the last good version stays in force until this is mended")
        if loaded.kept is not None and self.home.state not in self._barred:
            voice.warn(f"{loaded.kept}; the last good whizzifest cannot be kept there")

    def trim(self, manifest: Manifest) -> int:
        """Hold the logs to their caps; return the bytes they have."""
        from whiz.world import logs  # noqa: PLC0415

        limits = {self.log(p.name): p.log.max for p in manifest.values() if p.log.to == "file"}
        try:
            return logs.cap(self.home.log, limits)
        except OSError as exc:
            voice.warn(f"{self.home.log}: {exc.strerror}; logs are not trimmed")
            return 0

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


def _refuse_unfit(home: Home) -> None:
    """Raise HomeError where what whiz keeps would not be safe. A home on the system's own disk costs two looks."""
    for folder in home.apart():
        from whiz.core.machine import unfit  # noqa: PLC0415
        from whiz.world.machine import kind_at  # noqa: PLC0415

        kind = kind_at(folder)
        if (why := unfit(kind)) is not None:
            hint = "mount ext4 there (a bind in /etc/fstab will do), or take another place with --home DIR"
            raise HomeError(f"{folder} is on {kind}, {why}: nothing is kept there\nhint: {hint}")


def _default(config: str) -> str:
    """Return the whizzifest of a home; raise UsageError when there are two."""
    there = [p for p in (f"{config}/whizzifest{end}" for end in ("", ".yaml", ".yml")) if os.path.lexists(p)]
    if len(there) > 1:
        raise UsageError(f"two whizzifests: {' and '.join(there)}\nhint: remove one, or name one with -m")
    return there[0] if there else f"{config}/whizzifest"
