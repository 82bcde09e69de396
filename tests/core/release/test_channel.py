"""Channels: who gets what, and which channel is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.release.signing import Signer
from whiz.core.errors import NewerFormat
from whiz.core.release import channel as channels
from whiz.core.release import sshsig, trust
from whiz.core.release.channel import Channel, Offer, Rule, bucket, wanted
from whiz.core.release.release import ReleaseError
from whiz.core.release.trust import Root
from whiz.core.value import replace

A, B = Offer("a" * 64, 10), Offer("b" * 64, 20)
PLAIN = Channel(
    repo="r1", name="stable", seq=57, issued=1000, expires=2000, root=1, releases=(("A", A), ("B", B)), default="A"
)
ANNA, BERT, CARL = Signer("anna"), Signer("bert"), Signer("carl")


def rules(*found: Rule) -> Channel:
    return replace(PLAIN, rules=found)


@pytest.mark.parametrize(
    ("channel", "host", "groups", "label"),
    [
        (PLAIN, "pi1", (), "A"),
        (rules(Rule("group", "B", "cams")), "pi1", ("cams", "x"), "B"),
        (rules(Rule("group", "B", "cams")), "pi1", ("x",), "A"),
        (rules(Rule("host", "B", "pi1")), "pi1", (), "B"),
        (rules(Rule("host", "B", "pi1")), "pi2", (), "A"),
        (rules(Rule("group", "A", "cams"), Rule("host", "B", "pi1")), "pi1", ("cams",), "B"),
        (rules(Rule("rollout", "A", permille=1000), Rule("host", "B", "pi1")), "pi1", (), "B"),
        (rules(Rule("rollout", "B", permille=1000), Rule("group", "A", "cams")), "pi1", ("cams",), "A"),
        (rules(Rule("rollout", "B", permille=1000)), "pi1", (), "B"),
        (rules(Rule("rollout", "B", permille=0)), "pi1", (), "A"),
    ],
)
def test_who_gets_what(channel: Channel, host: str, groups: tuple[str, ...], label: str) -> None:
    """A pin of a host beats its groups, and these beat a rollout, in whichever order they were written."""
    assert wanted(channel, host, groups) == label
    assert channel.offer(label) in (A, B)


@given(st.text(max_size=8), st.text(max_size=8), st.integers(0, 1000), st.integers(0, 1000))
def test_a_larger_wave_holds_the_smaller_one(salt: str, host: str, small: int, more: int) -> None:
    assert 0 <= bucket(salt, host) < 1000
    first = wanted(rules(Rule("rollout", "B", permille=small, salt=salt)), host, ())
    then = wanted(rules(Rule("rollout", "B", permille=max(small, more), salt=salt)), host, ())
    assert (first, then) != ("B", "A")


def test_a_wave_is_as_large_as_it_says() -> None:
    hosts = [f"pi{i}" for i in range(5000)]
    hit = sum(wanted(rules(Rule("rollout", "B", permille=100, salt="s")), h, ()) == "B" for h in hosts)
    assert 400 < hit < 600


labels = st.sampled_from(["A", "B"])
every_rule = st.one_of(
    st.builds(Rule, st.sampled_from(["host", "group"]), labels, st.text(max_size=5)),
    st.builds(
        lambda u, p, s, h: Rule("rollout", u, permille=p, salt=s, hosts=tuple(h)),
        labels,
        st.integers(0, 1000),
        st.text(max_size=5),
        st.lists(st.text(max_size=5), max_size=3),
    ),
)


@given(st.lists(every_rule, max_size=5), st.text(max_size=5), st.text(max_size=20))
def test_a_channel_reads_as_it_was_written(found: list[Rule], by: str, note: str) -> None:
    channel = replace(PLAIN, rules=tuple(found), by=by, note=note)
    assert channels.load(channels.dump(channel)) == channel


def _payload(**changes: Any) -> bytes:
    return json.dumps({**json.loads(channels.dump(PLAIN)), **changes}).encode()


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "not as it should be: 'format'|not as it should be"),
        (_payload(seq="57"), "seq is '57'"),
        (_payload(seq=True), "seq is True"),
        (_payload(releases={"A": {"id": "x", "size": 1}}), "is not the id of a release"),
        (_payload(releases={"A": {"id": "a" * 64}}), "'size'"),
        (_payload(rules=[{"use": "A"}]), "'group'"),
        (_payload(rules=[{"use": "A", "rollout": 3}]), "rollout is 3"),
        (_payload(rules=[{"use": "A", "rollout": {"permille": 1, "salt": "s", "hosts": "x"}}]), "hosts is 'x'"),
        (_payload(rules=[{"use": "A", "rollout": {"permille": 1, "salt": "s", "hosts": [1]}}]), "hosts is"),
        (_payload(rules=[{"use": "C", "host": "x"}]), "'C', which is none of its releases"),
        (_payload(default="C"), "'C', which is none of its releases"),
    ],
)
def test_what_is_no_channel(payload: bytes, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        channels.load(payload)


def test_a_newer_one_is_refused_and_not_called_corrupt() -> None:
    with pytest.raises(NewerFormat):
        channels.load(_payload(format=2))


# -- whom to believe


def root(version: int, *keys: Signer, threshold: int = 1, repo: str = "r1") -> Root:
    names = tuple(k.public for k in keys)
    roles = tuple((role, names) for role in trust.ROLES)
    return Root(repo=repo, app="cam", version=version, keys=roles, threshold=threshold)


def by(new: Root, keys: tuple[str, ...], *signers: Signer) -> frozenset[str]:
    """Return which of these keys count, when these have signed a key set."""
    payload = trust.dump(new)
    _, found = sshsig.split(payload + b"".join(s.armored(payload, "whiz-root") for s in signers))
    return trust.signers(found, payload, "root", keys)


@pytest.mark.parametrize(
    ("old", "new", "signed", "why"),
    [
        (root(1, ANNA), root(2, BERT), (ANNA, BERT), None),
        (root(1, ANNA), root(2, ANNA), (ANNA,), None),
        (root(1, ANNA), root(2, BERT), (BERT,), "0 of the root keys of version 1"),
        (root(1, ANNA), root(2, BERT), (ANNA,), "0 of its own root keys"),
        (root(1, ANNA), root(3, BERT), (ANNA, BERT), "it is version 3; after 1 comes 2"),
        (root(1, ANNA), root(2, BERT, repo="r2"), (ANNA, BERT), "of the repository r2, not r1"),
        (
            root(1, ANNA, BERT, threshold=2),
            root(2, CARL),
            (ANNA, CARL),
            "1 of the root keys of version 1 signed it, not 2",
        ),
        (root(1, ANNA, BERT, threshold=2), root(2, CARL), (ANNA, ANNA, CARL), "1 of the root keys of version 1"),
        (root(1, ANNA, BERT, threshold=2), root(2, CARL), (ANNA, BERT, CARL), None),
    ],
)
def test_which_key_set_follows(old: Root, new: Root, signed: tuple[Signer, ...], why: str | None) -> None:
    found = trust.heir(old, new, by(new, old.of("root"), *signed), by(new, new.of("root"), *signed))
    assert (why in str(found)) if why else found is None


def test_a_key_set_reads_as_it_was_written() -> None:
    one = root(4, ANNA, BERT, threshold=2)
    assert trust.load(trust.dump(one)) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0},
        {"threshold": 3},
        {"version": "x"},
        {"keys": {}},
        {"keys": {"root": [], "release": [ANNA.public], "channel": [ANNA.public]}},
        {"keys": {"root": [ANNA.public], "release": [], "channel": [ANNA.public]}},
        {"keys": {"root": ["ssh-rsa AAAA"], "release": [], "channel": []}},
        {"keys": 3},
    ],
)
def test_what_is_no_key_set(changes: dict[str, Any]) -> None:
    held = {**json.loads(trust.dump(root(1, ANNA))), **changes}
    with pytest.raises(ReleaseError, match="the key set"):
        trust.load(json.dumps(held).encode())
    with pytest.raises(ReleaseError, match="the key set"):
        trust.load(b"[]")


def test_a_newer_key_set_is_refused_and_not_called_corrupt() -> None:
    with pytest.raises(NewerFormat):
        trust.load(json.dumps({**json.loads(trust.dump(root(1, ANNA))), "format": 2}).encode())


def test_who_signed_and_why_it_does_not_count() -> None:
    payload = channels.dump(PLAIN)
    _, ours = sshsig.split(ANNA.signed(payload, "channel"))
    assert trust.signers(ours, payload, "channel", [ANNA.public]) == {ANNA.public}
    assert trust.signers(ours, payload, "channel", [ANNA.public], verify=lambda *_: False) == frozenset()
    assert trust.signers(ours, payload, "release", [ANNA.public]) == frozenset()
    assert trust.signers(ours, payload, "channel", [BERT.public]) == frozenset()
    assert trust.signers(ours, payload + b" ", "channel", [ANNA.public]) == frozenset()
    assert "not trusted as the channel key (SHA256:" in trust.unsigned(ours, "channel", [BERT.public])
    assert "signed for whiz-channel, not for whiz-release" in trust.unsigned(ours, "release", [ANNA.public])
    assert "is not of these bytes" in trust.unsigned(ours, "channel", [ANNA.public])
    assert trust.unsigned((), "channel", [ANNA.public]) == "not signed"


@pytest.mark.parametrize(
    ("channel", "last", "why"),
    [
        (PLAIN, None, None),
        (PLAIN, (56, b"other"), None),
        (PLAIN, (57, channels.dump(PLAIN)), None),
        (PLAIN, (57, b"other"), "has been seen with other content"),
        (replace(PLAIN, seq=41), (57, b""), "seq 41 < 57"),
        (replace(PLAIN, repo="r2"), None, "of the repository r2, not r1"),
        (replace(PLAIN, name="beta"), None, "it is the channel beta, not stable"),
    ],
)
def test_which_channel_is_taken(channel: Channel, last: tuple[int, bytes] | None, why: str | None) -> None:
    found = trust.refused(channel, "r1", "stable", last, channels.dump(channel))
    assert (why in str(found)) if why else found is None


def test_a_channel_past_its_time_is_said_and_no_more() -> None:
    assert trust.stale(PLAIN, 1500) is None
    assert "expired 2 days ago" in str(trust.stale(PLAIN, 2000 + 2 * 86400))
    assert trust.stale(PLAIN, 0) is None
    assert "this clock, or the publisher's, is wrong" in str(
        trust.stale(replace(PLAIN, issued=10**9, expires=10**10), 0)
    )
