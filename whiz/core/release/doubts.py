"""What in a tree hardly belongs into a release: secrets above all, for every node gets all of it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = 4096  # bytes of a file's beginning that are judged
NEVER = (".git", ".hg", ".svn", ".DS_Store")  # left out, and said to be
_EXAMPLE = re.compile(r"example|sample|template|dist", re.IGNORECASE)
_SECRET = {
    ".env": "an environment file",
    ".env.*": "an environment file",
    "*.env": "an environment file",
    "id_rsa": "a private key",
    "id_dsa": "a private key",
    "id_ecdsa": "a private key",
    "id_ed25519": "a private key",
    "*.ppk": "a private key",
    "*.p12": "a private key",
    "*.pfx": "a private key",
    "*.kdbx": "a store of passwords",
    ".netrc": "a store of passwords",
    ".pgpass": "a store of passwords",
    ".pypirc": "a store of passwords",
    ".htpasswd": "a store of passwords",
    ".git-credentials": "a store of passwords",
}
_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|PuTTY-User-Key-File-|AGE-SECRET-KEY-1")
_BY_HASH = 1  # of the flags in a .pyc (PEP 552)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits a path: as a whole where it holds a slash, else any one part of it."""
    return any(
        fnmatchcase(path, p.strip("/"))
        if "/" in p.strip("/")
        else any(fnmatchcase(n, p.strip("/")) for n in path.split("/"))
        for p in patterns
    )


def secret(path: str, head: bytes) -> str | None:
    """Say which secret a file seems to be, by its name or its beginning; None where it seems to be none."""
    if _KEY.search(head):
        return "holds a private key"
    name = path.rpartition("/")[2]
    for pattern, what in _SECRET.items():
        if fnmatchcase(name, pattern) and not _EXAMPLE.search(name):
            return f"looks like {what}"
    return None


def timed_bytecode(path: str, head: bytes) -> bool:
    """Whether this is bytecode that goes by time and size of its source, which after a reproducible build both lie."""
    return path.endswith(".pyc") and not int.from_bytes(head[4:8], "little") & _BY_HASH
