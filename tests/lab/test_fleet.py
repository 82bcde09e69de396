"""A fleet of real hosts: what is asked of all, while one of them has lost its power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.master import Master

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

MANIFEST = "programs:\n  web: {run: /bin/sleep 100000}\n"


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
