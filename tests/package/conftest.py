"""Bare Debian machines to install on: roots of tests/package/chroot, each gone with its test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SUITE = os.environ.get("WHIZ_SUITE", "bookworm")
ARCH = os.environ.get("WHIZ_ARCH", "")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"]
_PATIENCE = 60.0 if not ARCH else 600.0  # s; an emulated machine is slow


class Machine:
    """One bare Debian. `pid`: its first process, as seen from here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def words(self, *command: str) -> list[str]:
        """Return what runs a command there."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd", *ENV, *command]

    def sh(self, script: str, *, code: int = 0) -> str:
        """Run a script there; return what it printed."""
        done = subprocess.run(self.words("sh", "-c", script), check=False, capture_output=True, text=True)
        assert done.returncode == code, f"{script}\n{done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def stay(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command that stays."""
        return subprocess.Popen(self.words(*command), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def until(self, script: str) -> None:
        """Wait until a script succeeds."""
        end = time.monotonic() + _PATIENCE
        while subprocess.run(self.words("sh", "-c", script), check=False, capture_output=True).returncode:
            assert time.monotonic() < end, self.sh(f"{script}; whiz status; whiz history", code=0)
            time.sleep(0.1)


def built(folder: Path, **env: str) -> Path:
    """Build the wheel and the package into a folder, and return the package."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed: no package is made here")
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": str(ROOT), **env}
    wheel = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", str(folder), str(ROOT)]
    subprocess.run(wheel, check=True, capture_output=True, env=env)
    (made,) = folder.glob("*.whl")
    subprocess.run([sys.executable, ROOT / "scripts/packages/deb.py", made, folder], check=True, env=env)
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def boot(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Machine]]:
    """Return what makes a bare machine, with the package, the examples and the demo under /mnt."""
    arch = ARCH or subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout
    mnt = tmp_path_factory.mktemp("mnt")
    shutil.copy(package, mnt / "whiz.deb")
    shutil.copytree(ROOT / "manifests", mnt / "manifests")
    shutil.copytree(ROOT / "scripts", mnt / "scripts")
    mnt.chmod(0o755)  # apt reads as a user of its own
    started, pipe = [], subprocess.PIPE

    def make() -> Machine:
        words = [
            str(ROOT / "tests/package/chroot"),
            SUITE,
            arch.strip(),
            "sh",
            "-c",
            "echo ready; exec cat",
        ]  # it ends with us, however we end
        env = {**os.environ, "WHIZ_MNT": str(mnt)}
        unshare = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)
        started.append(unshare)
        assert unshare.stdout is not None
        assert unshare.stderr is not None
        if unshare.stdout.readline() != "ready\n":
            said = unshare.stderr.read()
            if unshare.wait() == 69 and os.environ.get("CI") != "true":
                pytest.skip(said.strip())
            raise AssertionError(said)
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text()
        return Machine(int(children))

    try:
        yield make
    finally:
        for unshare in started:
            unshare.send_signal(signal.SIGKILL)  # it takes all of the machine along (--kill-child)
            unshare.wait()
            for end in (unshare.stdin, unshare.stdout, unshare.stderr):
                if end is not None:
                    end.close()
