"""The supervisors in Python, for conformance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import peers
from keepers import GRACE, NAME, Keeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trial import Entry, Trial


class Supervisord(Keeper, peers.Supervisord):
    """supervisord."""

    settings = (
        "`stopasgroup` and `killasgroup`; `startsecs=0`, its only delay, but where a program is to pause; told by"
        " `supervisorctl`, reload is its `update`"
    )
    parts, file = ("supervisord",), "supervisord.conf"
    words: ClassVar = {
        "stop": ("stop", NAME),
        "resume": ("start", NAME),
        "restart": ("restart", NAME),
        "reload": ("update",),
    }
    paces: ClassVar = {"": "startsecs=0\n", "spin": "startsecs=0\n", "pause": "startsecs=1\nstartretries=1000\n"}
    lacks: ClassVar = {"forged": "it writes no pid of a program down", "torn": "it keeps no state"}

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        return [f"{self.place}/bin/supervisorctl", "-c", f"{base}/ctl.conf"]

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write one file."""
        head = f"""[supervisord]
nodaemon=true
logfile={base}/log
pidfile={base}/pid
childlogdir={base}
[unix_http_server]
file={base}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
        programs = [
            f"[program:{e.name}]\ncommand={' '.join([e.path, *e.words])}\nautorestart=true\n{self.paces[e.pace]}"
            f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs={GRACE}\n"
            f"redirect_stderr=true\nstdout_logfile={base}/{e.name}.log\n"
            for e in entries
        ]
        peers.put(f"{base}/{self.file}", head, *programs)
        peers.put(f"{base}/ctl.conf", f"[supervisorctl]\nserverurl=unix://{base}/sock\n")  # also while that is broken

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `supervisorctl status`."""
        words = trial.ask(*self.tool(trial.base), "status", name).stdout.split()
        if words[:1] != [name]:
            return "", None
        return words[1], int(words[3].rstrip(",")) if words[2:3] == ["pid"] else None


class Circus(Keeper, peers.Circus):
    """circusd."""

    settings = (
        "`check_delay = 1`, `stop_children`; its plugin Flapping where a program fails at once; told by `circusctl`"
        " `--waiting`; reload is its `reloadconfig`"
    )
    parts, calm, file = ("circusd",), 4.0, "circus.ini"
    words: ClassVar = {
        "stop": ("stop", "--waiting", NAME),
        "resume": ("start", "--waiting", NAME),
        "restart": ("restart", "--waiting", NAME),
        "reload": ("reloadconfig", "--waiting"),
    }
    lacks: ClassVar = {"forged": "it writes no pid of a program down", "torn": "it keeps no state"}

    def tool(self, base: str) -> list[str]:
        """Return the command that talks to it."""
        return [f"{self.place}/bin/circusctl", "--endpoint", f"ipc://{base}/socket", "--timeout", "20"]

    def configure(self, base: str, entries: Sequence[Entry]) -> None:
        """Write one file."""
        ends = "".join(f"{what}endpoint = ipc://{base}/{what}socket\n" for what in ("", "pubsub_"))
        programs = [
            f"[watcher:{e.name}]\ncmd = {e.path}\nargs = {' '.join(e.words)}\nwarmup_delay = 0\ncopy_env = True\n"
            f"stop_children = True\ngraceful_timeout = {GRACE}\nstdout_stream.class = FileStream\n"
            f"stdout_stream.filename = {base}/{e.name}.log\n"
            for e in entries
        ]
        if any(e.pace == "spin" for e in entries):
            programs.append("[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\n")
        peers.put(f"{base}/{self.file}", f"[circus]\ncheck_delay = 1\nwarmup_delay = 0\n{ends}", *programs)

    def state(self, trial: Trial, name: str) -> tuple[str, int | None]:
        """Ask `circusctl status` for the word and `circusctl list` for the pid."""
        said = trial.ask(*self.tool(trial.base), "status", name)
        words = said.stdout.split()
        if said.returncode or words[:1] in ([], ["error:"]):
            return "", None
        listed = trial.ask(*self.tool(trial.base), "list", name).stdout.replace(",", " ").split()
        return words[0], next((int(w) for w in listed if w.isdigit()), None)
