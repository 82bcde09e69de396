"""systemd's Exec lines as words, or as a line for a shell where they are several or wait for variables."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whiz.core.importing.systemd_text import words
from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PREFIX = re.compile(r"[-@:+!|]*")
_WORD = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_WITHIN = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@value
class Exec:
    """One command. `words`: as systemd splits them; `prefix`: the signs before it."""

    prefix: str
    words: tuple[str, ...]

    @property
    def forgiven(self) -> bool:
        """Whether its failure counts as none."""
        return "-" in self.prefix

    @property
    def privileged(self) -> bool:
        """Whether it does not run as User=."""
        return "+" in self.prefix or "!" in self.prefix


def commands(text: str) -> list[Exec]:
    """Read the value of an Exec line; raise ValueError."""
    out = []
    found: list[str] = []
    for word in [*words(text), ";"]:
        if word != ";":
            found.append(word.replace("\\;", ";"))
            continue
        if found:
            match = _PREFIX.match(found[0])
            prefix = match[0] if match else ""
            held = [found[0][len(prefix) :], *found[1:]]
            if "@" in prefix and len(held) > 1:
                del held[1]  # what argv[0] was to be
            if not held[0]:
                raise ValueError("no command behind its prefix")
            out.append(Exec(prefix, tuple(held)))
        found = []
    return out


def plain(command: Exec, env: Mapping[str, str]) -> list[str] | None:
    """Return the words with variables filled in, None where one is not known here."""
    if ":" in command.prefix:
        return list(command.words)
    out: list[str] = []
    for word in command.words:
        if (whole := _WORD.fullmatch(word)) is not None:
            if whole[1] not in env:
                return None
            out += env[whole[1]].split()
        elif any(m[1] and m[1] not in env for m in _WITHIN.finditer(word)):
            return None
        else:
            out.append(_WITHIN.sub(lambda m: env[m[1]] if m[1] else "$", word))
    return out


def line(command: Exec, env: Mapping[str, str]) -> str:
    """Return it as a shell's line, which fills in the variables that are not known here."""
    if (held := plain(command, env)) is not None:
        return shlex.join(held)
    return " ".join(_shell_word(w) for w in command.words)


def _shell_word(word: str) -> str:
    if _WORD.fullmatch(word):
        return word
    out, at = "", 0
    for found in _WITHIN.finditer(word):
        out += shlex.quote(word[at : found.start()]) if found.start() > at else ""
        out += f'"{found[0]}"' if found[1] else "'$'"
        at = found.end()
    return out + (shlex.quote(word[at:]) if at < len(word) or not out else "")


def joined(before: Iterable[Exec], main: Iterable[Exec], env: Mapping[str, str]) -> list[str]:
    """Return the words that run some commands, each if the last went well, and become the last one."""
    before, main = list(before), list(main)
    if not before and len(main) == 1 and (held := plain(main[0], env)) is not None:
        return held
    lines = [f"{{ {line(c, env)} || true; }}" if c.forgiven else line(c, env) for c in (*before, *main)]
    if not main[-1].forgiven:
        lines[-1] = f"exec {lines[-1]}"
    return ["/bin/sh", "-c", "set -f; " + " && ".join(lines)]
