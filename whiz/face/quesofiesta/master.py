"""What `quesofiesta` does on the master: one function for each command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from whiz.core.errors import UsageError
from whiz.core.release import release as releases
from whiz.core.release import trust
from whiz.core.release.release import Release
from whiz.core.shape import good_name
from whiz.core.words import counted, spell_bytes
from whiz.face import voice
from whiz.face.quesofiesta import sources, told
from whiz.world.release import keys, objects, repository, tree
from whiz.world.release.publishing import after, begin
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    import argparse

    from whiz.core.release.channel import Channel
    from whiz.core.release.trust import Root


def init(args: argparse.Namespace) -> int:
    """Make a repository and its keys; print what a node needs to know of them."""
    path = os.path.abspath(args.repo)
    if os.path.isfile(os.path.join(path, "root", "1")):
        root = Repository(path).root()
        if root.app != args.app:
            raise UsageError(f"{path} is the repository of {root.app!r} already, not of {args.app!r}")
    else:
        if not good_name(args.app):
            raise UsageError(f"{args.app!r} cannot name an app: letters, digits, '.', '_' and '-' can")
        repository.refuse_occupied(path)
        name = os.urandom(8).hex()
        folder = _outside(path, sources.key_folder(args, name))
        held = keys.gather(folder, args.app, _given(args), new=("root", "publish"))
        root = trust.Root(repo=name, app=args.app, version=1, keys=tuple(held.items()))
        begin(path, root, sources.folders(folder))
    if voice.wants_json(args):
        voice.say_json({"repo": root.repo, "app": root.app, "path": path, "keys": dict(root.keys)})
    else:
        print(told.settings(root, path, sources.key_folder(args, root.repo)), end="")  # noqa: T201
    return 0


def build(args: argparse.Namespace) -> int:
    """Say what a release of a directory would be."""
    found = sources.near(args, need=False)
    held = sources.read(args)
    release = sources.release(args, held, found.root().app if found else "")
    name = releases.name_of(releases.dump(release)) if found else None
    sizes = release.objects
    new = objects.missing(found.path, sizes) if found else list(sizes)
    fresh = sum(sizes[d] for d in new)
    files = sum(1 for e in held.entries if e.digest)
    said: dict[str, object] = {"id": name, "files": files, "size": release.size, "new": {"objects": len(new)}}
    said |= {"new": {"objects": len(new), "bytes": fresh}, "left_out": held.left_out, "warnings": held.warnings}
    if voice.wants_json(args):
        voice.say_json(said)
        return 0
    voice.say(args, f"release {name or 'of no repository: --repo says for which'}")
    voice.say(
        args, f"{counted(files, 'file')}, {spell_bytes(release.size)}; {len(new)} of them new, {spell_bytes(fresh)}"
    )
    return 0


def publish(args: argparse.Namespace) -> int:
    """Make a release of a directory and offer it to all."""
    found = sources.existing(args)
    root = found.root()
    held = sources.read(args)
    release, step = sources.release(args, held, root.app), told.progress(args, "stored")
    master = sources.publisher(args, found)
    done = master.publish(release, held, args.channel, args.label, args.note, step)
    if args.pack:
        master.pack(done.id)
    if voice.wants_json(args):
        voice.say_json(told.published(done))
        return 0
    voice.say(args, f"published {done.label} ({done.id[:12]}) in {args.channel}, number {done.channel.seq}")
    pack = f"; pack {spell_bytes(done.pack)}" if done.pack else ""
    new = f"{counted(done.added, 'new object')}, {spell_bytes(done.stored)} in the repository{pack}"
    voice.say(args, f"{counted(done.files, 'file')}, {spell_bytes(done.size)}; {new}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Read and check all of a repository."""
    from whiz.world.release.checking import check  # noqa: PLC0415

    found = sources.existing(args)
    checked = check(found, told.progress(args, "checked"))
    if voice.wants_json(args):
        said = {"releases": checked.releases, "objects": checked.objects, "spare": checked.spare}
        voice.say_json(said | {"problems": list(checked.problems)})
    for line in checked.problems:
        voice.warn(line)
    spare = f", {checked.spare} spare (quesofiesta gc)" if checked.spare else ""
    said_good = "all is as it should be" if not checked.problems else counted(len(checked.problems), "problem")
    voice.say(args, f"{counted(checked.releases, 'release')}, {counted(checked.objects, 'object')}{spare}: {said_good}")
    return 1 if checked.problems else 0


