"""Publish, and what everybody then finds in the repository."""

from __future__ import annotations

import json
import os
import resource
import signal
import tracemalloc
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.world.release.conftest import Master, contents
from whiz.core.errors import Busy, UsageError
from whiz.core.release import channel as channels
from whiz.core.release import trust
from whiz.core.release.release import Release, ReleaseError
from whiz.core.release.trust import Root
from whiz.core.value import replace
from whiz.world.release import keys, objects, tree
from whiz.world.release.checking import check
from whiz.world.release.pruning import prune
from whiz.world.release.publishing import Publisher, after, begin
from whiz.world.release.repository import Repository, create, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world.release.conftest import Found


def built(repository: Repository, name: str) -> Found:
    """Return what a release holds, read from nothing but the repository's files."""
    with open(repository.file(f"m/{name}"), "rb") as f:
        text = zlib.decompress(f.read()).partition(b"-----BEGIN SSH")[0]
    assert sha256(text).hexdigest() == name
    found: Found = {}
    for path, letter, *rest in json.loads(text)["files"]:
        if letter == "l":
            found[path] = ("link", rest[0])
        elif letter == "d":
            found[path] = ("dir", b"")
        else:
            size, digest = rest
            with open(repository.file(f"o/{digest[:2]}/{digest}"), "rb") as f:
                data = zlib.decompress(f.read())
            assert (len(data), sha256(data).hexdigest()) == (size, digest)
            found[path] = ("exec" if letter == "x" else "file", data)
    return found


def test_what_is_published_is_in_the_repository(master: Master) -> None:
    master.put("bin/run", b"#!/bin/sh\n", 0o755)
    master.put("random", os.urandom(3_000_000))
    master.put("words", b"words " * 600_000)
    master.put("empty")
    (master.source / "hollow").mkdir()
    (master.source / "link").symlink_to("bin/run")
    done = master.publish(note="first")
    assert built(master.repository, done.id) == contents(str(master.source))
    assert (done.label, done.files, done.added) == ("1970-01-12.1", 4, 4)
    assert done.channel == master.repository.channel("stable")
    assert (done.channel.note, done.channel.seq, done.channel.root) == ("first", 1_000_000, 1)
    same = [master.repository.signed(n).data for n in ("channel/stable", "history/stable/1000000")]
    assert same[0] == same[1]
    assert check(master.repository).problems == ()
    assert not os.path.exists(master.repository.file(".new"))


def test_a_repository_is_readable_by_any_web_server(master: Master) -> None:
    master.three()
    for folder, folders, files in os.walk(master.repository.path):
        assert {os.stat(f"{folder}/{n}").st_mode & 0o777 for n in files} <= {0o644}
        assert {os.stat(f"{folder}/{n}").st_mode & 0o777 for n in folders} <= {0o755}


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="/")
PART = st.text(LETTERS, min_size=1, max_size=8).filter(lambda p: p not in (".", ".."))
THING = st.one_of(
    st.tuples(st.sampled_from(["file", "exec"]), st.binary(max_size=200)),
    st.just(("dir", b"")),
)


@example({"0": ("dir", b""), ".whiz": ("dir", b"")})
@given(st.dictionaries(st.lists(PART, min_size=1, max_size=3).map("/".join), THING, min_size=1, max_size=8))
@settings(max_examples=60)
def test_law_what_is_read_back_is_what_was_built(
    tmp_path_factory: pytest.TempPathFactory, things: dict[str, tuple[str, bytes]]
) -> None:
    place = tmp_path_factory.mktemp("law")
    source = place / "source"
    source.mkdir()
    for path, (kind, data) in things.items():
        try:
            full = source / path
            if kind == "dir":
                full.mkdir(parents=True)
            else:
                full.parent.mkdir(parents=True, exist_ok=True)
                full.write_bytes(data)
                full.chmod(0o755 if kind == "exec" else 0o644)
        except OSError:
            continue  # a file where a directory is, or a name that is too long
    held = tree_or_none(source)
    if held is None or held.left_out:
        return  # a name that no release may have, or has (.svn)
    repository = Repository(str(place / "repo"))
    os.mkdir(repository.path)
    objects.add(repository.path, {e.digest: f"{source}/{e.path}" for e in held.entries if e.digest}, lambda _: None)
    release = Release("app", held.entries)
    from whiz.core.release.release import dump, load, name_of

    repository.put_manifest(name_of(dump(release)), dump(release))
    assert load(dump(release)) == release
    assert built(repository, name_of(dump(release))) == contents(str(source))


