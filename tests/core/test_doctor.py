"""What is said of a machine's facts."""

from __future__ import annotations

import re

import pytest

from whiz.core.doctor import Grade, examine
from whiz.core.limits import By, Grip, Ground
from whiz.core.machine import Facts, Memory, Other, Place, Unit
from whiz.core.value import replace

STATE = Place(role="state", path="/var/lib/whiz", kind="ext4", read_only=False, free=10**9, inodes=10**6)
RUN = replace(STATE, role="run", path="/run/whiz", kind="tmpfs")
UNIT = Unit(name="whiz.service", user=False, settings={"KillMode": "process"})
CAMERA = Other(home="1a2b3c4d", uid=1000, programs=("camera", "web"))
WELL = Facts(
    root=True,
    clock=True,
    memory=Memory.UNIFIED,
    pidfd=True,
    places=(RUN, STATE),
    units=(UNIT,),
    programs=("door",),
    others=(),
    psutil="5.9.8",
    python="3.11.2",
    host="pi",
    node_yaml=False,
)


def places(place: Place, **changes: object) -> Facts:
    return replace(WELL, places=(replace(place, **changes),))


def unit(*, user: bool = False, **settings: str) -> Facts:
    return replace(WELL, units=(replace(UNIT, user=user, settings={"KillMode": "process", **settings}),))


def test_a_machine_that_is_as_it_should_be() -> None:
    found = examine(WELL)
    assert {f.grade for f in found} == {Grade.OK}
    assert not any(f.do for f in found)


