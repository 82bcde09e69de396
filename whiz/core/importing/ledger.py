"""The account of one import: each option of the input ends in it, translated or remarked upon; none is dropped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whiz.core import keys
from whiz.core.errors import ManifestError, Problem
from whiz.core.importing.command import LONGEST
from whiz.core.importing.values import Entry, Kind, Ported, Remark, Translation
from whiz.core.order import cycles
from whiz.core.shape import Node, Report, good_name
from whiz.core.value import replace
from whiz.core.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 60  # letters of a name that had to be changed


def refuse(file: str, line: int, message: str, text: str = "", hint: str = "") -> ManifestError:
    """Return the error of a file that cannot be read."""
    return ManifestError((Problem(file, line, 1 if line else 0, message, text[:200], hint),))


def tree(held: object) -> Node:
    """Return a value as the parser of whizzifests sees it."""
    match held:
        case bool():
            return Node("bool", "true" if held else "false", 1, 1)
        case int():
            return Node("int", str(held), 1, 1)
        case dict():
            return Node("map", [(tree(k), tree(v)) for k, v in held.items()], 1, 1)
        case list() | tuple():
            return Node("list", [tree(v) for v in held], 1, 1)
        case _:
            return Node("str", str(held), 1, 1)


def refused(key: str, held: object) -> str:
    """Return why whiz's own parser does not take this value for this key; nothing where it does."""
    top, _, below = key.partition(".")
    if key == "run" and isinstance(held, list | tuple) and str([*held, ""][0]).startswith("~"):
        return "'~' is not expanded"
    if key == "run" and isinstance(held, list | tuple) and sum(len(str(w)) for w in held) > LONGEST:
        return f"longer than {LONGEST} letters, which the system takes for no argument"
    report = Report("")
    keys.PROGRAM.read(tree({top: {below: held} if below else held, **({} if top == "run" else {"run": "/"})}), report)
    return "; ".join(p.message for p in report.problems)


