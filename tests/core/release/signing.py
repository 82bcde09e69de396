"""A signer for tests, after RFC 8032 section 5.1.6: keys made of a word, signatures as OpenSSH makes them."""

from __future__ import annotations

import base64
import hashlib

from whiz.core.release.ed25519 import _BASE, _L, _P, _times
from whiz.core.release.sshsig import BEGIN, END


class Signer:
    """A key pair made of a word. `public`: as authorized_keys has it."""

    def __init__(self, word: str) -> None:
        h = hashlib.sha512(hashlib.sha256(word.encode()).digest()).digest()
        a = int.from_bytes(h[:32], "little")
        self._a = a & (1 << 254) - 8 | 1 << 254
        self._prefix = h[32:]
        self.raw = _compressed(_times(self._a, _BASE))
        self.public = spelled("ssh-ed25519", self.raw)

    def sign(self, message: bytes) -> bytes:
        r = int.from_bytes(hashlib.sha512(self._prefix + message).digest(), "little") % _L
        point = _compressed(_times(r, _BASE))
        k = int.from_bytes(hashlib.sha512(point + self.raw + message).digest(), "little") % _L
        return point + ((r + k * self._a) % _L).to_bytes(32, "little")

    def armored(self, payload: bytes, namespace: str, algorithm: str = "sha512") -> bytes:
        """Return the block that `ssh-keygen -Y sign` would print."""
        key, blob = strings(b"ssh-ed25519", self.raw), self.sign(message(payload, namespace, algorithm))
        return armor(key, namespace, algorithm, strings(b"ssh-ed25519", blob))

    def signed(self, payload: bytes, role: str) -> bytes:
        """Return a signed file."""
        return payload + self.armored(payload, f"whiz-{role}")


class Token(Signer):
    """A key in a hardware token; `touched`: whether somebody did when it signed."""

    application = b"ssh:"

    def __init__(self, word: str, *, touched: bool = True) -> None:
        super().__init__(word)
        self._flags = bytes([1 if touched else 0]) + (7).to_bytes(4, "big")
        self.public = spelled("sk-ssh-ed25519@openssh.com", self.raw, self.application)

    def armored(self, payload: bytes, namespace: str, algorithm: str = "sha512") -> bytes:
        hashed = hashlib.sha256(message(payload, namespace, algorithm)).digest()
        blob = self.sign(hashlib.sha256(self.application).digest() + self._flags + hashed)
        key = strings(b"sk-ssh-ed25519@openssh.com", self.raw, self.application)
        return armor(key, namespace, algorithm, strings(b"sk-ssh-ed25519@openssh.com", blob) + self._flags)


def strings(*words: bytes) -> bytes:
    return b"".join(len(w).to_bytes(4, "big") + w for w in words)


def spelled(kind: str, *fields: bytes) -> str:
    return f"{kind} {base64.b64encode(strings(kind.encode(), *fields)).decode()}"


def message(payload: bytes, namespace: str, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm, payload).digest()
    return b"SSHSIG" + strings(namespace.encode(), b"", algorithm.encode(), digest)


def armor(key: bytes, namespace: str, algorithm: str, blob: bytes) -> bytes:
    raw = b"SSHSIG\0\0\0\1" + strings(key, namespace.encode(), b"", algorithm.encode(), blob)
    return BEGIN + base64.encodebytes(raw) + END


def _compressed(point: tuple[int, int, int, int]) -> bytes:
    x, y = (c * pow(point[2], -1, _P) % _P for c in point[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little")
