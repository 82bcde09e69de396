"""Whatever is not as it should be in a repository is found, and named."""

from __future__ import annotations

import os
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from whiz.core.release import channel as channels
from whiz.core.release import trust
from whiz.core.release.release import dump
from whiz.core.value import replace
from whiz.world.release import keys, objects
from whiz.world.release.checking import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.release.conftest import Master


def spoil(path: str, change: Callable[[bytes], bytes]) -> None:
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(change(data))


def flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def only_problem(master: Master) -> str:
    found = check(master.repository).problems
    assert len(found) == 1, found
    return found[0]


def big(master: Master) -> str:
    """Publish something of several pieces; return the path of its object."""
    data = os.urandom(1_500_000) + bytes(2_000_000)
    master.put("big", data)
    master.publish()
    return master.repository.file(objects.name_of(sha256(data).hexdigest()))


def test_a_good_repository(master: Master) -> None:
    big(master)
    master.three()
    seen: list[int] = []
    found = check(master.repository, seen.append)
    assert (found.releases, found.objects, found.spare, found.problems) == (4, 8, 0, ())
    assert seen == list(range(1, 9))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flipped, "is damaged"),
        (lambda d: d[:-7], "is damaged: it is cut short"),
        (lambda _: b"", "is damaged: it is cut short"),
        (lambda d: d + b"x", "is damaged: something stands behind its end"),
        (lambda _: zlib.compress(b"other"), "is damaged: its content has another digest or size"),
        (lambda _: zlib.compress(bytes(50_000_000)), "is damaged: its content has another digest or size"),
    ],
)
def test_a_damaged_object(master: Master, change: Callable[[bytes], bytes], said: str) -> None:
    path = big(master)
    spoil(path, change)
    assert only_problem(master).startswith(f"{path} {said}")


def test_a_missing_object(master: Master) -> None:
    path = big(master)
    os.unlink(path)
    assert only_problem(master) == f"{path} is missing"


@pytest.mark.parametrize("change", [flipped, lambda d: d[:-9], lambda _: b"", lambda _: zlib.compress(b"garbage\n")])
def test_a_damaged_pack(master: Master, change: Callable[[bytes], bytes]) -> None:
    first, second, _ = master.three()
    path = master.repository.file(f"d/{first.id}-{second.id}")
    spoil(path, change)
    assert only_problem(master).startswith(f"{path} is damaged: ")


def test_a_damaged_release(master: Master) -> None:
    first, _, third = master.three()
    spoil(master.repository.file(f"m/{first.id}"), flipped)
    assert f"m/{first.id} is damaged" in only_problem(master)
    os.unlink(master.repository.file(f"m/{first.id}"))
    assert check(master.repository).problems == (), "gc may have taken it"
    os.unlink(master.repository.file(f"m/{third.id}"))
    assert only_problem(master) == f"the release {third.id[:12]}, which a channel offers, is missing"


def test_a_release_that_a_stranger_signed(master: Master) -> None:
    first, _, _ = master.three()
    text = dump(master.repository.release(first.id))
    keys.make(f"{master.keys}/stranger", "x")
    block = keys.sign(text, "release", keys.public(f"{master.keys}/stranger"), [master.keys])
    master.repository.put_manifest(first.id, text + block)
    assert "signed by a key that is not trusted as the release key" in only_problem(master)


def test_a_channel_that_was_tampered_with(master: Master) -> None:
    master.three()
    path = master.repository.file("channel/stable")
    spoil(path, lambda d: d.replace(b"the 3.", b"the 4."))
    assert only_problem(master).startswith(f"{path}: the signature by SHA256:")


def test_a_channel_under_anothers_name(master: Master) -> None:
    master.three()
    os.rename(master.repository.file("channel/stable"), master.repository.file("channel/beta"))
    assert only_problem(master).endswith("channel/beta: it is the channel stable, not beta")


def test_a_channel_that_is_no_signed_file(master: Master) -> None:
    master.three()
    spoil(master.repository.file("channel/stable"), lambda _: b"<html>log in first</html>\n")
    assert "channel/stable is not a signed file: it has 0 signatures" in only_problem(master)


def test_a_history_that_tells_something_else(master: Master) -> None:
    done = master.three()[2]
    path = master.repository.file(f"history/stable/{done.channel.seq}")
    other = replace(done.channel, note="something else")
    payload = channels.dump(other)
    block = keys.sign(payload, "channel", master.root.of("channel")[0], [master.keys])
    master.repository.put(f"history/stable/{done.channel.seq}", payload + block)
    assert only_problem(master) == f"{path}: the channel says something else under this number"
    os.unlink(path)
    assert only_problem(master).endswith(f"is number {done.channel.seq}, which is not in its history")


def test_a_history_entry_that_was_tampered_with_or_renamed(master: Master) -> None:
    first = master.three()[0]
    path = master.repository.file(f"history/stable/{first.channel.seq}")
    spoil(path, lambda d: d.replace(b"the 1.", b"the 2."))
    assert only_problem(master).startswith(f"{path}: the signature by")
    os.rename(path, master.repository.file("history/stable/7"))
    assert only_problem(master).endswith("history/stable/7: its number is another one")


def test_a_first_key_set_that_did_not_sign_itself(master: Master) -> None:
    other = keys.make(f"{master.keys}/other", "x")
    new = replace(master.root, keys=(("root", (other,)), *master.root.keys[1:]))
    payload = trust.dump(new)
    block = keys.sign(payload, "root", master.root.of("root")[0], [master.keys])
    master.repository.put("root/1", payload + block)
    assert only_problem(master).endswith("root/1: the first key set did not sign itself")


def test_a_key_set_that_the_one_before_did_not_sign(master: Master) -> None:
    other = keys.make(f"{master.keys}/other", "x")
    new = replace(master.root, version=2, keys=(("root", (other,)), *master.root.keys[1:]))
    payload = trust.dump(new)
    master.repository.put("root/2", payload + keys.sign(payload, "root", other, [master.keys]))
    assert only_problem(master).endswith("root/2: 0 of the root keys of version 1 signed it, not 1")
