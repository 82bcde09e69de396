"""The power is cut at any moment of a pull: what the card shows then is one whole release, and the next pull ends well.

The card is an ext4 image on a file system that copies files at an instant. WHIZ_RELEASE_CUTS says how many cuts are looked at.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.machine import clone
from tests.faults.test_power import reflinks
from tests.tools import figure
from tests.world.release.node import Node, camera
from tests.world.release.publisher import Repo, Tree
from whiz.world.release.checkup import checkup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CI = os.environ.get("CI") == "true"
CUTS = int(os.environ.get("WHIZ_RELEASE_CUTS", "8"))
missing = [w for w in ("mkfs.btrfs", "mkfs.ext4") if shutil.which(w) is None]
pytestmark = [
    pytest.mark.timeout(300 + 10 * CUTS),
    pytest.mark.skipif(os.getuid() != 0, reason="mounting cards takes root"),
    pytest.mark.skipif(bool(missing) and not CI, reason=f"{missing} not installed (apt-get install btrfs-progs)"),
]
CARELESS = "noauto_da_alloc,data=writeback"  # nothing is done for careless writers


@contextmanager
def mounted(card: Path, at: Path) -> Iterator[None]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", "-o", f"loop,{CARELESS}", card, at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


def version(number: int) -> Tree:
    chance = random.Random(number)
    return camera(number) | {f"more/{i}": chance.randbytes(20_000) for i in range(20)}


def cutter(card: Path, folder: Path, stop: threading.Event, chance: random.Random, most: int) -> list[Path]:
    """Copy the card at random instants until it is told to stop; each copy is as likely to stay as any other.

    No two have one name: a mount that somebody else's namespace still has would be taken for that of the later one.
    """
    held: list[Path] = []
    count = 0
    while not stop.is_set():
        time.sleep(chance.uniform(0, 0.01))
        place = count if count < most else chance.randrange(count + 1)
        if place < most:
            to = folder / f"cut-{count}"
            clone(str(card), str(to))
            for old in held[place : place + 1]:
                old.unlink()
            held[place : place + 1] = [to]
        count += 1
    return held


def test_a_cut_at_any_instant_of_a_pull(tmp_path: Path) -> None:
    """Update after update, each with its cuts; each cut is looked at under another boot id."""
    repo = Repo(tmp_path / "repo")
    ids: dict[str | None, int] = {None: 0}
    chance = random.Random()
    looked = number = 0
    with reflinks(tmp_path) as cards:
        card = cards / "card"
        shutil.copy(cards / "empty", card)
        with mounted(card, tmp_path / "live"):
            while looked < CUTS:
                number += 1
                ids[repo.publish(version(number))] = number
                node = Node(tmp_path / "live", f"file://{repo.path}", keep=0)
                (folder := cards / f"update-{number}").mkdir()
                held: list[Path] = []
                stop = threading.Event()
                most = min(CUTS - looked, max(3, CUTS // 10))
                thread = threading.Thread(
                    target=lambda s=stop, f=folder, h=held, m=most: h.extend(cutter(card, f, s, chance, m))
                )
                thread.start()
                try:
                    node.pull(boot=f"boot-{number}")
                finally:
                    stop.set()
                    thread.join()
                promised = node.store.pointed("current")
                for cut in held:
                    looked += 1
                    examine(cut, tmp_path / "after", repo, number, ids, promised)
                shutil.rmtree(folder)
    figure(test="release power", cuts=looked, updates=number)


def examine(cut: Path, at: Path, repo: Repo, number: int, ids: dict[str | None, int], promised: str | None) -> None:
    """Boot from a copy of the card: the old release or the new one is there, and the next pull ends at the new one."""
    with mounted(cut, at):
        after = Node(at, f"file://{repo.path}", keep=0)
        assert ids[after.sound()] in (number - 1, number)
        after.pull(boot="another")
        assert after.sound() == promised
        assert after.shown() == version(number)
        assert checkup(after.here(), repair=False).problems == ()
