"""Releases arrive by themselves, on real systemd and real cron: nobody calls pull, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whiz.core.subtree import PROGRAMS
from whiz.core.units import PULL, PULLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Host, Lab

QUESOFIESTA = [sys.executable, "-m", "whiz.face.quesofiesta.cli"]
PROGRAM = """\
#!/bin/sh
echo $(cat /proc/sys/kernel/random/boot_id) {} >>/var/tmp/starts
exec sleep 100000
"""
BOOT, THEN = PULLS


class Master:
    """A repository that quesofiesta serves where the lab's hosts find it."""

    def __init__(self, lab: Lab, place: Path, port: int) -> None:
        self._place = place
        place.mkdir()
        said = self._run("init", str(place / "repo"), "--app", "camera", "--keys", str(place / "keys"))
        head = said[said.index("app:") : said.index("mirrors:")]
        self.settings = f"{head}mirrors: [http://10.77.0.1:{port}]\npoll: 10s\ngate: {{healthy: 1s, within: 1m}}\n"
        words = ["serve", "--repo", str(place / "repo"), "--bind", "10.77.0.1", "--port", str(port)]
        with (place / "served").open("wb") as out:
            self._serving = subprocess.Popen(lab.inside(*QUESOFIESTA, *words), stdout=out, stderr=out)

    def _run(self, *words: str) -> str:
        done = subprocess.run([*QUESOFIESTA, *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def publish(self, label: str) -> None:
        tree = self._place / "tree"
        tree.mkdir(exist_ok=True)
        (tree / "whizzifest.yaml").write_text("programs:\n  camera: {run: ./camera}\n")
        (tree / "camera").write_text(PROGRAM.format(label))
        (tree / "camera").chmod(0o755)
        where = ["--repo", str(self._place / "repo"), "--keys", str(self._place / "keys")]
        self._run("publish", str(tree), *where, "--label", label)

    def end(self) -> None:
        self._serving.terminate()
        self._serving.wait()


@dataclass
class Pi:
    """A host that follows the master, and runs what arrives, nothing else."""

    host: Host

    def installed(self, words: str) -> None:
        said = self.host.run(f"whiz install {words}")
        assert "whiz-pull" in said or words == "--cron"

    def again(self, words: str) -> None:
        """Install once more, which changes nothing."""
        said = self.host.run(f"whiz install {words}").splitlines()
        assert {line.split()[0] for line in said if not line.startswith("poll:")} == {"=", "nothing"}, said

    def runs(self, label: str, *, seconds: float = 120) -> None:
        """Wait until the camera of a release runs; it was started once in this boot, in the programs' own cgroup."""
        boot = self.host.boot_id()
        self.host.until(f"grep -q '{boot} {label}' /var/tmp/starts", seconds=seconds)
        self.host.until("quesofiesta status --json | grep -q '\"trial\": null'")
        self.host.until("whiz status --json | grep -q running")
        starts = [line.split()[1] for line in self.host.read("/var/tmp/starts").splitlines() if line.startswith(boot)]
        assert starts.count(label) == 1, starts
        place = self.host.run(f"cat /proc/{self.row()['pid']}/cgroup")
        assert f"/{PROGRAMS}/" in place, place

    def row(self) -> dict[str, Any]:
        (row,) = json.loads(self.host.run("whiz status --json"))["programs"]
        found: dict[str, Any] = row
        return found

    def rebooted(self, label: str) -> None:
        self.host.reboot()
        self.runs(label)

    def uninstalled(self) -> None:
        pid = self.row()["pid"]
        self.host.run("whiz uninstall")
        assert self.row()["pid"] == pid
        assert self.host.run("find /etc/systemd -name '*whiz*'") == ""
        assert "whiz" not in self.host.command("crontab -l").stdout
        self.host.until(f"! systemctl is-active {PULL}")
        timers = self.host.run("systemctl list-timers --all --no-legend")
        assert "whiz" not in timers


def sooner(pi: Pi) -> None:
    """Wait less for the first pull, as whoever runs the host may say: half a minute on average is long for a test."""
    pi.host.write(f"/etc/systemd/system/{BOOT}.d/sooner.conf", "[Timer]\nRandomizedDelaySec=2s\n")


def shortened(pi: Pi) -> None:
    pi.host.run("crontab -l | sed 's/0-60/0-2/; s/0-30/0-2/' | crontab -")


def with_systemd(pi: Pi, master: Master) -> None:
    sooner(pi)
    pi.installed("--systemd")
    pi.runs("one")
    pi.host.until("systemctl is-active whiz")  # which had nothing to keep at first, and tries again every 5 s
    pi.again("--systemd")
    master.publish("two")
    pi.runs("two")
    pi.host.until(f"! systemctl is-active {PULL}")  # it may be at work
    assert "whiz" not in pi.host.run("systemctl --failed --no-legend")
    pi.rebooted("two")
    pi.host.run("systemctl stop whiz-programs")  # by hand: the end of all, and of who would start it again
    assert pi.host.run(f"systemctl is-active {BOOT} {THEN} whiz", code=3).split() == ["inactive"] * 3
    pi.host.run("systemctl start whiz")
    assert pi.host.run(f"systemctl is-active {BOOT} {THEN} whiz").split() == ["active"] * 3
    pi.host.run("mv /etc/whiz/quesofiesta.yaml /root")
    said = pi.host.run("whiz install --timer")
    assert {f"- removed   /etc/systemd/system/{u}" for u in (PULL, *PULLS)} <= {*said.splitlines()}, said
    pi.host.run("mv /root/quesofiesta.yaml /etc/whiz")
    pi.installed("--timer")
    pi.again("--timer")
    master.publish("three")
    pi.runs("three")
    pi.host.run(f"rm -r /etc/systemd/system/{BOOT}.d")
    pi.uninstalled()


def with_cron(pi: Pi, master: Master) -> None:
    pi.host.run("crontab -", give="# mine\n")
    pi.installed("--cron")
    pi.again("--cron")
    shortened(pi)
    pi.rebooted("one")
    master.publish("two")
    pi.runs("two")
    pi.uninstalled()
    assert pi.host.run("crontab -l") == "# mine\n"


def test_a_release_arrives_by_itself_and_is_there_once_after_a_reboot(lab: Lab, tmp_path: Path) -> None:
    hosts = lab(2)
    masters = [Master(lab, tmp_path / host.name, 8000 + n) for n, host in enumerate(hosts)]
    for host, master in zip(hosts, masters, strict=True):
        master.publish("one")
        host.write("/etc/whiz/quesofiesta.yaml", master.settings)
    try:
        with ThreadPoolExecutor(2) as both:
            todo = zip((with_systemd, with_cron), hosts, masters, strict=True)
            for done in [both.submit(work, Pi(host), master) for work, host, master in todo]:
                done.result()
    finally:
        for master in masters:
            master.end()
