"""Supervisors that stay, behind one shape. What is missing is put into a room of its own; the machine is left alone."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import time
import venv
from typing import TYPE_CHECKING, ClassVar, Protocol

from sleeps import PATIENCE, alive, pids

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MERCY = 20.0  # s to end when asked to


class Absent(Exception):
    """A peer that cannot be had here."""


class Peer(Protocol):
    """A supervisor. `base` is the directory of one trial: configuration, records, sockets."""

    name: str
    version: str
    note: str  # how it is set up, where that is not its default
    slow: bool  # takes a minute to come up: once is enough

    def install(self, room: str) -> None:
        """Get it, into this room unless the machine has it; raise Absent."""

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write the configuration of as many programs, `/bin/sleep ARGUMENT` each."""

    def start(self, base: str) -> subprocess.Popen[bytes]:
        """Launch the command after which all programs come up."""

    def stop(self, base: str, command: subprocess.Popen[bytes], tag: str) -> None:
        """End the supervisor and every process of its own; the programs may stay."""

    def supervisors(self, base: str, tag: str) -> list[int]:
        """Return all its processes but the programs."""


class Kept:
    """What most supervisors have in common."""

    name = version = note = ""
    slow = False
    farewell = signal.SIGTERM

    def __init__(self) -> None:
        self.path, self.libraries = PATH, ""

    def install(self, room: str) -> None:
        """Get it."""
        raise NotImplementedError

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write its configuration."""
        raise NotImplementedError

    def environment(self, base: str) -> dict[str, str]:
        """Return what the supervisor gets; by WHIZ_BENCH its processes are found again."""
        env = {"PATH": self.path, "HOME": base, "LANG": "C.UTF-8", "WHIZ_BENCH": base}
        return env | ({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})

    def command(self, base: str) -> list[str]:
        """Return the command that brings all up."""
        raise NotImplementedError

    def start(self, base: str) -> subprocess.Popen[bytes]:
        """Launch it, apart from our terminal and group."""
        return subprocess.Popen(
            self.command(base),
            env=self.environment(base),
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def farewells(self, _base: str, command: subprocess.Popen[bytes]) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            command.send_signal(self.farewell)

    def stop(self, base: str, command: subprocess.Popen[bytes], tag: str) -> None:
        """Ask it to end, wait, and end it."""
        self.farewells(base, command)
        end = time.monotonic() + MERCY
        while left := self.supervisors(base, tag):
            command.poll()  # takes the exit code, or it stays in /proc
            if time.monotonic() > end:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # they are not our children: there is nothing to wait on
        command.wait(MERCY)

    def supervisors(self, base: str, tag: str) -> list[int]:
        """Return who names the directory in its command or environment, and all who descend from these."""
        programs = {pid for pid, _ in alive(tag, set())}
        parents, found = {}, set()
        for pid in pids() - {os.getpid()} - programs:
            try:
                parents[pid] = _parent(pid)
                if any(base.encode() in _bytes(f"/proc/{pid}/{of}") for of in ("cmdline", "environ")):
                    found.add(pid)
            except OSError:
                parents.pop(pid, None)  # gone since the listing
        while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
            found |= more
        return sorted(found)


class Whiz(Kept):
    """Ours: `whiz run`, with its records in memory as an installed one has them in /run."""

    name, note = "whiz", "`stable: 100ms`, `delay: 0s`"

    def __init__(self, whiz: str, commit: str) -> None:
        super().__init__()
        self.whiz, self.version = whiz, commit

    def install(self, room: str) -> None:
        """Nothing: it is there already."""

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write one whizzifest."""
        head = "version: 1\ndefaults: {restart: {stable: 100ms, delay: 0s}}\nprograms:\n"
        programs = [f"  p{i}: {{run: /bin/sleep {a}}}\n" for i, a in enumerate(arguments)]
        put(f"{base}/whizzifest.yaml", head, *programs)

    def command(self, base: str) -> list[str]:
        """Return what systemd would run."""
        return [self.whiz, "--home", base, "run"]


