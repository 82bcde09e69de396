"""What tests of faults share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.onlooker import Node
from tests.faults.outside import clear

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    clear(f"FAULT={tmp_path}\0")
