"""What a machine's facts mean for whiz, and what to do about each."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from whiz.core.machine import Memory, unfit
from whiz.core.value import value
from whiz.core.words import spell_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.machine import Facts, Place, Unit

_FLEETING = frozenset({"tmpfs", "ramfs", "overlay"})  # raspi-config's read-only mode is an overlay in memory
_ROOM, _INODES = 100_000_000, 1000  # all logs of a home together keep at most 100 MB
_WITHOUT = {  # what becomes of a limit that no controller holds
    "memory": "limits.memory is polled",
    "cpu": "a share of a core in limits.cpu is held by nobody",
    "pids": "limits.tasks is an rlimit, from which root is exempt",
}
_PSUTIL = (5, 9), (5, 9, 5)  # the least that whiz takes; the first whose processes keep their identity


class Grade(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    ADVICE = "advice"
    TROUBLE = "trouble"


@value
class Finding:
    """One thing looked at. `about`: what; `says`: what is so; `do`: what to do about it, nothing where all is well."""

    grade: Grade
    about: str
    says: str
    do: str = ""


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Return a finding for everything looked at."""
    return (
        _whether(facts.clock, "clock", "synchronised", _UNSYNCHRONISED),
        _MEMORY[facts.memory],
        _whether(facts.pidfd, "pidfd", "works", _UNSAFE),
        *map(_place, facts.places),
        *_units(facts),
        *_limits(facts),
        *_homes(facts),
        _psutil(facts),
        Finding(Grade.OK, "python", facts.python),
        Finding(Grade.OK, "node", f"{facts.host}, {'with' if facts.node_yaml else 'without'} a node.yaml"),
    )


def _whether(so: bool | None, about: str, well: str, otherwise: Finding) -> Finding:  # noqa: FBT001  a fact is no flag
    if so is None:
        return Finding(Grade.OK, about, "cannot tell")
    return Finding(Grade.OK, about, well) if so else otherwise


_UNSYNCHRONISED = Finding(
    Grade.ADVICE,
    "clock",
    "not synchronised: whiz decides by the time since boot, but history shows wrong times",
    "sudo apt-get install -y systemd-timesyncd && sudo timedatectl set-ntp true (and see that it has a network)",
)
_MEMORY = {
    None: Finding(Grade.OK, "memory cgroup", "cannot tell"),
    Memory.UNIFIED: Finding(Grade.OK, "memory cgroup", "available"),
    Memory.OFF: Finding(
        Grade.ADVICE,
        "memory cgroup",
        "off, as Raspberry Pi OS has it: MemoryMax= in a unit bounds nothing, limits.memory is polled",
        "append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt and reboot",
    ),
    Memory.OLDER: Finding(
        Grade.ADVICE,
        "memory cgroup",
        "in the older hierarchy (cgroup v1), which whiz does not use: limits.memory is polled",
        "append systemd.unified_cgroup_hierarchy=1 to the kernel's command line and reboot; in a container, its host's",
    ),
    Memory.UNMOUNTED: Finding(
        Grade.ADVICE,
        "memory cgroup",
        "no cgroup file system is mounted at /sys/fs/cgroup: limits.memory is polled",
        "sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup, as systemd does at boot; in a container, from outside",
    ),
}
_UNSAFE = Finding(
    Grade.TROUBLE,
    "pidfd",
    "pidfd_open(2) is refused: whiz cannot signal safely, so it stops nothing",
    "run Linux 5.3 or newer; in a container, allow pidfd_open",
)


def _place(p: Place) -> Finding:
    about = f"{p.role} directory"
    on = f"{p.path} is on {p.kind or 'a file system that cannot be told'}"
    keeps = p.role != "config"  # which is only read
    if keeps and (why := unfit(p.kind)) is not None:
        refused = "" if p.role == "log" else ": whiz refuses to work there"
        says = f"{on}, {why}{refused}"
        do = f"mount ext4 at {p.path}: a bind in /etc/fstab will do; or take another place with --home DIR"
        return Finding(Grade.TROUBLE, about, says, do)
    if keeps and p.read_only:
        do = "sudo mount -o remount,rw, with the mount point that findmnt -T names; if it was writable, see dmesg"
        return Finding(Grade.TROUBLE, about, f"{on}, read-only: nothing is kept", do)
    if keeps and (p.free < _ROOM or (p.inodes is not None and p.inodes < _INODES)):
        left = f"{spell_bytes(p.free)} free" + ("" if p.inodes is None else f", {p.inodes} inodes")
        full = p.free == 0 or p.inodes == 0
        do = f"df -h {p.path}; df -i {p.path}; sudo apt-get clean; sudo journalctl --vacuum-size=50M"
        return Finding(Grade.TROUBLE if full else Grade.ADVICE, about, f"{on}, with {left}", do)
    if p.role == "state" and p.kind in _FLEETING:
        says = f"{on}: holds and finished tasks may be forgotten at reboot"
        do = "where raspi-config has the overlay file system on, turn it off, or bind a writable directory there"
        return Finding(Grade.ADVICE, about, says, do)
    if p.path.startswith("/run/") and p.kind not in {*_FLEETING, None}:
        says = f"{on}: records of this boot wear the card"
        return Finding(Grade.ADVICE, about, says, "mount a tmpfs at /run, as Debian does (findmnt /run)")
    return Finding(Grade.OK, about, on)


