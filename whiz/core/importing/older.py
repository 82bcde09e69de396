"""The older whizzifest, `path|name` lines, and its hitlist, a path or a name a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.importing.command import anchored, split
from whiz.core.importing.ledger import Ledger
from whiz.core.importing.rules import Table, special
from whiz.core.importing.values import Entry, Kind
from whiz.core.shape import good_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.importing.values import Ported, Source

OLDER: Table = {
    "PATH|NAME": special("run", "a relative path counts from the file's folder; what follows the path are arguments"),
    "a line of the hitlist": special("hitlist", "a path or a name; no program may be both wanted and hit"),
}


def translate(source: Source) -> Ported:
    """Translate the lines of an older whizzifest."""
    entries = list(_lines(source))
    ledger = Ledger(entries)
    for entry in entries:
        path, bar, wished = (part.strip() for part in entry.section.rpartition("|"))
        if not bar or not path or not wished:
            ledger.say(Kind.LOST, entry, "it is not path|name", "write NAME: {run: PATH} under programs:")
            continue
        if good_name(path) and "/" in wished:
            path, wished = wished, path
            ledger.say(Kind.NEAR, entry, "the name stands before the path, as whiz itself has it; taken so")
        try:
            words = split(path)
        except ValueError as exc:
            ledger.say(Kind.LOST, entry, str(exc), "close the quote")
            continue
        name = ledger.program(wished, entry)
        ledger.carry(entry, name, "run", [anchored(words[0], source.folder), *words[1:]] if words else [])
    return ledger.ported()


def hitlist(source: Source) -> Ported:
    """Translate the lines of a hitlist."""
    entries = list(_lines(source))
    ledger = Ledger(entries)
    for entry in entries:
        ledger.used(entry)
        ledger.hitlist.append(anchored(entry.section, source.folder))
    return ledger.ported()


def _lines(source: Source) -> Iterator[Entry]:
    for number, raw in enumerate(source.text.splitlines(), 1):
        line = raw.strip()
        if line and not line.startswith("#"):
            yield Entry(source.file, number, line, "", "")
