"""What changed between two values of a Program, in words, with secrets masked."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from whiz.core.model import PROCESS_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.model import Program

_SECRET = ("secret", "token", "passw", "key", "credential", "auth")
MASK = "***"


def masked(name: str, value: str) -> str:
    """Return the value unless its name sounds like a secret's."""
    low = name.lower()
    for word in _SECRET:
        if word in low:
            return MASK
    return value


_FIELDS = (*PROCESS_FIELDS, "log", "want")
_held = attrgetter(*_FIELDS)


def changes(old: Program, new: Program) -> str:
    """Say what a process started for `old` has otherwise than `new` asks: '--fps 5 → --fps 10'."""
    if not old.argv:
        return "started for another entry of this name"
    said: list[str] = []
    for field, a, b in zip(_FIELDS, _held(old), _held(new), strict=True):
        if a != b:
            said += _files(old, new) if field == "digests" else _change(field, a, b)
    return ", ".join(said)


def _change(field: str, a: Any, b: Any) -> Iterable[str]:  # noqa: ANN401  each field has its own type
    match field:
        case "argv":
            return [_words(a, b)]
        case "env" | "env_defaults":
            return _pairs(dict(a), dict(b), show=True)
        case "secrets":
            return _pairs(dict(a), dict(b), show=False)
        case "limits":
            from whiz.core.limits import spelled  # noqa: PLC0415  a quiet turn tells no change

            return [f"limits.{k} {_or_unset(x)} → {_or_unset(y)}" for k, x, y in _apart(spelled(a), spelled(b))]
        case "says":
            return [f"says {', '.join(a) or 'nothing'} → {', '.join(b) or 'nothing'}"]
        case "umask":
            return [f"umask {a:03o} → {b:03o}"]
        case "log":
            return [f"log.to {a.to} → {b.to}"] if a.to != b.to else []
        case _:
            return [f"{field} {_or_unset(a)} → {_or_unset(b)}"]


def _files(old: Program, new: Program) -> Iterable[str]:
    a, b = dict(old.digests), dict(new.digests)
    told = {old.argv[0], new.argv[0]} if old.argv[0] != new.argv[0] else set()  # by what was said of argv
    for path in sorted(a.keys() | b.keys()):
        if a.get(path) == b.get(path) or path in told:
            continue
        if path in a and path in b:
            yield f"file {path} has new content"
        else:
            yield f"file {path} is {'one of its files now' if path in b else 'none of its files any more'}"


def _or_unset(value: object) -> object:
    return "unset" if value is None else value


def _apart(a: dict[str, str], b: dict[str, str]) -> list[tuple[str, object, object]]:
    return [(k, a.get(k), b.get(k)) for k in {**a, **b} if a.get(k) != b.get(k)]


def _words(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if head < len(old) and head < len(new) and head and old[head - 1].startswith("-") and "=" not in old[head - 1]:
        head -= 1  # a value is told with its option
    a, b = hidden(old, head, old[head : len(old) - tail]), hidden(new, head, new[head : len(new) - tail])
    if not a or not b:
        return f"{'dropped' if a else 'added'} {' '.join(a or b)}"
    return f"{' '.join(a)} → {' '.join(b)}"


def hidden(argv: tuple[str, ...], head: int, words: tuple[str, ...]) -> list[str]:
    """Return these words of argv, which begin at `head`, with '--token=x' and the word behind '--token' masked."""
    shown = []
    for i, word in enumerate(words):
        before = argv[head + i - 1] if head + i else ""
        option, eq, value = word.partition("=")
        if before.startswith("-") and "=" not in before and masked(before, word) == MASK:
            shown.append(MASK)
        else:
            shown.append(f"{option}={masked(option, value)}" if eq and option.startswith("-") else word)
    return shown


def _pairs(old: dict[str, str], new: dict[str, str], *, show: bool) -> list[str]:
    said = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        a, b = old.get(name, "unset"), new.get(name, "unset")
        if not show and name in old and name in new:
            said.append(f"env {name} has a new value")
            continue
        if not show:
            a, b = ("unset" if name not in old else MASK), ("unset" if name not in new else MASK)
        else:
            a, b = (v if v == "unset" else masked(name, v) for v in (a, b))
        said.append(f"env {name} {a} → {b}")
    return said