@pytest.mark.parametrize(
    ("facts", "grade", "says", "do"),
    [
        (replace(WELL, clock=False), "advice", "clock: not synchronised", "timedatectl set-ntp true"),
        (replace(WELL, clock=None), "ok", "clock: cannot tell", ""),
        (replace(WELL, memory=Memory.OLDER), "advice", "memory cgroup: in the older hierarchy (cgroup v1), which whiz does not use: limits.memory is polled", "systemd.unified_cgroup_hierarchy=1"),
        (replace(WELL, memory=Memory.UNMOUNTED), "advice", "memory cgroup: no cgroup file system is mounted at /sys/fs/cgroup: limits.memory is polled", "mount -t cgroup2"),
        (replace(WELL, memory=Memory.OFF), "advice", "memory cgroup: off", "append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt and reboot"),
        (replace(WELL, memory=None), "ok", "memory cgroup: cannot tell", ""),
        (replace(WELL, pidfd=False), "trouble", "pidfd: pidfd_open(2) is refused", "Linux 5.3"),
        (places(STATE, kind="vfat"), "trouble", "state directory: /var/lib/whiz is on vfat, which knows no owners", "mount ext4 at /var/lib/whiz"),
        (places(STATE, role="log", kind="exfat"), "trouble", "log directory: /var/lib/whiz is on exfat", "mount ext4"),
        (places(STATE, role="config", kind="vfat", read_only=True, free=0), "ok", "config directory: /var/lib/whiz is on vfat", ""),
        (places(STATE, read_only=True), "trouble", "on ext4, read-only: nothing is kept", "remount,rw"),
        (places(STATE, free=9_000_000), "advice", "on ext4, with 9.0 MB free, 1000000 inodes", "df -h /var/lib/whiz"),
        (places(STATE, free=9_000_000, inodes=None), "advice", "on ext4, with 9.0 MB free", "apt-get clean"),
        (places(STATE, inodes=0), "trouble", "free, 0 inodes", "df -i /var/lib/whiz"),
        (places(STATE, free=0), "trouble", "with 0 B free", "df -h"),
        (places(STATE, inodes=None), "ok", "/var/lib/whiz is on ext4", ""),
        (places(STATE, kind=None), "ok", "is on a file system that cannot be told", ""),
        (places(STATE, kind="overlay"), "advice", "may be forgotten at reboot", "raspi-config"),
        (places(RUN, kind="ext4"), "advice", "run directory: /run/whiz is on ext4: records of this boot wear the card", "tmpfs"),
        (places(RUN, kind=None), "ok", "run directory", ""),
        (places(RUN, kind="ext4", path="/home/pi/.local/state/whiz/run"), "ok", "run directory", ""),
        (replace(WELL, units=()), "ok", "systemd: no unit that runs whiz was found", ""),
        (unit(), "ok", "whiz.service: lets programs live on", ""),
        (unit(KillMode="mixed"), "trouble", "KillMode is mixed: when the unit stops, systemd kills the programs too", "printf '[Service]\\nKillMode=process\\n' | sudo tee /etc/systemd/system/whiz.service.d/whiz.conf"),
        (unit(KillMode=""), "trouble", "KillMode is control-group", "sudo systemctl daemon-reload"),
        (unit(KillMode="none"), "trouble", "stopping the unit does not stop whiz", "KillMode=process"),
        (unit(RuntimeDirectory="a whiz"), "trouble", "RuntimeDirectoryPreserve is no", "RuntimeDirectoryPreserve=yes"),
        (unit(RuntimeDirectory="whiz", RuntimeDirectoryPreserve="restart"), "trouble", "Preserve is restart", "Preserve=yes"),
        (unit(RuntimeDirectory="whiz", RuntimeDirectoryPreserve="yes"), "ok", "lets programs live on", ""),
        (unit(RuntimeDirectory="whiz", user=True), "ok", "lets programs live on", ""),
        (unit(PrivateTmp="true"), "trouble", "PrivateTmp is on", "PrivateTmp=no"),
        (unit(PrivateTmp="disconnected"), "trouble", "PrivateTmp is on", "PrivateTmp=no"),
        (unit(PrivateTmp="yes", user=True), "trouble", "PrivateTmp is on", "mkdir -p ~/.config/systemd/user/whiz.service.d && printf '[Service]\\nPrivateTmp=no\\n' | tee ~/.config/systemd/user/whiz.service.d/whiz.conf && systemctl --user daemon-reload"),
        (unit(PrivateTmp="yes", KillMode="mixed"), "trouble", "KillMode is mixed", "KillMode=process\\nPrivateTmp=no\\n"),
        (replace(WELL, others=(CAMERA,)), "ok", "homes: another whiz home, 1a2b3c4d of uid 1000, runs camera, web", ""),
        (replace(WELL, others=(CAMERA,), programs=("web",)), "trouble", "homes: web: run in this home and in another", "take them out of one whizzifest"),
        (replace(WELL, root=False), "ok", "homes: no program of another whiz home that this user may see", ""),
        (replace(WELL, psutil="5.8.0"), "trouble", "psutil: 5.8.0 is older than 5.9", "python3-psutil"),
        (replace(WELL, psutil="5.9"), "ok", "psutil: 5.9, whose times move with the clock", ""),
        (replace(WELL, psutil="5.9.4"), "ok", "psutil: 5.9.4, whose times move with the clock", ""),
        (replace(WELL, psutil="7.2.2"), "ok", "psutil: 7.2.2", ""),
        (replace(WELL, psutil=None), "ok", "psutil: cannot tell", ""),
        (WELL, "ok", "cgroup: none is whiz's own: trees are known by session and mark; limits.memory is polled; a share of a core in limits.cpu is held by nobody; limits.tasks is an rlimit, from which root is exempt", ""),
        (replace(WELL, ground=Ground(room="/r")), "ok", "cgroup: programs are placed in /r, which limits nothing; limits.memory is polled; a share", ""),
        (replace(WELL, ground=Ground(controllers=frozenset({"memory"}))), "ok", "cgroup: none is whiz's own: trees are known by session and mark; limits.memory is polled", ""),
        (replace(WELL, ground=Ground(room="/r", controllers=frozenset({"pids", "memory", "io"}))), "ok", "in /r, which limits memory, pids; a share of a core in limits.cpu is held by nobody", ""),
        (replace(WELL, loose=(("web", Grip("memory", "64 MB", By.POLL, "no cgroup", "whiz install")),)), "advice", "limits of web: memory 64 MB: polled at each whiz apply (no cgroup)", "whiz install"),
        (replace(WELL, node_yaml=True), "ok", "node: pi, with a node.yaml", ""),
    ],
)  # fmt: skip
def test_finding(facts: Facts, grade: str, says: str, do: str) -> None:
    found = [f for f in examine(facts) if re.search(re.escape(says), f"{f.about}: {f.says}")]
    assert [f.grade for f in found] == [grade]
    assert do in found[0].do
    assert bool(do) == bool(found[0].do)
    assert all(f.grade == "ok" for f in examine(facts) if f not in found)
