"""`hosts`: sshd servers on this machine, which are gone with the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fleet.deploying import Master
from tests.fleet.sshds import SSHD, Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if SSHD is None and os.environ.get("CI") != "true":
        pytest.skip("sshd is not installed (apt-get install openssh-server)")
    assert SSHD is not None
    made = Hosts(tmp_path)
    yield made
    made.end()


@pytest.fixture
def master(hosts: Hosts) -> Master:
    return Master(hosts)
