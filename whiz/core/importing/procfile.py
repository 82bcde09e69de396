"""Procfiles, as foreman, honcho and Heroku read them: a name, a colon, a line for a shell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whiz.core.importing.command import anchored, from_shell
from whiz.core.importing.ledger import Ledger
from whiz.core.importing.rules import Table, special
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from whiz.core.importing.values import Ported, Source

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
_PORT = re.compile(r"\$\{?PORT\b")
_BASE, _STEP = 5000, 100  # foreman's ports

PROCFILE: Table = {
    "NAME: COMMAND": special("run", "words where no shell is needed, else `/bin/sh -c`; cwd is the Procfile's folder"),
    "NAME=value before a command": special("env", "where no shell is needed"),
    "$PORT": special("env.PORT", "foreman's: 5000, 5100, 5200 …"),
    "release: COMMAND": special("want", "`done`, and all others come after it"),
    ".env beside it": special("env_file", "if it is there"),
}


def translate(source: Source, env_file: str | None = None) -> Ported:
    """Translate a Procfile; `env_file`: the .env beside it, if there is one."""
    entries, others = [], []
    for number, raw in enumerate(source.text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if found := _LINE.fullmatch(line):
            entries.append(Entry(source.file, number, "Procfile", found[1], found[2]))
        else:
            others.append(Entry(source.file, number, line[:80], "", ""))
    ledger = Ledger([*entries, *others])
    for entry in others:
        ledger.say(Kind.LOST, entry, "it is not NAME: COMMAND; foreman ignores it too", "is it misspelt?")
    first: dict[str, Entry] = {}
    for entry in reversed(entries):
        if entry.key in first:
            why = f"line {first[entry.key].line} has the same name, and holds"
            ledger.say(Kind.LOST, entry, why, "give it another name")
        else:
            first[entry.key] = entry
    names = {key: ledger.program(key, entry) for key, entry in sorted(first.items(), key=lambda i: i[1].line)}
    for number, (key, name) in enumerate(names.items()):
        _port(first[key], name, _BASE + _STEP * number, source.folder, ledger)
        if env_file is not None:
            ledger.carry(first[key], name, "env_file", env_file)
        if key != "release" and "release" in names:
            ledger.after(name, [names["release"]], first["release"])
    if env_file is not None:
        entry = Entry(source.file, 0, ".env", "", "")
        ledger.say(Kind.NEAR, entry, f"{env_file} is read at each start of whiz's programs too; write no shell into it")
    return ledger.ported()


def _port(entry: Entry, name: str, port: int, folder: str, ledger: Ledger) -> None:
    try:
        command = from_shell(entry.value)
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "close the quote", name)
        return
    words = list(command.words) if command.by_shell else [anchored(command.words[0], folder), *command.words[1:]]
    if not ledger.carry(entry, name, "run", words):
        return
    ledger.carry(entry, name, "cwd", folder)
    for key, held in command.env:
        ledger.carry(entry, name, f"env.{key}", held)
    if _PORT.search(entry.value):
        why = f"PORT is {port}, as foreman would have it; on Heroku the platform chose it"
        ledger.carry(entry, name, "env.PORT", str(port), why)
    if entry.key == "release":
        why = "run once, until it succeeded, and again when its line changes; Heroku runs it at each release"
        ledger.carry(entry, name, "want", "done", why, f"whiz restart {name}")