class Ledger:
    """Takes down what becomes of each entry."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)
        self._seen: set[tuple[str, int, str, str]] = set()
        self._translations: dict[str, list[Translation]] = {}  # program -> its own
        self._remarks: dict[Remark, dict[str, None]] = {}  # and the programs it is about
        self._first: dict[str, Entry] = {}  # program -> where it begins
        self._taken: set[str] = set()  # the names, in lower case
        self._copies: dict[str, int] = {}  # name, in lower case -> the number that its last copy got
        self._after: dict[str, dict[str, Entry]] = {}
        self._idle: dict[Entry, str] = {}
        self._told: set[tuple[str, int, str, str]] = set()  # what is translated or remarked upon
        self._withheld: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        self.hitlist: list[str] = []

    def program(self, wished: str, entry: Entry) -> str:
        """Return the name a program gets: the wished one where whiz can have it."""
        name = wished
        if not good_name(name):
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_LONGEST] or "program"
        stem, low = name, name.lower()
        while name.lower() in self._taken:
            self._copies[low] = self._copies.get(low, 1) + 1
            name = f"{stem}-{self._copies[low]}"
        self._taken.add(name.lower())
        self._first[name] = entry
        if name != wished:
            clash = ": that name is taken" if name != stem else ": whiz's names are letters, digits, '.', '_' and '-'"
            self.say(Kind.NEAR, entry, f"its name is {name!r} here{clash}", program=name)
        return name

    def carry(self, entry: Entry, program: str, key: str, held: object, why: str = "", hint: str = "") -> bool:
        """Translate an entry, with a word on how it differs if there is one; tell whether whiz takes the value."""
        if said := refused(key, held):
            self.say(Kind.LOST, entry, f"{key.partition('.')[0]}: {said}", hint, program)
            return False
        self._told.add(entry[:4])
        self._translate(program, key, held, entry)
        if why:
            self.say(Kind.NEAR, entry, why, hint, program)
        return True

    def _translate(self, program: str, key: str, held: object, entry: Entry) -> None:
        self._translations.setdefault(program, []).append(Translation(program, key, held, entry.file, entry.line))

    def say(self, kind: Kind, entry: Entry, why: str, hint: str = "", program: str = "") -> None:
        """Remark upon an entry."""
        self._told.add(entry[:4])
        remark = Remark(kind, entry.file, entry.line, entry.what, why, hint)
        self._remarks.setdefault(remark, {}).update({program: None} if program else {})

    def used(self, entry: Entry) -> None:
        """Take down that another entry's translation holds this one too."""
        self._seen.add(entry[:4])
        self._idle.pop(entry, None)

    def idle(self, entry: Entry, why: str) -> None:
        """Take down that an entry was looked at: why it makes no difference, unless something comes of it yet."""
        self._seen.add(entry[:4])
        self._idle.setdefault(entry, why)

    def title(self, program: str, text: str) -> None:
        """Keep what the file says of a program in words."""
        said = [self._titles[program]] if program in self._titles else []
        self._titles[program] = "; ".join([*said, " ".join(text.split())])

    def withhold(self, program: str, why: str) -> None:
        """Have a program written as a comment only: started as it stands, it would do harm."""
        self._withheld.setdefault(program, why)

    def has(self, program: str, key: str) -> object:
        """Return what a program was given for a key so far, None where it has none."""
        return next((t.value for t in reversed(self._translations.get(program, [])) if t.key == key), None)

    def drop(self, program: str, key: str) -> None:
        """Take a translation back that another option makes void; the caller has said why."""
        self._translations[program] = [t for t in self._translations.get(program, []) if t.key != key]

    def withheld(self) -> frozenset[str]:
        """Return the programs that are not to be started as they stand."""
        return frozenset(self._withheld)

    def after(self, program: str, others: Iterable[str], entry: Entry) -> None:
        """Let a program come after others, by their names here; those that are none are for the caller to say."""
        self._seen.add(entry[:4])
        self._after.setdefault(program, {}).update(dict.fromkeys(others, entry))

    def ported(self) -> Ported:
        """Return the whole, once every entry has been gone through."""
        self._require_commands()
        self._order()
        self._back_offs()
        for entry, why in self._idle.items():
            if entry[:4] not in self._told:
                self.say(Kind.SAME, entry, why)
        for entry in self._entries:
            if entry[:4] not in self._seen and entry[:4] not in self._told:
                self.say(Kind.LOST, entry, "unknown: no reference names this option here", "is it misspelt?")
        order = {f: i for i, f in enumerate(dict.fromkeys(e.file for e in self._entries))}
        remarks = [replace(r, programs=tuple(programs)) for r, programs in self._remarks.items()]
        remarks.sort(key=lambda r: (order.get(r.file, 0), r.line))
        return Ported(
            tuple(t for own in self._translations.values() for t in own),
            tuple(remarks),
            tuple(dict.fromkeys(self.hitlist)),
            tuple(self._withheld.items()),
            tuple(self._titles.items()),
        )

    def _require_commands(self) -> None:
        running = self._running()
        for name, entry in self._first.items():
            if name not in running:
                self.withhold(name, "it has no command that whiz could run")
                self.say(Kind.LOST, entry, "it has no command that whiz could run", program=name)

    def _running(self) -> set[str]:
        return {name for name, own in self._translations.items() if any(t.key == "run" for t in own)}

    def _order(self) -> None:
        """Write down who comes after whom, without what is not there and without circles."""
        there = self._running() - self._withheld.keys()
        found: dict[str, dict[str, Entry]] = {}
        for name, others in self._after.items():
            for other, entry in others.items():
                if other not in there:
                    self.say(Kind.LOST, entry, f"{name!r} cannot come after {other!r}, which is not started", "", name)
                elif other != name:
                    found.setdefault(name, {})[other] = entry
        while circles := cycles({n: tuple(o) for n, o in found.items()}):
            *_, name, other = circles[0]
            entry = found[name].pop(other)
            why = f"a circle: {' → '.join(circles[0])}; {name!r} does not wait for {other!r}"
            self.say(Kind.LOST, entry, why, "", name)
        for name, others in found.items():
            self._told |= {entry[:4] for entry in others.values()}
            first = next(iter(others.values()), None)
            if first is not None:
                self._translate(name, "after", sorted(others), first)

    def _back_offs(self) -> None:
        """Keep the longest back-off as long as the first."""
        for name, own in self._translations.items():
            held = {t.key: str(t.value) for t in own}
            text = held.get("restart.delay", "0")
            if duration(text) > duration(held.get("restart.max_delay", "5m")):
                own.append(Translation(name, "restart.max_delay", text))