def tree_or_none(source: Path) -> tree.Tree | None:
    try:
        return tree.read(str(source))
    except ReleaseError:
        return None


def test_only_what_is_new_is_stored(master: Master) -> None:
    first, second, third = master.three()
    assert (first.added, second.added, third.added) == (3, 2, 2)
    assert [c.default for c in master.repository.history("stable")] == ["v1", "v2", "v3"]
    assert [c.seq for c in master.repository.history("stable")] == [1_000_000, 1_000_001, 1_000_002]
    assert master.repository.history("stable", 2) == master.repository.history("stable")[1:]


def test_a_pack_leads_from_the_release_before(master: Master) -> None:
    first, second, _ = master.three()
    with open(master.repository.file(f"d/{first.id}-{second.id}"), "rb") as f:
        text = zlib.decompress(f.read())
    new = {e.digest: e for e in master.repository.release(second.id).entries if e.path != "same"}
    wanted: set[bytes] = set()
    while text:
        line, _, text = text.partition(b"\n")
        digest, size = line.decode().split(" ")
        data, text = text[: int(size)], text[int(size) :]
        assert sha256(data).hexdigest() == digest
        assert new.pop(digest).size == int(size)
        wanted.add(data)
    assert wanted == {b"print(2)", b"print('also', 2)"}
    assert not new


def test_the_same_again_is_offered_anew_under_its_label(master: Master) -> None:
    master.put("a", "a")
    first = master.publish("one")
    again = master.publish()
    assert (again.id, again.label, again.added) == (first.id, "one", 0)
    assert again.channel.seq > first.channel.seq


def test_the_clock_going_back_does_not_take_numbers_back(master: Master) -> None:
    master.put("a", "a")
    first = master.publish()
    master.now[0] = 5.0
    assert master.publish().channel.seq == first.channel.seq + 1


def test_a_label_names_one_release_for_ever(master: Master) -> None:
    master.three()
    with pytest.raises(UsageError, match="'v1' is the label of another release"):
        master.publish("v1")
    with pytest.raises(UsageError, match="cannot be a label"):
        master.publish("no label")
    with pytest.raises(UsageError, match="cannot name a channel"):
        master.publish(channel="../x")


def test_a_file_that_changed_since_it_was_read_stops_the_publish(master: Master) -> None:
    path = master.put("a", "one")
    held = tree.read(str(master.source))
    path.write_text("two")
    with pytest.raises(ReleaseError, match=f"{path} changed while it was published"):
        master.publisher.publish(Release("app", held.entries), held, "stable")
    assert master.repository.channels() == []
    assert os.listdir(master.repository.file("o")) == []
    assert not os.path.exists(master.repository.file(".new"))


def test_a_large_file_is_stored_in_constant_memory(master: Master) -> None:
    with open(master.put("big"), "wb") as f:
        f.truncate(100_000_000)  # sparse
    tracemalloc.start()
    done = master.publish()
    found = check(master.repository)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (done.size, found.problems) == (100_000_000, ())
    assert done.stored < 200_000
    assert most < 10_000_000


def test_a_disk_that_is_full_names_the_repository_and_leaves_nothing(master: Master) -> None:
    master.put("big", os.urandom(300_000))
    before = contents(master.repository.path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    taken = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as said:
            master.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, taken)
    assert said.value.filename == master.repository.path
    assert contents(master.repository.path) == before
    master.publish()


def test_one_at_a_time(master: Master) -> None:
    master.put("a", "a")
    with master.repository.lock(), pytest.raises(Busy, match="another quesofiesta is at work"):
        master.publish()
    assert Busy.code == 75
    master.publish()


