"""Peers that come from PyPI and Debian, kept between runs under ~/.cache/whiz/bench (WHIZ_BENCH_CACHE)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import Kept, apt, put

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHONS = ("ansible-core==2.19.14", "pyinfra==3.10.0", "parallel-ssh==2.16.0.post1")
COLLECTIONS = "ansible==12.3.0"  # of which only ansible.posix is taken


def cache() -> Path:
    """Return where they are kept."""
    return Path(os.environ.get("WHIZ_BENCH_CACHE") or Path("~/.cache/whiz/bench").expanduser())


def pythons() -> str:
    """Return the bin directory of a venv with ansible (and its ansible.posix), pyinfra and parallel-ssh."""
    words = " ".join((*PYTHONS, COLLECTIONS))
    place, ready = cache() / "pythons", cache() / "pythons/ready"
    with _alone():
        _have(place, ready, words)
    return str(place / "bin")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another benchmark may be at it
        yield


def _have(place: Path, ready: Path, words: str) -> None:
    if not ready.exists() or ready.read_text(encoding="ascii") != words:
        print(f"bench: fetching {words}, once", flush=True)
        venv.create(place, clear=True, symlinks=True, with_pip=True)
        pip = [str(place / "bin/python"), "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *PYTHONS], check=True)
        subprocess.run([*pip, "download", "--no-deps", "-d", str(place / "wheels"), COLLECTIONS], check=True)
        wheel = next((place / "wheels").glob("ansible-*.whl"))
        packages = next((place / "lib").glob("python*/site-packages"))
        with zipfile.ZipFile(wheel) as held:
            names = [n for n in held.namelist() if n.startswith("ansible_collections/ansible/posix/")]
            held.extractall(packages, names)
        wheel.unlink()
        ready.write_text(words, encoding="ascii")


def debian(package: str) -> str:
    """Have a Debian package's command of the same name in `commands()`; return its version."""
    peer = Kept()
    place = cache() / package
    if (place / "usr/bin" / package).exists():
        peer.path = f"{place}/usr/bin:{peer.path}"
        peer.libraries = ":".join(sorted({str(p.parent) for p in place.glob("usr/lib/*/*.so.*")}))
    with _alone():
        apt(peer, str(cache()), package, package)
    found = shutil.which(package, path=peer.path)
    libraries = f"LD_LIBRARY_PATH={peer.libraries} " if peer.libraries else ""
    os.makedirs(commands(), exist_ok=True)
    put(f"{commands()}/{package}", f'#!/bin/sh\n{libraries}exec {found} "$@"\n', mode=0o755)
    return peer.version


def commands() -> str:
    """Return the directory of Debian's commands."""
    return str(cache() / "commands")
