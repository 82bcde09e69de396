"""How each supervisor is told things, for conformance: as its documentation says, with the best settings we know.

`settings` goes into the report, and says which and where not obvious why. What a supervisor has no notion of is in
`lacks`, by behaviour, with the reason.
"""

from __future__ import annotations

import json
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import peers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trial import Entry, Trial

GRACE = 15  # s that a program may take to stop
NAME = "NAME"


class Keeper(peers.Kept):
    """What is asked of every adapter, on top of how it is installed and started."""

    settings = ""
    parts: tuple[str, ...] = ()  # names of its processes, the first one first
    calm = 3.0  # s in which it would surely have acted
    file = ""  # the file, or the directory, that says what should run
    log = f"{NAME}.log"  # where an operator finds a program's output
    words: ClassVar[dict[str, tuple[str, ...]]] = {}  # what stop, resume, restart and reload are called
    lacks: ClassVar[dict[str, str]] = {}
    extra: Mapping[str, str] = MappingProxyType({})  # what a behaviour wants in its environment

    def environment(self, base: str) -> dict[str, str]:
        """Add what a behaviour wants."""
        return super().environment(base) | dict(self.extra)

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        raise NotImplementedError

    def told(self, base: str, verb: str, name: str = "") -> list[str]:
        """Return the command that stops, resumes or restarts a program, or has the configuration read anew."""
        return [*self.tool(base), *(name if word == NAME else word for word in self.words[verb])]

    def stopped(self, trial: Trial, name: str) -> str:
        """Stop it and return when the supervisor says that it is done; return what was said instead."""
        done = trial.ask(*self.told(trial.base, "stop", name))
        return done.stdout.strip()[-200:] if done.returncode else ""

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write the configuration."""
        raise NotImplementedError

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Return its word for a program, and the process that it takes for it; no word while it does not answer."""
        raise NotImplementedError

    def records(self, base: str) -> list[str]:
        """Return the files in which it keeps what it has to know when it is started again."""
        del base
        return []

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Write another pid into its records, as if the number had been given out anew; return which records."""
        raise NotImplementedError

    def damage(self, base: str) -> None:
        """Break the configuration."""
        peers.put(f"{base}/{self.file}", "[[[ {{{ neither this\nnor that: : :\n")

    def empty(self, base: str) -> None:
        """Leave a configuration of no bytes."""
        peers.put(f"{base}/{self.file}", "")

    def remove(self, base: str) -> None:
        """Take the configuration away."""
        os.unlink(f"{base}/{self.file}")


class Whiz(Keeper, peers.Whiz):
    """Ours, staying."""

    settings = "`whiz run`; `delay: 0s, stable: 100ms`, so that what is killed returns at once; a stop is `whiz hold`"
    parts, calm, file, log = ("whiz",), 2.0, "whizzifest.yaml", f"log/{NAME}.log"
    words: ClassVar = {
        "stop": ("hold", NAME),
        "resume": ("unhold", "--wait", "2s", NAME),
        "restart": ("restart", NAME),
        "reload": ("apply", "--wait", "10s"),
    }
    paces: ClassVar = {
        "": {"delay": "0s", "stable": "100ms"},
        "spin": {"delay": "0s", "max_delay": "0s"},
        "pause": {"delay": "1s", "max_delay": "1s"},
    }

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        return [self.whiz, "--home", base]

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write the whizzifest, in one step: who stays reads it at once."""
        programs = {e.name: {"run": [e.path, *e.words], "restart": self.paces[e.pace]} for e in entries}
        defaults = {"stop": {"grace": f"{GRACE}s"}}
        peers.put(f"{base}/.new", json.dumps({"version": 1, "defaults": defaults, "programs": programs}))
        os.rename(f"{base}/.new", f"{base}/{self.file}")

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `whiz status`."""
        said = trial.ask(*self.tool(trial.base), "status", "--json").stdout
        rows = {row["name"]: row for row in parsed(said, {}).get("programs", ())}
        return (rows[name]["state"], rows[name]["pid"]) if name in rows else ("", None)

    def records(self, base: str) -> list[str]:
        """Return all there is."""
        return [p for part in ("run", "state") for p in files(f"{base}/{part}")]

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Edit the record of the Run."""
        replaced(f"{base}/run/runs/{name}.json", f"{old},".encode(), f"{new},".encode())
        return "run/runs/NAME.json"


# -- small things


def parsed(text: str, otherwise: Any) -> Any:  # noqa: ANN401  JSON of others
    """Return JSON, or something else where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def files(place: str) -> list[str]:
    """Return every plain file below a directory."""
    found = [f"{at}/{name}" for at, _, names in os.walk(place) for name in names]
    return sorted(path for path in found if os.path.isfile(path))


def replaced(path: str, old: bytes, new: bytes) -> None:
    """Replace some bytes of a file; raise where they are not in it."""
    with open(path, "rb") as f:
        text = f.read()
    if old not in text:
        raise ValueError(f"{path} does not name the process")
    with open(path, "wb") as f:
        f.write(text.replace(old, new))
