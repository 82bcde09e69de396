"""Disks that are full or read-only, and forks that fail: programs run, and none of them twice."""

from __future__ import annotations

import copy
import errno
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.outside import ENV, WHIZ, until
from tests.tools import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.onlooker import Node


root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system takes root")
straced = needs("strace")


@contextmanager
def small(folder: Path) -> Iterator[None]:
    """Mount a file system of 64 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "faults", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave not one byte and not one name."""
    with open(folder / "filler", "wb", buffering=0) as f:
        try:
            while f.write(bytes(4096)):
                continue
        except OSError as exc:
            assert exc.errno == errno.ENOSPC  # noqa: PT017  it is how the loop ends


def empty(folder: Path) -> None:
    (folder / "filler").unlink()


def read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def read_write(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


BREAK = {
    "full": (fill, empty, "No space left on device"),
    "read-only": (read_only, read_write, "Read-only file system"),
}
KEPT = {"restart": {"on": "failure"}}


@root
@pytest.mark.parametrize("how", BREAK)
@pytest.mark.parametrize("place", ["run", "state"])
def test_a_disk_that_refuses_costs_no_program_and_makes_no_second_copy(how: str, place: str, node: Node) -> None:
    spoil, mend, words = BREAK[how]
    with small(node.home / place):
        node.wish(a={})
        assert node.whiz("apply").returncode == 0
        first = node.mains()
        spoil(node.home / place)
        node.wish(a={}, b={}, k=copy.deepcopy(KEPT))
        seen: list[dict[str, int]] = []
        for _ in range(3):
            done = node.whiz("apply", "--wait", "8")
            assert done.returncode == 0, done.stdout + done.stderr
            said = [line for line in done.stderr.splitlines() if words in line]
            most = {"run": 1, "state": 2}[place]  # in the state directory: the last good whizzifest, the history
            assert 1 <= len(said) <= most, f"a flood: {done.stderr}"
            seen.append(node.mains())
        assert seen[0].keys() == {"a", "b", "k"}
        assert seen[0]["a"] == first["a"]
        assert seen[1:] == seen[:1] * 2, "the same processes"
        node.wish(a={}, k=copy.deepcopy(KEPT))
        assert node.whiz("apply", "--wait", "8").returncode == 0
        assert node.mains() == {n: p for n, p in seen[0].items() if n != "b"}
        mend(node.home / place)
        node.wish(a={}, k=copy.deepcopy(KEPT), c={})
        done = node.whiz("apply")
        assert (done.returncode, done.stderr) == (0, "")
        after = node.mains()
        assert after == {n: p for n, p in seen[0].items() if n != "b"} | {"c": after["c"]}
        assert sorted(p.name for p in (node.home / "run/runs").glob("*.json")) == ["a.json", "c.json", "k.json"]
        assert [node.starts(n) for n in ("a", "b", "c", "k")] == [1, 1, 1, 1]


@root
@pytest.mark.parametrize("how", BREAK)
def test_a_log_that_cannot_be_written_keeps_no_program_from_running(how: str, node: Node) -> None:
    spoil, mend, _ = BREAK[how]
    with small(node.home / "log"):
        spoil(node.home / "log")
        node.wish(a={}, k=copy.deepcopy(KEPT))
        assert node.whiz("apply").returncode == 0
        before = node.mains()
        assert before.keys() == {"a", "k"}
        mend(node.home / "log")
        assert node.whiz("apply").returncode == 0
        assert node.mains() == before


@root
@pytest.mark.parametrize("how", BREAK)
def test_a_task_that_succeeded_on_a_full_disk_is_not_run_again(how: str, node: Node) -> None:
    spoil, mend, _ = BREAK[how]
    script = 'echo $$ >>"$FAULT/t.mark"'
    with small(node.home / "state"):
        node.wish(a={})
        assert node.whiz("apply").returncode == 0
        spoil(node.home / "state")
        node.wish(a={}, t={"run": ["/bin/sh", "-c", script], "want": "done"})
        for _ in range(3):
            node.whiz("apply", "--wait", "500ms")
            assert node.starts("t") == 1
        mend(node.home / "state")
        until(lambda: all(not p.chaperone for p in node.family()), "the chaperone has written the outcome")
        until(lambda: node.whiz("apply").returncode == 0, "the success is recorded")
        assert node.whiz("apply").returncode == 0
        assert node.starts("t") == 1


@root
def test_what_was_learned_while_the_disk_was_full_is_written_when_it_is_not(node: Node) -> None:
    """Nothing else happens that would have it written."""
    node.wish(a={})
    with small(node.home / "run"), open(node.home / "said", "w") as said:
        process = subprocess.Popen([*WHIZ, "--home", str(node.home), "run"], env=ENV, stdout=said, stderr=said)
        try:
            until(lambda: "a" in node.mains(), "a runs")
            before = node.mains()["a"]
            fill(node.home / "run")
            os.kill(before, signal.SIGKILL)
            until(lambda: node.mains().get("a", before) != before, "a runs again")
            until(lambda: "going on in memory" in (node.home / "said").read_text(), "that is said")
            empty(node.home / "run")
            until(lambda: _recorded(node, "a") == node.mains()["a"], "it is on record")
        finally:
            process.kill()
            process.wait()


def _recorded(node: Node, name: str) -> int:
    held = json.loads((node.home / f"run/runs/{name}.json").read_text())
    return int(held["runs"][-1].get("proc", {"pid": 0})["pid"])


def test_a_fact_that_was_cut_short_takes_no_other_with_it(node: Node) -> None:
    node.wish(a={})
    node.whiz("apply")
    with (node.home / "state/history.jsonl").open("a") as history:
        history.write('{"format": 1, "at": 5, "ev')
    node.whiz("hold", "a")
    assert "hold   a" in node.whiz("history").stdout


# -- system calls that fail

FORKS = "?vfork,?fork,?clone,?clone3"
RENAMES = "?rename,?renameat,?renameat2"


@straced
@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
@pytest.mark.parametrize("when", ["1+", "1", "2+"])  # strace counts each system call by itself, and fork follows vfork
def test_a_fork_that_fails_is_an_error_with_its_words_and_mends_itself(error: str, when: str, node: Node) -> None:
    kinds: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "k": {"on": "failure"}}
    node.wish(**{name: {"restart": {"delay": "1s", "max_delay": "1s", **more}} for name, more in kinds.items()})
    inject = (
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={FORKS}",
        "-e",
        f"inject={FORKS}:error={error}:when={when}",
    )
    done = node.whiz("apply", "--wait", "500ms", under=inject)
    if when == "1+":
        words = {"EAGAIN": "Resource temporarily unavailable", "ENOMEM": "Cannot allocate memory"}[error]
        assert done.returncode == 1, done.stdout + done.stderr
        assert words in done.stderr + done.stdout
        assert node.mains() == {}
    end = time.monotonic() + 20
    while node.whiz("apply").returncode != 0:
        assert time.monotonic() < end
        node.mains()
    assert node.mains().keys() == {"a", "b", "k"}
    until(lambda: [node.starts(n) for n in kinds] == [1, 1, 1], "each was started once")


