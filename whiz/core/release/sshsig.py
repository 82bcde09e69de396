"""Signatures as `ssh-keygen -Y sign` makes them (openssh, PROTOCOL.sshsig): read here, made by OpenSSH.

A signed file is its payload followed by one or more armored signatures, so that anybody can check it:

    sed '/^-----BEGIN SSH SIGNATURE-----$/,$d' FILE > payload; sed '1,/^-----BEGIN/…' FILE > sig
    ssh-keygen -Y verify -f allowed_signers -I NAME -n NAMESPACE -s sig < payload
"""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from whiz.core.release.ed25519 import verify as verify_ed25519

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN, END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
MOST = 16  # signatures in a file
_HASHES = ("sha256", "sha512")
_PLAIN, _TOKEN = "ssh-ed25519", "sk-ssh-ed25519@openssh.com"
KEYS = (_PLAIN, _TOKEN)


class Signature(NamedTuple):
    """One signature: by which key (as authorized_keys has it, without a comment), for what, of what kind."""

    key: str
    namespace: str
    hash: str
    blob: bytes


def split(data: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """Return a signed file's payload and its signatures; raise ValueError."""
    payload, *rest = data.split(BEGIN)
    if payload and not payload.endswith(b"\n"):
        raise ValueError("the payload does not end with a line")
    if not 1 <= len(rest) <= MOST:
        raise ValueError(f"it has {len(rest)} signatures, not 1 to {MOST}")
    return payload, tuple(_armored(block) for block in rest)


def _armored(block: bytes) -> Signature:
    body, end, behind = block.partition(END)
    if not end or behind:
        raise ValueError("a signature has no end, or something stands behind it")
    try:
        raw = binascii.a2b_base64(body.replace(b"\n", b""), strict_mode=True)
    except binascii.Error as exc:
        raise ValueError(f"a signature is no base64: {exc}") from exc
    if raw[:10] != b"SSHSIG\0\0\0\1":
        raise ValueError("a signature is not of SSHSIG's version 1")
    key, namespace, _, algorithm, blob, rest = _strings(raw[10:], 5)
    if rest:
        raise ValueError("a signature has something behind its end")
    return Signature(_spelled(key), namespace.decode("utf-8"), algorithm.decode("ascii"), blob)


def good(signature: Signature, payload: bytes, verify: Callable[[bytes, bytes, bytes], bool] = verify_ed25519) -> bool:
    """Whether the key of this signature signed this payload. `verify`: of Ed25519 (key, message, signature)."""
    if signature.hash not in _HASHES:
        return False
    try:
        kind, *held = _fields(_unspelled(signature.key))
        signed, *parts = _strings(signature.blob, 2)
    except ValueError:
        return False
    digest = hashlib.new(signature.hash, payload).digest()
    words = (signature.namespace.encode(), b"", signature.hash.encode(), digest)
    message = b"SSHSIG" + b"".join(len(w).to_bytes(4, "big") + w for w in words)
    if signed != kind or len(held) != (1 if kind == _PLAIN.encode() else 2):
        return False
    if kind == _PLAIN.encode() and not parts[1]:
        return verify(held[0], message, parts[0])
    if kind == _TOKEN.encode() and len(parts[1]) == 5 and parts[1][0] & 1:  # noqa: PLR2004  flags (touched), counter
        whole = hashlib.sha256(held[1]).digest() + parts[1] + hashlib.sha256(message).digest()
        return verify(held[0], whole, parts[0])
    return False


def public(text: str) -> str:
    """Return a public key without its comment; raise ValueError for one of a kind that nodes cannot check."""
    words = text.split()
    if len(words) < 2 or words[0] not in KEYS:  # noqa: PLR2004  kind and key
        raise ValueError(f"not a public key of a kind that every node can check ({', '.join(KEYS)})")
    key = " ".join(words[:2])
    if _fields(_unspelled(key))[0] != words[0].encode():
        raise ValueError(f"its two parts contradict each other: {words[0]}")
    return key


def fingerprint(key: str) -> str:
    """Return how `ssh-keygen -l` names a key."""
    digest = hashlib.sha256(_unspelled(key)).digest()
    return "SHA256:" + binascii.b2a_base64(digest, newline=False).decode().rstrip("=")


def _spelled(blob: bytes) -> str:
    return f"{_fields(blob)[0].decode('ascii')} {binascii.b2a_base64(blob, newline=False).decode()}"


def _unspelled(key: str) -> bytes:
    try:
        return binascii.a2b_base64(key.split()[1], strict_mode=True)
    except binascii.Error as exc:
        raise ValueError(f"a key is no base64: {exc}") from exc


def _fields(blob: bytes) -> list[bytes]:
    found: list[bytes] = []
    while blob:
        one, blob = _strings(blob, 1)
        found.append(one)
    if not found:
        raise ValueError("a key is empty")
    return found


def _strings(data: bytes, count: int) -> list[bytes]:
    """Return so many of SSH's strings, and what is behind them."""
    found = []
    for _ in range(count):
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            raise ValueError("it is cut short")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return [*found, data]
