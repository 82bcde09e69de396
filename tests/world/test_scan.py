"""What one look at every process sees of those that are hard to see."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from whiz.core.model import Program, Run
from whiz.world.host.mark import RUN
from whiz.world.host.scan import Table
from whiz.world.host.stat import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKS = 60


@pytest.fixture
def restless(tmp_path: Path) -> Iterator[list[int]]:
    """Processes that become the same program again and again, marked by the environment that they hand on."""
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    env = {RUN: "home/a/b/c", "PADDING": "x" * 10_000}
    started = [subprocess.Popen([str(script)], env=env, start_new_session=True) for _ in range(4)]
    yield [p.pid for p in started]
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_mark_is_seen_also_in_the_middle_of_exec(restless: list[int]) -> None:
    """Naively read, one look in ten or so shows no environment, or half of one."""
    for _ in range(LOOKS):
        table = Table(boot_id(), "home")
        for pid in restless:
            entry = table.entries[pid]
            assert entry.readable
            assert entry.mark is not None
            assert entry.mark.run == "b"


def test_who_only_looks_blinks_too(restless: list[int]) -> None:
    """The processes of the test above really are such: read once, their environment is not always there."""
    for _ in range(1_000_000):
        for pid in restless:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if f"{RUN}=".encode() not in f.read():
                    return
    pytest.fail(f"never in the middle of exec, with {os.cpu_count()} processors")


def test_a_run_of_another_home_with_the_same_number_is_not_of_this_tree() -> None:
    """As in a home that was copied with its records: only whoever carries this home's mark is a member."""
    env = {"home": {RUN: "home/a/1/x"}, "copy": {RUN: "copy/a/1/x"}}
    started = {h: subprocess.Popen(["sleep", "1009"], env=e, start_new_session=True) for h, e in env.items()}
    try:
        run = Run(id="1", program=Program(name="a", argv=("/bin/sleep", "1009")), boot=boot_id(), started=0.0)
        for home, process in started.items():
            assert [p.pid for p in Table(boot_id(), home).tree(run)] == [process.pid]
        assert Table(boot_id(), "third").tree(run) == ()
    finally:
        for process in started.values():
            process.kill()
            process.wait()
