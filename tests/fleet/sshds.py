"""Hosts to log in to: OpenSSH servers on loopback addresses, each with its own host key and its own whiz.

They are ordinary processes of whoever runs the tests, and end with them.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
WHIZ = Path(sys.executable).parent / "whiz"
_PATIENCE = 60.0  # s for a server to listen, or a command to have begun


class Hosts:
    """Servers at 127.0.1.1, 127.0.1.2 …, and the home of a master that knows their keys."""

    def __init__(self, folder: Path, whiz: Path = WHIZ) -> None:
        self.dir, self.whiz = folder, whiz
        self.home = folder / "home"
        self.dir.chmod(0o755)
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.known = self.home / ".ssh" / "known_hosts"
        self.known.touch()
        self.key = self._key(self.home / ".ssh" / "id_ed25519")
        self.port = _free_port()
        self._servers: list[subprocess.Popen[bytes]] = []
        self._n = 0
        self.lines: list[str] = []
        self._whizzes: list[Path] = []
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # a root sshd wants it, and drops its rights into it

    def _key(self, path: Path) -> Path:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return path

    def address(self) -> str:
        """Return an address that nobody else has."""
        self._n += 1
        return f"127.0.1.{self._n}"

    def name(self, name: str, address: str, **options: object) -> None:
        """Write a host into the fleet file."""
        held = {"address": address, "port": self.port, **options}
        self.lines.append(f"  {name}: {json.dumps(held)}")
        text = "defaults: {timeout: 100s}\nhosts:\n" + "\n".join(self.lines) + "\n"
        (self.home / "fleet.yaml").write_text(text)

    def up(self, name: str, *, known: bool = True, script: str = "", config: str = "", **options: object) -> Path:
        """Start a server; its whiz is a real one with a home of its own, or this script. Return its folder."""
        address, folder = self.address(), self.dir / name
        folder.mkdir()
        key = self._key(folder / "host_key")
        whiz = folder / "whiz"
        whiz.write_text(script or f'#!/bin/sh\nexec {self.whiz} --home {folder}/whiz-home "$@"\n')
        whiz.chmod(0o755)
        if not script:
            (folder / "whiz-home").mkdir()
            self._whizzes.append(whiz)
        (folder / "config").write_text(
            f"ListenAddress {address}\nPort {self.port}\nHostKey {key}\nPidFile none\nStrictModes no\nUsePAM no\n"
            f"AuthorizedKeysFile {self.key}.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"MaxStartups 100\nSetEnv HOME={folder}\n{config}\n"
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(self.server(folder), stdin=subprocess.DEVNULL, stderr=log)
        self._servers.append(server)
        self._listens(address, folder)
        if known:
            self.knows(address, key)
        self.name(name, address, whiz=str(whiz), **options)
        return folder

    def server(self, folder: Path) -> list[str]:
        """Return the command of a server with this configuration."""
        assert SSHD is not None
        return [SSHD, "-D", "-e", "-f", str(folder / "config")]

    def _listens(self, address: str, folder: Path) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection((address, self.port)).close()
                return
            except ConnectionRefusedError:
                assert self._servers[-1].poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.02)

    def knows(self, address: str, key: Path) -> None:
        """Have the master know this host key."""
        kind, text, *_ = key.with_suffix(".pub").read_text().split()
        with self.known.open("a") as f:
            f.write(f"[{address}]:{self.port} {kind} {text}\n")

    def write(self, name: str, text: str) -> None:
        """Write the whizzifest of a host."""
        (self.dir / name / "whiz-home" / "whizzifest.yaml").write_text(text)

    def begin(self, *words: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `whiz fleet` as the master, and return the process."""
        env = {**os.environ, "HOME": str(self.home), "USER": getpass.getuser()}
        env.pop("SSH_AUTH_SOCK", None)
        action, *rest = words
        argv = [str(self.whiz), "--home", str(self.home), "fleet", action, *rest]
        return subprocess.Popen(
            argv,
            env=env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def fleet(self, *words: str) -> tuple[int, str, str]:
        """Run `whiz fleet`; return its exit status, stdout and stderr."""
        process = self.begin(*words)
        out, err = process.communicate(timeout=200)
        return process.returncode, out, err

    def answers(self, *words: str) -> tuple[int, dict[str, dict[str, object]]]:
        """Run it with --json; return its exit status, and what is said of each host."""
        code, out, err = self.fleet(words[0], "--json", *words[1:])
        held = json.loads(out)
        assert held["version"] == 1
        assert held["exit"] == code, err
        return code, {h["host"]: h for h in held["hosts"]}

    def end(self) -> None:
        """End every program, and every server with those that it has logged in."""
        for whiz in self._whizzes:
            done = subprocess.run([str(whiz), "stop", "--wait", "60"], check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        for server in self._servers:
            process = psutil.Process(server.pid)
            left = process.children(recursive=True)
            server.terminate()
            server.wait()
            for each in left:
                if each.is_running():
                    each.kill()
        for file in self.dir.glob("*/pid"):  # of what has outlived its login
            pid, ticks = file.read_text().split()
            if _ticks(int(pid)) == ticks:
                os.kill(int(pid), 9)


# A command that says that it has begun, and then nothing for ever.
FOR_EVER = """\
#!/bin/sh
set -- $(cat /proc/$$/stat)
echo $$ ${22} >%s/pid.new && mv %s/pid.new %s/pid
exec sleep 123456  # no program of a test says so: none takes it for its own
"""


def for_ever(folder: Path) -> str:
    return FOR_EVER.replace("%s", str(folder))


def begun(folder: Path) -> None:
    """Wait until such a command has begun."""
    end = time.monotonic() + _PATIENCE
    while not (folder / "pid").exists():
        assert time.monotonic() < end, "the command never began"
        time.sleep(0.02)


def _ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[21]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _free_port() -> int:
    """Return a port that is free on every loopback address."""
    with socket.socket() as s:
        s.bind(("0.0.0.0", 0))
        port: int = s.getsockname()[1]
        return port
