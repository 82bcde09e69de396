"""A pull from a directory: what comes, what stays, and that the old one runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.world.release.node import Node, camera, fingerprint, fresh, refusal
from whiz.core.errors import Busy
from whiz.core.release.release import ReleaseError
from whiz.core.value import replace

if TYPE_CHECKING:
    from pathlib import Path


def test_a_first_pull_an_update_and_nothing_to_do(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    done = node.pull()
    assert (done.did, done.code, done.label, done.warnings) == ("updated", 0, "r1", ())
    assert node.shown() == camera(1)
    first = node.sound()
    repo.publish(camera(2))
    assert node.pull().did == "updated"
    assert node.shown() == camera(2)
    assert node.sound() != first
    assert node.store.pointed("previous") == first
    before = fingerprint(tmp_path)
    again = node.pull()
    assert (again.did, again.code) == ("nothing", 0)
    assert fingerprint(tmp_path) == before, "not one byte is written"


def test_an_object_is_linked_an_empty_file_is_not(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))
    node.pull()
    one, two = (node.app / "releases" / i for i in sorted(node.store.ids()))
    assert (one / "lib/same.py").stat().st_ino == (two / "lib/same.py").stat().st_ino
    assert (one / "lib/empty.py").stat().st_nlink == (two / "lib/empty.py").stat().st_nlink == 1
    assert not (node.app / "staging").exists()


def test_the_exec_bit_alone_is_a_change_and_the_old_release_keeps_its_own(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    old = repo.publish({"tool": b"#!/bin/sh\n"})
    node.pull()
    new = repo.publish({"tool": (b"#!/bin/sh\n",), "copy": b"#!/bin/sh\n"})
    for path in (repo.path / "o").rglob("*"):
        if path.is_file():
            path.unlink()  # nothing needs to be fetched for it
    assert node.pull().did == "updated"
    assert os.stat(node.app / "releases" / old / "tool").st_mode & 0o777 == 0o444
    assert os.stat(node.app / "releases" / new / "tool").st_mode & 0o777 == 0o555
    assert os.stat(node.app / "releases" / new / "copy").st_mode & 0o777 == 0o444


def test_names_that_shells_stumble_on(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    tree = {"\U0001f600" * 63: b"1", " a b ": b"2", "-rf": b"3", "$(touch x)'\"`": b"4", "a\\n": b"5"}
    repo.publish(tree)
    node.pull()
    assert node.shown() == tree


def test_many_empty_files_and_a_content_with_too_many_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 takes 65,000 links to a file; here it takes three, and the rest is made as the system's refusal says."""
    repo, node = fresh(tmp_path)
    link = os.link

    def scarce(source: str, to: str, **more: Any) -> None:
        if os.stat(source).st_nlink > 3:
            raise OSError(31, os.strerror(31), source, None, to)
        link(source, to, **more)

    monkeypatch.setattr(os, "link", scarce)
    tree: dict[str, Any] = {f"same/{i}": b"the same" for i in range(10)} | {f"{i // 100}/{i}": b"" for i in range(300)}
    repo.publish(tree)
    node.pull()
    assert node.shown() == tree
    node.sound()


def test_objects_and_releases_on_different_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, node = fresh(tmp_path)

    def never(source: str, to: str, **_: Any) -> None:
        raise OSError(18, os.strerror(18), source, None, to)

    monkeypatch.setattr(os, "link", never)
    node.pull()
    repo.publish(camera(2))
    node.pull()
    assert node.shown() == camera(2)
    node.sound()


# -- what stays, and what a dry run does


def test_old_releases_go_and_with_them_what_nothing_else_needs(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.settings = replace(node.settings, keep=0)
    pinned_by_a_run = repo.publish(camera(1))
    for i in range(2, 6):
        node.pull(named=lambda: [pinned_by_a_run])
        repo.publish(camera(i))
    node.pull(named=lambda: [pinned_by_a_run])
    assert len(node.store.ids()) == 3
    assert pinned_by_a_run in node.store.ids()
    names = {os.path.basename(p) for p in node.store.all_objects()}
    needed = {d + x for i in node.store.ids() for d, x in _objects(node, i)}
    assert names == needed


def _objects(node: Node, name: str) -> set[tuple[str, str]]:
    held = node.store.release(name)
    return {(e.digest, "x" if e.kind == "exec" else "") for e in held.entries if e.size}


def test_a_dry_run_touches_nothing_on_either_side(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    before = fingerprint(tmp_path)
    done = node.pull(dry_run=True)
    assert (done.did, done.code) == ("pending", 3)
    assert "5 of 5 objects" in done.words
    assert fingerprint(tmp_path) == before
    node.pull()
    repo.publish(camera(2))
    before = fingerprint(tmp_path)
    done = node.pull(dry_run=True)
    assert (done.did, done.code) == ("pending", 3)
    assert fingerprint(tmp_path) == before


def test_two_at_once(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.store.make()
    lock = node.store.lock()
    with pytest.raises(Busy, match="another quesofiesta"):
        node.pull()
    os.close(lock)
    assert node.pull().did == "updated"


def test_a_state_that_cannot_be_read_is_said_with_what_to_do(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))
    (node.app / "state.json").write_text("{")
    assert "remove it" in refusal(node)
    (node.app / "state.json").unlink()
    assert node.pull().did == "updated"


@pytest.mark.parametrize("link", ["current", "previous"])
def test_what_is_in_the_way_of_a_link_is_named_and_counts_against_no_release(link: str, tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))
    node.pull()
    held = os.readlink(node.app / link)
    (node.app / link).unlink()
    (node.app / link).mkdir()
    repo.publish(camera(3))
    for _ in range(3):
        with pytest.raises(ReleaseError, match=f"{link} is in the way: it is to be a symlink"):
            node.pull()
    (node.app / link).rmdir()
    (node.app / link).symlink_to(held)
    assert node.pull().did == "updated"
    assert node.shown() == camera(3)


def test_a_stray_file_among_what_is_staged(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    (node.app / "staging/directory").mkdir(parents=True)
    (node.app / "staging/file").write_text("x")
    assert node.pull().did == "updated"
    assert not (node.app / "staging").exists()


@pytest.mark.parametrize("noted", ["{}", '{"at": "x", "why": "y"}', '{"at": 3, "why": 4}', "[]", "null"])
def test_a_note_of_a_failure_that_is_none(noted: str, tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.write()
    assert node.run("pull").returncode == 0
    (note,) = (node.path / "run").rglob("camera.json")
    note.write_text(f'{{"failed": {noted}}}')
    assert node.run("status").returncode == 0
    assert node.run("pull").returncode == 0


def test_an_older_channel_is_refused_also_when_the_state_was_lost(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    older = (repo.path / "channel/stable").read_bytes()
    repo.publish(camera(2))
    node.pull()
    (node.app / "state.json").unlink()
    repo.put("channel/stable", older)
    with pytest.raises(ReleaseError, match="seq 1 < 2"):
        node.pull()
