"""All that the turn knows of processes, of memory and of time; what the world is must be these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from whiz.core.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import tzinfo

    from whiz.core.agenda import Reckoned
    from whiz.core.model import Answer, Ask, Manifest, Outcome, Proc, Program, Run, Seen, Wishes


class Health(Protocol):
    """All the loop knows about looks at programs: are they ready, are they alive."""

    @property
    def asked(self) -> Mapping[tuple[str, str], float]:
        """(run id, kind of look) -> when it was asked for last."""

    def ask(self, asks: Iterable[Ask], now: float) -> None:
        """Have these looks taken; nothing waits for them."""

    def answers(self) -> tuple[Answer, ...]:
        """Return what looks have found since this was called last."""

    def asking(self) -> bool:
        """Whether a look has not been answered yet."""

    def before(self, program: Program) -> str:
        """Return what stands there already of that which will tell that a program is ready."""


class Host(Protocol):
    """All the loop knows about processes."""

    boot: str

    @property
    def health(self) -> Health:
        """Who looks at how programs do."""

    def look(self, runs: Sequence[Run]) -> Seen:
        """Look at the recorded processes alone."""

    def scan(self, manifest: Manifest, runs: Sequence[Run]) -> Seen:
        """Look at every process: whose trees they are in, who carries our mark, who matches an entry."""

    def tree(self, run: Run, manifest: Manifest, runs: Sequence[Run]) -> tuple[Proc, ...]:
        """Return the living members of a Run's tree besides its main process."""

    def start(self, run: Run) -> Outcome:
        """Start the program; return its process, its chaperone's (`keeper`), or the error."""

    def signal(self, procs: Iterable[Proc], name: str) -> None:
        """Signal exactly these processes, and nobody who has their numbers by now."""

    def raze(self, run: Run) -> None:
        """End by force, all at once, whoever is in a place that this Run has of its own."""

    def clear(self, run: Run) -> None:
        """Remove the place that a Run had of its own, now that it has ended."""

    def wait(self, procs: Iterable[Proc], seconds: float) -> None:
        """Sleep until one of these ends, or so long."""


class Store(Protocol):
    """All the loop knows about memory."""

    def runs(self) -> tuple[Run, ...]:
        """Return every Run on record."""

    def save(self, run: Run) -> None:
        """Write one Run down."""

    def catch_up(self) -> None:
        """Write down what could not be written when it was learned."""

    def forget(self, names: Iterable[str]) -> None:
        """Drop the ended Runs of these services."""

    def wishes(self) -> Wishes:
        """Return what is asked for by command."""

    def granted(self, name: str, run_id: str) -> None:
        """Drop a restart wish that has come true."""

    def reckoned(self) -> Mapping[str, Reckoned]:
        """Return from when on each scheduled program is reckoned."""

    def reckon(self, reckoned: Mapping[str, Reckoned]) -> None:
        """Keep that, durably, where it has changed."""

    def note(self, facts: dict[str, object]) -> None:
        """Append one fact to the history."""


def _utc() -> tzinfo:
    from datetime import UTC  # noqa: PLC0415  most whizzifests have no schedule

    return UTC


@value
class Clock:
    """The moments a turn is told. `boot`: CLOCK_BOOTTIME, for decisions; `name`: a new Run's id.

    `wall`: for people and, in `zone`, for the calendar.
    """

    boot: Callable[[], float]
    wall: Callable[[], float]
    name: Callable[[], str]
    zone: Callable[[], tzinfo] = _utc
