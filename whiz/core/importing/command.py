"""Commands of shells and of other supervisors as words that whiz runs without a shell, or with one where need is."""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what whiz gives every program
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_META = re.compile(r"[|&;<>()$`*?\[\]\n]|(?:^|\s)[~#!{}]|=~")
_BUILTIN = {"cd", "export", "source", ".", "exec", "set", "ulimit", "umask", "if", "while", "for", "until", "case"}
LONGEST = 131_071  # bytes of one argument (MAX_ARG_STRLEN, execve(2))
HOLE = "\x01"  # stands on both sides of the name of a variable that is not known here


@value
class Command:
    """Words to run, and the variables that stood before them."""

    words: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    by_shell: bool = False


def split(text: str) -> list[str]:
    """Split as a shell does; raise ValueError, in words, where a quote is open."""
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} letters, which the system takes for no argument")
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise ValueError(f"it cannot be split into words: {str(exc).lower()}") from None


def from_shell(text: str) -> Command:
    """Read a shell's command line: as plain words where no shell is needed."""
    text = text.strip()
    if _needs_shell(text):
        return Command(("/bin/sh", "-c", text), by_shell=True)
    words, env = split(text), []
    while words and (found := _ASSIGN.fullmatch(words[0])):
        env.append((found[1], found[2]))
        words = words[1:]
    if not words or words[0] in _BUILTIN:
        return Command(("/bin/sh", "-c", text), by_shell=True)
    return Command(tuple(words), tuple(env))


def _needs_shell(text: str) -> bool:
    """Whether anything in it would be lost without a shell: what single quotes hold is plain, '$' in double is not."""
    for quoted in _QUOTED.findall(text):
        if quoted[0] == '"' and re.search(r"(?<!\\)[$`]", quoted):
            return True
    return _META.search(_QUOTED.sub("x", text)) is not None


def anchored(word: str, folder: str) -> str:
    """Return a path of the input so that it means the same wherever the whizzifest lies."""
    return posixpath.normpath(posixpath.join(folder, word)) if "/" in word and not word.startswith(("/", "~")) else word


def with_holes(words: Iterable[str]) -> tuple[str, ...]:
    """Have a shell fill in what is not known here: it stops, and says so, where a variable is missing."""
    words = list(words)
    if not any(HOLE in w for w in words):
        return tuple(words)
    return ("/bin/sh", "-c", "exec " + " ".join(map(_shell_word, words)))


def _shell_word(word: str) -> str:
    parts = word.split(HOLE)
    return "".join(f'"${{{p}:?}}"' if i % 2 else shlex.quote(p) if p else "" for i, p in enumerate(parts)) or "''"


def pathless(words: Iterable[str], env: dict[str, str]) -> str:
    """Say where whiz looks for a bare command that the input's PATH leads to; nothing where that is no matter."""
    first = next(iter(words), "")
    if "/" in first or "PATH" not in env or env["PATH"] == PATH:
        return ""
    return f"{first!r} is looked for on whiz's own PATH ({PATH}), not on the program's"
