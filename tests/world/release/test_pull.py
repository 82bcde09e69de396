"""A pull from a directory: what comes, what stays, what is refused, and that the old one runs on."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.release.signing import Signer
from tests.faults.outside import stat, until
from tests.world.release.node import Node, camera, fingerprint, fresh
from tests.world.release.publisher import Repo, pinned
from whiz.core.errors import Busy, NewerFormat
from whiz.core.release import release as releases
from whiz.core.release.release import ReleaseError
from whiz.core.value import replace
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


# -- the trial


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
    repo.publish({"x": (b"#!/bin/sh\nsleep 1000 & echo $! >&2; wait\n",)}, preflight=("./x",))
    done = node.pull(preflight=0.5)
    words = done.words.splitlines()
    assert "did not end within" in words[0]
    until(lambda: (known := stat(int(words[1]))) is None or known[0] in "ZX", "what it started is gone")


# -- whom to believe


def refusal(node: Node, **more: Any) -> str:
    """Return why a pull fails; what is here stays as it is."""
    before = fingerprint(node.path)
    with pytest.raises(ReleaseError) as caught:
        node.pull(**more)
    assert {k: v[5] for k, v in fingerprint(node.path).items()} == {k: v[5] for k, v in before.items()}
    return str(caught.value)


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


# -- releases that are refused whole, before anything is written

D = "0" * 64
HOSTILE: list[tuple[list[Any], str]] = [
    *[([p, "f", 1, D], "has a part that is empty") for p in ("../x", "a/../../x", "a//b", "", ".", "a/")],
    (["/etc/x", "f", 1, D], "is absolute"),
    (["a\0b", "f", 1, D], "holds a control character"),
    (["a\nb", "f", 1, D], "holds a control character"),
    ([".whiz/release", "f", 1, D], "is reserved"),
    (["x", "l", "../../etc"], "a symlink out of the release"),
    (["x", "l", "/tmp"], "a symlink out of the release"),
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


def test_an_older_channel_is_refused_also_when_the_state_was_lost(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    older = (repo.path / "channel/stable").read_bytes()
    repo.publish(camera(2))
    node.pull()
    (node.app / "state.json").unlink()
    repo.put("channel/stable", older)
    with pytest.raises(ReleaseError, match="seq 1 < 2"):
        node.pull()
