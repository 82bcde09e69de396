"""known_hosts: whose host keys we believe."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import paramiko
from paramiko.hostkeys import HostKeyEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HASHED = "|1|"
_FIELDS = 3  # names, kind, key


class Known:
    """The entries of some files. A line that ssh would not understand either is passed over, and so are authorities."""

    def __init__(self, files: Sequence[str]) -> None:
        self._entries: list[tuple[list[str], paramiko.PKey]] = []
        self._revoked: set[bytes] = set()
        for path in files:
            try:
                with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as f:
                    lines = f.read().splitlines()
            except OSError:
                continue  # as ssh does: what cannot be read makes nobody known
            for line in lines:
                self._take(line)

    def _take(self, line: str) -> None:
        """Take one line."""
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < _FIELDS or words[0].startswith("#") or marker not in ("", "@revoked"):
            return
        try:
            entry = HostKeyEntry.from_line(" ".join(words[:_FIELDS]))
        except Exception:  # noqa: BLE001  paramiko and those below it raise what they like
            return
        if entry is None or entry.key is None:
            return
        if marker:
            self._revoked.add(entry.key.asbytes())
        else:
            self._entries.append((words[0].split(","), entry.key))

    def keys(self, where: str) -> Iterator[paramiko.PKey]:
        """Yield the keys of a host, which is spelled as in known_hosts: `pi.lan`, `[pi.lan]:2222`."""
        for names, key in self._entries:
            if _names(names, where) and key.asbytes() not in self._revoked:
                yield key


def _names(names: list[str], where: str) -> bool:
    """Whether one of the patterns fits, and none that begins with `!`."""
    if any(n.startswith("!") and _fits(n[1:], where) for n in names):
        return False
    return any(_fits(n, where) for n in names)


def _fits(name: str, where: str) -> bool:
    if name.startswith(_HASHED):
        try:
            return paramiko.HostKeys.hash_host(where, name) == name
        except Exception:  # noqa: BLE001  no salt where one should be
            return False
    return fnmatchcase(where.lower(), name.lower().replace("[", "[[]"))
