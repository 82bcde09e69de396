"""Decide what to do so that whiz is there after a boot, or no longer: what is so in; deeds, in order, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, assert_never

from whiz.core.crontab import table
from whiz.core.subtree import PROGRAMS
from whiz.core.units import ALL, PULLS, SERVICE, TIMER, Mode, begun, programs, units
from whiz.core.value import record, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from whiz.core.units import Site


@record
class Found:
    """What is so. `folder`: where the units are; `files`: those of ours that are there, by name.

    `crontab`: None where there is no cron; `lingers`: whether the user's manager is there without a login.
    `mute`: why systemd, which is there, cannot be asked; nothing where it can, or is not there.
    """

    folder: str
    systemd: bool
    crontab: str | None
    mute: str = ""
    lingers: bool = True
    files: Mapping[str, str] = {}
    enabled: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()


@value
class Write:
    """Order: let this file have this text. `sign`: + new, ~ changed, = it has."""

    path: str
    text: str
    sign: str


@value
class Remove:
    """Order: remove this file."""

    path: str


@value
class Tabulate:
    """Order: let the crontab be this; none where it is empty."""

    text: str
    sign: str


@value
class Command:
    """Order: run this. `says`: what that does, in the operator's words; nothing where it is no news."""

    argv: tuple[str, ...]
    says: str = ""


Deed: TypeAlias = Write | Remove | Tabulate | Command


def install(site: Site, found: Found, mode: Mode) -> tuple[Deed, ...]:
    """Return what is to be done for this mode; a file that is right is among it, as unchanged."""
    deeds: list[Deed] = []
    if found.systemd:
        if site.user is not None and not found.lingers:
            deeds.append(Command(("loginctl", "enable-linger", site.user), f"+ lingers   {site.user}"))
        wanted = units(site, mode)
        deeds += _ended(site, found, [u for u in (*PULLS, TIMER, SERVICE) if u not in begun(site, mode)])
        deeds += _written(site, found, wanted)
        deeds += _begun(site, found, mode, wanted)
    return (*deeds, *_tabulated(found, site if mode is Mode.CRON else None))


def uninstall(site: Site, found: Found) -> tuple[Deed, ...]:
    """Return what removes everything that `install` made. Programs go on: their unit loses its ExecStop first."""
    deeds = list(_ended(site, found, [*PULLS, TIMER, SERVICE]))
    if PROGRAMS in found.active:
        spared = Write(f"{found.folder}/{PROGRAMS}", programs(site, ends=False), "~")
        deeds += [spared, _systemctl(site, "daemon-reload")]
    deeds += _ended(site, found, [PROGRAMS])
    deeds += _written(site, found, {})
    return (*deeds, *_tabulated(found, None))


def quiet(deeds: tuple[Deed, ...]) -> bool:
    """Whether all is as it should be already."""
    return all(isinstance(d, Write | Tabulate) and d.sign == "=" for d in deeds)


def said(deed: Deed) -> str:
    """Say a deed; nothing where it is no news."""
    signs = {"=": "= unchanged", "+": "+ written  ", "~": "~ changed  ", "-": "- removed  "}
    match deed:
        case Write(path, _, sign):
            return f"{signs[sign]} {path}"
        case Remove(path):
            return f"- removed   {path}"
        case Tabulate(_, sign):
            return f"{signs[sign]} the crontab"
        case Command(_, says):
            return says
        case _:
            assert_never(deed)


def _ended(site: Site, found: Found, names: list[str]) -> Iterator[Deed]:
    for name in names:
        if name in found.enabled | found.active:
            yield _systemctl(site, "disable", "--now", name, says=f"- disabled  {name}")


def _written(site: Site, found: Found, wanted: Mapping[str, str]) -> Iterator[Deed]:
    """Yield what lets the units be these, and has systemd read them where something changed."""
    signs = {n: "=" if found.files.get(n) == t else "~" if n in found.files else "+" for n, t in wanted.items()}
    unwanted = [n for n in ALL if n in found.files and n not in wanted]
    for name, text in wanted.items():
        yield Write(f"{found.folder}/{name}", text, signs[name])
    for name in unwanted:
        if name in found.failed:
            yield _systemctl(site, "reset-failed", name)
        yield Remove(f"{found.folder}/{name}")
    if found.systemd and (unwanted or {*signs.values()} - {"="}):
        yield _systemctl(site, "daemon-reload")


def _begun(site: Site, found: Found, mode: Mode, wanted: Mapping[str, str]) -> Iterator[Deed]:
    """Yield what enables and starts the units. Who takes turns begins anew when its text changed; programs go on."""
    names = begun(site, mode)
    for name in names:
        if name not in found.enabled:
            yield _systemctl(site, "enable", name, says=f"+ enabled   {name}")
    for name in names:
        later = ("--no-block",) if name == SERVICE and site.pull and site.pull.first else ()  # it has nothing to keep
        if name != PROGRAMS and found.files.get(name) != wanted[name]:
            yield _systemctl(site, "restart", *later, name, says=f"+ started   {name}")
        elif name not in found.active:
            yield _systemctl(site, "start", *later, name, says=f"+ started   {name}")


def _tabulated(found: Found, site: Site | None) -> Iterator[Deed]:
    """Yield what lets the crontab have our lines, or not."""
    if found.crontab is None:
        return
    text = table(found.crontab, site)
    bare = table(found.crontab, None) == found.crontab
    if text != found.crontab:
        yield Tabulate(text, "-" if site is None else "+" if bare else "~")
    elif site is not None:
        yield Tabulate(text, "=")


def _systemctl(site: Site, *words: str, says: str = "") -> Command:
    manager = ("--user",) if site.user is not None else ()
    hushed = ("--quiet",) if words[0] in ("enable", "disable") else ()  # which tell of symlinks
    return Command(("systemctl", *manager, *words[:1], *hushed, *words[1:]), says)
