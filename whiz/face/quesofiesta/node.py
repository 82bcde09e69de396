"""What `quesofiesta` does on a node: one function for each command."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from whiz.core.errors import ManifestError, Problem, WhizError
from whiz.core.release.release import ReleaseError
from whiz.core.words import counted, spell_seconds
from whiz.face import voice
from whiz.world import disk
from whiz.world.home import home
from whiz.world.release.notes import Notes, stamp, wishes
from whiz.world.release.running import running
from whiz.world.release.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from whiz.core.release.settings import Settings
    from whiz.core.shape import Node as YamlNode
    from whiz.core.shape import Report
    from whiz.world.home import Home
    from whiz.world.release.gate import Gate
    from whiz.world.release.ground import Here


def pull(args: argparse.Namespace) -> int:
    """Bring this node to what it is to run."""
    node = Node(args)
    if args.dry_run:
        return _pulled(args, node)
    try:
        node.store.make()
        lock = node.store.lock(args.wait)
    except OSError as exc:
        raise _refused(node, exc) from exc
    try:
        return _pulled(args, node)
    except WhizError as exc:
        node.notes.failed(time.time(), str(exc))
        raise
    finally:
        os.close(lock)


def _pulled(args: argparse.Namespace, node: Node) -> int:
    from whiz.world.release.pull import Pull  # noqa: PLC0415  status needs none of it

    here = node.here(args)
    done = Pull(here, dry_run=args.dry_run, force=args.force).run()
    for text in done.warnings:
        voice.warn(text)
    if voice.wants_json(args):
        said = {"did": done.did, "exit": done.code, "id": done.release, "label": done.label, "words": done.words}
        said |= {"why": done.why, "host": here.host, "seq": node.store.state().seq}
        voice.say_json({**said, "fetched": done.fetched, "warnings": list(done.warnings)})
    elif done.did in ("bad", "back") and done.words not in done.warnings:
        voice.warn(done.words)
    elif done.did not in ("bad", "back"):
        voice.say(args, done.words)
    return done.code


def _refused(node: Node, exc: OSError) -> ReleaseError:
    return ReleaseError(f"{exc.filename or node.store.path}: {exc.strerror}; what runs goes on running")


def status(args: argparse.Namespace) -> int:
    """Say what this node runs of its app, and how the last pull went; nothing is written, nobody is asked."""
    node = Node(args)
    store, notes = node.store, node.notes.read()
    state = store.state()
    current, previous = store.pointed("current"), store.pointed("previous")
    failed = _failed(notes.get("failed"))
    name, groups = node.identity()
    said: dict[str, object] = {"app": node.settings.app, "channel": node.settings.channel, "seq": state.seq}
    said |= {"repo": node.settings.repo, "host": name, "groups": groups}
    said |= {"current": current, "there": store.has(current), "previous": previous, "releases": store.ids()}
    said["trial"] = state.trial and {"id": state.trial.id, "label": state.trial.label, "attempts": state.trial.attempts}
    said["bad"] = [{"id": b.id, "label": b.label, "why": b.why} for b in state.bad]
    said |= {"last": dict(state.last) or None, "failed": failed, "settled": notes.get("settled")}
    code = 0 if store.has(current) and failed is None and state.trial is None else 1
    if voice.wants_json(args):
        voice.say_json({**said, "exit": code})
        return code
    for line in _status_lines(said):
        voice.say(args, line)
    return code


def _failed(noted: object) -> dict[str, object] | None:
    """Return why the last pull failed; None where it did not, or what is noted is no such thing."""
    match noted:
        case {"at": int() | float() as at, "why": str(why)}:
            return {"at": at, "why": why}
    return None


def _status_lines(said: dict[str, object]) -> Iterable[str]:
    current, last, failed, trial = said["current"], said["last"], said["failed"], said["trial"]
    yield f"app       {said['app']}, channel {said['channel']}" + (f", number {said['seq']}" if said["seq"] else "")
    gone = "" if said["there"] or current is None else "  (its directory is gone: quesofiesta pull --force)"
    yield f"current   {str(current)[:12] if current else 'none: nothing was installed yet'}{gone}"
    if said["previous"] and said["previous"] != current:
        yield f"previous  {str(said['previous'])[:12]}"
    if isinstance(trial, dict):
        yield f"on trial  {trial['label']}: a pull was cut short; the next one ends it"
    if isinstance(last, dict):
        ago = spell_seconds(max(0.0, time.time() - last["at"]))
        yield f"last      {last['label']} {last['did']} {ago} ago" + (f": {last['why']}" if last["why"] else "")
    if isinstance(failed, dict):
        yield f"failing   {spell_seconds(max(0.0, time.time() - failed['at']))} ago: {failed['why']}"
    for b in said["bad"] if isinstance(said["bad"], list) else []:
        why, _, _ = b["why"].partition("\n")
        yield f"bad       {b['label']} ({b['id'][:12]}): {why}"


def fsck(args: argparse.Namespace) -> int:
    """Read every byte that this node has of its app; with --repair mend what is not as signed."""
    from whiz.world.release.checkup import checkup  # noqa: PLC0415

    node = Node(args)
    if not os.path.isdir(node.store.path):
        raise ReleaseError(f"{node.store.path} is not there: nothing was pulled yet")
    lock = node.store.lock(args.wait)
    try:
        found = checkup(node.here(args), repair=args.repair)
    except OSError as exc:
        raise _refused(node, exc) from exc
    finally:
        os.close(lock)
    for text in found.problems:
        voice.warn(text)
    if voice.wants_json(args):
        said = {"releases": found.releases, "objects": found.objects, "problems": list(found.problems)}
        voice.say_json({**said, "mended": found.mended, "left": found.left})
    else:
        words = f"{counted(found.releases, 'release')}, {counted(found.objects, 'object')}: "
        more = f", {found.mended} mended" if found.mended else ""
        voice.say(args, words + (counted(len(found.problems), "problem") + more if found.problems else "all as signed"))
    return 1 if found.left else 0


class Node:
    """What this machine has to do with quesofiesta."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.given: str | None = getattr(args, "home", None)
        self.home: Home = home(self.given)
        self._files = wishes(self.home.config)
        self.stamp = stamp(self._files)  # before they are read
        self.settings: Settings = settings_in(self._files[0])
        self.store = Store(f"{self.home.state}/apps/{self.settings.app}")
        self.notes = Notes(self.home.run, self.settings.app)

    def identity(self) -> tuple[str, tuple[str, ...]]:
        """Return the name and the roles of this node: by these, channels tell it what to run."""
        name, roles = _identity(self._files[1])
        return name or os.uname().nodename, roles

    def here(self, args: argparse.Namespace) -> Here:
        """Return what a pull stands on."""
        from whiz.world.release.ground import Here as Ground  # noqa: PLC0415  status needs none of it

        name, roles = self.identity()
        return Ground(
            settings=self.settings,
            store=self.store,
            notes=self.notes,
            host=name,
            groups=roles,
            stamp=self.stamp,
            gate=_gate(self),
            named=running,
            say=lambda text: voice.say(args, text),
            progress=_progress(args),
        )


