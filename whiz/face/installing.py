"""`whiz install` and `whiz uninstall`: what brings whiz up with the machine, and what of it is changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from whiz.core.crontab import others, period
from whiz.core.errors import HomeError, UsageError, WhizError
from whiz.core.install import Command, Remove, Tabulate, Write, quiet, said
from whiz.core.install import install as installed
from whiz.core.install import uninstall as uninstalled
from whiz.core.units import Mode, Pull, Site, unwritable
from whiz.core.value import replace
from whiz.core.words import spell_seconds
from whiz.face import voice
from whiz.world import boot
from whiz.world.home import home

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from whiz.core.install import Deed, Found


def install(args: argparse.Namespace) -> int:
    """Have whiz come up with the machine, and releases arrive where one follows any."""
    site = _following(args, _site(args))
    found = boot.look(site.user)
    mode = Mode(args.mode or (Mode.SYSTEMD if found.systemd or found.mute else Mode.CRON))
    if args.print:
        found = _supposed(mode, found)
    else:
        _possible(mode, found)
    code = _carried_out(args, installed(site, found, mode), f"{mode} keeps the whizzifest")
    if site.pull and mode is Mode.CRON and (asks := period(site.pull.every)) != site.pull.every:
        poll = spell_seconds(site.pull.every)
        voice.say(args, f"poll: {poll}: cron asks every {spell_seconds(asks)}; it knows parts of an hour and of a day")
    for line in others(found.crontab or ""):
        voice.warn(f"a line of your own in the crontab takes turns as well; remove it with crontab -e: {line}")
    return code


def uninstall(args: argparse.Namespace) -> int:
    """Have whiz no longer come up with the machine; programs go on."""
    site = _site(args)
    found = boot.look(site.user)
    if not args.print and found.files:
        _answering(found)
    deeds = uninstalled(site, found)
    code = _carried_out(args, deeds, "nothing of it is installed")
    if deeds and not args.print:
        voice.say(args, "programs go on; whiz stop ends them")
        if site.user is not None:
            voice.say(args, f"{site.user} still lingers: loginctl disable-linger, if nothing else needs that")
    return code


def _site(args: argparse.Namespace) -> Site:
    """Return where to install; raise UsageError where this user cannot."""
    import pwd  # noqa: PLC0415

    root = os.getuid() == 0
    if args.user and root:
        raise UsageError("root's whiz is the system's\nhint: leave out --user, or run this as the user")
    if not (args.user or root or args.print):
        raise UsageError(
            f"not root\nhint: sudo whiz {args.command}, or whiz {args.command} --user for your own programs"
        )
    words, given = boot.words(), getattr(args, "home", None)
    _held("whiz itself", *words)
    for option, path in (("--home", given), ("--manifest", getattr(args, "manifest", None))):
        if path is not None:
            _held(option, os.path.abspath(path))
            words += (option, os.path.abspath(path))
    try:
        user = pwd.getpwuid(os.getuid()).pw_name if args.user else None
    except KeyError:
        raise HomeError(f"uid {os.getuid()} has no name, and so no systemd of its own and no crontab") from None
    return Site(words, user, runtime=not args.user and given is None)


def _following(args: argparse.Namespace, site: Site) -> Site:
    """Return the site with how its releases arrive, where its home says that it follows any; raise ManifestError."""
    given = getattr(args, "home", None)
    config = "/etc/whiz" if given is None and site.user is None else home(given).config
    path = f"{config}/quesofiesta.yaml"
    if not os.path.lexists(path):
        return site
    from whiz.face.quesofiesta.node import settings_in  # noqa: PLC0415  who follows releases has PyYAML

    settings = settings_in(path)
    words = (*boot.beside(boot.words()), "pull", "--quiet")
    _held("quesofiesta itself", *words)
    words += ("--home", os.path.abspath(given)) if given is not None else ()
    there = [getattr(args, "manifest", None) or "", *(f"{config}/whizzifest{end}" for end in ("", ".yaml", ".yml"))]
    current = f"{home(given).state}/apps/{settings.app}/current"
    first = not any(os.path.lexists(p) for p in (*there, current))
    return replace(site, pull=Pull(words, settings.poll, first))


def _held(what: str, *paths: str) -> None:
    """Raise UsageError for what would be another line of a unit or a crontab, or none that can be read."""
    for path in paths:
        if why := unwritable(path):
            hint = "rename it, or call it by a symlink whose name is plain"
            raise UsageError(f"{what}: {path!r} {why}, and neither a unit nor a crontab can hold that\nhint: {hint}")


def _supposed(mode: Mode, found: Found) -> Found:
    """Return what is shown to who only asks: any machine can say what another would be given."""
    if mode is not Mode.CRON:
        return replace(found, systemd=True)
    return found if found.crontab is not None else replace(found, crontab="")


def _answering(found: Found) -> None:
    """Raise WhizError where systemd, which is there, cannot be told."""
    if found.mute:
        hint = "see that systemctl works (sudo apt-get install -y systemd), then this again; nothing was changed"
        raise WhizError(f"systemd runs here, but cannot be asked: {found.mute}\nhint: {hint}")


def _possible(mode: Mode, found: Found) -> None:
    if mode is not Mode.CRON or found.files:
        _answering(found)
    if mode is not Mode.CRON and not found.systemd:
        raise UsageError(f"systemd does not run here, so there is no --{mode}\nhint: whiz install --cron")
    if mode is Mode.CRON and found.crontab is None:
        raise UsageError(
            "there is no cron here: crontab is missing, or refuses\nhint: sudo apt-get install -y cron; crontab -l"
        )


def _carried_out(args: argparse.Namespace, deeds: Sequence[Deed], otherwise: str) -> int:
    """Do, or with --print only show, what is to be done, and say it. `otherwise`: what is said of nothing to do."""
    done, errors = [], []
    if args.print and not voice.wants_json(args):
        voice.verbatim()
    for deed in deeds:
        if args.print:
            _show(args, deed)
        else:
            try:
                boot.do(deed)
            except WhizError as exc:
                errors.append(str(exc))
                voice.warn(str(exc))
                continue  # what can be done is
            if text := said(deed):
                voice.say(args, text)
        done.append(deed)
    code = int(bool(errors))
    if voice.wants_json(args):
        voice.say_json({"deeds": [_as_json(d) for d in done], "errors": errors, "exit": code})
    elif quiet(tuple(deeds)):
        voice.say(args, f"nothing to do: {otherwise}")
    return code


def _show(args: argparse.Namespace, deed: Deed) -> None:
    match deed:
        case Write(path, text, _):
            voice.say(args, f"# {path}\n{text}")
        case Remove(path):
            voice.say(args, f"$ rm {path}")
        case Tabulate(text, _):
            voice.say(args, f"# crontab -l\n{text}")
        case Command(argv, _):
            voice.say(args, f"$ {' '.join(argv)}")


def _as_json(deed: Deed) -> dict[str, object]:
    match deed:
        case Write(path, text, sign):
            return {"sign": sign, "path": path, "text": text}
        case Remove(path):
            return {"sign": "-", "path": path}
        case Tabulate(text, sign):
            return {"sign": sign, "crontab": text}
        case Command(argv, _):
            return {"command": list(argv)}
