"""Many files: twice as many are twice the work, on the master and on a node, and somebody who watches is told.

The work is counted in Python's instructions within whiz, so that it is the same on every machine. All commands at full size,
with what they took: WHIZ_RELEASE_FILES=100000 ./scripts/test tests/world/release/test_growth.py
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.tools import figure
from tests.world.release.node import COMMAND
from whiz.face import voice
from whiz.face.quesofiesta import cli, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    import pytest

FILES = int(os.environ.get("WHIZ_RELEASE_FILES", "1000"))
WHIZ = os.path.dirname(os.path.dirname(voice.__file__))


def work(do: Callable[[], object]) -> int:
    """Return how many instructions of whiz's own Python something takes, in all its threads."""
    counts: dict[int, int] = {}

    def count(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.startswith(WHIZ):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            me = threading.get_ident()
            counts[me] = counts.get(me, 0) + 1
        return count

    before = sys.gettrace()
    threading.settrace(count)
    sys.settrace(count)
    try:
        do()
    finally:
        sys.settrace(before)
        threading.settrace(None)
    return sum(counts.values())


def made(place: Path, count: int) -> None:
    for i in range(count):
        path = place / f"{i % 97}" / f"{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"print({i})\n")


def story(place: Path) -> list[list[str]]:
    """Return the commands of one release from its directory to a node, and of the next one."""
    source, repo, node, keys = f"{place}/src", f"{place}/repo", f"{place}/node", f"{place}/keys"
    return [
        ["build", source, "--repo", repo],
        ["publish", source, "--repo", repo, "--keys", keys, "--label", "v1"],
        ["verify", "--repo", repo],
        ["pull", "--home", node],
        ["publish", source, "--repo", repo, "--keys", keys, "--label", "v2"],
        ["diff", "v1", "v2", "--repo", repo],
        ["pull", "--home", node],
        ["fsck", "--home", node],
        ["gc", "--keep", "1", "--repo", repo],
    ]


def begun(place: Path, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    place.mkdir()
    made(place / "src", count)
    capsys.readouterr()
    assert cli.main(["init", f"{place}/repo", "--app", "camera", "--keys", f"{place}/keys"]) == 0
    said = capsys.readouterr().out
    (place / "node").mkdir()
    kept = [line for line in said.splitlines() if "http://" not in line]
    (place / "node/quesofiesta.yaml").write_text("\n".join(kept) + "\n")


def changed(place: Path) -> None:
    for i in range(10):
        (place / "src" / f"{i}" / f"{i}.py").write_text(f"print('changed', {i})\n")


def test_the_work_grows_with_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "NAME", "quesofiesta")
    few, many = 100, 400
    took: dict[int, list[int]] = {}
    for count in (few, many):
        place = tmp_path / f"{count}"
        begun(place, count, capsys)
        held = took.setdefault(count, [])
        for words in story(place):
            if words[-1] == "v2":
                changed(place)
            codes: list[int] = []
            held.append(work(lambda w=words, c=codes: c.append(cli.main(w))))  # type: ignore[misc]
            assert codes == [0], capsys.readouterr()
    for words, a, b in zip(story(tmp_path), took[few], took[many], strict=True):
        assert b > many, words
        assert b < a * many // few * 1.5, f"{words[0]}: {a} for {few} files, {b} for {many}"


def watched(words: list[str]) -> tuple[str, dict[str, float]]:
    """Run a command on a terminal; return what it says there, and what it took."""
    master, slave = pty.openpty()
    began, parts = time.monotonic(), []
    process = subprocess.Popen([*COMMAND, *words], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while piece := os.read(master, 65536):
            parts.append(piece)
    os.close(master)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = b"".join(parts).decode()
    assert process.returncode == 0, said[-2000:]
    took = {"seconds": round(time.monotonic() - began, 1), "cpu": round(usage.ru_utime + usage.ru_stime, 1)}
    return said, took | {"peak_mb": usage.ru_maxrss // 1000}


def test_who_watches_many_files_is_told_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "place"
    begun(place, FILES, capsys)
    for words in story(place):
        if words[-1] == "v2":
            changed(place)
        said, took = watched(words)
        figure(test="many files", command=words[0], files=FILES, **took)
        if words[0] == "pull":
            count = 10 if "fetching 10 of" in said else FILES
            assert f"\r{count} of {count} objects " in said
        if FILES >= 50_000 and words[0] in ("build", "publish", "verify"):  # for it takes some seconds then
            assert re.search(r"\r\d+ files (read|stored|checked) ", said)


def test_a_master_counts_on_a_terminal_some_times_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    step = told.progress(argparse.Namespace(), "read")
    for _ in range(1000):
        now[0] += 0.01
        step(1)
    shown = re.findall(r"\r(\d+) files read ", capsys.readouterr().err)
    assert 40 < len(shown) < 60
    assert shown == sorted(shown, key=int)
