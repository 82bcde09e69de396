"""What cron is told, so that whiz takes turns and releases arrive: our lines of a crontab, and which are ours."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from whiz.core.units import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.units import Site

_OURS = " # by whiz install"  # ends our lines of a crontab; the shell takes it for the comment it is
_LINE = re.compile(r".*\n|.+")
_TURN = re.compile(r"(?:^|[\s/])whiz\s(?:.*\s)?(?:apply|run)\b")
_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)  # that divide an hour: cron begins anew with each
_HOURS = (1, 2, 3, 4, 6, 8, 12, 24)


def table(text: str, site: Site | None) -> str:
    """Return a crontab with our lines as they should be; without them where there is no site.

    What is not ours stays to the byte, whatever else than a line feed Python takes for the end of a line.
    """
    lines = _LINE.findall(text)
    wanted = _lines(site) if site is not None else []
    if [line for line in lines if _ours(line)] == wanted:
        return text
    others = "".join(line for line in lines if not _ours(line))
    return others + ("\n" if wanted and others and not others.endswith("\n") else "") + "".join(wanted)


def others(text: str) -> tuple[str, ...]:
    """Return the lines of a crontab that are not ours and take turns as well."""
    lines = (line.strip() for line in _LINE.findall(text) if not _ours(line))
    return tuple(line for line in lines if not line.startswith("#") and _TURN.search(line))


def _ours(line: str) -> bool:
    return line.rstrip().endswith(_OURS)


def _lines(site: Site) -> list[str]:
    return [f"{when} {command}{_OURS}\n" for when, command in _jobs(site)]


def _jobs(site: Site) -> Iterator[tuple[str, str]]:
    """Yield times and commands. A pull waits: between two are 0.5 to 1.5 periods, so that nodes of one clock spread."""
    for when in ("@reboot", "* * * * *"):
        yield when, _command((*site.words, "apply", "--quiet"))
    if site.pull:
        when, seconds = _period(site.pull.every)
        for at, most in (("@reboot", FIRST), (when, seconds // 2)):
            yield at, f"sleep $(shuf -i 0-{most} -n 1); {_command(site.pull.words)}"


def _command(words: tuple[str, ...]) -> str:
    return shlex.join(words).replace("%", "\\%")


def period(every: float) -> int:
    """Return how often, in s, cron does what is to be done so often: it knows parts of an hour and of a day."""
    return _period(every)[1]


def _period(every: float) -> tuple[str, int]:
    minutes = max(m for m in _MINUTES if m == 1 or 60 * m <= every)
    hours = max((h for h in _HOURS if 3600 * h <= every), default=0)
    if hours:
        return f"0 {'0' if hours == _HOURS[-1] else f'*/{hours}'} * * *", 3600 * hours
    return f"*/{minutes} * * * *", 60 * minutes
