"""Who asks the hosts of a lab: this machine, in their network, with a home of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.lab import Host, Lab


class Master:
    """Who asks them: this machine, in the network of the lab, with a home of its own."""

    def __init__(self, lab: Lab, home: Path, hosts: list[Host]) -> None:
        self.lab, self.home = lab, home
        known = [p.read_text().rsplit(maxsplit=1)[0] for p in Path(lab.base, "etc/ssh").glob("ssh_host_*_key.pub")]
        (home / ".ssh").mkdir()
        (home / ".ssh/known_hosts").write_text("".join(f"{h.address} {key}\n" for h in hosts for key in known))
        lines = "".join(f"  {h.name}: {{address: {h.address}, groups: all-of-them}}\n" for h in hosts)
        common = f"defaults: {{user: root, key: {lab.key}}}\ngroups: {{all-of-them: }}\n"
        (home / "fleet.yaml").write_text(f"{common}hosts:\n{lines}")

    def argv(self, module: str, *words: str) -> list[str]:
        """Return the words that run a module as the master, beside the hosts."""
        return self.lab.inside("env", f"HOME={self.home}", sys.executable, "-P", "-m", module, *words)

    def fleet(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Ask them; return the exit status and what is said of each."""
        argv = self.argv("whiz", "--home", str(self.home), "fleet", *words, "--json")
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=200)
        assert done.stdout, done.stderr
        return done.returncode, {h["host"]: h for h in json.loads(done.stdout)["hosts"]}
