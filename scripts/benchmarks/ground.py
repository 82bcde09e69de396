"""What benchmarks with hosts stand on: namespaces of their own, in which everything ends with them, whatever ends them.

Mounts, networks, loop devices and processes are the kernel's to remove: nothing is left, also after a kill -9.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"
MASTER, NODE = "10.78.0.1", "10.78.0.2"
PATIENCE = 60.0  # s for a server to listen


def needed(*tools: str) -> None:
    """End with what is missing on this machine."""
    if os.getuid() != 0:
        raise SystemExit("bench: hosts of its own need root (sudo ./scripts/bench)")
    absent = [t for t in (*tools, "unshare", "nsenter", "setpriv", "ip") if shutil.which(t, path=_PATH) is None]
    if absent or not os.path.exists(SSHD):
        raise SystemExit(f"bench: there is no {', '.join(absent) or 'sshd'}: apt-get install it")


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def inside(script: str, words: list[str]) -> int:
    """Run a script again where it is alone: the first process of new namespaces, which end with it and with us."""
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    argv += ["--mount-proc", sys.executable, script, "--inside", *words]
    done = subprocess.Popen(argv, env={**os.environ, "PATH": _PATH})
    try:
        return done.wait()
    finally:
        done.kill()
        done.wait()


def prepare(memory: str) -> None:
    """Make these namespaces ours: places in memory for what is only ever here, and a network of our own."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(143))  # the first process of a namespace is deaf to what it leaves
    for place in ("/run", "/etc/ssh", memory):
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    os.mkdir("/run/sshd", 0o755)
    os.mkdir("/run/netns", 0o755)
    with contextlib.suppress(FileNotFoundError):  # what root keeps for its own logins is none of ours
        os.stat("/root/.ssh")
        _run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", "/root/.ssh")
    _run("ip", "link", "set", "lo", "up")


def bridge(address: str) -> None:
    """Make the network on which hosts get their places."""
    _run("ip", "link", "add", "br0", "type", "bridge")
    _run("ip", "addr", "add", f"{address}/16", "dev", "br0")
    _run("ip", "link", "set", "br0", "up")


def host(number: int, address: str, *, master: str = "br0") -> str:
    """Make a host's network; return its name. Without a bridge our end of its cable gets the address of MASTER."""
    name = f"h{number}"
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
    if master:
        _run("ip", "link", "set", f"v{number}", "master", master)
    else:
        _run("ip", "addr", "add", f"{MASTER}/16", "dev", f"v{number}")
    _run("ip", "link", "set", f"v{number}", "up")
    for words in (f"addr add {address}/16 dev eth0", "link set eth0 up", "link set lo up"):
        _run("ip", "-n", name, *words.split())
    return name


def at(name: str) -> list[str]:
    """Return the words that run a command on a host."""
    return ["nsenter", f"--net=/run/netns/{name}"]


def wire(number: int) -> int:
    """Return the bytes that went over a host's cable, either way."""
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines():
        name, _, counts = line.strip().partition(":")
        if name == f"v{number}":
            held = counts.split()
            return int(held[0]) + int(held[8])
    raise SystemExit(f"bench: v{number} is gone")


class Card:
    """An ext4 of its own on a loop device, over a file that nobody else can see."""

    def __init__(self, room: str, at: str, megabytes: int) -> None:
        self.at = at
        image = f"{room}/{os.path.basename(at)}.img"
        os.makedirs(at)
        with open(image, "wb") as f:
            f.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        _run("mount", "-o", "loop,noatime", image, at)
        os.unlink(image)  # so that it goes with the mount
        self._device = os.stat(at).st_dev
        shutil.rmtree(f"{at}/lost+found")

    def written(self) -> int:
        """Return the bytes that were written to the device so far."""
        major, minor = os.major(self._device), os.minor(self._device)
        for line in Path("/proc/diskstats").read_text(encoding="ascii").splitlines():
            held = line.split()
            if (int(held[0]), int(held[1])) == (major, minor):
                return int(held[9]) * 512
        raise SystemExit(f"bench: the card at {self.at} is gone")

    def clear(self) -> None:
        """Remove all that is on it, on the device too."""
        _run("rm", "-rf", *(f"{self.at}/{name}" for name in os.listdir(self.at)))
        _run("sync", "-f", self.at)


def keys(folder: str, *names: str) -> None:
    """Make ssh keys."""
    for name in names:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}")


def sshd(folder: str, address: str, name: str = "") -> None:
    """Start a server, on a host or here: `user` may log in, `host` is its key, both in this folder. Wait for it."""
    config = f"{folder}/sshd-{address}"
    Path(config).write_text(
        f"ListenAddress {address}\nPort 22\nHostKey {folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PrintMotd no\nMaxStartups 200\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        f"SetEnv PATH={os.environ['PATH']}\n",
        encoding="ascii",
    )
    enter = at(name) if name else []
    with open(f"{folder}/log-{address}", "wb") as log:
        server = subprocess.Popen([*enter, SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)
    listens(address, 22, server)


def client(folder: str, addresses: list[str]) -> None:
    """Have ssh, and all that use it, know these servers and log in with `user`."""
    host_key = Path(f"{folder}/host.pub").read_text(encoding="ascii")
    Path("/etc/ssh/known").write_text("".join(f"{a} {host_key}" for a in addresses), encoding="ascii")
    Path("/etc/ssh/ssh_config").write_text(
        f"Host *\nUser root\nIdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile /etc/ssh/known\n"
        "StrictHostKeyChecking yes\n",
        encoding="ascii",
    )


def listens(address: str, port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until it does."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((address, port), timeout=5).close()
            return
        except OSError as exc:
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench: nothing listens at {address}:{port}: {exc}") from exc
            time.sleep(0.02)  # a server tells nobody that it listens


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ, "PATH": _PATH})
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(words)}: {done.stderr.strip() or done.returncode}")