class Supervisord(Kept):
    """supervisord, in Python."""

    name, note = "supervisord", "`startsecs=0`"

    def install(self, room: str) -> None:
        """Get it from PyPI."""
        self.place, self.version = _pip(room, "supervisor")

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write one file."""
        least = max(1024, 4 * len(arguments))  # each child closes as many, so more than it needs makes it slow
        head = f"[supervisord]\nnodaemon=true\nminfds={least}\n"
        head += f"logfile={base}/log\npidfile={base}/pid\nchildlogdir={base}\n"
        programs = [
            f"[program:p{i}]\ncommand=/bin/sleep {a}\nautorestart=true\nstartsecs=0\n" for i, a in _each(arguments)
        ]
        put(f"{base}/supervisord.conf", head, *programs)

    def command(self, base: str) -> list[str]:
        """Stay in the foreground."""
        return [f"{self.place}/bin/supervisord", "-c", f"{base}/supervisord.conf"]


class Circus(Kept):
    """circusd, in Python."""

    name, note = "circus", "looks each second (`check_delay = 1`, the default is 5)"

    def install(self, room: str) -> None:
        """Get it from PyPI."""
        self.place, self.version = _pip(room, "circus")

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write one file, without a stats_endpoint: to name it starts a second process that gathers figures."""
        ends = "".join(f"{what}endpoint = ipc://{base}/{what}socket\n" for what in ("", "pubsub_"))
        programs = [f"[watcher:p{i}]\ncmd = /bin/sleep\nargs = {a}\nwarmup_delay = 0\n" for i, a in _each(arguments)]
        put(f"{base}/circus.ini", f"[circus]\ncheck_delay = 1\nwarmup_delay = 0\n{ends}", *programs)

    def command(self, base: str) -> list[str]:
        """Stay in the foreground."""
        return [f"{self.place}/bin/circusd", f"{base}/circus.ini"]


class Runit(Kept):
    """runsvdir with a runsv per program."""

    name, farewell = "runit", signal.SIGHUP  # on SIGTERM it would leave every runsv

    def install(self, room: str) -> None:
        """Get it from Debian."""
        apt(self, room, "runit", "runsvdir")

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write a directory with a `run` file each."""
        for i, argument in enumerate(arguments):
            os.makedirs(f"{base}/services/p{i}")
            put(f"{base}/services/p{i}/run", f"#!/bin/sh\nexec /bin/sleep {argument}\n", mode=0o755)

    def command(self, base: str) -> list[str]:
        """Return the scanner."""
        return [_which("runsvdir", self.path), f"{base}/services"]


class S6(Runit):
    """s6-svscan with an s6-supervise per program."""

    name, farewell = "s6", signal.SIGTERM

    def install(self, room: str) -> None:
        """Get it from Debian, into the machine: its scanner knows its supervisor by a whole path. It starts nothing."""
        if not shutil.which("s6-svscan", path=self.path):
            _fetched(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "s6"])
        apt(self, room, "s6", "s6-svscan")

    def command(self, base: str) -> list[str]:
        """Return the scanner, with room for as many services."""
        return [_which("s6-svscan", self.path), "-c", "2000", f"{base}/services"]


class Monit(Kept):
    """monit, which looks at pid files."""

    name, slow = "monit", True
    note = "looks each second (`set daemon 1`, its lowest); waits 250 ms after each start, so it came up only once"

    def install(self, room: str) -> None:
        """Get it from Debian."""
        apt(self, room, "monit", "monit")

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write one file, and a script each that starts a program and writes down its pid: monit asks for that."""
        own = "".join(f"set {what}file {base}/{what}\n" for what in ("log", "pid", "id", "state"))
        programs = []
        for i, argument in enumerate(arguments):
            script = f"#!/bin/sh\n/bin/sleep {argument} &\necho $! > {base}/p{i}.pid\n"
            put(f"{base}/p{i}", script, mode=0o755)
            check = f"check process p{i} with pidfile {base}/p{i}.pid"
            programs.append(f'{check}\n  start program = "{base}/p{i}"\n  if does not exist then start\n')
        put(f"{base}/monitrc", "set daemon 1\n", own, *programs, mode=0o600)

    def command(self, base: str) -> list[str]:
        """Stay in the foreground."""
        return [_which("monit", self.path), "-I", "-c", f"{base}/monitrc"]


