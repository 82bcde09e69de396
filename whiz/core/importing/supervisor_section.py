"""What a section of supervisord.conf holds, with all that it inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.value import value

if TYPE_CHECKING:
    from whiz.core.importing.values import Entry


@value
class Section:
    """One section with the options that hold. `folder`: of the file where it begins."""

    title: str
    head: Entry
    options: dict[str, Entry]
    folder: str

    @property
    def kind(self) -> str:
        """Return program of program:x."""
        return self.title.partition(":")[0]

    @property
    def name(self) -> str:
        """Return x of program:x."""
        return self.title.partition(":")[2].strip() or self.title


@value
class Common:
    """What [supervisord] gives every program that has no such option of its own."""

    options: dict[str, Entry]
    env: dict[str, str]
    env_entries: dict[str, Entry]
