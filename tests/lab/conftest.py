"""The lab: `lab(n)` boots n real hosts with whiz on them, which are gone with the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.lab import Lab, missing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lab() -> Iterator[Lab]:
    why = missing()
    if why and os.environ.get("CI") != "true":  # there it must be possible
        pytest.skip(why)
    assert not why
    made = Lab()
    yield made
    made.end()
