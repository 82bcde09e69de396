"""monit and pm2, for conformance, and the list of all."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, ClassVar

import peers
from keepers import GRACE, NAME, Keeper, parsed, replaced
from keepers_python import Circus, Supervisord
from keepers_trees import S6, Runit

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from trial import Entry, Trial

PATIENCE = 20  # s


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
            time.sleep(0.1)  # monit tells nobody when it is done
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
