"""Programs that tell on whoever runs them twice: what the fault tests put into their whizzifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# $0 name, $1 version, $2 seconds to sleep; the lock is let go of by the kernel when the last of the tree is gone, so
# that whoever finds it taken runs beside its predecessor, be it for a microsecond
BEGIN = 'exec 9>>"$FAULT/$0.lock"; flock -n 9 || echo "overlap $1 $$" >>"$FAULT/$0.mark"; echo "start $1 $$" >>"$FAULT/$0.mark"; '
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"script": 'exec sleep "$2"'},
    "tree": {"script": 'sleep "${2}1" & exec sleep "$2"'},
    "stubborn": {"script": "trap '' TERM; exec sleep \"$2\"", "stop": {"grace": "50ms"}},
    "slow": {"script": 'sleep "${2}1" & trap "exec sleep 0.3" TERM; wait'},
    "kept": {"script": 'exec sleep "$2"', "restart": {"on": "failure"}},
    "stepped": {"script": 'exec sleep "$2"', "limits": {"files": 300}},
    "task": {"script": 'sleep 0.03; echo "done $1 $$" >>"$FAULT/$0.mark"', "want": "done"},
}
# as above, for who needs more: a child in a session of its own, and one that fails until the file `calm` is there
MORE: dict[str, dict[str, Any]] = {
    "far": {"script": 'setsid sleep "${2}1" & exec sleep "$2"'},
    "flaky": {"script": 'test -e "$FAULT/calm" || { sleep 2; exit 1; }; exec sleep "$2"'},
}


@dataclass
class Entry:
    """A program of a whizzifest."""

    name: str
    kind: str
    number: int
    version: int = 1
    listed: bool = True
    held: bool = False
    after: list[str] = field(default_factory=list)
    base: int = 1000  # s that it sleeps for at least
    disturbed: bool = False  # a run of this version may have been ended by us, so that it may run again

    @property
    def length(self) -> str:
        return f"{self.base + self.version}.{self.number:09d}"

    def yaml(self, home: str) -> dict[str, Any]:
        kind = dict({**KINDS, **MORE}[self.kind])
        script = BEGIN + kind.pop("script")
        restart = {"delay": "5ms", "max_delay": "10ms", **kind.pop("restart", {})}
        return {
            "run": ["/bin/sh", "-c", script, self.name, f"v{self.version}", self.length],
            "env": {"FAULT": home},
            "files": [],
            "after": self.after,
            "restart": restart,
            **kind,
        }


def marks(home: str, name: str) -> list[list[str]]:
    """Return what a program has noted: the word, its version, its pid."""
    try:
        with open(f"{home}/{name}.mark", encoding="ascii") as f:
            return [line.split() for line in f]
    except FileNotFoundError:
        return []


# Notes every signal that can be noted in the file it is given, and says when it is ready; SIGKILL shows as its death.
STRANGER = """
import os, signal, sys
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, lambda n, frame: os.write(out, b"%d\\n" % n))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
