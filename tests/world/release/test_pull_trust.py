"""Whom a node believes: channels, key sets that hand over, and hosts that are pinned."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.core.release.signing import Signer
from tests.world.release.node import Node, camera, fresh, refusal
from tests.world.release.publisher import pinned
from whiz.core.value import replace

if TYPE_CHECKING:
    from pathlib import Path


def test_channels_that_are_refused(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    good = (repo.path / "channel/stable").read_bytes()
    repo.seq = 57
    said = repo.offer(repo.release(camera(2)))
    assert node.pull().did == "updated"
    now = node.sound()
    stranger = Signer("stranger")
    why = []
    repo.channel(said, stranger)
    why.append(refusal(node))
    repo.channel(replace(said, repo="another"))
    why.append(refusal(node))
    repo.channel(replace(said, name="beta"))
    why.append(refusal(node))
    repo.channel(replace(said, note="other content under the same number"))
    why.append(refusal(node))
    repo.channel(said, role="release")
    why.append(refusal(node))
    repo.put("channel/stable", good)
    why.append(refusal(node))
    repo.put("channel/stable", good.replace(b'"seq": 1', b'"seq": 9'))
    why.append(refusal(node))
    repo.put("channel/stable", b"<!DOCTYPE html><title>Welcome to our WiFi</title>")
    why.append(refusal(node))
    repo.put("channel/stable", b"x" * 70_000)
    why.append(refusal(node))
    (repo.path / "channel/stable").unlink()
    why.append(refusal(node))
    for said_why, expected in zip(
        why,
        (
            "not trusted as the channel key (SHA256:",
            "of the repository another, not feedc0de",
            "the channel beta, not stable",
            "two tell different things under one number",
            "signed for whiz-release, not for whiz-channel",
            "seq 1 < 58: somebody replays an older one",
            "is not of these bytes",
            "does this network ask for a login?",
            "longer than 65536 bytes",
            "has no channel/stable",
        ),
        strict=True,
    ):
        assert expected in said_why, said_why
        assert f"file://{repo.path}" in said_why
    assert node.sound() == now


def test_a_rollback_by_the_operator_is_a_publish_like_any_other(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    repo.publish(camera(2))
    node.pull()
    assert old is not None
    repo.offer(old, "r1")
    done = node.pull()
    assert (done.did, node.sound()) == ("updated", old)


def test_a_stale_channel_warns_and_stops_nothing(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    late = 1e10
    done = node.pull(now=lambda: late)
    assert (done.did, done.code) == ("updated", 3)
    assert "is stale: expired" in done.warnings[-1]
    again = node.pull(now=lambda: late)
    assert (again.did, again.code) == ("nothing", 3)
    assert "is stale: expired" in again.warnings[-1]
    early = node.pull(now=lambda: 0)
    assert "this clock, or the publisher's, is wrong" in early.warnings[-1]


def test_a_node_that_was_away_for_a_year_walks_from_key_set_to_key_set(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.rotate(Signer("root 2"))
    repo.release_key = repo.channel_key = Signer("both 2")
    repo.rotate(Signer("root 3"))
    repo.publish(camera(2))
    assert node.pull().did == "updated"
    assert node.store.state().root == 3
    new = Node(tmp_path / "new", f"file://{repo.path}", keys=(Signer("root 3").public,))
    assert new.pull().did == "updated", "who comes late may know only the newest root key"
    stranger = Node(tmp_path / "stranger", f"file://{repo.path}", keys=(Signer("nobody").public,))
    stranger.store.make()
    assert "no key set of this repository is signed by the keys" in refusal(stranger)


def test_a_rotation_that_the_old_keys_did_not_sign(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.rotate(Signer("thief"), by_old=False)
    repo.publish(camera(2))
    assert "0 of the root keys of version 1 signed it" in refusal(node)


def test_a_key_set_that_is_not_there_yet(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.rotate()
    repo.publish(camera(2))
    os.rename(repo.path / "root/2", tmp_path / "later")
    assert "the channel goes by key set 2, but root/2 cannot be had" in refusal(node)
    os.rename(tmp_path / "later", repo.path / "root/2")
    assert node.pull().did == "updated"


def test_a_host_that_is_pinned(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    one, two = repo.release(camera(1)), repo.release(camera(2))
    said = pinned(repo.offer(two, "new"), "garden", "old", one)
    repo.channel(said)
    assert node.pull().label == "old"
    assert node.sound() == one
    assert Node(tmp_path / "other", f"file://{repo.path}").pull(host="porch").label == "new"
