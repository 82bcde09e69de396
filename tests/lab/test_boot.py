"""What `whiz install` makes, on real systemd and real cron: everything is back after a boot, once, and nothing dies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from whiz.core.subtree import PROGRAMS, cgroup
from whiz.core.units import SERVICE

if TYPE_CHECKING:
    from tests.lab.lab import Host, Lab

NAMES = ("db", "web", "front")

# Writes down each start with the boot it was in, and its end, which takes as long as asked.
PROGRAM = """\
#!/bin/bash
name=$1
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

    @property
    def own(self) -> str:
        return "" if self.user == "root" else " --user"

    def __post_init__(self) -> None:
        self.host.write("/opt/program", PROGRAM, 0o755)
        config = "/etc/whiz" if self.user == "root" else "/home/pi/.config/whiz"
        self.run(f"mkdir -p {config}; touch /var/tmp/starts /var/tmp/ends")
        self.run(f"cat >{config}/whizzifest.yaml", give=MANIFEST)

    def run(self, text: str, *, code: int = 0, give: str = "") -> str:
        return self.host.run(text, user=self.user, code=code, give=give)

    def systemctl(self, words: str) -> str:
        return self.run(f"systemctl{self.own} {words}")

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
        said = self.run(f"whiz install{self.own} {words}")
        again = self.run(f"whiz install{self.own} {words}")
        assert {line.split()[0] for line in again.splitlines()[:-1]} == {"="}, again
        assert again.splitlines()[-1].startswith("nothing to do"), again
        return said

    def rebooted(self, *, named: bool = False) -> None:
        """Reboot: programs end in order, and all are back, once. `named`: whether systemd may name those left over."""
        before = self.host.boot_id()
        self.host.reboot()
        self.up()
        assert self.in_boot("/var/tmp/ends", before) == ["front", "web", "db"]
        assert self.starts() == sorted(NAMES)
        assert self.host.boot_id() != before
        said = self.host.run("journalctl -b -1 -o cat --no-pager")
        assert named or "remains running" not in said
        assert "Killing process" not in said
        assert "ordering cycle" not in said
        assert f"{PROGRAMS}: Failed" not in said
        if not named:  # each in a cgroup of its own, in that of whiz-programs
            places = [self.host.run(f"cat /proc/{pid}/cgroup") for pid in self.pids().values()]
            assert all(f"/{PROGRAMS}/" in place and "@" in place for place in places), places
            assert len(set(places)) == len(NAMES)

    def uninstalled(self) -> None:
        """Uninstall: nothing is left, and programs go on."""
        pids, ended = self.pids(), self.host.read("/var/tmp/ends")
        said = self.run(f"whiz uninstall{self.own}")
        assert "programs go on" in said
        assert self.run(f"whiz uninstall{self.own}").startswith("nothing to do")
        assert self.pids() == pids
        assert self.host.read("/var/tmp/ends") == ended
        listed = self.systemctl("list-units --all --no-legend --plain 'whiz*'").splitlines()
        assert {tuple(line.split()[:4]) for line in listed} <= {(PROGRAMS, "not-found", "inactive", "dead")}
        assert "whiz" not in self.host.run("find /etc/systemd /home/pi/.config/systemd -name '*whiz*' || true")
        assert "whiz" not in self.host.command("crontab -l", user=self.user).stdout


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

    host.kill()  # the power goes, and comes back
    host.boot()
    pi.up()
    assert pi.starts() == sorted(NAMES)

    pids = pi.pids()
    host.run(f"kill $(cat /sys/fs/cgroup{cgroup(0)}/holder/cgroup.procs)")  # it holds nothing but the place
    host.run("systemctl daemon-reload && systemctl daemon-reexec && systemctl is-active whiz-programs")
    assert pi.pids() == pids
    host.run("systemctl stop whiz-programs")  # by hand: the end of all, and of who would start it again
    assert pi.in_boot("/var/tmp/ends", host.boot_id()) == ["front", "web", "db"]
    assert host.run("systemctl is-active whiz whiz-programs", code=3).split() == ["inactive"] * 2
    host.run("systemctl start whiz")
    pi.up()
    assert pi.starts() == sorted([*NAMES, *NAMES])
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
    assert "min" in host.run("systemctl show -P NextElapseUSecMonotonic whiz.timer")  # a failure does not end the turns
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
    refused = host.command(f"whiz install {mode}", user="pi")
    assert refused.returncode == 2
    assert "not root\nhint: sudo whiz install, or whiz install --user" in refused.stderr
    unasked = host.command(f"whiz install --user {mode}", user="pi")
    assert unasked.returncode == 1
    assert "hint: sudo loginctl enable-linger pi" in unasked.stderr
    host.run("loginctl enable-linger pi")
    pi.installed(mode)
    pids = pi.up()
    healthy(pi, PROGRAMS, SERVICE)
    pi.systemctl("stop whiz")
    pi.systemctl("start whiz")
    assert pi.pids() == pids
    assert pi.starts() == sorted(NAMES)
    pi.rebooted()
    pi.uninstalled()


def test_the_cron_of_a_user(lab: Lab) -> None:
    """Programs stay in cron's cgroup, which systemd says of each at shutdown; their end is in order all the same."""
    (host,) = lab(1)
    host.run("loginctl enable-linger pi")
    pi = Pi(host, "pi")
    pi.installed("--cron")
    host.reboot()
    pi.up()
    pi.rebooted(named=True)
    pi.uninstalled()


def test_one_mode_after_another(lab: Lab) -> None:
    """Each takes the place of the one before, under running programs."""
    (host,) = lab(1)
    pi = Pi(host)
    pi.installed("--systemd")
    pids = pi.up()
    for mode, there in (("timer", "whiz.timer"), ("cron", ""), ("timer", "whiz.timer"), ("systemd", "whiz.service")):
        shown = host.run(f"whiz install --{mode} --print --json")
        assert all("path" in d or "command" in d or "crontab" in d for d in json.loads(shown)["deeds"])
        said = pi.installed(f"--{mode}")
        assert "= unchanged /etc/systemd/system/whiz-programs.service" in said
        enabled = host.run("systemctl list-unit-files --no-legend --state=enabled 'whiz*'").split()
        assert {u for u in enabled if u.startswith("whiz")} == {PROGRAMS, there} - {""}
        assert ("by whiz install" in host.command("crontab -l").stdout) == (mode == "cron")
        host.run("whiz apply")
        assert pi.pids() == pids
    assert pi.starts() == sorted(NAMES)
    assert host.read("/var/tmp/ends") == ""
    host.run("systemctl disable --now whiz && rm /etc/systemd/system/whiz.service")  # half of it taken away by hand
    said = host.run("whiz install")
    assert "+ started   whiz.service" in said
    assert "= unchanged /etc/systemd/system/whiz-programs.service" in said
    assert pi.pids() == pids
    pi.uninstalled()
    host.reboot()
    assert pi.starts() == []
