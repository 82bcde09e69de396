"""A release on trial: who judges it, what turns it back, and what a cut leaves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.outside import stat, until
from tests.world.release.node import Node, camera, fresh
from whiz.world.release.gate import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from whiz.world.release.gate import Held


class Judge:
    """A gate that says what it is told to, and notes when it is asked."""

    def __init__(self, node: Node, verdict: Verdict) -> None:
        self.node, self.verdict, self.seen = node, verdict, []  # type: ignore[var-annotated]

    def before(self, old: Held | None, new: Held) -> None:
        self.seen.append(("before", old and old.id, new.id, self.node.store.pointed("current")))

    def after(self) -> Verdict:
        self.seen.append(("after", self.node.store.pointed("current")))
        return self.verdict

    def back(self) -> None:
        self.seen.append(("back", self.node.store.pointed("current")))


BAD = Verdict(False, "camera did not keep running", ("Traceback", "KeyError: 'x'"))


def test_the_gate_is_asked_before_and_after_the_flip(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    judge = Judge(node, Verdict(True))
    new = repo.publish(camera(2))
    assert node.pull(gate=judge).did == "updated"
    assert judge.seen == [("before", old, new, old), ("after", new)]


def test_a_bad_release_turns_back_and_is_not_tried_until_it_is_published_again(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old, new = node.sound(), repo.publish(camera(2))
    judge = Judge(node, BAD)
    done = node.pull(gate=judge)
    assert (done.did, done.code) == ("back", 1)
    assert "KeyError: 'x'" in done.words
    assert judge.seen[1:] == [("after", new), ("back", old)]
    assert node.shown() == camera(1)
    judge = Judge(node, Verdict(True))
    for _ in range(2):
        again = node.pull(gate=judge)
        assert (again.code, judge.seen) == (1, [])
        assert "failed here before" in again.words or "turned back" in again.words
    repo.offer(new, label="once more")
    assert node.pull(gate=judge).did == "updated"
    assert node.shown() == camera(2)
    assert node.store.state().bad == ()


def test_force_tries_a_bad_release(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))
    node.pull(gate=Judge(node, BAD))
    assert node.pull(force=True).did == "updated"


def test_a_first_release_that_is_bad_leaves_nothing_running(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    done = node.pull(gate=Judge(node, BAD))
    assert (done.did, node.store.pointed("current")) == ("back", None)
    assert "nothing before it" in done.words
    again = node.pull(gate=Judge(node, Verdict(True)))
    assert (again.did, again.code, node.store.pointed("current")) == ("bad", 1, None)


def test_a_cut_before_the_flip_is_tried_again_a_second_one_turns_back(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old, new = node.sound(), repo.publish(camera(2))

    class Cut(BaseException):
        pass

    class Cutting(Judge):
        def before(self, _: Held | None, __: Held) -> None:
            raise Cut

        def after(self) -> Verdict:
            raise Cut

    with pytest.raises(Cut):
        node.pull(gate=Cutting(node, BAD))
    assert node.sound() == old
    assert node.store.state().trial is not None
    assert node.pull().did == "nothing", "the trial was ended by the way"
    assert node.sound() == new
    repo.publish(camera(3))
    with pytest.raises(Cut):
        node.pull(gate=Cutting(node, BAD))
    with pytest.raises(Cut):
        node.pull(gate=Cutting(node, BAD))
    done = node.pull()
    assert (done.did, node.sound()) == ("bad", new)
    assert "cut short twice" in done.words


def test_a_release_on_trial_that_somebody_removed(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old, new = node.sound(), repo.publish(camera(2))

    class Removing(Judge):
        def before(self, _: Held | None, new: Held) -> None:
            os.rename(new.path, node.app / "gone")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        node.pull(gate=Removing(node, BAD))
    done = node.pull()
    assert node.sound() == old
    assert "directory was removed" in done.words
    assert node.store.state().trial is None
    assert new not in node.store.ids()


def test_a_current_release_removed_by_hand_is_said_and_replaced(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    first = repo.publish(camera(1))
    node.pull()
    os.rename(node.app / "releases" / first, tmp_path / "away")
    repo.publish(camera(2))
    done = node.pull()
    assert done.did == "updated"
    assert any("no way back" in w for w in done.warnings)
    assert node.shown() == camera(2)


def test_preflight_runs_in_the_new_tree_and_keeps_a_bad_one_from_the_flip(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    check = (b'#!/bin/sh\ntest "${PWD##*/}" = "$WHIZ_RELEASE" || exit 9\necho "no $1"\nexit 3\n',)
    repo.publish({"bin/check": check}, preflight=("bin/check", "camera"))
    judge = Judge(node, Verdict(True))
    done = node.pull(gate=judge)
    assert (done.did, done.code, judge.seen, node.sound()) == ("bad", 1, [], old)
    assert done.words.endswith("its preflight exited 3\nno camera")
    assert node.pull().did == "bad", "not tried at each poll"
    fine = (check[0].replace(b"exit 3", b"exit 0"),)
    repo.publish({"bin/check": fine}, preflight=("bin/check", "camera"))
    assert node.pull().did == "updated"


def test_a_preflight_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    repo.publish({"x": (b"#!/bin/sh\nsleep 1007.5 & echo $! >&2; wait\n",)}, preflight=("./x",))
    done = node.pull(preflight=0.5)
    words = done.words.splitlines()
    assert "did not end within" in words[0]
    until(lambda: (known := stat(int(words[1]))) is None or known[0] in "ZX", "what it started is gone")
