"""Which file systems whiz keeps things on."""

from __future__ import annotations

import pytest

from whiz.core.machine import unfit


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("ext4", True),
        ("ext2", True),
        ("btrfs", True),
        ("xfs", True),
        ("f2fs", True),
        ("tmpfs", True),
        ("overlay", True),
        ("nfs4", True),
        (None, True),  # what cannot be told is not refused
        ("vfat", False),
        ("msdos", False),
        ("exfat", False),
        ("ntfs", False),
        ("ntfs3", False),
        ("fuseblk", False),  # ntfs-3g and exfat-fuse
    ],
)
def test_which_file_systems_are_fit(kind: str | None, fits: bool) -> None:
    assert (unfit(kind) is None) == fits
