"""Supervisor's configuration files: sections of options with their lines, read as its own parser reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whiz.core.importing.ledger import refuse
from whiz.core.importing.values import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.importing.values import Source

_HEADER = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(.*?)\s*[=:]\s*(.*)")


def read(source: Source) -> Iterator[Entry]:
    """Yield each section's line and each option; raise ManifestError where supervisor would not start."""
    section, held, indent = "", None, 0
    for number, raw in enumerate(source.text.splitlines(), 1):
        line = _uncommented(raw)
        if not line.strip():
            continue
        inset = len(line) - len(line.lstrip())
        line = line.strip()
        if held is not None and inset > indent:
            held = held._replace(value=f"{held.value}\n{line}")
            continue
        if held is not None:
            yield held
            held = None
        indent = inset
        if header := _HEADER.match(line):
            section = header[1]
            yield Entry(source.file, number, f"[{section}]", "", "")
        elif not section:
            raise refuse(source.file, number, "an option before any [section]", line, "is it a supervisord.conf?")
        elif option := _OPTION.match(line):
            held = Entry(source.file, number, f"[{section}]", option[1].lower(), option[2])
        else:
            hint = "supervisor does not read such a file either: write name=value"
            raise refuse(source.file, number, "neither a [section] nor name=value", line, hint)
    if held is not None:
        yield held


def _uncommented(raw: str) -> str:
    """Cut comments: '#' and ';' begin one at the start of a line or after a space."""
    if raw.strip().startswith(("#", ";")):
        return ""
    return re.split(r"\s[#;]", raw, maxsplit=1)[0]
