"""supervisord.conf and what it includes."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from whiz.core.importing import ini
from whiz.core.importing.command import HOLE
from whiz.core.importing.expansions import expand, variables
from whiz.core.importing.ledger import Ledger
from whiz.core.importing.rules import apply, whole
from whiz.core.importing.supervisor_program import port
from whiz.core.importing.supervisor_rules import SECTIONS
from whiz.core.importing.supervisor_section import Common, Section
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whiz.core.importing.values import Ported, Source

_MANY = 1000  # names behind `after` in one level, where they are as many as pairs of programs
_FIRST = 999  # the priority of what has none


def further(source: Source) -> tuple[str, ...]:
    """Return the patterns that this file includes, whole paths."""
    found = ""
    for entry in ini.read(source):
        if (entry.section, entry.key) == ("[include]", "files"):
            found = entry.value
    try:
        return tuple(
            posixpath.join(source.folder, p)
            for p in expand(found.replace("%(here)s", source.folder), {}).split()
            if HOLE not in p
        )
    except ValueError:
        return ()


def translate(sources: Sequence[Source], missing: Sequence[str] = ()) -> Ported:
    """Translate the main file, the first, with those that it includes; `missing`: patterns that named none."""
    folders = {s.file: s.folder for s in sources}
    entries = [e._replace(value=e.value.replace("%(here)s", s.folder)) for s in sources for e in ini.read(s)]
    ledger = Ledger(entries)
    sections = _merged(entries, ledger, folders)
    common = _common(sections.get("supervisord"), ledger)
    groups = _groups(sections, ledger)
    ported: dict[str, tuple[str, ...]] = {}
    for section in sections.values():
        table = SECTIONS.get(section.kind)
        if section.kind in ("program", "fcgi-program", "eventlistener"):
            ported[section.title] = port(section, common, groups.get(section.name, (section.name, None))[0], ledger)
            continue
        for entry in section.options.values():
            if table is not None and entry.key in table:
                if table[entry.key].kind is not None:
                    apply(ledger, table[entry.key], entry)
                if section.kind == "include":
                    _unresolved(entry, missing, ledger)
            elif section.kind == "rpcinterface":
                ledger.say(Kind.LOST, entry, "whiz has no server that could be extended")
            elif table is None:
                ledger.say(Kind.LOST, entry, "supervisor has no such section, and ignores it too", "is it misspelt?")
    _priorities(sections, groups, ported, ledger)
    return ledger.ported()


def _merged(entries: Sequence[Entry], ledger: Ledger, folders: Mapping[str, str]) -> dict[str, Section]:
    """Put sections of one name together, as supervisor does: what is written later holds."""
    out: dict[str, Section] = {}
    for entry in entries:
        title = entry.section[1:-1]
        section = out.setdefault(title, Section(title, entry, {}, folders[entry.file]))
        if not entry.key:
            ledger.used(entry)
            continue
        if title == "include" and entry.file != entries[0].file:
            ledger.say(
                Kind.LOST, entry, "supervisor reads no includes of included files", "include it in the main file"
            )
            continue
        if not entry.value.strip():
            kind = Kind.SAME if entry.key == "environment" else Kind.LOST
            ledger.say(kind, entry, "it has no value")
            continue
        if (before := section.options.get(entry.key)) is not None:
            ledger.say(Kind.SAME, before, f"{entry.file}:{entry.line} says it again, later, and that holds")
        section.options[entry.key] = entry
    return out


def _common(section: Section | None, ledger: Ledger) -> Common:
    """Return what [supervisord] gives every program."""
    if section is None:
        return Common({}, {}, {})
    options = section.options
    env: dict[str, str] = {}
    if (entry := options.get("environment")) is not None:
        try:
            env = variables(expand(entry.value, {}))
        except ValueError as exc:
            ledger.say(Kind.LOST, entry, str(exc))
        ledger.idle(entry, "it sets nothing, or no program is there for it")
    given: dict[str, Entry] = {k: options[k] for k in ("user", "umask", "directory", "minfds") if k in options}
    for entry in given.values():
        ledger.idle(entry, "each program has its own, or none is there")
    return Common(given, env, dict.fromkeys(env, options["environment"]) if env else {})


def _groups(sections: Mapping[str, Section], ledger: Ledger) -> dict[str, tuple[str, Entry | None]]:
    """Return program -> its group, and where the group's priority stands."""
    out: dict[str, tuple[str, Entry | None]] = {}
    there = {s.name for s in sections.values() if s.kind in ("program", "fcgi-program")}
    for section in sections.values():
        entry = section.options.get("programs")
        if section.kind != "group" or entry is None:
            continue
        for name in filter(None, (n.strip() for n in entry.value.split(","))):
            out[name] = (section.name, section.options.get("priority"))
            if name not in there:
                ledger.say(Kind.LOST, entry, f"[group:{section.name}] names {name!r}, which no file here has")
    return out


def _unresolved(entry: Entry, missing: Sequence[str], ledger: Ledger) -> None:
    """Say which includes name no file, or cannot be found without supervisord's environment."""
    for pattern in missing:
        ledger.say(Kind.LOST, entry, f"no file matches {pattern}", "give whiz import the included files as well")
    try:
        held = expand(entry.value, {})
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "give whiz import the included files as well")
        return
    for pattern in held.split():
        if HOLE in pattern:
            why = f"{pattern.replace(HOLE, '')!r} depends on supervisord's environment, which is not known here"
            ledger.say(Kind.LOST, entry, why, "write the path out, and import again")


def _priorities(
    sections: Mapping[str, Section],
    groups: Mapping[str, tuple[str, Entry | None]],
    ported: Mapping[str, tuple[str, ...]],
    ledger: Ledger,
) -> None:
    """Have programs come after all of the next lower priority: first by group, then by program."""
    levels: dict[tuple[int, int], list[str]] = {}
    entries: dict[str, Entry] = {}
    for title, names in ported.items():
        section = sections[title]
        own = section.options.get("priority")
        group = groups[section.name][1] if section.name in groups else own
        within = _priority(own, ledger)
        level = (_priority(group, ledger) if section.name in groups or group else within, within)
        if section.kind != "eventlistener":
            levels.setdefault(level, []).extend(names)
            entries |= dict.fromkeys(names, own or group or section.head)
    for section in sections.values():
        if (entry := section.options.get("priority")) is not None and section.kind == "group":
            _priority(entry, ledger)
    withheld = ledger.withheld()
    before: list[str] = []
    for level in sorted(levels):
        begun = [n for n in levels[level] if n not in withheld]
        gate = begun[:1] if len(before) * len(begun) > _MANY else []
        for name in levels[level]:
            first = gate if gate and gate != [name] else before
            _placed(entries[name], name, first if name not in withheld else [], len(levels), ledger)
        before = begun or before


def _placed(entry: Entry, name: str, before: Sequence[str], levels: int, ledger: Ledger) -> None:
    """Have a program come after those of the next lower priority, and say so."""
    if before:
        ledger.after(name, before, entry)
    if not entry.key:
        return
    if levels == 1:
        ledger.say(Kind.SAME, entry, "all have the same", program=name)
    elif before:
        ledger.say(Kind.NEAR, entry, "whiz waits until those of lower priority run", program=name)
    else:
        ledger.say(Kind.SAME, entry, "nothing is started before it", program=name)


def _priority(entry: Entry | None, ledger: Ledger) -> int:
    if entry is None:
        return _FIRST
    try:
        ledger.idle(entry, "nothing is started before or after it")
        return whole(entry.value)
    except ValueError:
        ledger.say(Kind.LOST, entry, "a priority is a whole number")
        return _FIRST
