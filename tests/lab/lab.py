"""Real hosts on this machine: each a Debian with its own systemd, sshd, cron, boot id, address and file system.

They live in namespaces of their own, and end with them. What they are made of is built once, under a cache directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psutil

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
}
PACKAGES = (
    "systemd,systemd-sysv,libpam-systemd,dbus,cron,openssh-server,iproute2,procps,sudo,"
    "python3,python3-psutil,python3-yaml"
)
_UNUSED = 30 * 86400.0  # s after which a base of another recipe is removed
PATIENCE = (
    180.0  # s that a host may take to come up: sixty times what it takes, but eight may boot at once beside other tests
)


def missing() -> str:
    """Say why this machine cannot have a lab; nothing where it can."""
    if os.getuid() != 0:
        return "the lab boots hosts, which only root can (sudo ./scripts/test tests/lab)"
    absent = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if absent:
        return f"the lab needs more tools: apt-get install -y {' '.join(absent)}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True
    )
    return f"no namespaces here: {tried.stderr.decode().strip()}" if tried.returncode else ""


def base() -> tuple[Path, Path]:
    """Return the directory of a Debian and the key that its root and pi accept; build them where they are missing."""
    cache = Path(os.environ.get("WHIZ_LAB_CACHE") or Path("~/.cache/whiz/lab").expanduser())
    cache.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256((PACKAGES + Path(__file__).read_text().rpartition("# -- recipe")[2]).encode()).hexdigest()
    made = cache / f"base-{recipe[:12]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may be at it
        if not made.exists():
            for old in cache.glob("base-*"):
                if time.time() - old.stat().st_mtime > _UNUSED:
                    shutil.rmtree(old)
            building = cache / "building"
            shutil.rmtree(building, ignore_errors=True)
            _build(building, cache)
            building.rename(made)
        os.utime(made)
    return made, made / "key"


class Host:
    """One host. `root`: its / as seen from here; `address`: where its neighbours find it."""

    def __init__(self, lab: Lab, number: int, lower: str) -> None:
        self.name, self.address = f"pi{number}", f"10.77.0.{number}"
        self._lab, self._number, self._lower = lab, number, lower
        self._dir = f"{lab.dir}/{self.name}"
        self.cgroup = f"/sys/fs/cgroup/whiz-lab-{lab.pid}-{number}"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._boots = 0
        self.root = Path(f"/proc/{lab.pid}/root{self._dir}/root")

    def begin(self) -> None:
        """Switch it on."""
        lab = self._lab
        with Path(f"{lab.said}/{self.name}").open("ab") as console:
            words = [str(HERE / "host"), str(self._number), self._dir, self._lower, self.cgroup]
            self._nspawn = subprocess.Popen(
                lab.inside(*words), stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )

    def boot(self) -> None:
        """Switch it on, and wait until it answers."""
        self.begin()
        self.wait()

    def wait(self) -> None:
        """Wait until it has booted and answers."""
        end = time.monotonic() + PATIENCE
        self._boots += 1
        nobody = subprocess.DEVNULL
        while subprocess.run(
            self._ssh("root", "-MNf"), check=False, stdin=nobody, stdout=nobody, stderr=nobody
        ).returncode:
            assert time.monotonic() < end, f"{self.name} does not come up: {self.console()[-2000:]}"
            time.sleep(0.1)
        self.command("systemctl is-system-running --wait")

    def _ssh(self, user: str, *more: str) -> list[str]:
        """Return the words of a login. Root's go through one connection, which spares half a second each."""
        line = f"-S{self._lab.said}/{self.name}.{self._boots}" if user == "root" else "-Snone"
        ssh = ["ssh", "-F", "/dev/null", "-i", str(self._lab.key), *_OPTIONS, line, f"{user}@{self.address}", *more]
        return self._lab.inside(*ssh)

    def command(self, text: str, *, user: str = "root", give: str = "") -> subprocess.CompletedProcess[str]:
        """Log in, have a shell run this, and return what came of it."""
        ssh = self._ssh(user, text)
        return subprocess.run(ssh, check=False, input=give, capture_output=True, text=True, timeout=200)

    def run(self, text: str, *, user: str = "root", code: int = 0, give: str = "") -> str:
        """Log in, have a shell run this, expect this exit status, and return stdout."""
        done = self.command(text, user=user, give=give)
        assert done.returncode == code, f"{self.name}: {text}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until(self, text: str, *, user: str = "root", seconds: float = PATIENCE) -> str:
        """Have a shell run this again and again until it succeeds; return stdout."""
        end = time.monotonic() + seconds
        while (done := self.command(text, user=user)).returncode:
            assert time.monotonic() < end, f"{self.name}: never true: {text}\n{done.stdout}\n{done.stderr}"
            time.sleep(0.1)
        return done.stdout

    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    def reboot(self) -> None:
        """Have it shut down in order and come up again."""
        assert self._nspawn is not None
        before = self.boot_id()
        self.command("systemctl reboot")  # which may cut the line it came by
        assert self._nspawn.wait(timeout=200) == _AGAIN, self.console()[-2000:]
        self.boot()
        assert self.boot_id() != before

    def kill(self) -> None:
        """Take its power away. boot() gives it back."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return
        (nspawn,) = psutil.Process(self._nspawn.pid).children()  # nsenter waits for it
        for process in (*nspawn.children(), nspawn):  # the host's first process takes all others with it
            process.kill()
        self._nspawn.wait()
        end, events = time.monotonic() + PATIENCE, Path(f"/proc/{self._lab.pid}/root{self.cgroup}/cgroup.events")
        while "populated 1" in events.read_text():
            assert time.monotonic() < end, f"{self.name}: killed, and not gone"
            time.sleep(0.01)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of this host."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path: str) -> str:
        """Return the text of a file of this host; nothing where there is none."""
        file = self.root / path.lstrip("/")
        return file.read_text() if file.exists() else ""

    def console(self) -> str:
        return Path(f"{self._lab.said}/{self.name}").read_text(errors="replace")


class Lab:
    """Hosts, and the namespaces that they live in. `base`, `project`: what every host's / is laid over."""

    def __init__(self) -> None:
        self.base, self.key = base()
        self.said = tempfile.mkdtemp(prefix="whiz-lab-")
        self.dir = f"{self.said}/hosts"
        self.hosts: list[Host] = []
        os.mkdir(self.dir)
        self.project = f"{self.said}/project"
        _lay(Path(self.project))
        namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._unshare = subprocess.Popen(
            ["unshare", *namespaces, str(HERE / "ground"), self.dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._unshare.stdout is not None
        assert self._unshare.stdout.readline() == b"ready\n"
        (self.pid,) = [p.pid for p in psutil.Process(self._unshare.pid).children()]

    def inside(self, *argv: str) -> list[str]:
        """Return the words that run a command beside the hosts, where their network is."""
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", "--", *argv]

    def __call__(self, n: int, *, bare: bool = False) -> list[Host]:
        """Boot so many more hosts, all at once. `bare`: without whiz, as Debian has them."""
        lower = str(self.base) if bare else f"{self.project}:{self.base}"
        more = [Host(self, len(self.hosts) + i + 2, lower) for i in range(n)]
        self.hosts += more
        for host in more:
            host.begin()
        for host in more:
            host.wait()
        return more

    def end(self) -> None:
        """End every host and the namespaces; leave nothing behind."""
        for host in self.hosts:
            host.kill()
        groups = f"/sys/fs/cgroup/whiz-lab-{self.pid}-*"
        tidy = f"while ls -d {groups} && sleep 0.02; do find {groups} -depth -type d -exec rmdir {{}} +; done"
        subprocess.run(self.inside("sh", "-c", tidy), check=False, capture_output=True, timeout=30)
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.communicate()
        shutil.rmtree(self.said)


_AGAIN = 133  # how nspawn exits when its host asks to be booted again
_OPTIONS = [
    f"-o{o}" for o in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=3")
]


def _lay(project: Path) -> None:
    """Lay out what every host has of the project: as pip would install it, beside Debian's own psutil and yaml."""
    packages = project / "usr/local/lib/python3.11/dist-packages"
    for name in ("whiz", "schedule", "watchdog"):  # newer than Debian's, and nothing but Python
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(Path(spec.origin).parent, packages / name, ignore=ignored)
    commands = project / "usr/local/bin"
    commands.mkdir(parents=True)
    for name, module in (("whiz", "whiz.face.cli"), ("quesofiesta", "whiz.face.quesofiesta.cli")):
        code = f"#!/usr/bin/python3\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        (commands / name).write_text(code)
        (commands / name).chmod(0o755)
    for folder in project.rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    project.chmod(0o755)


# -- recipe: what is changed below builds the base anew


def _build(made: Path, cache: Path) -> None:
    with (cache / "debootstrap.log").open("wb") as log:
        words = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(made)]
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    assert done.returncode == 0, f"debootstrap failed: see {cache}/debootstrap.log"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made / "key")], check=True)
    inside = """
        set -e
        apt-get clean
        apt-get update -qq
        apt-get install -qq --download-only --no-install-recommends python3-schedule python3-watchdog
        rm -f /etc/ssh/ssh_host_* /etc/machine-id
        ssh-keygen -q -A
        : >/etc/machine-id
        mkdir -p /var/log/journal   # a journal that outlives reboots
        useradd --create-home --shell /bin/bash pi
        for home in /root /home/pi; do
          mkdir -p -m 700 $home/.ssh
          cp /key.pub $home/.ssh/authorized_keys
        done
        chown -R pi: /home/pi/.ssh
        echo 'pi ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/010_pi-nopasswd   # as on Raspberry Pi OS
        chmod 755 /
    """
    subprocess.run(["chroot", str(made), "sh", "-c", inside], check=True, stdout=subprocess.DEVNULL)
