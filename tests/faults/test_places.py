"""File systems that are not as whiz would like them: foreign ones, and ones that cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.onlooker import Node
from tests.faults.outside import ENV, WHIZ, clear, until
from tests.faults.test_disk import KEPT, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

foreign = pytest.mark.skipif(
    (shutil.which("mkfs.ntfs") is None or shutil.which("ntfs-3g") is None) and os.environ.get("CI") != "true",
    reason="there is no foreign file system to try (apt-get install ntfs-3g)",
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    clear(f"FAULT={tmp_path}\0")


@contextmanager
def ntfs(folder: Path) -> Iterator[None]:
    """Mount a stick as a desktop of another system would have formatted it."""
    image = folder.with_name(f"{folder.name}.img")
    folder.mkdir(parents=True)
    subprocess.run(["truncate", "-s", "8M", image], check=True)
    subprocess.run(["mkfs.ntfs", "-q", "-F", "-Q", image], check=True, capture_output=True)
    subprocess.run(["mount", "-t", "ntfs-3g", "-o", "loop", image, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@root
@foreign
@pytest.mark.parametrize("place", ["state", "run"])
def test_what_cannot_be_safe_there_is_not_kept_there(place: str, node: Node) -> None:
    node.wish(a={})
    with ntfs(node.home / place):
        for words in (("apply",), ("run",), ("hold", "a")):
            done = node.whiz(*words)
            assert done.returncode == 1, done.stdout
            assert f"{node.home / place} is on fuseblk, which knows no owners" in done.stderr
            assert "hint: mount ext4 there" in done.stderr
        assert node.mains() == {}
        doctor = node.whiz("doctor").stdout
        assert "fuseblk" in doctor
        assert "whiz refuses to work there" in doctor
    assert node.whiz("apply").returncode == 0
    assert node.mains().keys() == {"a"}


@root
@pytest.mark.parametrize("how", ["apply", "run"])
def test_a_read_only_root_costs_one_warning(how: str, node: Node) -> None:
    """Only the run directory is in memory; state and logs cannot be written at all."""
    for name in ("run", "state", "log"):
        (node.home / name).mkdir()
    node.wish(a={}, k=KEPT)  # no task: its chaperone would wait for the disk for ever, as it should
    script = (
        f'mount -t tmpfs -o mode=755 m "{node.home}/run" && mount --rbind / / && mount --make-rprivate / '
        f'&& mount --bind "{node.home}" "{node.home}" && mount -t tmpfs -o mode=755 m "{node.home}/run" '
        f'&& mount -o remount,bind,ro "{node.home}" && exec "$@"'
    )
    under = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    if how == "apply":
        done = node.whiz("apply", "--wait", "1", under=under)
        said = done.stderr
    else:
        with (node.home / "said").open("w") as out:
            whiz = subprocess.Popen([*under, *WHIZ, "--home", str(node.home), "run"], env=ENV, stderr=out, stdout=out)
        try:
            until(lambda: node.mains().keys() >= {"a", "k"}, "they run")
        finally:
            whiz.terminate()
            whiz.wait()
        said = "\n".join(n for n in (node.home / "said").read_text().splitlines() if n[:2] not in ("+ ", ". "))
    assert node.mains().keys() >= {"a", "k"}
    assert said.count("Read-only file system; programs run") == 1, said
    assert not re.search("gap|in memory|cannot be kept|lost", said), said


@root
def test_a_root_that_is_an_overlay_in_memory_costs_nothing(node: Node) -> None:
    """All else is read-only, as raspi-config's overlay file system has it; run, state and logs are in memory."""
    node.wish(a={}, t={"run": ["/bin/true"], "want": "done"})
    tmpfs = " && ".join(
        f'mkdir -p "{d}" && mount -t tmpfs m "{d}"' for d in map(node.home.joinpath, ("run", "state", "log"))
    )
    script = f'mount --rbind / / && {tmpfs} && mount -o remount,bind,ro / && "$@" && exec "$@"'
    done = node.whiz("apply", under=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("+ start") == 2, "the second turn starts nothing"
