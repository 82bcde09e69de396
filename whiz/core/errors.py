"""Everything whiz raises on purpose.

WhizError
├── UsageError      the call's words are off                       exit 2
├── ManifestError   a manifest cannot be used; carries Problems    exit 2
├── NewerFormat     a newer whiz wrote this; refused, not corrupt  exit 1
├── HomeError       the home's directories cannot be used          exit 1
└── Busy            another whiz holds the home's lock             exit 75
"""

from __future__ import annotations

from whiz.core.value import value


class WhizError(Exception):
    """A condition that whiz names; `code` is the exit status that a command gives it."""

    code = 1


class UsageError(WhizError):
    """The words of a call do not fit."""

    code = 2


class NewerFormat(WhizError):
    """A file carries a format number that this whiz does not know."""


class HomeError(WhizError):
    """A directory or node.yaml of the home cannot be used."""


class Busy(WhizError):
    """Another whiz holds the lock of this home."""

    code = 75


@value
class Problem:
    """One mistake in one file. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str
    text: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        shown = f"\n    {self.text.strip()}" if self.text.strip() else ""
        return f"{place}: {self.message}{shown}" + (f"\n    hint: {self.hint}" if self.hint else "")


class ManifestError(WhizError):
    """A manifest that cannot be used, with every problem of every file."""

    code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems
