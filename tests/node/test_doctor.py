"""What `whiz doctor` finds on this very machine, and on one that is worse in a namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.node.conftest import WHIZ
from tests.node.test_journal import PRIVATE
from whiz.world.machine import look, memory, mounted, unit_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.node.conftest import Node

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
28 27 179:1 / /boot/firmware rw,relatime shared:2 master:3 - vfat /dev/mmcblk0p1 rw,fmask=0022
29 27 8:1 / /media/my\040stick rw,relatime - exfat /dev/sda1 rw
30 27 0:30 / /run rw,nosuid - tmpfs tmpfs rw
31 30 0:31 / /run rw,nosuid - ramfs ramfs rw
"""
PRIVATELY = subprocess.run([*PRIVATE, "true"], check=False, capture_output=True).returncode == 0


def findings(said: str) -> dict[str, Any]:
    return {f["about"]: f for f in json.loads(said)["findings"]}


def folders(path: Path) -> dict[str, str]:
    return {role: f"{path}/{role}" for role in ("config", "run", "state", "log")}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/boot", "ext4"),
        ("/boot/firmware", "vfat"),
        ("/boot/firmware/whiz/state", "vfat"),
        ("/boot/firmware2", "ext4"),
        ("/media/my stick/x", "exfat"),
        ("/run/whiz", "ramfs"),
    ],
)
def test_file_system_of_a_path(path: str, kind: str) -> None:
    assert mounted(MOUNTS, path) == kind
    assert mounted("", path) is None


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/whiz.service\n", (False, "whiz.service")),
        ("8:pids:/\n1:name=systemd:/system.slice/cron.service\n0::/\n", (False, "cron.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/w.service\n", (True, "w.service")),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("0::/system.slice/whiz-programs.service/db@1\n", (False, "whiz-programs.service")),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/w.service/db@1\n", (True, "w.service")),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/run-1.scope/a\n", None),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice\n", None),
        ("0::/\n", None),
    ],
)
def test_unit_of_a_process(cgroup: str, unit: tuple[bool, str] | None) -> None:
    assert unit_of(cgroup) == unit


def test_units_with_their_edits(tmp_path: Path) -> None:
    lib, etc = tmp_path / "lib", tmp_path / "etc"
    for path, text in {
        lib / "a.service": "[Service]\nExecStart=/usr/bin/whiz run\nKillMode=process\n",
        etc
        / "a.service": "[Unit]\nPrivateTmp=yes\n[Service]\n# KillMode=none\nExecStart=/usr/bin/env \\\n  'whiz' --home /x apply\nRuntimeDirectory=b\nRuntimeDirectory=whiz\n",
        lib / "a.service.d/10.conf": "[Service]\nKillMode=mixed\n",
        etc / "a.service.d/20.conf": "[Service]\nKillMode = process\n",
        lib / "module.service": "[Service]\nExecStart=-/opt/whiz/bin/python -m whiz -q apply --wait 2m\n",
        lib / "other.service": "[Service]\nExecStart=/opt/whiz/bin/camera run\nWorkingDirectory=/etc/whiz run\n",
        lib / "was.service": "[Service]\nExecStart=/usr/bin/whiz run\nExecStart=\nExecStart=/bin/true\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (lib / "masked.service").symlink_to("/dev/null")
    found = {u.name: u.settings for u in look(folders(tmp_path), "0", system=[str(lib), str(etc)], user=()).units}
    assert set(found) == {"a.service", "module.service"}
    assert found["a.service"]["RuntimeDirectory"] == "b whiz"
    assert found["a.service"]["KillMode"] == "process"
    assert "PrivateTmp" not in found["a.service"]


@pytest.mark.parametrize(
    ("trees", "line", "found"),
    [
        ({"": "cpu memory pids"}, "memory 0 9 1", "unified"),
        ({"": "cpu pids"}, "memory 0 9 0", "off"),
        ({"": "cpu pids"}, None, "off"),
        ({"": "cpu pids"}, "memory 0 9 1", "off"),  # within a container
        ({}, "memory 7 9 1", "older"),
        ({"unified": ""}, "memory 7 9 1", "older"),  # hybrid
        ({"unified": ""}, "memory 0 9 0", "off"),
        ({"unified": "memory"}, "memory 0 9 1", "unified"),
        ({}, "memory 0 9 1", "unmounted"),
        ({}, "cpu 0 9 1", "off"),
        ({}, None, None),
    ],
)
def test_where_memory_is_held(tmp_path: Path, trees: dict[str, str], line: str | None, found: str | None) -> None:
    for at, controllers in trees.items():
        (tmp_path / at).mkdir(exist_ok=True)
        (tmp_path / at / "cgroup.controllers").write_text(f"{controllers}\n")
    if line is not None:
        (tmp_path / "cgroups").write_text(
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\n" + "\t".join(line.split()) + "\n"
        )
    assert memory(str(tmp_path), str(tmp_path / "cgroups")) == found


@pytest.mark.skipif(os.getuid() != 0 or not PRIVATELY, reason="mounting takes root and a mount namespace; CI has them")
def test_a_machine_without_cgroups(node: Node) -> None:
    command = [*PRIVATE, "sh", "-c", 'mount -t tmpfs tmpfs /sys/fs/cgroup && exec "$@"', "sh"]
    done = subprocess.run([*command, *WHIZ, "--home", node.path, "doctor", "--json"], check=False, capture_output=True)
    found = findings(done.stdout.decode())
    assert "limits.memory is polled" in found["memory cgroup"]["says"]
    assert "limits.memory is polled; a share of a core in limits.cpu is held by nobody" in found["cgroup"]["says"]


def test_this_machine(node: Node) -> None:
    done = node.command("doctor", "--json")
    data = json.loads(done.stdout)
    assert data["version"] == 1
    assert done.returncode == data["exit"] == int(any(f["grade"] == "trouble" for f in data["findings"]))
    found = findings(done.stdout)
    assert found["pidfd"]["says"] == "works"
    assert found["node"]["says"] == f"{os.uname().nodename}, without a node.yaml"
    kind = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", node.path], check=True, capture_output=True, text=True
    )
    assert f"{node.path}/state is on {kind.stdout.strip()}" in found["state directory"]["says"]
    assert not (node.path / "run").exists()
    words = node.command("--home", str(node.path), "doctor").stdout
    for f in found.values():
        assert f"{f['grade']:<7}  {f['about']}: " in words
    assert node.command("doctor", "-q").stdout == ""


