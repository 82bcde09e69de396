"""The lab: `lab(n)` boots n real hosts with whiz on them, which are gone with the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.lab import Lab, missing

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what boots hosts. The first of them builds what they are made of, which takes its time."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def lab() -> Iterator[Lab]:
    why = missing()
    if why and os.environ.get("CI") != "true":  # there it must be possible
        pytest.skip(why)
    assert not why
    made = Lab()
    yield made
    made.end()