def test_names_of_releases(master: Master) -> None:
    first, second, _ = master.three()
    assert master.repository.find("v1") == ("v1", first.id)
    assert master.repository.find(second.id[:8]) == ("v2", second.id)
    for word in ("v9", second.id[:5], "f" * 64):
        with pytest.raises(UsageError, match=r"no release is called .*\nhint: the newest labels: v1, v2, v3"):
            master.repository.find(word)


def test_offers_pins_and_promotions(master: Master) -> None:
    first, second, third = master.three()
    back = master.publisher.offer("stable", "v2", second.id, "3 flickers")
    assert (back.default, back.note) == ("v2", "3 flickers")
    assert dict(back.releases).keys() == {"v2"}
    held = master.publisher.pin("stable", "attic", "v1", first.id, "")
    assert channels.wanted(held, "attic", ()) == "v1"
    assert channels.wanted(held, "cellar", ()) == "v2"
    assert master.publisher.unpin("stable", "attic", "").rules == ()
    beta = master.publisher.offer("beta", "v3", third.id, "")
    assert (beta.name, beta.default) == ("beta", "v3")
    with pytest.raises(UsageError, match=r"there is no channel 'gamma'\nhint: channels here: beta, stable"):
        master.publisher.pin("gamma", "attic", "v1", first.id, "")
    assert check(master.repository).problems == ()


def test_a_channel_that_somebody_else_signed_is_not_built_upon(master: Master) -> None:
    master.three()
    stranger = keys.make(str(master.place / "stranger"), "x")
    held = master.repository.signed("channel/stable")
    block = keys.sign(held.payload, "channel", stranger, [str(master.place)])
    master.repository.put("channel/stable", held.payload + block)
    with pytest.raises(ReleaseError, match="signed by a key that is not trusted as the channel key"):
        master.publish()


# -- the key set


def rotated(master: Master, **given: list[str]) -> Root:
    new = after(master.repository.root(), given)
    master.publisher.rotate(lambda _: new)
    return new


def test_rotation_of_the_signing_key_keeps_everything_good(master: Master) -> None:
    first, _, _ = master.three()
    master.publisher.pin("stable", "attic", "v1", first.id, "")
    fresh = keys.make(f"{master.keys}/fresh", "fresh")
    rotated(master, release=[fresh], channel=[fresh])
    for name in ("publish", "publish.pub"):
        os.unlink(f"{master.keys}/{name}")
    assert check(master.repository).problems == ()
    said = master.repository.channel("stable")
    assert said is not None
    assert (said.root, said.default) == (2, "v3")
    held = master.repository.signed("channel/stable")
    assert {s.key for s in held.signatures} == {fresh}
    assert {s.key for s in master.repository.manifest(first.id).signatures} == {fresh, *master.root.of("release")}
    master.put("a", "new")
    master.publish("v4")
    master.publisher.offer("stable", "v2", master.repository.find("v2")[1], "")  # signed anew for it
    assert check(master.repository).problems == ()


def test_rotation_when_the_signing_key_is_lost(master: Master) -> None:
    master.three()
    os.unlink(f"{master.keys}/publish")
    fresh = keys.make(f"{master.keys}/fresh", "fresh")
    rotated(master, release=[fresh], channel=[fresh])
    assert check(master.repository).problems == ()
    master.put("a", "new")
    master.publish("v4")


def test_rotation_of_the_root_key_is_signed_by_both(master: Master) -> None:
    master.three()
    fresh = keys.make(f"{master.keys}/root-2", "fresh")
    new = rotated(master, root=[fresh])
    held = master.repository.signed("root/2")
    assert {s.key for s in held.signatures} == {fresh, *master.root.of("root")}
    by_old, by_new = (trust.signers(held.signatures, held.payload, "root", r.of("root")) for r in (master.root, new))
    assert trust.heir(master.root, new, by_old, by_new) is None
    third = keys.make(f"{master.keys}/root-3", "fresh")
    rotated(master, root=[third, fresh])
    assert check(master.repository).problems == ()


def test_rotation_without_the_old_root_key_changes_nothing(master: Master) -> None:
    master.three()
    before = contents(master.repository.path)
    os.unlink(f"{master.keys}/root")
    fresh = keys.make(f"{master.keys}/root-2", "fresh")
    with pytest.raises(ReleaseError, match="0 of the 1 signatures needed in the role root can be made"):
        rotated(master, root=[fresh])
    assert contents(master.repository.path) == before


