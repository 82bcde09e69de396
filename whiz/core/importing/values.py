"""What every translator takes and returns: options as they stand; translations and remarks."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from whiz.core.diff import MASK, masked
from whiz.core.value import value

_SHOWN = 80  # letters of a value in a remark
_LOOKED = 1000  # letters of it that are looked at
_ASSIGNED = re.compile(r"""(\w+)(\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,]+)""")
_LOGIN = re.compile(r"://[^/@\s]*@")


class Kind(StrEnum):
    """What became of an option that is worth a word."""

    LOST = "not carried over"
    NEAR = "carried over, but"
    SAME = "as whiz does anyway"


@value
class Source:
    """A text with the name under which remarks speak of it, and the absolute folder that its paths count from."""

    file: str
    text: str
    folder: str = "/"


class Entry(NamedTuple):  # a tuple: there are thousands, and sets of them
    """One option as it stands. `key` is empty for the section's own line."""

    file: str
    line: int
    section: str
    key: str
    value: str

    @property
    def what(self) -> str:
        """Say it on one line, shortened, a secret masked."""
        if not self.key:
            return self.section
        text = " ".join(masked(self.key, self.value[:_LOOKED]).split())
        text = _ASSIGNED.sub(lambda m: m[1] + m[2] + masked(m[1], m[3]), text)
        text = _LOGIN.sub(f"://{MASK}@", text)
        return f"{self.key}={text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"


@value
class Remark:
    """What a person must know of one option. `programs`: whose it is; none where it is the file's own."""

    kind: Kind
    file: str
    line: int
    what: str
    why: str
    hint: str = ""
    programs: tuple[str, ...] = ()


class Translation(NamedTuple):
    """One option in whiz's words. `key`: dotted, as restart.delay or env.NAME; `value`: as YAML has it.

    `file`, `line`: where it comes from.
    """

    program: str
    key: str
    value: object
    file: str = ""
    line: int = 0


@value
class Ported:
    """All that was made of the files. `withheld`: name -> why it is only written as a comment."""

    translations: tuple[Translation, ...] = ()
    remarks: tuple[Remark, ...] = ()
    hitlist: tuple[str, ...] = ()
    withheld: tuple[tuple[str, str], ...] = ()
    titles: tuple[tuple[str, str], ...] = ()  # name -> what the file says of it in words
