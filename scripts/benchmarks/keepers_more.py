"""The other supervisors, for conformance: those of directories and pid files, and pm2."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, ClassVar

import peers
from keepers import GRACE, NAME, Circus, Keeper, Supervisord, files, parsed, replaced

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from trial import Entry, Trial

NO_RELOAD = "nothing reads an entry again: who edits a run file restarts that service"
PATIENCE = 20  # s


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


class Monit(Keeper, peers.Monit):
    """monit, with pid files that start-stop-daemon writes."""

    settings = (
        "`set daemon 1`, `check process … with pidfile`, start and stop by Debian's `start-stop-daemon`"
        f" (`--retry TERM/{GRACE}/KILL/5`); where a program fails, its start `with timeout 1 seconds`;"
        " `monit stop` returns before it is done, so done is when `monit status` says that it is no longer monitored"
    )
    parts, calm, file = ("monit",), 6.0, "monitrc"  # it looks each second, and waits for what it starts and stops
    words: ClassVar = {
        "stop": ("stop", NAME),
        "resume": ("start", NAME),
        "restart": ("restart", NAME),
        "reload": ("reload",),
    }
    lacks: ClassVar = {
        "output": "it does not take its programs' output",
        "changed": "a changed start program is used at the next start: who edits it restarts that service",
    }

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        return [shutil.which("monit", path=self.path) or "monit", "-c", f"{base}/{self.file}"]

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write one file."""
        own = "".join(f"set {what}file {base}/{what}\n" for what in ("log", "pid", "id", "state"))
        own += f"set httpd unixsocket {base}/sock\n  allow here:here\n"
        checks = []
        for e in entries:
            daemon, pidfile = "/sbin/start-stop-daemon", f"{base}/{e.name}.pid"
            line = " ".join(["--startas", e.path, *(("--", *e.words) if e.words else ())])
            start = f"{daemon} --start --background --make-pidfile --pidfile {pidfile} {line}"
            stop = f"{daemon} --stop --oknodo --pidfile {pidfile} --retry TERM/{GRACE}/KILL/5"
            wait = 1 if e.pace else PATIENCE
            checks.append(
                f"check process {e.name} with pidfile {pidfile}\n"
                f'  start program = "{start}" with timeout {wait} seconds\n'
                f'  stop program = "{stop}" with timeout {PATIENCE} seconds\n'
            )
        peers.put(f"{base}/{self.file}", "set daemon 1\n", own, *checks, mode=0o600)

    def stopped(self, trial: Trial, name: str) -> str:
        """Wait until it says so."""
        said, end = super().stopped(trial, name), time.monotonic() + PATIENCE
        while (word := self.state(trial, name)[0]) != "Not monitored":
            if time.monotonic() > end:
                return f"{said} ({PATIENCE} s later: {word})"
            time.sleep(0.1)
        return said

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `monit status`."""
        said = trial.ask(*self.tool(trial.base), "status", name).stdout
        rows = dict(line.strip().split("  ", 1) for line in said.splitlines() if "  " in line.strip())
        pid = rows.get("pid", "").strip()
        return rows.get("status", "").strip(), int(pid) if pid.isdigit() else None

    def records(self, base: str) -> list[str]:
        """Return its state and the pid files."""
        return [f"{base}/{name}" for name in os.listdir(base) if name in ("state", "id") or name.endswith(".pid")]

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Edit the pid file."""
        replaced(f"{base}/{name}.pid", str(old).encode(), str(new).encode())
        return "its pid file"


class Pm2(Keeper, peers.Pm2):
    """pm2's daemon."""

    settings = (
        "`pm2 start ecosystem.config.js`, which is also how a changed file is read; `interpreter: none`; its own"
        f" `treekill`; `kill_timeout: {GRACE * 1000}`"
    )
    parts, file = ("PM2 v",), "ecosystem.config.js"
    words: ClassVar = {
        "stop": ("stop", NAME),
        "resume": ("start", NAME),
        "restart": ("restart", NAME),
        "reload": ("start", file),
    }
    lacks: ClassVar = {"torn": "started from its file, it reads no state back"}

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        del base
        return [self.pm2]

    def start(self, base: str) -> subprocess.Popen[bytes]:
        """Wait for the command: another one at the same time would start a second daemon."""
        command = super().start(base)
        command.wait(2 * PATIENCE)
        return command

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write one file."""
        apps = [
            {"name": e.name, "script": e.path, "args": list(e.words), "interpreter": "none", "vizion": False}
            | {"pmx": False, "kill_timeout": GRACE * 1000, "out_file": f"{base}/{e.name}.log"}
            | {"error_file": f"{base}/{e.name}.err"}
            | ({"restart_delay": 1000, "max_restarts": 1000} if e.pace == "pause" else {})
            for e in entries
        ]
        peers.put(f"{base}/{self.file}", f"module.exports = {json.dumps({'apps': apps})}\n")

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `pm2 jlist`."""
        said = trial.ask(*self.tool(trial.base), "jlist").stdout
        rows = {row["name"]: row for row in parsed(said[said.find("[") :], [])}
        return (rows[name]["pm2_env"]["status"], rows[name]["pid"] or None) if name in rows else ("", None)

    def forge(self, base: str, name: str, old: int, new: int) -> str:
        """Edit the pid file that it writes."""
        replaced(f"{base}/home/pids/{name}-0.pid", str(old).encode(), str(new).encode())
        return "home/pids/NAME-0.pid"


KEEPERS: tuple[type[Keeper], ...] = (Supervisord, Circus, Runit, S6, Monit, Pm2)


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
