"""The machine's own settings, as whiz meets them: clock, kernel, file systems, systemd units, other homes."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from typing import TYPE_CHECKING

from whiz.core.machine import Facts, Memory, Other, Place, Unit
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TIME_ERROR = 5  # adjtimex(2): not synchronised
# later ones override earlier ones (systemd.unit(5)); files are read because a unit can be wrong before it is loaded
SYSTEM = ("/lib/systemd/system", "/usr/lib/systemd/system", "/run/systemd/transient", "/etc/systemd/system")
USER = ("/usr/lib/systemd/user", "/etc/systemd/user", "~/.config/systemd/user")
_LISTS = frozenset({"ExecStart", "RuntimeDirectory"})  # repeated they add up, empty they begin anew
_WHIZ = re.compile(r"(?:^|[\s/@+!:-])whiz\s(?:.*\s)?(?:apply|run)\b")


def look(folders: Mapping[str, str], home: str, system: Sequence[str] = SYSTEM, user: Sequence[str] = USER) -> Facts:
    """Return what is so. `folders`: the home's directories by role; `home`: its id."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    mounts = _text("/proc/self/mountinfo") or ""
    programs: dict[tuple[str, int], set[str]] = {}
    inside: set[tuple[bool, str]] = set()
    for mark, uid, unit in _marked():
        programs.setdefault((mark[0], uid), set()).add(mark[1])
        if mark[0] == home and unit is not None:
            inside.add(unit)
    others = (Other(home=h, uid=u, programs=tuple(sorted(p))) for (h, u), p in sorted(programs.items()) if h != home)
    try:
        psutil = version("psutil")
    except PackageNotFoundError:
        psutil = None
    return Facts(
        root=os.getuid() == 0,
        clock=_clock(),
        memory=memory(),
        pidfd=_pidfd(),
        places=tuple(_place(role, path, mounts) for role, path in folders.items()),
        units=(*_units(system, inside, user=False), *_units(user, inside, user=True)),
        programs=tuple(sorted(name for (h, _), names in programs.items() if h == home for name in names)),
        others=tuple(others),
        psutil=psutil,
        python=sys.version.split()[0],
        host=os.uname().nodename,
        node_yaml=disk.is_file(os.path.join(folders["config"], "node.yaml")),
    )


def mounted(mountinfo: str, path: str) -> str | None:
    """Return the type of the file system that a resolved path is on (proc(5), mountinfo)."""
    best, kind = "", None
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split(" ")[4])
        if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best):  # of two the later is on top
            best, kind = point, source.split(" ")[0]
    return kind


def kind_at(path: str) -> str | None:
    """Return the type of the file system that a directory is on, None where that cannot be told."""
    return mounted(_text("/proc/self/mountinfo") or "", os.path.realpath(path))


def _place(role: str, path: str, mounts: str) -> Place:
    """Look at a directory, or at where it would be made."""
    at = os.path.realpath(path)
    kind = mounted(mounts, at)
    while True:
        try:
            fs = os.statvfs(at)
        except OSError:
            if at == "/":
                raise
            at = os.path.dirname(at)
            continue
        return Place(
            role=role,
            path=path,
            kind=kind,
            read_only=fs.f_flag & os.ST_RDONLY != 0,
            free=fs.f_bavail * fs.f_frsize,
            inodes=fs.f_favail if fs.f_files else None,
        )


def _clock() -> bool | None:
    if os.path.exists("/run/systemd/timesync/synchronized"):
        return True
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))  # struct timex; all 0 only asks
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def memory(sys: str = "/sys/fs/cgroup", proc: str = "/proc/cgroups") -> Memory | None:
    """Return where the memory controller is: in a hybrid machine the unified tree is there, without it (cgroups(7))."""
    unified = next((t for at in (sys, f"{sys}/unified") if (t := _text(f"{at}/cgroup.controllers")) is not None), None)
    if unified is not None and "memory" in unified.split():
        return Memory.UNIFIED
    each = _text(proc)
    if each is None:
        return None if unified is None else Memory.OFF
    found = re.search(r"^memory\s+(\d+)\s+\d+\s+1$", each, re.MULTILINE)
    if found is None:
        return Memory.OFF
    if found[1] != "0":
        return Memory.OLDER
    return Memory.UNMOUNTED if unified is None else Memory.OFF


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _marked() -> Iterator[tuple[list[str], int, tuple[bool, str] | None]]:
    """Yield the mark, uid and unit of every process that whiz started here and that we may look into."""
    own = os.stat("/proc/self/ns/pid").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            env = disk.read(f"/proc/{pid}/environ") or b""
            found = re.search(rb"(?:^|\0)WHIZ_RUN=([^\0]*)", env)
            mark = found[1].decode(errors="replace").split("/") if found else []
            if len(mark) == 4 and os.stat(f"/proc/{pid}/ns/pid").st_ino == own:  # noqa: PLR2004  as host/mark.py has it
                yield mark, os.stat(f"/proc/{pid}").st_uid, unit_of(_text(f"/proc/{pid}/cgroup") or "")
        except OSError:
            continue


def unit_of(cgroup: str) -> tuple[bool, str] | None:
    """Return whether it is the user's, and the name, of the service in whose cgroup a process is (cgroups(7))."""
    within = r"(?:/(?!.*\.(?:slice|scope)(?:/|$)).*)?$"  # a service's own groups, not those of a user's manager
    found = re.search(rf"^(?:0:|\d+:name=systemd):(/.*/|/)([^/\n]+\.service){within}", cgroup, re.MULTILINE)
    return None if found is None else ("/user@" in found[1], found[2])


def _units(folders: Sequence[str], inside: set[tuple[bool, str]], *, user: bool) -> Iterator[Unit]:
    """Yield each service that starts whiz, or in which programs of this home live."""
    folders = [os.path.expanduser(f) for f in folders]
    files = {
        f"{name}.service": f"{folder}/{name}.service" for folder in folders for name in disk.names(folder, ".service")
    }
    for name, path in sorted(files.items()):
        edits = {n: f"{f}/{name}.d/{n}.conf" for f in folders for n in disk.names(f"{f}/{name}.d", ".conf")}
        held: dict[str, str] = {}
        for file in (path, *(edits[n] for n in sorted(edits))):
            _read_unit(_text(file) or "", held)
        if (user, name) in inside or _WHIZ.search(re.sub("[\"']", " ", held.get("ExecStart", ""))):
            yield Unit(name=name, user=user, settings=held)


def _read_unit(text: str, held: dict[str, str]) -> None:
    """Add what a unit file or an edit of it says of the service (systemd.syntax(7))."""
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        key, eq, said = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            section = line
        elif section == "[Service]" and eq and line[0] not in "#;":
            more = said and key in _LISTS
            held[key] = f"{held.get(key, '')} {said}".strip() if more else said


def _text(path: str) -> str | None:
    try:
        data = disk.read(path)
    except OSError:
        return None
    return None if data is None else data.decode(errors="replace")
