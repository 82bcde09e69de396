"""Fresh Debian hosts become nodes: by Ansible, and by ./scripts/node for who has one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

from tests.package.conftest import built
from whiz.core.subtree import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Host, Lab

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SERVED = "http://10.77.0.1:8088"
SCRIPT = "#!/bin/sh\necho camera $WHIZ_RELEASE\nexec sleep 100000\n"
PIDS = "whiz status | awk '$2 == \"running\" { print $1, $3 }'"
KNOWS, FOLLOWS = "The node knows its name and roles", "The node knows what it follows"
FILE, PACKAGE = "The package is on the node", "The package is what is installed"
COMES_UP, RUNS = "Whiz comes up with the machine", "The node runs what its channel offers"
THERE = "Whiz is there, now that it has something to go by"


class Master:
    """Who makes nodes: this machine, in the lab's network, with a home, a repository that it serves, and packages."""

    def __init__(self, lab: Lab, home: Path, hosts: list[Host]) -> None:
        self._lab, self.home, self._hosts = lab, home, hosts
        known = [p.read_text().rsplit(maxsplit=1)[0] for p in Path(lab.base, "etc/ssh").glob("ssh_host_*_key.pub")]
        (home / ".ssh").mkdir(mode=0o700)
        (home / ".ssh/known_hosts").write_text("".join(f"{h.address} {key}\n" for h in hosts for key in known))
        shutil.copy(lab.key, home / ".ssh/id_ed25519")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "SSH_"))}
        places = {
            "HOME": str(home),
            "ANSIBLE_HOME": f"{home}/.ansible",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{lab.said}/cp",
        }
        self.env = env | places | {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
        self._ssh_reads(f"{home}/.ssh")
        for host in hosts:  # apt would ask three times, and wait longer each time
            host.write("/etc/apt/apt.conf.d/90no-network", 'Acquire::Retries "0";\n')
        self.package = built(home / "dist")
        self.settings = self._published()
        words = [str(BIN / "quesofiesta"), "serve", "--repo", str(home / "repo"), "--bind", "10.77.0.1"]
        self._serving = subprocess.Popen(lab.inside(*words), env=self.env, stdout=subprocess.PIPE)
        assert self._serving.stdout is not None
        assert SERVED.encode() in self._serving.stdout.readline()

    def end(self) -> None:
        """Serve no longer."""
        for process in psutil.Process(self._serving.pid).children():  # nsenter waits for it
            process.kill()
        self._serving.communicate()

    def _ssh_reads(self, folder: str) -> None:
        """Have ssh, which asks the password file where home is, take what lies in a folder."""
        lines = (f"IdentityFile {folder}/id_ed25519", f"UserKnownHostsFile {folder}/known_hosts", "BatchMode yes")
        Path(folder, "config").write_text("\n".join(lines) + "\n")
        Path(folder, "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/config "$@"\n')
        Path(folder, "ssh").chmod(0o755)
        self.env["PATH"] = f"{folder}:{BIN}:{self.env['PATH']}"

    def _published(self) -> dict[str, object]:
        """Publish a release with one program; return what a node of it needs."""
        said = self.run(str(BIN / "quesofiesta"), "init", str(self.home / "repo"), "--app", "camera").stdout
        source = self.home / "source"
        source.mkdir()
        (source / "camera.sh").write_text(SCRIPT)
        (source / "camera.sh").chmod(0o755)
        (source / "whizzifest").write_text("camera|./camera.sh\n")
        self.run(str(BIN / "quesofiesta"), "publish", str(source), "--repo", str(self.home / "repo"), "--label", "v1")
        return {**yaml.safe_load(said), "mirrors": [SERVED], "gate": {"healthy": "1s"}}

    def run(self, *argv: str, cwd: Path = ROOT, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command beside the hosts, and expect this exit status."""
        words = self._lab.inside("env", "-C", str(cwd), *argv)
        done = subprocess.run(
            words, check=False, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def inventory(self, variables: dict[str, object], **modes: str) -> None:
        """Write the inventory, with variables for all, and who takes the turns on each host."""
        lines = [f"{h.name} ansible_host={h.address} whiz_mode={modes.get(h.name, 'systemd')}" for h in self._hosts]
        common = ["[cameras:vars]", "whiz_roles=camera", "[all:vars]", "ansible_user=pi", "ansible_become=true"]
        (self.home / "inventory.ini").write_text("\n".join(["[cameras]", *lines, *common]) + "\n")
        (self.home / "group_vars").mkdir(exist_ok=True)
        (self.home / "group_vars/all.yml").write_text(yaml.safe_dump(variables))

    def play(self, *words: str, code: int = 0) -> str:
        """Run the playbook as docs/ansible.md says."""
        argv = [str(BIN / "ansible-playbook"), "-i", str(self.home / "inventory.ini"), "node.yml", *words]
        return self.run(*argv, cwd=ROOT / "ansible", code=code).stdout


def changed(said: str) -> set[tuple[str, str]]:
    """Return which tasks changed which hosts, without the variables that a task names."""
    found, task = set(), ""
    for line in said.splitlines():
        if line.startswith("TASK ["):
            task = re.sub(r"TASK \[(?:\w+ : )?(.*?)(?: \(.*\))?\].*", r"\1", line)
        elif line.startswith("changed: ["):
            found.add((line[len("changed: [") :].partition("]")[0], task))
    return found


def another(package: Path, version: str) -> None:
    """Put another build in a package's place: whiz has this version, but to dpkg it is the same."""
    made = str(package.parent / "another")
    edited = f's/^__version__ = .*/__version__ = "{version}"/'
    for words in (
        ["dpkg-deb", "-R", str(package), made],
        ["sed", "-i", edited, f"{made}/usr/lib/python3/dist-packages/whiz/__init__.py"],
        ["sh", "-c", 'cd "$0" && md5sum $(find usr -type f | sort) >DEBIAN/md5sums', made],
        ["dpkg-deb", "--root-owner-group", "-b", made, str(package)],
    ):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def master(lab: Lab, tmp_path: Path) -> Iterator[Master]:
    made = Master(lab, tmp_path, lab(2, bare=True))
    yield made
    made.end()


def test_by_ansible(master: Master, lab: Lab) -> None:
    one, two = lab.hosts
    variables: dict[str, object] = {"whiz_package": str(master.package), "whiz_quesofiesta": master.settings}
    master.inventory(variables, pi3="cron")
    dry = {FILE, PACKAGE, KNOWS, FOLLOWS, "There are places for the package and the settings"}
    pulls = {(h.name, RUNS) for h in lab.hosts}  # unless a timer of the node did

    said = master.play("-e", '{"whiz_mode": "sysd", "whiz_quesofiesta": {"app": "camera", "mirror": []}}', code=2)
    assert re.search("whiz_mode must be one of:.*got: sysd", said), said
    assert "missing required arguments: keys, mirrors, repo found in whiz_quesofiesta" in said
    assert "whiz_quesofiesta.mirror. Supported parameters include" in said
    said = master.play("-e", "whiz_package=/none.deb", code=2)
    assert "whiz_package: there is no file '/none.deb' on this machine" in said

    assert changed(master.play("--check")) == {(h.name, t) for h in lab.hosts for t in dry}
    assert one.run("ls -d /etc/whiz /var/cache/whiz /usr/bin/whiz 2>/dev/null || true") == ""
    news = changed(master.play())
    resident = {("pi2", COMES_UP), ("pi2", THERE)}  # with the first release at the latest, unless systemd did
    assert news - pulls - resident == {(h.name, t) for h in lab.hosts for t in dry} | {("pi3", COMES_UP)}
    for host in lab.hosts:
        assert yaml.safe_load(host.read("/etc/whiz/node.yaml")) == {"name": host.name, "roles": "camera"}
        assert yaml.safe_load(host.read("/etc/whiz/quesofiesta.yaml")) == master.settings
        assert "camera" in host.run("whiz logs camera")
        assert f"/{PROGRAMS}/" in host.run("cat /proc/$(whiz status | awk '$1 == \"camera\" { print $3 }')/cgroup")
    one.until("systemctl is-active whiz")
    assert "by whiz install" in two.run("crontab -l")
    assert changed(master.play()) == set()
    pids = [h.run(PIDS) for h in lab.hosts]

    other = {**variables, "whiz_quesofiesta": {**master.settings, "keep": 3}}
    master.inventory(other, pi3="timer")
    differ = {("pi2", FOLLOWS), ("pi3", FOLLOWS), ("pi3", COMES_UP)}
    assert changed(master.play("--check")) == differ
    assert changed(master.play()) == differ
    another(master.package, "0.1.0+again")
    assert changed(master.play()) == {(h.name, t) for h in lab.hosts for t in (FILE, PACKAGE)}
    assert '"version": "0.1.0+again"' in one.run("cat /run/whiz/resident.json")
    assert [h.run(PIDS) for h in lab.hosts] == pids

    before = one.read("/etc/whiz/quesofiesta.yaml")
    master.inventory({**other, "whiz_quesofiesta": {**master.settings, "mirrors": ["htp://master"]}}, pi3="timer")
    said = master.play("--limit", "pi2", code=2)
    assert "'htp://master' is no mirror; did you mean http:?" in said
    assert said.rindex("(whiz_quesofiesta)") < said.index("is no mirror")
    assert one.read("/etc/whiz/quesofiesta.yaml") == before

    fleet = [sys.executable, "-m", "whiz", "fleet", "status", "--fleet", str(master.home / "inventory.ini"), "--json"]
    listed = json.loads(master.run(*fleet).stdout)["hosts"]
    assert {h["host"]: (h["state"], h["why"]) for h in listed} == dict.fromkeys(("pi2", "pi3"), ("ok", "1 running"))


def test_by_the_script(master: Master, lab: Lab) -> None:
    one = lab.hosts[0]
    given = master.home / "quesofiesta.yaml"
    given.write_text(yaml.safe_dump(master.settings))
    named = master.home / "node.yaml"
    named.write_text("name: attic\n")
    words = ["./scripts/node", "--package", str(master.package)]
    pi = f"pi@{one.address}"

    said = master.run(*words, pi).stdout
    assert said.startswith("+ installed whiz 0.1.0\n")
    assert "next: write /etc/whiz/whizzifest" in said
    words += ["--node", str(named), "--quesofiesta", str(given)]
    said = master.run(*words, pi).stdout
    for line in ("+ written   /etc/whiz/node.yaml", "v1 runs", "next: sudo whiz status"):
        assert f"\n{line}" in said, said
    assert one.read("/etc/whiz/node.yaml") == "name: attic\n"
    one.until("systemctl is-active whiz")
    pids = one.run(PIDS)
    assert pids.startswith("camera ")
    said = master.run(*words, pi).stdout
    assert "nothing to do: this is a node of whiz, as it should be" in said
    assert not re.search(r"^[-+~!]", said, re.MULTILINE), said

    one.write("/etc/whiz/node.yaml", "name: cellar\n")
    said = master.run(*words, pi, code=3).stdout
    assert "\n-name: cellar\n+name: attic\n" in said
    assert "not as given: /etc/whiz/node.yaml" in said
    assert one.read("/etc/whiz/node.yaml") == "name: cellar\n"
    another(master.package, "0.1.0+again")
    assert "+ installed whiz 0.1.0+again" in master.run(*words, "--mode", "timer", pi, code=3).stdout
    assert one.run("systemctl is-active whiz.timer") == "active\n"
    assert one.run(PIDS) == pids
    assert one.run("ls -d /tmp/tmp.* 2>/dev/null || true") == ""

    said = master.run("./scripts/node", "--mode", "sysd", code=2).stderr
    assert said == "node: --mode: 'sysd' is none of systemd, timer, cron\n"
    assert "there is no file '/none'" in master.run("./scripts/node", "--node", "/none", code=2).stderr
