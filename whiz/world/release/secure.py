"""Whom https believes."""

from __future__ import annotations

import ssl
import time

_SANE = 1_735_689_600  # 2025: a clock before that has not been set since the machine came up
_NO_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME


def believed(ca: str | None) -> ssl.SSLContext:
    """Return whom the system believes, and these certificates (a file); raise OSError, ssl.SSLError.

    A clock of 1970 is no reason to get no updates: signatures vouch for those.
    """
    held = ssl.create_default_context()
    if ca is not None:
        held.load_verify_locations(ca)
    if time.time() < _SANE:
        held.verify_flags |= _NO_TIME
    return held
