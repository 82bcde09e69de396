"""A release on trial on a node: whiz runs what the flip changed, and what does not keep running is turned back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.node.conftest import following

if TYPE_CHECKING:
    from tests.node.conftest import Node, Resident
    from tests.world.release.node import Node as Puller
    from tests.world.release.publisher import Repo, Tree

GOOD = b"#!/bin/sh\necho {} $WHIZ_RELEASE\nexec sleep 1000\n"
BAD = b"#!/bin/sh\nfor i in 1 2 3; do echo no lens $i; done\nsleep 0.2\nexit 3\n"


def tree(camera: bytes, more: str = "") -> Tree:
    manifest = f"programs:\n  camera: {{run: ./camera.sh{more}}}\n  web: {{run: ./web.sh}}\n"
    return {"whizzifest.yaml": manifest.encode(), "camera.sh": (camera,), "web.sh": (GOOD,)}


@pytest.fixture
def puller(node: Node, repo: Repo) -> Puller:
    return following(node, repo, "15s")


def pids(node: Node) -> dict[str, int | None]:
    return {n: r["pid"] for n, r in node.rows().items()}


@pytest.mark.parametrize("stays", [False, True])
def test_good_ones_stay_and_a_bad_one_is_turned_back(
    stays: bool, node: Node, repo: Repo, puller: Puller, resident: Resident
) -> None:
    repo.publish(tree(GOOD), "one")
    assert puller.run("pull").returncode == 0
    one = pids(node)
    assert set(one) == {"camera", "web"}
    if stays:
        resident()
    repo.publish(tree(GOOD + b"#\n"), "two")
    assert puller.run("pull").returncode == 0
    two = pids(node)
    assert two["web"] == one["web"]
    assert two["camera"] != one["camera"]
    repo.publish(tree(BAD), "three")
    done = puller.run("pull")
    assert done.returncode == 1
    assert "three was turned back, what ran before runs again: camera" in done.stderr
    assert "no lens 3" in done.stderr
    assert puller.run("pull").returncode == 1  # it is not tried again, and that is said
    after = pids(node)
    assert after["web"] == one["web"]
    assert node.rows()["camera"]["state"] == "running"
    assert node.whiz("logs", "camera", "-n", "1").split()[1] == puller.store.pointed("current")
    said = json.loads(puller.run("status", "--json").stdout)
    assert [b["label"] for b in said["bad"]] == ["three"]
    assert "no lens 3" in said["bad"][0]["why"]
    repo.publish(tree(GOOD + b"##\n"), "four")
    assert puller.run("pull").returncode == 0
    assert pids(node)["web"] == one["web"]


def test_what_never_gets_ready_is_turned_back(node: Node, repo: Repo, puller: Puller) -> None:
    with (node.path / "quesofiesta.yaml").open("r+") as f:
        text = f.read().replace("within: 15s", "within: 2s")
        f.seek(0)
        f.write(text)
        f.truncate()
    repo.publish(tree(GOOD), "one")
    assert puller.run("pull").returncode == 0
    repo.publish(tree(GOOD + b"#\n", ", ready: {log: shutter open, within: 1h}"), "two")
    done = puller.run("pull")
    assert "not well within 2 s: camera: " in done.stderr, done.stderr
    assert node.rows()["camera"]["state"] == "running"


def test_a_whizzifest_that_cannot_be_used_is_turned_back(node: Node, repo: Repo, puller: Puller) -> None:
    repo.publish(tree(GOOD), "one")
    assert puller.run("pull").returncode == 0
    before = pids(node)
    repo.publish(tree(GOOD) | {"whizzifest.yaml": b"programs: {camera: {runn: x}}\n"}, "two")
    done = puller.run("pull")
    assert "its whizzifest cannot be used" in done.stderr
    assert "unknown key 'runn'" in done.stderr
    assert pids(node) == before
    assert "every wish holds" in node.apply()


def test_the_first_one_fails_and_nothing_runs(node: Node, repo: Repo, puller: Puller) -> None:
    repo.publish(tree(BAD), "one")
    done = puller.run("pull")
    assert done.returncode == 1
    assert "there was nothing before it, so nothing runs" in done.stderr
    assert [p for p in node.ours() if "sleep" in p.name()] == []


def test_what_was_ill_before_is_not_the_release_s_fault(node: Node, repo: Repo, puller: Puller) -> None:
    node.write("ill|/bin/false\n")
    node.command("apply", "--wait", "1s")
    repo.publish(tree(GOOD), "one")
    assert puller.run("pull").returncode == 0
    assert set(pids(node)) == {"ill", "camera", "web"}


def test_what_did_not_run_before_is_judged_too(node: Node, repo: Repo, puller: Puller) -> None:
    """As after a boot of a node where no whiz stays and a pull comes first."""
    repo.publish(tree(GOOD), "one")
    assert puller.run("pull").returncode == 0
    node.whiz("stop")
    repo.publish(tree(BAD), "two")
    done = puller.run("pull")
    assert "two was turned back, what ran before runs again: camera" in done.stderr
    assert node.rows()["camera"]["state"] == "running"
