"""The gate that has whiz run the new release, and watches what its flip changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from whiz.core.model import State, Want
from whiz.core.release.gate import opened, seen
from whiz.core.status import Row
from whiz.world.release.gate import Verdict
from whiz.world.release.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.release.gate import Rule
    from whiz.world.home import Home
    from whiz.world.release.gate import Held

_HOUSE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from whiz.face.cli import main; sys.exit(main())"
_LONG = 300.0  # s that one answer of whiz may take at the very most
_PAUSE = 1.0  # s between looks
_LINES = "20"  # of a culprit's output that are kept


class Watching:
    """Takes whiz's turns where no whiz stays; where one does, tells it. `where`: the words that name the home.

    Nothing is done past whiz: what is asked of it are its own commands, and their JSON.
    """

    def __init__(self, home: Home, where: list[str], rule: Rule, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._where, self._rule, self._clock = home, where, rule, clock
        self._health, self._first = Health(), False
        self._rows: tuple[Row, ...] = ()
        self._problems: list[str] = []
        self._nothing = False  # to watch

    def before(self, old: Held | None, new: Held) -> None:
        """Note how things are."""
        self._first = old is None
        self._health.before(old, new)
        brought = any(e.path.startswith("whizzifest") for held in (old, new) if held for e in held.release.entries)
        if brought or self._home.used():
            self._rows, self._problems = self._status()
        self._nothing = not (self._rows or self._problems or brought)

    def after(self) -> Verdict:
        """Have whiz do what the flip asks for, and look until it is clear what came of it."""
        if self._nothing:  # no program, and no whizzifest that could have one: whiz is not asked what it cannot know
            return self._health.after()
        rows, problems = self._status()
        if new := [p for p in problems if p not in self._problems]:
            return Verdict(False, "its whizzifest cannot be used:\n" + "\n".join(new))
        gate = opened(self._rows, rows, self._acts(), self._clock())
        while gate.changed and not gate.good and gate.bad is None:
            self._whiz("apply", "--quiet", "--wait", "1s")
            gate = seen(gate, self._status()[0], self._rule, self._clock())
            if not gate.good and gate.bad is None:
                time.sleep(_PAUSE)  # a look now and then is what a trial is
        if gate.bad is not None:
            return Verdict(False, gate.bad, self._output(gate.culprit))
        return self._health.after()

    def back(self) -> None:
        """Have whiz run what the link names again; nothing of it, where there was nothing before."""
        self._whiz("apply", "--quiet", "--wait", "10s", *(["--allow-empty"] if self._first else []))

    def _status(self) -> tuple[tuple[Row, ...], list[str]]:
        said = self._json("status")
        problems = [f"{p['file']}:{p['line']}: {p['message']}" for p in said.get("problems", [])]
        return tuple(_row(r) for r in said.get("programs", [])), problems

    def _acts(self) -> set[str]:
        return {s["program"] for s in self._json("check").get("steps", []) if s["order"] != "wait"}

    def _json(self, *words: str) -> dict[str, Any]:
        try:
            said = json.loads(self._whiz(*words, "--json"))
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _output(self, name: str | None) -> tuple[str, ...]:
        return tuple(self._whiz("logs", name, "-n", _LINES).splitlines()) if name is not None else ()

    def _whiz(self, *words: str) -> str:
        """Return what a command of whiz says."""
        command = [sys.executable, "-I", "-c", _CODE, _HOUSE, *self._where, *words]
        try:
            done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONG, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.decode(errors="replace")


def _row(held: dict[str, Any]) -> Row:
    return Row(
        name=held["name"],
        want=Want(held["want"]),
        state=State(held["state"]),
        why=held["why"],
        run=held["run"],
        wish=held["wish"],
        made=held["made"],
    )