def _units(facts: Facts) -> Iterator[Finding]:
    if not facts.units:
        yield Finding(Grade.OK, "systemd", "no unit that runs whiz was found")
    for unit in facts.units:
        wrong = tuple(_wrong(unit))
        if not wrong:
            yield Finding(Grade.OK, unit.name, "lets programs live on")
            continue
        folder = f"{'~/.config/systemd/user' if unit.user else '/etc/systemd/system'}/{unit.name}.d"
        sudo, user = ("", " --user") if unit.user else ("sudo ", "")
        lines = "".join(f"{line}\\n" for line, _ in wrong)
        do = (
            f"{sudo}mkdir -p {folder} && printf '[Service]\\n{lines}' | {sudo}tee {folder}/whiz.conf"
            f" && {sudo}systemctl{user} daemon-reload"
        )
        yield Finding(Grade.TROUBLE, unit.name, "; ".join(says for _, says in wrong), do)


def _wrong(unit: Unit) -> Iterator[tuple[str, str]]:
    """Yield the line that mends a setting, and what is wrong with it now."""
    held = unit.settings
    kill = held.get("KillMode") or "control-group"
    if kill == "none":
        yield "KillMode=process", "KillMode is none: stopping the unit does not stop whiz"
    elif kill != "process":
        yield "KillMode=process", f"KillMode is {kill}: when the unit stops, systemd kills the programs too"
    keep = held.get("RuntimeDirectoryPreserve") or "no"
    if "whiz" in held.get("RuntimeDirectory", "").split() and not unit.user and not _yes(keep):
        says = f"RuntimeDirectoryPreserve is {keep}: when the unit stops, systemd deletes /run/whiz while programs run"
        yield "RuntimeDirectoryPreserve=yes", says
    if _yes(held.get("PrivateTmp", "")) or held.get("PrivateTmp") == "disconnected":
        yield (
            "PrivateTmp=no",
            "PrivateTmp is on: programs lose their /tmp when the unit stops, and see another than yours",
        )


def _yes(text: str) -> bool:
    return text.lower() in {"yes", "true", "on", "1", "y", "t"}


def _limits(facts: Facts) -> Iterator[Finding]:
    """Say where programs are placed, and which limits the kernel does not hold."""
    ground = facts.ground
    able = [c for c in _WITHOUT if ground.room is not None and c in ground.controllers]
    if ground.room is None:
        says = "none is whiz's own: trees are known by session and mark"
    else:
        says = f"programs are placed in {ground.room}, which limits {', '.join(able) or 'nothing'}"
    yield Finding(Grade.OK, "cgroup", "; ".join([says, *(text for c, text in _WITHOUT.items() if c not in able)]))
    for name, grip in facts.loose:
        yield Finding(Grade.ADVICE, f"limits of {name}", grip.words(stays=facts.stays), grip.do)


def _homes(facts: Facts) -> Iterator[Finding]:
    unseen = "" if facts.root else " that this user may see (root sees all)"
    if not facts.others:
        yield Finding(Grade.OK, "homes", f"no program of another whiz home{unseen}")
    for other in facts.others:
        twice = sorted({*other.programs} & {*facts.programs})
        if not twice:
            says = f"another whiz home, {other.home} of uid {other.uid}, runs {', '.join(other.programs)}"
            yield Finding(Grade.OK, "homes", says)
            continue
        says = f"{', '.join(twice)}: run in this home and in another, {other.home} of uid {other.uid}"
        do = "if they are the same, take them out of one whizzifest: sudo ls /etc/whiz /home/*/.config/whiz"
        yield Finding(Grade.TROUBLE, "homes", says, do)


def _psutil(facts: Facts) -> Finding:
    if facts.psutil is None:
        return Finding(Grade.OK, "psutil", "cannot tell its version")
    version = tuple(int(n) for n in re.findall(r"\d+", facts.psutil)[:3])
    if version < _PSUTIL[0]:
        do = "sudo apt-get install -y python3-psutil, or pip install -U psutil where whiz has its own environment"
        return Finding(Grade.TROUBLE, "psutil", f"{facts.psutil} is older than 5.9", do)
    if version < _PSUTIL[1]:
        return Finding(Grade.OK, "psutil", f"{facts.psutil}, whose times move with the clock; whiz does not use them")
    return Finding(Grade.OK, "psutil", facts.psutil)
