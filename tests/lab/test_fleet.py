"""A fleet of real hosts: what is asked of all, while one of them has lost its power."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.lab.lab import Host, Lab

MANIFEST = "programs:\n  web: {run: /bin/sleep 100000}\n"


class Master:
    """Who asks them: this machine, in the network of the lab, with a home of its own."""

    def __init__(self, lab: Lab, home: Path, hosts: list[Host]) -> None:
        self._lab, self._home = lab, home
        known = [p.read_text().rsplit(maxsplit=1)[0] for p in Path(lab.base, "etc/ssh").glob("ssh_host_*_key.pub")]
        (home / ".ssh").mkdir()
        (home / ".ssh/known_hosts").write_text("".join(f"{h.address} {key}\n" for h in hosts for key in known))
        lines = "".join(f"  {h.name}: {{address: {h.address}, groups: all-of-them}}\n" for h in hosts)
        common = f"defaults: {{user: root, key: {lab.key}}}\ngroups: {{all-of-them: }}\n"
        (home / "fleet.yaml").write_text(f"{common}hosts:\n{lines}")

    def fleet(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Ask them; return the exit status and what is said of each."""
        argv = ["env", f"HOME={self._home}", sys.executable, "-m", "whiz", "--home", str(self._home), "fleet", *words]
        done = subprocess.run(
            self._lab.inside(*argv, "--json"), check=False, capture_output=True, text=True, timeout=200
        )
        assert done.stdout, done.stderr
        return done.returncode, {h["host"]: h for h in json.loads(done.stdout)["hosts"]}


def test_apply_and_status_of_three_one_of_which_loses_its_power(lab: Lab, tmp_path: Path) -> None:
    hosts = lab(3)
    master = Master(lab, tmp_path, hosts)
    for host in hosts:
        host.run("mkdir -p /etc/whiz && cat >/etc/whiz/whizzifest.yaml", give=MANIFEST)
    code, said = master.fleet("check", "--to", "all-of-them")
    assert (code, {h["why"] for h in said.values()}) == (3, {"start web"})
    assert master.fleet("apply")[0] == 0
    code, said = master.fleet("status")
    assert (code, [h["why"] for h in said.values()]) == (0, ["1 running"] * 3)
    boots = {n: h["answer"]["programs"][0]["run"] for n, h in said.items()}
    hosts[1].kill()
    code, said = master.fleet("apply", "--timeout", "20s")
    assert code == 4, said
    assert [h["state"] for h in said.values()] == ["ok", "offline", "ok"]
    hosts[1].boot()
    assert master.fleet("apply")[0] == 0
    code, said = master.fleet("status")
    assert code == 0
    changed = [n for n, h in said.items() if h["answer"]["programs"][0]["run"] != boots[n]]
    assert changed == [hosts[1].name]
