"""One row for each documented option: what becomes of it. The translators and docs/import.md read these tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from whiz.core.importing.values import Kind
from whiz.core.value import value
from whiz.core.words import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.importing.ledger import Ledger
    from whiz.core.importing.values import Entry


@value
class Rule:
    """What becomes of an option.

    `kind` None: the translator itself sees to it, and `why` is for the reference. `to`: whiz's key, `read` makes its
    value and raises ValueError. `same`: values, in lower case, with which whiz does the same anyway.
    """

    kind: Kind | None
    to: str = ""
    read: Callable[[str], object] = str
    why: str = ""
    hint: str = ""
    same: tuple[str, ...] = ()


Table: TypeAlias = dict[str, Rule]


def to(
    key: str, read: Callable[[str], object] = str, why: str = "", hint: str = "", same: tuple[str, ...] = ()
) -> Rule:
    """Return the rule of an option that whiz has too; `why` says how it differs."""
    return Rule(Kind.NEAR, key, read, why, hint, same)


def lost(why: str, hint: str = "", same: tuple[str, ...] = ()) -> Rule:
    """Return the rule of an option that whiz does not have."""
    return Rule(Kind.LOST, "", str, why, hint, same)


def same(why: str) -> Rule:
    """Return the rule of an option that asks for what whiz does anyway, or that means nothing to it."""
    return Rule(Kind.SAME, "", str, why)


def special(key: str, why: str) -> Rule:
    """Return the rule of an option that the translator sees to."""
    return Rule(None, key, str, why)


def apply(ledger: Ledger, rule: Rule, entry: Entry, program: str = "") -> bool:
    """Take down what becomes of an entry by its rule; tell whether the whizzifest holds it."""
    if entry.value.strip().lower() in rule.same:
        ledger.say(Kind.SAME, entry, "", program=program)
    elif rule.kind is not Kind.NEAR:
        ledger.say(rule.kind or Kind.LOST, entry, rule.why, rule.hint, program)
    else:
        try:
            held = rule.read(entry.value)
        except ValueError as exc:
            said = str(exc) if " " in str(exc) else "the value is not understood"
            ledger.say(Kind.LOST, entry, said, rule.hint or f"write {rule.to} by hand", program)
        else:
            return ledger.carry(entry, program, rule.to, held, rule.why, rule.hint)
    return False


def whole(text: str) -> int:
    """Read a whole number."""
    found = re.fullmatch(r"\s*([+-]?[0-9]{1,15})\s*", text)
    if found is None:
        raise ValueError(text)
    return int(found[1])


def truth(text: str) -> bool:
    """Read a yes or no as all these formats write it."""
    low = text.strip().lower()
    if low in ("1", "yes", "true", "on", "y", "t"):
        return True
    if low in ("0", "no", "false", "off", "n", "f"):
        return False
    raise ValueError(f"{text[:40]!r} is neither yes nor no")


def seconds(number: float) -> str:
    """Write a duration as a whizzifest has it."""
    if number < 0 or number > 1e9:  # noqa: PLR2004  thirty years
        raise ValueError(f"{number:g} s is no duration for whiz")
    if number and number % 3600 == 0:
        return f"{number / 3600:.0f}h"
    if number and number % 60 == 0:
        return f"{number / 60:.0f}m"
    if number != round(number, 1):
        return f"{max(1, round(number * 1000))}ms"
    return f"{number:g}s" if number < 1e6 else f"{number:.0f}s"  # noqa: PLR2004  12345678 is not to be 1.23e+07


def bytes_of(number: int) -> str:
    """Write a size as a whizzifest has it."""
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("GB", 10**9), ("MB", 10**6)):
        if number and number % length == 0:
            return f"{number // length}{unit}"
    return f"{number}B"


def binary(text: str) -> str:
    """Read a size whose K, M and G are powers of 1024, as 200M or 50MB."""
    found = re.fullmatch(r"\s*([0-9]{1,15})\s*([kmgtKMGT]?)(?:[iI]?[bB])?\s*", text)
    if found is None:
        raise ValueError(text)
    return bytes_of(int(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


def signal(text: str) -> str:
    """Read a signal by name or number."""
    low = text.strip().upper().removeprefix("SIG")
    by_number = {str(n): name for name, n in SIGNALS.items()}
    name = by_number.get(low, low)
    if name not in SIGNALS:
        raise ValueError(f"whiz stops by one of {', '.join(SIGNALS)}")
    return name


def octal(text: str) -> str:
    """Read a file mode mask."""
    found = re.fullmatch(r"\s*(?:0o?)?([0-7]{1,4})\s*", text)
    if found is None:
        raise ValueError(text)
    return f"{int(found[1], 8):03o}"
