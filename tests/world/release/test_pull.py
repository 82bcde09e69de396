"""A pull from a directory: what comes, what stays, what is refused, and that the old one runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.world.release.node import camera, fingerprint, fresh

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