@straced
@pytest.mark.parametrize("calls", [RENAMES, "fsync", "?unlink,unlinkat", "?mkdir,mkdirat"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_a_record_that_cannot_be_written_costs_nothing(calls: str, error: str, node: Node) -> None:
    node.wish(a={}, b={})
    assert node.whiz("apply").returncode == 0
    before = node.mains()
    node.wish(a={}, k=copy.deepcopy(KEPT))
    under = ("strace", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}")
    done = node.whiz("apply", "--wait", "5", under=under)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) <= 4, f"a flood: {done.stderr}"
    middle = node.mains()
    assert middle == {"a": before["a"], "k": middle["k"]}
    done = node.whiz("apply")
    assert (done.returncode, node.mains()) == (0, middle)
    assert [node.starts(n) for n in ("a", "b", "k")] == [1, 1, 1]


def test_too_few_descriptors_start_nothing_twice(node: Node) -> None:
    node.wish(a={}, k=copy.deepcopy(KEPT))
    for number in range(3, 20):
        under = ("/bin/sh", "-c", f'ulimit -n {number}; exec "$@"', "sh")
        subprocess.run(
            [*under, *WHIZ, "--home", str(node.home), "apply", "--wait", "1"], env=ENV, capture_output=True, check=False
        )
        node.mains()
    end = time.monotonic() + 20
    while node.whiz("apply").returncode != 0:
        assert time.monotonic() < end
        node.mains()
    assert node.mains().keys() == {"a", "k"}


@root
@pytest.mark.parametrize("ready", [{"notify": True}, {"fd": 3}])
def test_who_cannot_be_heard_says_why(ready: dict[str, object], node: Node) -> None:
    """Where it would say how it does cannot be made, and no outcome written: the reason is told all the same."""
    asks = {"ready": {**ready, "within": "1h"}, **KEPT}
    with small(node.home / "run"):
        node.wish(a={})
        assert node.whiz("apply").returncode == 0
        (node.home / "run/said").mkdir(0o711)  # as it is once anybody was to be heard
        read_only(node.home / "run")
        node.wish(a={}, b=copy.deepcopy(asks))
        done = node.whiz("apply", "--wait", "1")
        why = f"nobody would hear how it does: {node.home}/run/said: Read-only file system"
        assert why in done.stdout, done.stdout + done.stderr
        assert "ended unseen" not in done.stdout
        assert node.mains().keys() == {"a"}
        read_write(node.home / "run")
        until(lambda: bool(node.whiz("apply", "--wait", "0")) and node.mains().keys() == {"a", "b"}, "both run")
