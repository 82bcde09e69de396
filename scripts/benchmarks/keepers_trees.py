"""The supervisors that keep a process beside each program, for conformance."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, ClassVar

import peers
from keepers import GRACE, NAME, Keeper, files, replaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trial import Entry, Trial

NO_RELOAD = "nothing reads an entry again: who edits a run file restarts that service"


class Runit(Keeper, peers.Runit):
    """runsvdir, a runsv per program, and a svlogd per program for its output."""

    settings = (
        "`chpst -P -l lock` in each run file, so that no second copy runs beside the first; a `control/t` that signals"
        " the whole group; svlogd for output; told by `sv -w 20`; runsvdir looks every 5 s, so a reload is to wait"
    )
    parts, calm = ("runsvdir", "runsv"), 7.0
    file, log = "services", f"sv/{NAME}/log/main/current"
    words: ClassVar = {
        "stop": ("sv", "-w", "20", "stop", NAME),
        "resume": ("sv", "up", NAME),
        "restart": ("sv", "-w", "20", "restart", NAME),
        "reload": ("true",),
    }
    lacks: ClassVar = {"changed": NO_RELOAD}

    def tool(self, base: str) -> list[str]:
        """Return nothing: it has several commands, which are told a service by its directory."""
        del base
        return []

    def told(self, base: str, verb: str, name: str = "") -> list[str]:
        """Name the command and the service by their paths."""
        first, *rest = super().told(base, verb, f"{base}/services/{name}")
        return [self.which(first), *rest]

    def which(self, name: str) -> str:
        """Return the path of one of its commands."""
        return shutil.which(name, path=self.path) or name

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write a directory each, and link to it from the one that is looked at, as is the custom."""
        os.makedirs(f"{base}/services" if not os.path.isdir(f"{base}/away") else base, exist_ok=True)
        for e in entries:
            place = f"{base}/sv/{e.name}"
            for part in ("log/main", "control"):
                os.makedirs(f"{place}/{part}", exist_ok=True)
            self.scripts(place, e)
        _linked(base, [e.name for e in entries])

    def scripts(self, place: str, entry: Entry) -> None:
        """Write the files of one service."""
        line = " ".join([entry.path, *entry.words])
        _script(f"{place}/run", f"exec 2>&1\nexec {self.which('chpst')} -P -l lock {line}\n")
        _script(f"{place}/control/t", 'kill -TERM -- "-$(cat supervise/pid)"\n')
        _script(f"{place}/log/run", f"exec {self.which('svlogd')} ./main\n")

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `sv status`; "down, want up" is its word for what it will start again."""
        said = trial.ask(self.which("sv"), "status", f"{trial.base}/services/{name}").stdout.partition("; run: log")[0]
        word, _, rest = said.partition(": ")
        if word not in ("run", "down", "finish"):
            return "", None
        pid = rest.partition("(pid ")[2].partition(")")[0]
        return word + (", want up" if "want up" in rest else ""), int(pid) if pid else None

    def records(self, base: str) -> list[str]:
        """Return what runsv keeps of each service and of its log."""
        return [p for p in files(f"{base}/sv") if "/supervise/" in p]

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Edit the text and the binary record."""
        place = f"{base}/sv/{name}/supervise"
        peers.put(f"{place}/pid", f"{new}\n")
        replaced(f"{place}/status", old.to_bytes(4, "little"), new.to_bytes(4, "little"))
        return "supervise/pid and supervise/status"

    def damage(self, base: str) -> None:
        """Break every run file."""
        for name in os.listdir(f"{base}/sv"):
            peers.put(f"{base}/sv/{name}/run", "#!/nowhere\n[[[ {{{\n")

    def empty(self, base: str) -> None:
        """Leave an empty directory."""
        _linked(base, [])

    def remove(self, base: str) -> None:
        """Take the directory away."""
        os.rename(f"{base}/services", f"{base}/away")


class S6(Runit, peers.S6):
    """s6-svscan, an s6-supervise per program, and an s6-log per program for its output."""

    settings = (
        "`s6-setlock` in each run file, so that no second copy runs beside the first (`lock-fd` would do that, but does"
        " not in this version: the supervisor takes the lock itself, and loses it when it is killed); `timeout-kill`;"
        " s6-log for output; told by `s6-svc` with `-w`;"
        " reload is `s6-svscanctl -an`"
    )
    parts, calm = ("s6-svscan", "s6-supervise"), 3.0
    words: ClassVar = {
        "stop": ("s6-svc", "-T", "20000", "-wD", "-d", NAME),
        "resume": ("s6-svc", "-u", NAME),
        "restart": ("s6-svc", "-T", "20000", "-wr", "-r", NAME),
        "reload": ("s6-svscanctl", "-an", NAME),
    }

    def told(self, base: str, verb: str, name: str = "") -> list[str]:
        """Name the directory of all where no service is meant."""
        return super().told(base, verb, name or ".")

    def scripts(self, place: str, entry: Entry) -> None:
        """Write the files of one service."""
        line = " ".join([entry.path, *entry.words])
        _script(f"{place}/run", f"exec 2>&1\nexec {self.which('s6-setlock')} lock {line}\n")
        peers.put(f"{place}/timeout-kill", f"{GRACE * 1000}\n")
        _script(f"{place}/log/run", f"exec {self.which('s6-log')} n3 s100000 ./main\n")

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `s6-svstat`; "down, want up" is its word for what it will start again."""
        ask = [self.which("s6-svstat"), "-o", "up,wantedup,pid", f"{trial.base}/services/{name}"]
        words = trial.ask(*ask).stdout.split()
        if words[:1] not in (["true"], ["false"]):
            return "", None
        up, wanted, pid = words
        word = "up" if up == "true" else "down, want up" if wanted == "true" else "down"
        return word, int(pid) if int(pid) > 0 else None

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Edit the binary record."""
        replaced(f"{base}/sv/{name}/supervise/status", old.to_bytes(8, "big"), new.to_bytes(8, "big"))
        return "supervise/status"


def _script(path: str, text: str) -> None:
    peers.put(path, f"#!/bin/sh\n{text}", mode=0o755)


def _linked(base: str, names: Sequence[str]) -> None:
    """Have exactly these services in the directory that is looked at."""
    place = f"{base}/services"
    if not os.path.isdir(place):
        os.rename(f"{base}/away", place)
    for name in set(os.listdir(place)) - {*names, ".s6-svscan"}:
        os.unlink(f"{place}/{name}")
    for name in set(names) - set(os.listdir(place)):
        os.symlink(f"../sv/{name}", f"{place}/{name}")
