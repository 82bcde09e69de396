"""What `whiz install` makes, on real systemd and real cron: everything is back after a boot, once, and nothing dies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from whiz.core.units import PROGRAMS, SERVICE

if TYPE_CHECKING:
    from tests.lab.lab import Host, Lab

pytestmark = pytest.mark.lab

NAMES = ("db", "web", "front")

# Writes down each start with the boot it was in, and its end, which takes as long as asked.
PROGRAM = """\
#!/bin/bash
name=$1
for unit in /sys/fs/cgroup/{system.slice,user.slice/user-$UID.slice/user@$UID.service/app.slice}/whiz-programs.service; do
  grep -q whiz-programs /proc/self/cgroup && break
  mkdir -p $unit/$name && echo $$ >$unit/$name/cgroup.procs && break
done 2>/dev/null
boot=$(cat /proc/sys/kernel/random/boot_id)
trap 'sleep $2; echo $boot $name >>/var/tmp/ends; exit 0' TERM
echo $boot $name >>/var/tmp/starts
while :; do sleep 1000 & wait; done
"""

MANIFEST = """\
programs:
  db: {run: /opt/program db 0}
  web: {run: /opt/program web 0.4, after: db}
  front: {run: /opt/program front 0.8, after: web}
"""


@dataclass
class Pi:
    """A host with whiz and three programs, of root or of pi. They end in reverse, so the slowest is the first."""

    host: Host
    user: str = "root"

    def __post_init__(self) -> None:
        self.host.write("/opt/program", PROGRAM, 0o755)
        config = "/etc/whiz" if self.user == "root" else "/home/pi/.config/whiz"
        self.run(f"mkdir -p {config}; touch /var/tmp/starts /var/tmp/ends")
        self.run(f"cat >{config}/whizzifest.yaml", give=MANIFEST)

    def run(self, text: str, *, code: int = 0, give: str = "") -> str:
        return self.host.run(text, user=self.user, code=code, give=give)

    def systemctl(self, words: str) -> str:
        return self.run(f"systemctl {'' if self.user == 'root' else '--user '}{words}")

    def up(self) -> dict[str, int]:
        """Wait until all run; return their pids."""
        all_run = "all(p['state'] == 'running' for p in json.load(sys.stdin)['programs'])"
        self.host.until(
            f'whiz status --json | python3 -c "import json, sys; sys.exit(not {all_run})"', user=self.user, seconds=90
        )
        return self.pids()

    def pids(self) -> dict[str, int]:
        rows = json.loads(self.host.command("whiz status --json", user=self.user).stdout)["programs"]
        return {r["name"]: r["pid"] for r in rows}

    def starts(self) -> list[str]:
        return sorted(self.in_boot("/var/tmp/starts", self.host.boot_id()))

    def in_boot(self, file: str, boot: str) -> list[str]:
        return [line.split()[1] for line in self.host.read(file).splitlines() if line.startswith(boot)]

    def installed(self, words: str) -> str:
        """Install, and again, which changes nothing."""
        said = self.run(f"whiz install {words}")
        again = self.run(f"whiz install {words}")
        assert {line.split()[0] for line in again.splitlines()[:-1]} == {"="}, again
        assert again.splitlines()[-1].startswith("nothing to do"), again
        return said

    def rebooted(self) -> None:
        """Reboot: programs end in order, and all are back, once."""
        before = self.host.boot_id()
        self.host.reboot()
        self.up()
        assert self.in_boot("/var/tmp/ends", before) == ["front", "web", "db"]
        assert self.starts() == sorted(NAMES)
        assert self.host.boot_id() != before
        said = self.host.run("journalctl -b -1 -o cat --no-pager")
        assert "remains running" not in said
        assert "Killing process" not in said
        assert f"{PROGRAMS}: Failed" not in said

    def uninstalled(self) -> None:
        """Uninstall: nothing is left, and programs go on; after a boot none is back."""
        pids = self.pids()
        said = self.run("whiz uninstall")
        assert "programs go on" in said
        assert self.run("whiz uninstall").startswith("nothing to do")
        assert self.pids() == pids
        assert "front" not in self.in_boot("/var/tmp/ends", self.host.boot_id())
        listed = self.systemctl("list-units --all --no-legend --plain 'whiz*'").splitlines()
        assert {tuple(line.split()[:4]) for line in listed} <= {(PROGRAMS, "not-found", "inactive", "dead")}
        assert "whiz" not in self.systemctl("list-unit-files --no-legend 'whiz*'")
        assert "whiz" not in self.host.command("crontab -l", user=self.user).stdout
        self.host.reboot()
        assert self.starts() == []


def healthy(pi: Pi, *units: str) -> None:
    found = {
        f["about"]: f["grade"]
        for f in json.loads(pi.host.command("whiz doctor --json", user=pi.user).stdout)["findings"]
    }
    assert {u: found.get(u) for u in units} == dict.fromkeys(units, "ok")


def test_a_service(lab: Lab) -> None:
    (host,) = lab(1)
    pi = Pi(host)
    pi.installed("--systemd")
    pids = pi.up()
    healthy(pi, PROGRAMS, SERVICE)
    records = host.run("ls /run/whiz/runs")

    def whiz() -> str:
        return host.run("systemctl show -P MainPID whiz").strip()

    host.run("systemctl stop whiz")
    assert pi.pids() == pids
    host.run("systemctl start whiz")
    host.run("systemctl restart whiz")
    host.run("systemctl reload whiz")
    old = whiz()
    host.run(f"kill -9 {old}")
    host.until(f"test $(systemctl show -P MainPID whiz) != {old} && systemctl is-active whiz")
    old = whiz()
    host.run(
        "sed -i 's/^__version__ = .*/__version__ = \"9.9\"/' /usr/local/lib/python3.11/dist-packages/whiz/__init__.py"
    )
    assert "→ 9.9" in host.run("whiz restart --self")
    assert whiz() == old
    assert pi.pids() == pids
    assert pi.starts() == sorted(NAMES)
    assert host.run("ls /run/whiz/runs") == records
    assert "remains running" not in host.run("journalctl -b -o cat --no-pager")
    pi.rebooted()
    pi.uninstalled()


def test_a_timer(lab: Lab) -> None:
    (host,) = lab(1)
    pi = Pi(host)
    pi.installed("--timer")
    pids = pi.up()
    host.run("systemctl start whiz")  # whatever is left to do
    healthy(pi, PROGRAMS, SERVICE)
    cursor = host.run("journalctl -n 0 --show-cursor --no-pager").split()[-1]
    host.run("for i in 1 2 3; do systemctl start whiz; done")
    said = host.run(f"journalctl --after-cursor '{cursor}' -o cat --no-pager")
    assert "whiz" not in said
    assert "program" not in said
    assert pi.pids() == pids
    host.run(f"kill -9 {pids['web']}")
    host.run("systemctl start whiz")
    assert pi.up()["db"] == pids["db"]
    assert pi.starts() == sorted([*NAMES, "web"])
    host.run("systemctl stop whiz.timer")
    host.run("systemctl start whiz.timer")
    assert pi.starts() == sorted([*NAMES, "web"])
    host.run("printf 'programs: [' >/etc/whiz/whizzifest.yaml; systemctl start whiz", code=1)
    assert "not YAML" in host.run("journalctl -u whiz -o cat --no-pager")
    host.run("cat >/etc/whiz/whizzifest.yaml", give=MANIFEST)
    pi.rebooted()
    pi.uninstalled()


def test_cron(lab: Lab) -> None:
    (host,) = lab(1)
    pi = Pi(host)
    host.run("crontab -", give="# mine\n17 3 * * * true\n")
    pi.installed("--cron")
    host.reboot()  # sooner than its next minute
    pids = pi.up()
    healthy(pi, PROGRAMS)
    host.run(f"kill -9 {pids['front']}")
    assert {n: p for n, p in pi.up().items() if n != "front"} == {n: p for n, p in pids.items() if n != "front"}
    assert pi.starts() == sorted([*NAMES, "front"])
    pi.rebooted()
    pi.uninstalled()
    assert host.run("crontab -l") == "# mine\n17 3 * * * true\n"


@pytest.mark.parametrize("mode", ["--systemd", "--timer"])
def test_a_user(lab: Lab, mode: str) -> None:
    (host,) = lab(1)
    pi = Pi(host, "pi")
    assert "sudo loginctl enable-linger pi" in host.command(f"whiz install --user {mode}", user="pi").stderr
    host.run("loginctl enable-linger pi")
    pi.installed(f"--user {mode}")
    pids = pi.up()
    healthy(pi, PROGRAMS, SERVICE)
    pi.systemctl("stop whiz")
    pi.systemctl("start whiz")
    assert pi.pids() == pids
    assert pi.starts() == sorted(NAMES)
    pi.rebooted()