def _gate(node: Node) -> Gate:
    """Return who judges a release on trial."""
    from whiz.face.quesofiesta.watching import Watching  # noqa: PLC0415

    return Watching(node.home, [] if node.given is None else ["--home", node.given], node.settings.gate)


def settings_in(path: str) -> Settings:
    """Return what a quesofiesta.yaml says; raise ManifestError with all that is wrong with it."""
    from whiz.core.release import settings  # noqa: PLC0415

    root, report = _tree(path)
    if root is None and not report.lines and not report.problems:
        hint = "`quesofiesta init` on the master printed what it should say"
        raise ManifestError((Problem(path, 0, 0, "there is no such file", "", hint),))
    return settings.read(root, report)


def _identity(path: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the node's name and roles, as node.yaml has them."""
    from whiz.core import keys  # noqa: PLC0415
    from whiz.core.shape import BAD  # noqa: PLC0415

    root, report = _tree(path)
    given = {} if root is None or root.kind == "null" else keys.NODE.read(root, report)
    if given is BAD or report.problems:
        raise ManifestError(tuple(report.problems))
    return given.get("name"), tuple(given.get("roles", ()))


def _tree(path: str) -> tuple[YamlNode | None, Report]:
    """Return a YAML file's tree and the report on it; no lines where there is no file."""
    from whiz.core.shape import Report as Made  # noqa: PLC0415
    from whiz.face.reading import parse_yaml  # noqa: PLC0415

    try:
        if os.getuid() == 0 and os.path.lexists(path):
            disk.refuse_foreign(path)
        text = (disk.read(path) or b"").decode()
    except (OSError, UnicodeDecodeError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ManifestError((Problem(path, 0, 0, said or str(exc)),)) from exc
    report = Made(path, text.splitlines())
    root: YamlNode | None = parse_yaml(text, report) if text.strip() else None
    return root, report


def _progress(args: argparse.Namespace) -> Callable[[int, int], object]:
    """Return what tells how far it is, some times a second, where somebody watches."""
    if getattr(args, "quiet", False) or voice.wants_json(args) or not sys.stderr.isatty():
        return lambda _done, _all: None
    state = {"next": time.monotonic() + 0.5}

    def step(done: int, whole: int) -> None:
        if time.monotonic() >= state["next"] or done == whole:
            state["next"] = time.monotonic() + 0.2
            print(f"\r{done} of {whole} objects \r", end="", file=sys.stderr, flush=True)  # noqa: T201

    return step