def diff(args: argparse.Namespace) -> int:
    """Say what differs between two releases."""
    found = sources.existing(args)
    old, new = (_either(found, word) for word in (args.old, args.new))
    changes = releases.changed(old.entries, new.entries)
    here = old.objects
    fetch = {d: n for d, n in new.objects.items() if d not in here}
    if voice.wants_json(args):
        voice.say_json(
            {"changes": told.changes(changes), "fetch": {"objects": len(fetch), "bytes": sum(fetch.values())}}
        )
        return 0
    for line in told.change_lines(changes):
        voice.say(args, line)
    fetched = f"{counted(len(fetch), 'object')}, {spell_bytes(sum(fetch.values()))}"
    total = f"{counted(len(changes), 'change')}; a node fetches {fetched}"
    voice.say(args, total if changes else "they are the same")
    return 0


def history(args: argparse.Namespace) -> int:
    """Print what was published in a channel."""
    found = sources.existing(args)
    sources.publisher(args, found).known(args.channel)
    held = found.history(args.channel, args.lines)
    if voice.wants_json(args):
        voice.say_json({"channel": args.channel, "history": [told.entry(c) for c in held]})
        return 0
    for line in told.history_lines(held):
        voice.say(args, line)
    return 0


def rollback(args: argparse.Namespace) -> int:
    """Offer an earlier release again."""
    found = sources.existing(args)
    master = sources.publisher(args, found)
    now = master.known(args.channel)
    waves = sorted({r.use for r in now.rules if r.kind == "rollout"})
    if args.label:
        label, name = found.find(args.label)
    elif waves:  # what was offered to a part is what is taken back
        label, name = now.default, now.offer(now.default).id
    else:
        label, name = _before(found, now)
    said = master.offer(args.channel, label, name, args.note or f"rollback from {', '.join(waves) or now.default}")
    return _said(args, said, f"{args.channel} offers {label} ({name[:12]}) again, number {said.seq}")


def pin(args: argparse.Namespace) -> int:
    """Have a host run one release."""
    found = sources.existing(args)
    if not good_name(args.host):
        raise UsageError(f"{args.host!r} cannot name a host: letters, digits, '.', '_' and '-' can")
    label, name = found.find(args.release)
    said = sources.publisher(args, found).pin(args.channel, args.host, label, name, args.note or f"pin {args.host}")
    return _said(args, said, f"{args.host} is to run {label} ({name[:12]}) whatever {args.channel} offers")


def unpin(args: argparse.Namespace) -> int:
    """Let a host run what is offered to all."""
    found = sources.existing(args)
    said = sources.publisher(args, found).unpin(args.channel, args.host, args.note or f"unpin {args.host}")
    return _said(args, said, f"{args.host} is to run what {args.channel} offers: {said.default}")


def promote(args: argparse.Namespace) -> int:
    """Offer in one channel what another offers."""
    found = sources.existing(args)
    master = sources.publisher(args, found)
    source = master.known(args.source)
    name = source.offer(source.default).id
    said = master.offer(args.target, source.default, name, args.note or f"promoted from {args.source}")
    return _said(args, said, f"{args.target} offers {source.default} ({name[:12]}), number {said.seq}")


def gc(args: argparse.Namespace) -> int:
    """Remove what is not needed."""
    from whiz.world.release.pruning import prune  # noqa: PLC0415

    gone = prune(sources.existing(args), args.keep, dry=args.dry_run)
    said: dict[str, object] = {"kept": gone.kept, "releases": gone.releases, "objects": gone.objects}
    if voice.wants_json(args):
        voice.say_json(said | {"packs": gone.packs, "bytes": gone.bytes, "dry_run": args.dry_run})
    what = (
        f"{counted(len(gone.releases), 'release')}, {counted(gone.objects, 'object')} and {counted(gone.packs, 'pack')}"
    )
    voice.say(
        args, f"{'would remove' if args.dry_run else 'removed'} {what}, {spell_bytes(gone.bytes)}; kept: {gone.kept}"
    )
    return 3 if args.dry_run and gone.bytes else 0