def test_the_same_program_in_two_homes(node: Node) -> None:
    name = f"twin-{os.getpid()}"
    node.write(f"{name}|/bin/sleep 1000\n")
    node.whiz("apply")
    facts = look(folders(node.path / "elsewhere"), "0")
    assert [o.uid for o in facts.others if name in o.programs] == [os.getuid()]
    assert name not in facts.programs
    node.write(f"{name}|/bin/sleep 1000\n", "second/whizzifest")
    second = ["--home", str(node.path / "second")]
    try:
        node.command(*second, "apply")
        done = node.command("doctor", "--json")
        said = [f["says"] for f in json.loads(done.stdout)["findings"] if f["grade"] == "trouble"]
        assert done.returncode == 1
        assert any(s.startswith(f"{name}: run in this home and in another, ") for s in said), said
    finally:
        node.write("", "second/whizzifest")
        node.whiz(*second, "apply", "--allow-empty")


WORSE = """
import subprocess, sys
home, *whiz = sys.argv[1:]
for place in ("/etc/systemd/system", f"{home}/state", f"{home}/log"):
    subprocess.run(["mkdir", "-p", place], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
subprocess.run(["mount", "-o", "remount,ro", f"{home}/state"], check=True)
with open("/etc/systemd/system/pet.service", "w") as f:
    f.write("[Service]\\nExecStart=/usr/local/bin/whiz run\\nRuntimeDirectory=whiz\\nPrivateTmp=true\\n")
done = subprocess.run(whiz, capture_output=True, text=True)
print(done.stdout, end="")
print(done.returncode)
"""
CURE = """
import json
do = [f["do"] for f in json.loads(done.stdout)["findings"] if f["about"] == "pet.service"][0]
subprocess.run(["sh", "-c", do.replace("sudo ", "").replace("systemctl", "true")], check=True, stdout=subprocess.DEVNULL)
subprocess.run(["mount", "-o", "remount,rw", f"{home}/state"], check=True)
print(subprocess.run(whiz, capture_output=True, text=True).stdout, end="")
"""


@pytest.mark.skipif(os.getuid() != 0 or not PRIVATELY, reason="mounting takes root and a mount namespace; CI has them")
def test_a_worse_machine_and_its_cure(node: Node) -> None:
    """A full log, a read-only state, a unit that takes programs down; then what doctor says to do is done."""
    words = [str(node.path), *WHIZ, "--home", str(node.path), "doctor", "--json"]
    command = [*PRIVATE, sys.executable, "-c", WORSE + CURE, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, code, after = done.stdout.splitlines()
    assert code == "1"
    worse, better = findings(before), findings(after)
    assert "on tmpfs, read-only" in worse["state directory"]["says"]
    assert worse["log directory"]["says"].startswith(f"{node.path}/log is on tmpfs, with ")
    assert [worse[n]["grade"] for n in ("state directory", "log directory", "pet.service")] == [
        "trouble",
        "advice",
        "trouble",
    ]
    for fault in ("KillMode is control-group", "RuntimeDirectoryPreserve is no", "PrivateTmp is on"):
        assert fault in worse["pet.service"]["says"]
    assert better["pet.service"]["grade"] == "ok"
    assert better["state directory"]["grade"] == "advice"
