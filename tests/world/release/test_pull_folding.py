"""A release that keeps two names apart, on a file system that takes them for one: an error before the flip."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.world.release.node import camera, fresh
from whiz.core.release.release import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="mounting a file system takes root"),
    pytest.mark.skipif(
        (shutil.which("mkfs.ntfs") is None or shutil.which("lowntfs-3g") is None) and os.environ.get("CI") != "true",
        reason="there is no file system that folds case (apt-get install ntfs-3g)",
    ),
]


@contextmanager
def folding(folder: Path) -> Iterator[None]:
    """Mount a file system that takes a.py and A.py for one; ext4 does so only where the kernel has CONFIG_UNICODE."""
    folder.mkdir(parents=True)
    image = folder.with_suffix(".img")
    with open(image, "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["mkfs.ntfs", "-q", "-F", "-Q", image], check=True, capture_output=True)
    subprocess.run(["lowntfs-3g", "-o", "ignore_case,permissions", image, folder], check=True, capture_output=True)
    try:
        (folder / "a").touch()
        assert (folder / "A").exists(), "it folds"
        (folder / "a").unlink()
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(
    ("one", "other"), [("A.py", "a.py"), ("lib/x", "Lib/y"), ("\N{LATIN SMALL LETTER E WITH ACUTE}", "\xc9")]
)
def test_names_that_differ_by_case_only(one: str, other: str, tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    with folding(node.path / "state"):
        assert node.pull().did == "updated"
        old = node.sound()
        repo.publish({one: b"one", other: b"other"})
        with pytest.raises(ReleaseError, match=r"stands twice here: this file system takes names .* for one") as said:
            node.pull()
        assert any(repr(p) in str(said.value) for p in (one, other, one.partition("/")[0], other.partition("/")[0]))
        assert node.sound() == old
        assert node.shown() == camera(1)
        repo.publish(camera(3))
        assert node.pull().did == "updated"
        assert node.shown() == camera(3)
        assert os.listdir(node.app / "releases").count(".new") == 0
