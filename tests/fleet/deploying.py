"""A master with a repository, and nodes behind sshd servers that follow it; what they say of each other."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fleet.sshds import Hosts

QUESOFIESTA = Path(sys.executable).parent / "quesofiesta"
GOOD = "#!/bin/sh\n# {}\nexec sleep 100000\n"
BAD = "#!/bin/sh\n# {}\nfor i in 1 2 3; do echo no lens $i; done\nsleep 0.2\nexit 3\n"
MANIFEST = "programs:\n  camera: {run: ./camera.sh}\n"


class Master:
    """Who deploys. Its releases have one program."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.repo, self.source = hosts, hosts.dir / "repo", hosts.dir / "dist"
        self.source.mkdir()
        (self.source / "whizzifest.yaml").write_text(MANIFEST)
        self.config = self.run("init", str(self.repo), "--app", "camera").partition("mirrors:")[0]

    def node(self, name: str, *, call: str = "", mirror: str = "", more: str = "", **options: object) -> Path:
        """Start a host that follows the channel; return its folder. `call`: as node.yaml names it."""
        folder = self.hosts.up(name, **options)  # type: ignore[arg-type]
        home = folder / "whiz-home"
        tool = folder / "quesofiesta"
        tool.write_text(f'#!/bin/sh\nexec {QUESOFIESTA} "$@" --home {home}\n')
        tool.chmod(0o755)
        mirrors = f"mirrors: ['{mirror or f'file://{self.repo}'}']\n"
        (home / "quesofiesta.yaml").write_text(f"{self.config}{mirrors}gate: {{healthy: 0.5s, within: 30s}}\n{more}")
        (home / "node.yaml").write_text(f"name: {call or name}\n")
        return folder

    def write(self, script: str) -> None:
        """Write the program of the next release."""
        (self.source / "camera.sh").write_text(script)
        (self.source / "camera.sh").chmod(0o755)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; return its process."""
        env = {**os.environ, "HOME": str(self.hosts.home), "USER": getpass.getuser()}
        env.pop("SSH_AUTH_SOCK", None)
        return subprocess.Popen(
            [QUESOFIESTA, *words],
            env=env,
            cwd=self.hosts.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command, expect this exit status, return its stdout."""
        process = self.begin(*words)
        out, err = process.communicate(timeout=250)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        self.err = err
        return out

    def words(self, *words: str) -> list[str]:
        """Return the words of a deploy."""
        fleet = str(self.hosts.home / "fleet.yaml")
        return ["deploy", str(self.source), "--repo", str(self.repo), "--fleet", fleet, "--soak", "0", *words]

    def deploy(self, *words: str, code: int = 0) -> str:
        """Deploy; return what is printed."""
        return self.run(*self.words(*words), code=code)

    def answers(self, *words: str, code: int = 0) -> Any:
        """Deploy; return the JSON, and of its hosts the results."""
        said = json.loads(self.run(*self.words(*words), "--json", code=code))
        assert (said["version"], said["exit"]) == (1, code)
        return said, {h["host"]: h["state"] for h in said["hosts"]}

    def history(self) -> Any:
        """Return what the channel said, newest last."""
        return json.loads(self.run("history", "--repo", str(self.repo), "--json"))["history"]

    def runs(self, name: str) -> str | None:
        """Return the release that a node runs."""
        home = self.hosts.dir / name / "whiz-home"
        said = json.loads(self.run("status", "--home", str(home), "--json", code=self._code(home)))
        current: str | None = said["current"]
        return current

    def _code(self, home: Path) -> int:
        return 0 if (home / "state/apps/camera/current").exists() else 1