def test_rotation_to_the_same_is_a_mistake(master: Master) -> None:
    with pytest.raises(UsageError, match="these are the keys of the present set"):
        after(master.root, {"root": list(master.root.of("root")), "release": []})


def test_two_of_three_root_keys(tmp_path: Path) -> None:
    folder = str(tmp_path / "keys")
    os.mkdir(folder)
    three = tuple(keys.make(f"{folder}/r{i}", "r") for i in range(3))
    held = {"root": three, "release": three[:1], "channel": three[:1]}
    root = Root(repo="r", app="a", version=1, keys=tuple(held.items()), threshold=2)
    os.unlink(f"{folder}/r1")
    repository = begin(str(tmp_path / "repo"), root, [folder])
    assert len(repository.signed("root/1").signatures) == 2
    assert check(repository).problems == ()
    os.unlink(f"{folder}/r2")
    with pytest.raises(ReleaseError, match="1 of the 2 signatures needed in the role root"):
        Publisher(repository, [folder]).rotate(lambda root: replace(root, version=2, threshold=1))


# -- the directory


def test_a_repository_is_found_from_inside(master: Master, tmp_path: Path) -> None:
    assert nearest(master.repository.file("o")) == master.repository.path
    assert nearest(str(tmp_path)) is None


def test_a_repository_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not empty"):
        create(str(tmp_path), b"")
    with pytest.raises(UsageError, match="Not a directory"):
        create(str(tmp_path / "file"), b"")


def test_what_is_no_repository_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no repository\nhint: quesofiesta init"):
        Repository(str(tmp_path)).root()


# -- gc


def test_gc_keeps_what_is_offered_or_was_lately(master: Master) -> None:
    first, second, third = master.three()
    master.publisher.pin("stable", "attic", "v1", first.id, "")
    before = contents(master.repository.path)
    dry = prune(master.repository, 1, dry=True)
    assert contents(master.repository.path) == before
    gone = prune(master.repository, 1)
    assert gone == dry
    assert (gone.kept, gone.releases, gone.objects, gone.packs) == (2, (second.id,), 2, 2)
    assert sorted(master.repository.ids()) == sorted([first.id, third.id])
    assert check(master.repository).problems == ()
    assert check(master.repository).spare == 0
    assert len(master.repository.history("stable")) == 4, "the history stays"
    with pytest.raises(ReleaseError, match=r"is not in .*: gc removed it"):
        master.publisher.offer("stable", "v2", second.id, "")


def test_gc_counts_each_channel_by_itself(master: Master) -> None:
    first, second, third = master.three()
    master.publisher.offer("beta", "v1", first.id, "")
    prune(master.repository, 2)
    assert sorted(master.repository.ids()) == sorted([first.id, second.id, third.id])
    prune(master.repository, 0)
    assert sorted(master.repository.ids()) == sorted([first.id, third.id])


def test_gc_removes_nothing_where_it_cannot_tell_what_is_needed(master: Master) -> None:
    _, _, third = master.three()
    os.rename(master.repository.file(f"m/{third.id}"), master.place / "aside")
    before = contents(master.repository.path)
    with pytest.raises(ReleaseError, match="which is not here: nothing is removed"):
        prune(master.repository, 0)
    with open(master.repository.file(f"m/{third.id}"), "wb") as f:
        f.write(b"garbage")
    with pytest.raises(ReleaseError, match="is damaged"):
        prune(master.repository, 0)
    os.unlink(master.repository.file(f"m/{third.id}"))
    assert contents(master.repository.path) == before


def test_gc_takes_what_a_cut_publish_left(master: Master) -> None:
    master.three()
    objects.add(master.repository.path, {sha256(b"x").hexdigest(): str(master.put("x", "x"))}, lambda _: None)
    os.makedirs(master.repository.file(".new/rest"))
    assert check(master.repository).spare == 1
    assert prune(master.repository, 10).objects == 1
    assert not os.path.exists(master.repository.file(".new"))
