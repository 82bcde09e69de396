"""The home: which directories are this whiz's, its lock, and node.yaml beside the manifest."""

from __future__ import annotations

import fcntl
import os
from zlib import crc32

from whiz.core.errors import Busy, HomeError
from whiz.core.value import value
from whiz.world import disk


@value
class Home:
    """Where one whiz keeps things."""

    config: str  # whizzifest, node.yaml
    run: str  # facts of this boot
    state: str  # facts that outlive it
    log: str

    @property
    def records(self) -> str:
        """Runs of services: worth nothing after a reboot."""
        return f"{self.run}/runs"

    @property
    def tasks(self) -> str:
        """Runs of tasks: a success holds for ever."""
        return f"{self.state}/tasks"

    @property
    def id(self) -> str:
        """Name this home in the environment of what it starts, the same from cron, a login and a unit."""
        return f"{crc32(os.fsencode(f'{os.getuid()}|{os.path.realpath(self.state)}')):08x}"

    def make(self) -> None:
        """Create what is missing. A state or log directory that cannot be made is found out by its writers."""
        try:
            os.makedirs(self.records, 0o755, exist_ok=True)
            if os.stat(self.records).st_mode & 0o077:  # a read-only one that is right will do
                os.chmod(self.records, 0o700)
        except OSError as exc:
            place = exc.filename or self.records
            hint = "whiz keeps its records there (--home DIR names another place)"
            raise HomeError(f"{place}: {exc.strerror}; {hint}") from exc
        for folder, mode in ((self.state, 0o755), (self.tasks, 0o700), (self.log, 0o755)):
            try:
                disk.make(folder, mode)
            except OSError:
                continue

    def used(self) -> bool:
        """Whether whiz has something to do here, or had since the machine came up."""
        return os.path.isdir(self.records) or any(n.startswith("whizzifest") for n in disk.names(self.config, ""))

    def apart(self) -> list[str]:
        """Return those of the run and the state directory that lie on another disk than the system's."""
        system, out = os.stat("/").st_dev, []
        for folder in (self.run, self.state):
            try:
                device = os.stat(folder).st_dev
            except OSError:
                continue  # it is found out by its writers
            if device != system and os.major(device) != 0:  # 0: no disk, such as tmpfs
                out.append(folder)
        return out

    def barred(self) -> list[str]:
        """Return those of the state and the log directory where nobody can write: a read-only root."""
        out = []
        for folder in (self.state, self.log):
            at = folder
            while at != "/" and not os.path.exists(at):
                at = os.path.dirname(at)
            if os.statvfs(at).f_flag & os.ST_RDONLY:
                out.append(folder)
        return out

    def lock(self) -> int:
        """Take the lock and return its descriptor; raise Busy.

        flock(2) on a close-on-exec descriptor: a child that is forked but has not yet called exec still holds it.
        On the directory itself, so that a full disk cannot hinder it.
        """
        fd = os.open(self.records, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise Busy(f"another whiz{self.holder()} is at work in {self.run}") from exc
        return fd

    def locked(self, fd: int) -> bool:
        """Whether this descriptor still is the lock: the directory may have been removed and made anew."""
        try:
            there = os.stat(self.records)
        except OSError:
            return False
        held = os.fstat(fd)
        return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)

    def holder(self) -> str:
        """Say which process holds the lock: ' (pid 12)', or nothing where it cannot be told."""
        try:
            inode = os.stat(self.records).st_ino
            with open("/proc/locks", encoding="ascii") as locks:
                for line in locks:
                    words = line.split()
                    if "FLOCK" in words and words[-3].endswith(f":{inode}"):
                        return f" (pid {words[-4]})"
        except (OSError, IndexError):
            pass
        return ""


def home(given: str | None) -> Home:
    """Return the home: everything under `given`, else the system's for root, else the user's.

    Derived from the uid and the user's home directory alone. The user's run directory is not in /run/user,
    which goes with the last login while programs stay.
    """
    if given is not None:
        base = os.path.abspath(given)
        return Home(base, f"{base}/run", f"{base}/state", f"{base}/log")
    if os.getuid() == 0:
        return Home("/etc/whiz", "/run/whiz", "/var/lib/whiz", "/var/log/whiz")
    import pwd  # noqa: PLC0415

    try:
        user = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise HomeError(f"uid {os.getuid()} has no home directory; pass --home DIR") from None
    state = f"{user}/.local/state/whiz"
    return Home(f"{user}/.config/whiz", f"{state}/run", state, f"{state}/log")
