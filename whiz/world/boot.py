"""What brings whiz up with the machine: systemd's units and cron's tables, read and written by their own commands."""

from __future__ import annotations

import errno
import functools
import os
import pwd
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from whiz.core.errors import WhizError
from whiz.core.install import Command, Found, Remove, Tabulate, Write
from whiz.core.units import ALL, SERVICE
from whiz.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whiz.core.install import Deed

_SYSTEM, _USER = "/etc/systemd/system", ".config/systemd/user"
_BOOTED = "/run/systemd/system"  # sd_booted(3)
_PATIENCE = 300.0  # s for a command: starting a unit waits for the first turn
_MANAGER = 10.0  # s for a user's manager to come after it was asked to stay


class _Done(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def words() -> tuple[str, ...]:
    """Return how whiz is called, from anywhere."""
    here = os.path.abspath(sys.argv[0])
    if os.path.basename(here) == "__main__.py" or not os.access(here, os.X_OK):
        return (sys.executable, "-m", "whiz")
    return (here,)


def beside(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return how quesofiesta is called where whiz is called by these words."""
    found = os.path.join(os.path.dirname(words[0]), "quesofiesta")
    if len(words) == 1 and os.access(found, os.X_OK):
        return (found,)
    return (sys.executable, "-m", "whiz.face.quesofiesta.cli")


def look(user: str | None) -> Found:
    """Return what is so, for the system or for this user."""
    folder = os.path.join(pwd.getpwnam(user).pw_dir, _USER) if user is not None else _SYSTEM
    there = {name: _unit(f"{folder}/{name}") for name in ALL}
    booted, mute, states = os.path.isdir(_BOOTED), "", {}
    try:
        states = _states(user) if booted else {}
    except WhizError as exc:
        mute = str(exc)
    return Found(
        folder=folder,
        systemd=booted and not mute,
        mute=mute,
        crontab=_crontab(),
        lingers=user is None or os.path.exists(f"/var/lib/systemd/linger/{user}"),
        files={name: text for name, text in there.items() if text is not None},
        enabled=frozenset(states.get("enabled", ())),
        active=frozenset(states.get("active", ())),
        failed=frozenset(states.get("failed", ())),
    )


def do(deed: Deed) -> None:
    """Carry out one deed; raise WhizError, with what to do about it."""
    match deed:
        case Write(path, text, sign):
            if sign != "=":
                _write(path, text)
        case Remove(path):
            _remove(path)
        case Tabulate(text, sign):
            if sign != "=":
                _run(("crontab", "-") if text else ("crontab", "-r"), text)
        case Command(argv, _):
            if "--user" in argv and not _managed():
                hint = "log in as this user on a machine with libpam-systemd, or sudo loginctl enable-linger"
                raise WhizError(f"{' '.join(argv)}: no systemd of this user answers at {_socket()}\nhint: {hint}")
            _run(argv)


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        disk.write(path, text, durable=True, mode=0o644)
    except OSError as exc:
        raise _refused(path, exc, "whiz install --print shows what belongs there") from exc


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise _refused(path, exc, f"rm {path}, by who may; then whiz uninstall again") from exc


def _refused(path: str, exc: OSError, otherwise: str) -> WhizError:
    """Return the error of a file that cannot be written or removed, with what to do about it."""
    hints = {
        errno.EROFS: f"remount it, with the mount point that findmnt -T {os.path.dirname(path)} names:"
        " sudo mount -o remount,rw; then this again",
        errno.EISDIR: f"mv {path} elsewhere: a unit belongs there; then this again",
    }
    return WhizError(f"{path}: {exc.strerror or exc}\nhint: {hints.get(exc.errno or 0, otherwise)}")


def _unit(path: str) -> str | None:
    """Return what a unit of ours says, None where there is none; nothing where that cannot be read."""
    try:
        data = disk.read(path)
    except OSError:
        return ""  # a directory, or not ours to read: something is there, and is not what it should be
    return None if data is None else _text(data)


def _states(user: str | None) -> dict[str, set[str]]:
    """Return which of our units are enabled, active, failed …; nothing where no manager answers."""
    if user is not None and not os.path.exists(_socket()):
        return {}
    manager = ("--user",) if user is not None else ()
    states: dict[str, set[str]] = {}
    for block in _run(("systemctl", *manager, "show", "--property=Id,UnitFileState,ActiveState", *ALL)).split("\n\n"):
        held = dict(line.partition("=")[::2] for line in block.splitlines())
        for state in (held.get("UnitFileState", ""), held.get("ActiveState", "")):
            states.setdefault(state, set()).add(held.get("Id", ""))
    return states


def _crontab() -> str | None:
    """Return this user's crontab, None where there is no cron or it refuses (crontab(1), cron.deny)."""
    if shutil.which("crontab") is None:
        return None
    try:
        done = _called(("crontab", "-l"))
    except WhizError:
        return None
    if done.returncode:
        return "" if "no crontab" in done.stderr else None
    return done.stdout


@functools.cache
def _managed() -> bool:
    """Whether this user's manager answers; waits for one that may just have been asked for."""
    end = time.monotonic() + _MANAGER
    while not os.path.exists(_socket()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)  # logind tells nobody
    return True


def _runtime() -> str:
    """Return where logind has this user's sockets; after su the environment names another user's."""
    return f"/run/user/{os.getuid()}"


def _socket() -> str:
    return f"{_runtime()}/systemd/private"


def _run(argv: tuple[str, ...], given: str = "") -> str:
    done = _called(argv, given)
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() or f"exit status {done.returncode}"
    raise WhizError(f"{' '.join(argv)}: {said}{_hint(argv)}")


def _hint(argv: Iterable[str]) -> str:
    argv = tuple(argv)
    if "enable-linger" in argv:
        return f"\nhint: sudo {' '.join(argv)}, then this again; without it nothing of {argv[-1]} runs before a login"
    if argv[-1] == SERVICE:
        user = "--user " if "--user" in argv else ""
        return f"\nhint: journalctl {user}-u {SERVICE} -n 20 or whiz check says why; systemd goes on trying"
    return ""


def _called(argv: tuple[str, ...], given: str = "") -> _Done:
    env = {**os.environ, "LC_ALL": "C", "XDG_RUNTIME_DIR": _runtime()}
    try:
        done = subprocess.run(  # noqa: S603  systemctl, loginctl and crontab, by their names
            argv,
            input=given.encode(errors="surrogateescape"),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env=env,
        )
    except FileNotFoundError as exc:
        path = os.environ.get("PATH", os.defpath)
        raise WhizError(f"{argv[0]}: there is no such command on the PATH, {path}") from exc
    except (OSError, subprocess.SubprocessError) as exc:
        raise WhizError(f"{' '.join(argv)}: {exc}") from exc
    return _Done(done.returncode, _text(done.stdout), _text(done.stderr))


def _text(data: bytes) -> str:
    """Return bytes of any encoding as text from which they can be had again; every line end stays what it is."""
    return data.decode(errors="surrogateescape")
