"""One service of systemd on its way into the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.importing.rules import apply, lost
from whiz.core.importing.systemd_end import ends, limit
from whiz.core.importing.systemd_limits import TWICE
from whiz.core.importing.systemd_rules import SERVICE, UNIT
from whiz.core.importing.systemd_start import starts
from whiz.core.importing.systemd_text import words
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.importing.ledger import Ledger
    from whiz.core.importing.systemd_text import Unit

_HELD = frozenset(key for pair in TWICE for key in pair)


class Service:
    """Translates the directives that hold."""

    def __init__(self, unit: Unit, head: Entry, options: Mapping[str, list[Entry]], ledger: Ledger) -> None:
        self.unit, self.head, self.options, self.ledger = unit, head, options, ledger
        self.name = ledger.program(unit.stem, head)

    def last(self, key: str) -> Entry | None:
        """Return the entry that holds."""
        return self.options[key][-1] if key in self.options else None

    def port(self, *, by_clock: bool) -> None:
        """Translate all but what concerns other units."""
        ledger, name = self.ledger, self.name
        for key in ("Description", "Documentation"):
            for entry in self.options.get(key, []):
                ledger.title(name, entry.value)
                ledger.used(entry)
        kind = self.last("Type")
        task = by_clock or (kind is not None and kind.value == "oneshot")
        if task:
            ledger.carry(kind or self.head, name, "want", "done")
        starts(self, self._environment(), task=task)
        ends(self, task=task)
        self._place()
        self._log()
        for key, entries in self.options.items():
            rule = SERVICE.get(key) or UNIT.get(key) if key not in _HELD else None
            for entry in entries:
                if rule is not None and rule.kind is not None:
                    apply(ledger, rule, entry, name)
                elif entry.section == "[Install]":
                    ledger.say(Kind.SAME, entry, "whiz starts what is in the whizzifest", program=name)
        self._ceilings()
        limit(self)

    def _ceilings(self) -> None:
        """Carry over one of two directives that are the same key here; the second where the first is none."""
        for first, second in TWICE:
            entry, other, rule = self.last(first), self.last(second), SERVICE[second]
            if entry is not None and apply(self.ledger, SERVICE[first], entry, self.name):
                rule = lost(f"{rule.to} is one limit, and {first}= has it", rule.hint, rule.same)
            if other is not None:
                apply(self.ledger, rule, other, self.name)

    def _environment(self) -> dict[str, str]:
        """Carry variables over; return those that are sure to be set so."""
        ledger, name = self.ledger, self.name
        gone = {w for e in self.options.get("UnsetEnvironment", []) for w in e.value.split()}
        env: dict[str, tuple[str, Entry]] = {}
        for entry in self.options.get("Environment", []):
            ledger.idle(entry, "it sets nothing")
            try:
                pairs = [w.partition("=") for w in words(entry.value)]
            except ValueError as exc:
                ledger.say(Kind.LOST, entry, str(exc), "write env: by hand", name)
                continue
            for key, equals, held in pairs:
                if not equals or not key:
                    ledger.say(Kind.LOST, entry, f"{key!r} is no NAME=value; systemd ignores it too", "", name)
                elif key not in gone and f"{key}={held}" not in gone:
                    env[key] = (held, entry)
        for entry in self.options.get("UnsetEnvironment", []):
            ledger.say(
                Kind.SAME, entry, "whiz sets nothing that the whizzifest does not, but PATH, LANG, HOME …", program=name
            )
        for key, (held, entry) in env.items():
            ledger.carry(entry, name, f"env.{key}", held)
        return {} if self._env_file(bool(env)) else {k: v for k, (v, _) in env.items()}

    def _env_file(self, env: bool) -> bool:  # noqa: FBT001  whether there are other variables
        entries = self.options.get("EnvironmentFile", [])
        for i, entry in enumerate(entries):
            path = entry.value.removeprefix("-")
            whys = ["the program does not start where the file is missing"] if path != entry.value else []
            whys += ["where both have a variable, env: holds, in systemd the file"] if env else []
            if i or any(c in path for c in "*?["):
                why = "whiz reads one file of variables for a program"
                self.ledger.say(Kind.LOST, entry, why, "put them into one file", self.name)
            else:
                self.ledger.carry(
                    entry,
                    self.name,
                    "env_file",
                    path,
                    "; ".join(whys),
                    "an empty file will do" if path != entry.value else "",
                )
        return bool(entries)

    def _place(self) -> None:
        if (entry := self.last("WorkingDirectory")) is None:
            return
        path = entry.value.removeprefix("-")
        why = "the program does not start where the folder is missing" if path != entry.value else ""
        hint = "write the whole path" if path == "~" else ""
        self.ledger.carry(entry, self.name, "cwd", path, why, hint)

    def _log(self) -> None:
        ledger, name = self.ledger, self.name
        out, err = self.last("StandardOutput"), self.last("StandardError")
        for entry in (e for e in (out, err) if e is not None):
            told = entry.value.lower()
            first = entry is out
            if told in ("journal", "syslog", "journal+console", "syslog+console", "kmsg", "kmsg+console"):
                ledger.carry(entry, name, "log.to", "journal", "" if told == "journal" else "it goes to journald")
            elif told == "inherit" and not first:
                ledger.say(Kind.SAME, entry, "stderr goes where stdout goes", program=name)
            elif told == "null" and first and (err is None or err.value.lower() in ("null", "inherit")):
                ledger.carry(entry, name, "log.to", "null")
            elif told == "null" and not first and out is not None and out.value.lower() == "null":
                ledger.say(Kind.SAME, entry, "stderr goes where stdout goes", program=name)
            else:
                why = "stdout and stderr go to one log of whiz's own, NAME.log"
                ledger.say(Kind.LOST, entry, why, "whiz logs NAME; or log: {to: journal}", name)
