"""One file that holds what a node may ask for."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.world.release.conftest import contents
from whiz.core.errors import UsageError
from whiz.core.release.release import ReleaseError
from whiz.world.release import bundle
from whiz.world.release.checking import check
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world.release.conftest import Master


def test_a_bundle_unpacked_is_a_repository_with_what_one_channel_offers(master: Master, tmp_path: Path) -> None:
    first, second, third = master.three()
    master.publisher.offer("beta", "v2", second.id, "")
    master.publisher.pin("stable", "attic", "v1", first.id, "")
    path = tmp_path / "stick" / "app.whiz"
    path.parent.mkdir()
    assert bundle.write(master.repository, "stable", str(path)) == path.stat().st_size
    assert os.listdir(path.parent) == ["app.whiz"]
    with zipfile.ZipFile(path) as held:
        assert held.testzip() is None
        assert {i.compress_type for i in held.infolist()} == {zipfile.ZIP_STORED}
        assert held.namelist()[-1] == "channel/stable"
        held.extractall(tmp_path / "unpacked")
    there = Repository(str(tmp_path / "unpacked"))
    assert check(there).problems == ()
    assert check(there).spare == 0
    assert sorted(there.ids()) == sorted([first.id, third.id])
    assert there.channels() == ["stable"]
    whole = contents(master.repository.path)
    assert all(whole[name] == held for name, held in contents(there.path).items())


def test_the_same_is_the_same_file(master: Master, tmp_path: Path) -> None:
    master.three()
    paths = [tmp_path / "a.whiz", tmp_path / "b.whiz"]
    for path in paths:
        bundle.write(master.repository, "stable", str(path))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_older_bundle_stays_until_the_new_one_is_whole(master: Master, tmp_path: Path) -> None:
    _, _, third = master.three()
    path = tmp_path / "app.whiz"
    path.write_text("older")
    os.unlink(master.repository.file(f"m/{third.id}"))
    with pytest.raises(ReleaseError, match="is not in"):
        bundle.write(master.repository, "stable", str(path))
    assert path.read_text() == "older"
    assert not (tmp_path / ".app.whiz.new").exists()


def test_a_channel_that_is_not_there(master: Master, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no channel 'beta'"):
        bundle.write(master.repository, "beta", str(tmp_path / "x"))


def test_a_stick_that_takes_no_large_files_says_so(master: Master, tmp_path: Path) -> None:
    import resource
    import signal

    master.put("big", os.urandom(300_000))
    master.publish()
    path = tmp_path / "app.whiz"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as FAT's 4 GB: the kernel says EFBIG
    try:
        with pytest.raises(ReleaseError, match="takes no file larger than"):
            bundle.write(master.repository, "stable", str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.glob("*.whiz*")) + list(tmp_path.glob(".*.new")) == []


def test_a_stick_that_is_not_there(master: Master) -> None:
    master.three()
    with pytest.raises(OSError, match="No such file"):
        bundle.write(master.repository, "stable", "/nonexistent/app.whiz")
