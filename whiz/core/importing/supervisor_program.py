"""One [program:x], [fcgi-program:x] or [eventlistener:x] of supervisor, and the copies that numprocs makes of it."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from whiz.core.importing.command import HOLE, PATH, anchored, pathless, split, with_holes
from whiz.core.importing.expansions import expand, filled, variables
from whiz.core.importing.rules import apply, truth, whole
from whiz.core.importing.supervisor_fcgi import socket_words
from whiz.core.importing.supervisor_rules import SECTIONS, SUPERVISORD
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.importing.ledger import Ledger
    from whiz.core.importing.supervisor_section import Common, Section

_PLAIN = re.compile(r"%\(process_num\)[sd]")
_MOST = 1000  # as many copies as whiz has instances


def port(section: Section, common: Common, group: str, ledger: Ledger) -> tuple[str, ...]:
    """Translate one section; return the names of what it became."""
    count, first = _number(section, "numprocs", 1, ledger), _number(section, "numprocs_start", 0, ledger)
    if not 1 <= count <= _MOST:
        entry = section.options["numprocs"]
        ledger.say(Kind.LOST, entry, f"whiz has 1 to {_MOST} copies of a program, so this is one", "instances:")
        count = 1
    known: dict[str, str | int] = {"program_name": section.name, "group_name": group, "numprocs": count}
    alike = count > 1 and _alike(section, first)
    if count > 1:
        ledger.used(section.options["numprocs"])
    numbered = (count > 1 and not alike) or any("process_num)" in e.value for e in section.options.values())
    start = section.options.get("numprocs_start")
    if numbered and start is not None and start.value.strip() == str(first):
        ledger.used(start)
    numbers = [first] if count == 1 or alike else list(range(first, first + count))
    return tuple(_one(section, common, known | {"process_num": n}, ledger, count if alike else 0) for n in numbers)


def _alike(section: Section, first: int) -> bool:
    """Whether the copies differ in nothing but what {n}, from 1 on, can stand for."""
    told = {k: e.value for k, e in section.options.items() if k != "process_name"}
    if any("{n}" in text for text in told.values()):
        return False
    numbered = {k: text for k, text in told.items() if "%(process_num)" in text}
    rest = "".join(_PLAIN.sub("", text) for text in numbered.values())
    return not numbered or (first == 1 and not numbered.keys() - {"command", "environment"} and "_num)" not in rest)


def _number(section: Section, key: str, otherwise: int, ledger: Ledger) -> int:
    entry = section.options.get(key)
    if entry is None:
        return otherwise
    ledger.idle(entry, "one is started, and nothing is numbered")
    try:
        return whole(entry.value)
    except ValueError:
        ledger.say(Kind.LOST, entry, f"{key} is a whole number")
        return otherwise


def _one(section: Section, common: Common, known: dict[str, str | int], ledger: Ledger, instances: int) -> str:
    """Translate one copy; return its name."""
    options, table = section.options, SECTIONS[section.kind]
    name = _named(section, known, ledger, instances)
    if instances:
        known = known | {"process_num": "{n}"}
        ledger.carry(options["numprocs"], name, "instances", instances, f"whiz names the copies {name}:1, {name}:2 …")
    env = _environment(section, common, known, name, ledger)
    known = {"ENV_PATH": PATH} | known | {f"ENV_{k}": v for k, v in env.items()}
    _command(section, known, env, name, ledger)
    _cwd(options.get("directory") or common.options.get("directory"), section, known, name, ledger)
    _log(options, name, ledger)
    _switches(section, name, ledger)
    for key, entry in options.items():
        rule = table.get(key)
        if rule is not None and rule.kind is not None:
            try:
                apply(ledger, rule, entry._replace(value=filled(entry.value, known)), name)
            except ValueError as exc:
                ledger.say(Kind.LOST, entry, str(exc), program=name)
    _inherited(common, options, name, ledger)
    if "autorestart" not in options:
        ledger.carry(section.head, name, "restart.on", "failure")  # supervisor's own default
    if "startretries" not in options and section.kind == "program":
        why = "supervisor gives up after 3 retries where nothing is said, whiz never"
        head = Entry(section.head.file, 0, "startretries where it is not written", "", "")
        ledger.say(Kind.NEAR, head, why, "restart: {attempts: 4}")
    return name


def _named(section: Section, known: Mapping[str, str | int], ledger: Ledger, instances: int) -> str:
    entry = section.options.get("process_name")
    if entry is None or instances:
        if entry is not None:
            ledger.idle(entry, "whiz names the copies by their numbers")
        number = f"-{known['process_num']}" if known["numprocs"] != 1 and not instances else ""
        return ledger.program(f"{section.name}{number}", section.head)
    try:
        wished = filled(entry.value, known)
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc))
        wished = section.name
    ledger.idle(entry, "its name is the section's anyway")
    if wished != section.name:
        ledger.used(entry)
    return ledger.program(wished, entry)


def _environment(
    section: Section, common: Common, known: Mapping[str, str | int], name: str, ledger: Ledger
) -> dict[str, str]:
    """Carry the variables over; return those that are known."""
    found = {k: (v, common.env_entries[k]) for k, v in common.env.items()}
    if (entry := section.options.get("environment")) is not None:
        ledger.idle(entry, "it sets nothing")
        around = {"ENV_PATH": PATH} | {f"ENV_{k}": v for k, v in common.env.items()} | dict(known)
        try:
            found |= {k: (v, entry) for k, v in variables(expand(entry.value, around)).items()}
        except ValueError as exc:
            ledger.say(Kind.LOST, entry, str(exc), program=name)
    for key, (held, place) in found.items():
        if HOLE in held:
            why = f"{key} depends on {held.split(HOLE)[1]} of supervisord's own environment, which is not known here"
            ledger.say(Kind.LOST, place, why, f"write env: {{{key}: …}}", name)
        elif "%(ENV_PATH)s" in place.value and PATH in held:
            ledger.carry(place, name, f"env.{key}", held, f"the PATH within {key} is the constant one that whiz gives")
        else:
            ledger.carry(place, name, f"env.{key}", held)
    return {k: v for k, (v, _) in found.items() if HOLE not in v}


def _command(section: Section, known: Mapping[str, str | int], env: dict[str, str], name: str, ledger: Ledger) -> None:
    entry = section.options.get("command")
    if entry is None:
        return
    try:
        words = split(expand(entry.value, known))
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "write run: by hand", name)
        return
    where = section.options.get("directory")
    base = where.value if where is not None and where.value.startswith("/") else section.folder
    words = [anchored(words[0], base), *words[1:]] if words else []
    why = pathless(words, env)
    if any(HOLE in w for w in words):
        missing = ", ".join(sorted({part for w in words for part in w.split(HOLE)[1::2]}))
        why = f"{missing} of supervisord's environment is not known here; a shell stops the program where it is unset"
    if section.kind == "fcgi-program":
        words = socket_words(section, known, name, ledger) + words
    ledger.carry(entry, name, "run", list(with_holes(words)), why, "set it under env:" if "shell" in why else "")


def _cwd(entry: Entry | None, section: Section, known: Mapping[str, str | int], name: str, ledger: Ledger) -> None:
    if entry is None:
        return
    try:
        held = filled(entry.value, known)
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "write cwd: by hand", name)
        return
    why = "" if held.startswith("/") else "it counts from where supervisord was started; here from the file's folder"
    ledger.carry(entry, name, "cwd", posixpath.normpath(posixpath.join(section.folder, held)), why)


def _log(options: Mapping[str, Entry], name: str, ledger: Ledger) -> None:
    """See to where output goes: one place for both streams."""
    for stream in ("stdout", "stderr"):
        syslog, entry = options.get(f"{stream}_syslog"), options.get(f"{stream}_logfile")
        target = entry.value.strip().lower() if entry is not None else ""
        if syslog is not None:
            _syslog(syslog, name, ledger)
        if entry is None:
            continue
        redirected = options.get("redirect_stderr")
        if (
            stream == "stderr"
            and redirected is not None
            and redirected.value.strip().lower() in ("true", "1", "yes", "on")
        ):
            ledger.say(Kind.SAME, entry, "redirect_stderr sends stderr where stdout goes", program=name)
        elif target == "auto":
            ledger.say(Kind.SAME, entry, "it is NAME.log", program=name)
        elif target == "syslog":
            ledger.carry(entry, name, "log.to", "journal", "it goes to journald, under the program's name")
        elif target in ("none", "off", "/dev/null") and stream == "stdout":
            ledger.carry(entry, name, "log.to", "null", "whiz drops stderr with it: both go to one place")
        else:
            why = "stdout and stderr go to one log of whiz's own, NAME.log"
            ledger.say(Kind.LOST, entry, why, "whiz logs NAME", name)


def _syslog(entry: Entry, name: str, ledger: Ledger) -> None:
    try:
        if truth(entry.value):
            ledger.carry(entry, name, "log.to", "journal", "both streams go to journald, under the program's name")
        else:
            ledger.say(Kind.SAME, entry, "", program=name)
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), program=name)


def _switches(section: Section, name: str, ledger: Ledger) -> None:
    """See to autostart and exitcodes, and to what a listener is."""
    options = section.options
    if section.kind == "eventlistener":
        ledger.withhold(name, "it speaks supervisor's event protocol on stdin and stdout, and nobody does here")
        why = "an event listener has nobody to listen to: nobody sends supervisor's events"
        ledger.say(Kind.LOST, section.head, why, "commands under on: are told of starts, ends and crash loops", name)
    if (entry := options.get("autostart")) is not None:
        if entry.value.strip().lower() in ("false", "0", "no", "off"):
            why = "whiz starts whatever is in the whizzifest, so this program is written as a comment"
            ledger.say(
                Kind.LOST, entry, why, f"take the #s away and `whiz hold {name}`; start it by `whiz unhold`", name
            )
            ledger.withhold(name, "it is not to start by itself")
        else:
            ledger.say(Kind.SAME, entry, "whiz starts what is in the whizzifest", program=name)
    if (entry := options.get("exitcodes")) is not None:
        rule = SECTIONS["program"]["exitcodes"]
        try:
            codes = sorted({whole(c) for c in filled(entry.value, {}).split(",") if c.strip()})
        except ValueError:
            ledger.say(Kind.LOST, entry, "exit codes are numbers from 0 to 255, with commas between", program=name)
            return
        ledger.carry(entry, name, rule.to, codes, "" if 0 in codes else rule.why)


def _inherited(common: Common, options: Mapping[str, Entry], name: str, ledger: Ledger) -> None:
    for key, entry in common.options.items():
        if key == "minfds":
            try:
                number = whole(entry.value)
            except ValueError:
                ledger.say(Kind.LOST, entry, "it is no number")
                continue
            if number > 1024:  # noqa: PLR2004  what every process has anyway
                ledger.carry(entry, name, SUPERVISORD[key].to, number, "whiz sets it as the ceiling, for each program")
            else:
                ledger.say(Kind.SAME, entry, "every process may have as many anyway")
        elif key == "user" and key not in options:
            ledger.carry(entry, name, "user", entry.value)
        elif key == "umask" and key not in options:
            apply(ledger, SECTIONS["program"]["umask"], entry, name)