def bundle(args: argparse.Namespace) -> int:
    """Write one file for a USB stick."""
    from whiz.world.release.bundle import write  # noqa: PLC0415

    size = write(sources.existing(args), args.channel, args.file)
    if voice.wants_json(args):
        voice.say_json({"file": os.path.abspath(args.file), "size": size})
    address = f"bundle://{quote(os.path.abspath(args.file))}"
    voice.say(args, f"{args.file}: {spell_bytes(size)}; as a mirror of a node: {address}")
    return 0


def serve(args: argparse.Namespace) -> int:
    """Hand the repository out until interrupted."""
    from whiz.world.release.serve import Server  # noqa: PLC0415

    found = sources.existing(args)
    found.root()
    try:
        server = Server(found.path, args.bind, args.port)
    except (OSError, OverflowError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "there is no such port"
        raise UsageError(
            f"cannot listen at {args.bind or '*'}:{args.port}: {why}\nhint: --port N, --bind ADDRESS"
        ) from exc
    where = args.bind or os.uname().nodename
    shown = f"[{where}]" if ":" in where else where
    voice.say(args, f"serving {found.path} at http://{shown}:{server.server_port}; Ctrl-C ends it")
    if voice.wants_json(args):
        voice.say_json({"path": found.path, "port": server.server_port})
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def rotate(args: argparse.Namespace) -> int:
    """Change who may sign."""
    found = sources.existing(args)
    folder = _outside(found.path, sources.key_folder(args, found.root().repo))

    def follow(root: Root) -> Root:
        asked = [what for what, wanted in (("root", args.new_root_key), ("publish", args.new_key)) if wanted]
        new = tuple(f"{what}-{root.version + 1}" for what in asked)
        return after(root, keys.gather(folder, root.app, _given(args), new=new, whole=False))

    following = sources.publisher(args, found).rotate(follow)
    if voice.wants_json(args):
        voice.say_json({"version": following.version, "keys": dict(following.keys)})
    for role in trust.ROLES:
        voice.say(args, f"{role}: {', '.join(keys.fingerprint(k) for k in following.of(role))}")
    voice.say(args, f"key set {following.version} is in force; nodes follow it by themselves")
    return 0


# -- what they share


def _given(args: argparse.Namespace) -> dict[str, list[str]]:
    return {
        "root": args.root_key,
        "release": [*args.key, *args.release_key],
        "channel": [*args.key, *args.channel_key],
    }


def _outside(path: str, folder: str) -> str:
    """Return the directory of the keys; raise UsageError where it is in the repository."""
    real = os.path.realpath(path)
    if os.path.commonpath([real, os.path.realpath(folder)]) == real:
        raise UsageError(f"{folder} lies inside the repository, which is handed out\nhint: --keys DIR outside of it")
    return folder


def _either(found: Repository, word: str) -> Release:
    """Return the release that a word names, or what a directory would be."""
    if os.path.isdir(word) and word not in found.labels():
        return Release(found.root().app, tree.read(word).entries)
    return found.release(found.find(word)[1])


def _before(found: Repository, now: Channel) -> tuple[str, str]:
    """Return the release that was offered before the present one was for the first time."""
    name = now.offer(now.default).id
    said = found.history(now.name)
    first = next(i for i, c in enumerate(said) if c.offer(c.default).id == name)
    if not first:
        raise UsageError(f"{now.name} offered nothing before {now.default}\nhint: quesofiesta rollback LABEL")
    there = said[first - 1]
    return there.default, there.offer(there.default).id


def _said(args: argparse.Namespace, said: Channel, text: str) -> int:
    if voice.wants_json(args):
        voice.say_json(told.entry(said))
    voice.say(args, text)
    return 0
