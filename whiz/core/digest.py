"""SHA-256 without OpenSSL, which `hashlib` loads: 3.5 MB and 5 ms that a whiz on a Pi does not have to spare."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12 and later
    except ImportError:  # pragma: no cover  which it is, the Python decides
        try:
            from _sha256 import sha256  # 3.11
        except ImportError:  # pragma: no cover  which it is, the Python decides
            from hashlib import sha256  # a Python that was built otherwise

__all__ = ["sha256"]