class Pm2(Kept):
    """pm2, whose command starts a daemon and tells it what to do."""

    name, note = "pm2", "`pm2 start FILE`, no interpreter"
    quiet: ClassVar = {"PM2_DISCRETE_MODE": "true", "PM2_SILENT": "true", "NO_UPDATE_NOTIFIER": "1"}

    def install(self, room: str) -> None:
        """Get it from npm."""
        npm = _which("npm", os.environ["PATH"])
        _run([npm, "install", "--prefix", f"{room}/npm", "--no-audit", "--no-fund", "--silent", "pm2"])
        self.pm2 = f"{room}/npm/node_modules/.bin/pm2"
        self.path = f"{os.path.dirname(_which('node', os.environ['PATH']))}:{PATH}"
        with open(f"{room}/npm/node_modules/pm2/package.json", encoding="utf-8") as f:
            found = re.search(r'"version": "([^"]+)"', f.read())
        self.version = found[1] if found else "?"

    def environment(self, base: str) -> dict[str, str]:
        """Give it a home."""
        return super().environment(base) | self.quiet | {"PM2_HOME": f"{base}/home"}

    def write(self, base: str, arguments: Sequence[str]) -> None:
        """Write one file."""
        each = ", vizion: false, pmx: false, interpreter: 'none', script: '/bin/sleep'"
        programs = [f"  {{name: 'p{i}', args: '{a}'{each}}},\n" for i, a in _each(arguments)]
        put(f"{base}/ecosystem.config.js", "module.exports = {apps: [\n", *programs, "]}\n")

    def command(self, base: str) -> list[str]:
        """Return the command that starts the daemon and returns."""
        return [self.pm2, "start", f"{base}/ecosystem.config.js"]

    def farewells(self, base: str, command: subprocess.Popen[bytes]) -> None:
        """Ask the daemon, by a command again."""
        del command
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(
                [self.pm2, "kill"],
                env=self.environment(base),
                cwd=base,
                capture_output=True,
                check=False,
                timeout=MERCY,
            )


PEERS: tuple[type[Kept], ...] = (Supervisord, Circus, Runit, S6, Monit, Pm2)


# -- getting them


def apt(peer: Kept, room: str, package: str, binary: str) -> None:
    """Find a Debian package's command, or unpack it and what it needs: installing would start services."""
    if not shutil.which(binary, path=peer.path):
        place = f"{room}/{package}"
        os.makedirs(f"{place}/archives/partial", exist_ok=True)
        fetch = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "--download-only"]
        fetch += ["-o", f"Dir::Cache::archives={place}/archives", "-o", "Debug::NoLocking=1", package]
        _fetched(fetch)
        for deb in glob.glob(f"{place}/archives/*.deb"):
            _run(["dpkg-deb", "-x", deb, place])
        peer.path = f"{place}/usr/bin:{place}/sbin:{PATH}"
        if libraries := {os.path.dirname(p) for p in glob.glob(f"{place}/usr/lib/*/*.so.*")}:
            peer.libraries = ":".join(sorted(libraries))
        _which(binary, peer.path)
    peer.version = _run(["apt-cache", "show", "--no-all-versions", package]).partition("Version: ")[2].split()[0]


def _fetched(command: list[str]) -> None:
    try:
        _run(command)
    except Absent as exc:
        if os.geteuid():
            raise Absent(f"{exc}; run the benchmark as root") from exc
        _run(["apt-get", "update", "-qq"])  # lists that are old name files that are gone
        _run(command)


def _pip(room: str, package: str) -> tuple[str, str]:
    """Install a package from PyPI, compiled; return its venv and version."""
    place = f"{room}/{package}"
    venv.create(place, symlinks=True, with_pip=True)
    python = f"{place}/bin/python"
    _run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package])
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return place, _run([python, "-c", ask]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5 * PATIENCE)
    except (OSError, subprocess.SubprocessError) as exc:
        raise Absent(str(exc)) from exc
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Absent(f"{' '.join(command[:2])}: {last[0]}")
    return done.stdout


def _which(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if not found:
        raise Absent(f"there is no {name}")
    return found


# -- small things


def _each(arguments: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(arguments))


def put(path: str, *parts: str, mode: int = 0o644) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="ascii") as f:
        f.writelines(parts)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as f:
        return f.read()


def _parent(pid: int) -> int:
    return int(_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1])
