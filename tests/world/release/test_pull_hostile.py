"""Releases that are refused whole before anything is written, objects and mirrors that are not to be relied on."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.release.signing import Signer
from tests.world.release.node import Node, camera, fresh, refusal
from tests.world.release.publisher import Repo
from whiz.core.errors import NewerFormat
from whiz.core.release import release as releases
from whiz.core.release.release import ReleaseError

if TYPE_CHECKING:
    from pathlib import Path


D = "0" * 64
HOSTILE: list[tuple[list[Any], str]] = [
    *[([p, "f", 1, D], "has a part that is empty") for p in ("../x", "a/../../x", "a//b", "", ".", "a/")],
    (["/etc/x", "f", 1, D], "is absolute"),
    (["a\0b", "f", 1, D], "holds a control character"),
    (["a\nb", "f", 1, D], "holds a control character"),
    ([".whiz/release", "f", 1, D], "is reserved"),
    (["x", "l", "../../etc"], "a symlink out of the release"),
    (["x", "l", "/tmp"], "a symlink out of the release"),
    (["x", "l", "lib/../../.."], "a symlink out of the release"),
    (["x", "l", "lib/link/.."], "goes up behind a name"),
    (["d/" * 200 + "x", "f", 1, D], "has more than 200 parts"),
    (["x", "p"], "not an entry"),
    (["x", "f", -1, D], "not an entry"),
    (["x", "f", 1 << 50, D], "not an entry"),
]


@pytest.mark.parametrize(("row", "why"), HOSTILE)
def test_a_hostile_manifest(row: list[Any], why: str, tmp_path: Path) -> None:
    import json

    repo, node = fresh(tmp_path)
    node.pull()
    text = json.dumps({"format": 1, "app": "camera", "files": [["fine", "f", 1, D], row]}).encode() + b"\n"
    repo.offer(repo.text(text))
    assert why in refusal(node)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["d", "l", "lib"], ["d/x", "f", 1, D]], "goes through 'd', which is a symlink"),
        ([["d", "f", 1, D], ["d/x", "f", 1, D]], "goes through 'd', which is a file"),
        ([["d", "f", 1, D], ["d", "f", 1, D]], "stands twice"),
    ],
)
def test_a_manifest_that_contradicts_itself(rows: list[Any], why: str, tmp_path: Path) -> None:
    import json

    repo, node = fresh(tmp_path)
    node.pull()
    repo.offer(repo.text(json.dumps({"format": 1, "app": "camera", "files": rows}).encode() + b"\n"))
    assert why in refusal(node)


def test_a_manifest_of_another_app_a_newer_format_a_stranger_or_with_a_bit_flipped(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    other = releases.dump(releases.Release("heater", ()))
    repo.offer(repo.text(other))
    assert "it is of the app 'heater'" in refusal(node)
    repo.offer(repo.text(b'{"format": 2}\n'))
    with pytest.raises(NewerFormat):
        node.pull()
    repo.release_key = Signer("stranger")
    repo.publish(camera(4))
    assert "not trusted as the release key" in refusal(node)
    name = repo.publish(camera(5))
    path = repo.path / "m" / name
    text = zlib.decompress(path.read_bytes())
    path.write_bytes(zlib.compress(text.replace(b'"x"', b'"f"')))
    assert "has another digest: it was changed" in refusal(node)
    path.write_bytes(b"nothing of the kind")
    assert "is damaged" in refusal(node)
    path.unlink()
    assert f"m/{name} cannot be had" in refusal(node)


@pytest.mark.parametrize("what", ["flipped", "cut", "longer", "behind", "other", "gone", "none"])
def test_an_object_that_is_not_what_its_name_says(what: str, tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    repo.publish(camera(2))
    path = repo.object(camera(2)["lib/changing.py"])
    good = path.read_bytes()
    spoiled = {
        "flipped": good[:20] + bytes([good[20] ^ 1]) + good[21:],
        "cut": good[:-8],
        "longer": zlib.compress(camera(2)["lib/changing.py"] * 1000),
        "behind": good + b"more",
        "other": zlib.compress(b"y" * len(camera(2)["lib/changing.py"])),
        "none": b"",
    }
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(spoiled[what])
    with pytest.raises(ReleaseError) as caught:
        node.pull()
    assert path.name in str(caught.value)
    assert f"file://{repo.path}" in str(caught.value)
    assert node.sound() == old
    path.write_bytes(good)
    assert node.pull().did == "updated"
    assert node.shown() == camera(2)


def test_the_first_mirror_is_damaged_the_second_fine(tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    bad = Repo(tmp_path / "bad")
    bad.publish(camera(1))
    bad.object(camera(1)["lib/same.py"]).write_bytes(zlib.compress(b"else"))
    node = Node(tmp_path / "n", f"file://{tmp_path}/unmounted", f"file://{bad.path}", f"file://{repo.path}")
    done = node.pull()
    assert (done.did, done.code) == ("updated", 0)
    assert any("is it mounted?" in w for w in done.warnings)
    assert any("its content is not what its name says" in w or "was announced" in w for w in done.warnings)
    assert node.shown() == camera(1)


def test_a_mirror_that_lags_behind_is_passed_over(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    repo.publish(camera(2))
    lagging = Repo(tmp_path / "lagging")
    lagging.publish(camera(1))
    node.pull()
    both = Node(tmp_path / "node", f"file://{lagging.path}", f"file://{repo.path}")
    repo.publish(camera(3))
    assert both.pull().did == "updated"
    assert both.shown() == camera(3)


def test_a_node_that_was_away_for_ten_releases_goes_to_the_newest(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    for i in range(2, 12):
        repo.publish(camera(i))
    node.pull()
    assert node.shown() == camera(11)
    assert len(node.store.ids()) == 2
