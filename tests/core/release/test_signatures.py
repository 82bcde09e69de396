"""Ed25519 and SSHSIG: what is signed is found so, and no bit of it may be another."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.release.signing import Signer, Token, armor, spelled, strings
from whiz.core.release import sshsig
from whiz.core.release.ed25519 import _L, _P, verify

ANNA, BERT, TOKEN = Signer("anna"), Signer("bert"), Token("token")

# RFC 8032, section 7.1: key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_standard_s_own_examples(key: str, message: str, signature: str) -> None:
    assert verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))
    assert not verify(bytes.fromhex(key), bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@given(st.binary(max_size=40), st.integers(0, 32 * 8 - 1), st.integers(0, 64 * 8 - 1))
def test_one_bit_makes_it_wrong(message: bytes, in_key: int, in_signature: int) -> None:
    signature = ANNA.sign(message)
    assert verify(ANNA.raw, message, signature)
    assert not verify(_flipped(ANNA.raw, in_key), message, signature)
    assert not verify(ANNA.raw, message, _flipped(signature, in_signature))


def _flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")


def test_a_second_signature_of_the_same_is_none() -> None:
    """S and S + L would both fit the equation: only the smaller one is a signature (RFC 8032, 5.1.7)."""
    signature = ANNA.sign(b"m")
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + _L).to_bytes(32, "little")
    assert not verify(ANNA.raw, b"m", other)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        ANNA.raw[:31],
        ANNA.raw + b"\0",
        _P.to_bytes(32, "little"),  # y is not below p
        (2).to_bytes(32, "little"),  # no point has this y
        (1 | 1 << 255).to_bytes(32, "little"),  # x is 0, and negative
    ],
)
def test_what_is_no_key_verifies_nothing(key: bytes) -> None:
    assert not verify(key, b"m", ANNA.sign(b"m"))
    assert not verify(ANNA.raw, b"m", key.ljust(32, b"\1")[:32] + ANNA.sign(b"m")[32:])
    assert not verify(ANNA.raw, b"m", b"")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("signer", [ANNA, TOKEN])
def test_a_signed_file(signer: Signer, algorithm: str) -> None:
    payload = b'{"a": 1}\n'
    got, (signature,) = sshsig.split(payload + signer.armored(payload, "whiz-channel", algorithm))
    assert got == payload
    assert signature.key == signer.public == sshsig.public(f"{signer.public} a comment")
    assert signature.namespace == "whiz-channel"
    assert sshsig.good(signature, payload)
    assert not sshsig.good(signature, payload + b"x")
    assert not sshsig.good(signature._replace(namespace="whiz-release"), payload)
    assert not sshsig.good(signature._replace(key=BERT.public), payload)
    assert not sshsig.good(signature._replace(hash="md5"), payload)
    assert not sshsig.good(signature._replace(blob=signature.blob[:-1]), payload)


def test_a_token_that_nobody_touched_has_not_signed() -> None:
    token = Token("token", touched=False)
    _, (signature,) = sshsig.split(token.signed(b"x\n", "root"))
    assert not sshsig.good(signature, b"x\n")


def test_a_signature_of_another_kind_of_key_counts_for_nothing() -> None:
    rsa = strings(b"ssh-rsa", b"\1", b"\2")
    for blob in (strings(b"ssh-rsa", b"x"), strings(b"ssh-ed25519", b"x")):
        _, (signature,) = sshsig.split(b"x\n" + armor(rsa, "whiz-root", "sha512", blob))
        assert not sshsig.good(signature, b"x\n")
    alike = strings(b"ssh-dss", b"x")
    _, (signature,) = sshsig.split(b"x\n" + armor(alike, "whiz-root", "sha512", strings(b"ssh-dss", b"x")))
    assert not sshsig.good(signature, b"x\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x\n", "it has 0 signatures"),
        (b"x" + ANNA.armored(b"x", "n"), "does not end with a line"),
        (b"x\n" + ANNA.armored(b"x\n", "n") * 17, "it has 17 signatures"),
        (b"x\n" + ANNA.armored(b"x\n", "n") + b"more", "something stands behind it"),
        (b"x\n" + ANNA.armored(b"x\n", "n")[:-9], "a signature has no end"),
        (b"x\n" + sshsig.BEGIN + b"?" + sshsig.END, "no base64"),
        (b"x\n" + sshsig.BEGIN + base64.encodebytes(b"SSHSIG\0\0\0\2") + sshsig.END, "version 1"),
        (b"x\n" + sshsig.BEGIN + base64.encodebytes(b"SSHSIG\0\0\0\1\0\0\0\x09") + sshsig.END, "cut short"),
        (b"x\n" + armor(b"", "n", "sha512", b""), "a key is empty"),
        (
            b"x\n"
            + sshsig.BEGIN
            + base64.encodebytes(b"SSHSIG\0\0\0\1" + strings(b"", b"", b"", b"", b"", b""))
            + sshsig.END,
            "behind its end",
        ),
    ],
)
def test_what_is_no_signed_file(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sshsig.split(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_signed_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        sshsig.split(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "every node can check"),
        ("ssh-rsa AAAA", "every node can check"),
        ("ssh-ed25519 ???", "no base64"),
        (f"sk-ssh-ed25519@openssh.com {ANNA.public.split()[1]}", "contradict"),
        ("ssh-ed25519 AAAA", "cut short"),
    ],
)
def test_what_is_no_key(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sshsig.public(text)


def test_a_fingerprint_is_that_of_openssh() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"  # of github.com
    assert sshsig.fingerprint(key) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    assert spelled("ssh-ed25519", ANNA.raw) == ANNA.public
