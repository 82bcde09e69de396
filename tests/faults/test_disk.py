"""Disks that are full, read-only or full of rubbish, and forks that fail: programs run, and none of them twice."""

from __future__ import annotations

import copy
import errno
import json
import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.outside import ENV, WHIZ, Live, clear, processes, until
from tests.tools import needs
from whiz.core.model import Log, On, Program, Restart
from whiz.loop import turn
from whiz.ports import Clock
from whiz.world.host import LocalHost
from whiz.world.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whiz.core.model import Manifest

root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system takes root")
straced = needs("strace")


class Node:
    """One home, looked at from outside."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def wish(self, **programs: dict[str, Any]) -> None:
        for name, entry in programs.items():
            entry.setdefault("run", ["/bin/sh", "-c", 'echo $$ >>"$FAULT/$0.mark"; exec sleep 1000', name])
            entry.update(env={"FAULT": str(self.home)}, files=[])
            entry["restart"] = {"delay": "5ms", "max_delay": "10ms", **entry.get("restart", {})}
        (self.home / "whizzifest.yaml").write_text(json.dumps({"version": 1, "programs": programs}))

    def whiz(self, *words: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*under, *WHIZ, "--home", str(self.home), *words], env=ENV, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def mains(self) -> dict[str, int]:
        """Return program -> pid of its one process."""
        found: dict[str, int] = {}
        for p in self.family():
            if p.leader and not p.chaperone:
                name = p.env["WHIZ_NAME"]
                assert name not in found, f"{name} runs twice: {found[name]} and {p.pid}"
                found[name] = p.pid
        return found

    def family(self) -> list[Live]:
        return list(processes(f"FAULT={self.home}\0"))

    def starts(self, name: str) -> int:
        try:
            return len((self.home / f"{name}.mark").read_text().splitlines())
        except FileNotFoundError:
            return 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    clear(f"FAULT={tmp_path}\0")


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


# -- rubbish in the records


class Bench:
    """Turns of one home inside this process, for thousands of looks at spoilt records."""

    def __init__(self, home: Path) -> None:
        self.home, self.node = home, Node(home)
        self.folders = [str(home / f) for f in ("runs", "tasks", "state", "log")]
        for folder in self.folders:
            os.mkdir(folder)
        self.host = LocalHost(f"{os.getpid():08x}", self.folders[3], self.folders[0], self.folders[1])
        self.names = 0
        env, argv = (
            (("FAULT", str(home)),),
            ("/bin/sleep", f"1000.{os.getpid()}"),
        )  # such as nobody else runs: it would be adopted
        quick = Restart(delay=0.001, max_delay=0.002)
        self.manifest: Manifest = {
            "a": Program(name="a", argv=argv, env=env, log=Log(to="null"), restart=quick),
            "k": Program(name="k", argv=argv, env=env, log=Log(to="null"), restart=Restart(on=On.FAILURE)),
        }
        self.clock = Clock(time.monotonic, time.time, self.name)
        self.complaints: list[str] = []

    def name(self) -> str:
        self.names += 1
        return f"{self.names:012x}"

    def turn(self) -> dict[str, int]:
        store = FileStore(self.folders[0], self.folders[1], self.folders[2], mend=True)
        turn(self.host, store, self.manifest, self.clock)
        self.complaints = store.complaints
        return self.node.mains()

    def until_all_run(self) -> dict[str, int]:
        def both() -> bool:
            self.turn()
            return self.node.mains().keys() == {"a", "k"}

        until(both, "both run")
        self.turn()
        return self.node.mains()

    def record(self, name: str) -> Path:
        return self.home / "runs" / f"{name}.json"

    def sweep(self) -> None:
        for left in (self.home / "runs").glob("*.corrupt"):
            if left.is_dir():
                left.rmdir()
            else:
                left.unlink()

    def close(self) -> None:
        clear(f"FAULT={self.home}\0")

        def reaped() -> bool:
            self.host.look(())
            return len(self.host.children) == 0  # a Popen that is let go of unreaped warns

        until(reaped, "every child is reaped")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_record_cut_at_any_byte_is_set_aside_and_the_processes_stay(bench: Bench) -> None:
    pids = bench.until_all_run()
    whole = {name: bench.record(name).read_bytes() for name in pids}
    for cut in range(max(map(len, whole.values()))):
        for name, data in whole.items():
            bench.record(name).write_bytes(data[: min(cut, len(data) - 1)])
        assert bench.turn() == pids, f"cut at {cut}"
        assert len(bench.complaints) == 2, f"cut at {cut}: {bench.complaints}"
        bench.sweep()


def test_random_bytes_in_the_place_of_records_leave_the_processes_alone(bench: Bench) -> None:
    pids = bench.until_all_run()
    for i in range(300):
        for name in pids:
            bench.record(name).write_bytes(random.randbytes(random.choice((1, 10, 1000, 100_000)) if i else 0))
        assert bench.turn() == pids
        bench.sweep()


def test_something_else_in_the_place_of_a_record_leaves_the_processes_alone(bench: Bench, tmp_path: Path) -> None:
    pids = bench.until_all_run()
    others: list[Callable[[Path], object]] = [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/null"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(tmp_path / "nowhere"),
        lambda path: path.symlink_to(path),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text('{"format": 1, "runs": ' + "[" * 100_000),
        lambda path: path.write_bytes(b"\xef\xbb\xbf{}"),
        lambda path: path.write_text('{"format": 1, "runs": []}'),
        lambda path: path.write_text('{"format": 1e400, "runs": []}'),
        lambda path: path.write_text('{"format": ' + "9" * 5000 + "}"),
    ]
    for other in others:
        for name in pids:
            if bench.record(name).is_symlink() or bench.record(name).exists():
                bench.record(name).unlink()
            other(bench.record(name))
        assert bench.turn() == pids
        for name in pids:
            assert bench.record(name).is_file()
        bench.sweep()


def places(data: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where each value of a JSON tree stands."""
    yield path
    pairs: list[tuple[str | int, object]] = []
    if isinstance(data, dict):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = list(enumerate(data))
    for key, held in pairs:
        yield from places(held, (*path, key))


def put(data: Any, path: tuple[str | int, ...], value: object) -> Any:
    """Return the tree with one value replaced."""
    if not path:
        return value
    out = copy.copy(data)
    out[path[0]] = put(out[path[0]], path[1:], value)
    return out


WRONG: list[Any] = [
    None,
    "",
    "self",
    5,
    -1,
    1.5,
    2**70,
    float("nan"),
    float("inf"),
    True,
    [],
    ["x"],
    [[1]],
    {},
    {"x": 1},
]


@pytest.mark.parametrize("name", ["a", "k"])
def test_wrong_types_in_any_field_crash_nothing_and_make_no_second_copy(name: str, bench: Bench) -> None:
    bench.until_all_run()
    proc = {"boot": bench.host.boot, "pid": 4242424, "ticks": 5}
    extra = {"keeper": proc, "left": [proc], "told": [proc], "asked": 1.0, "killed": 2.0, "exited": 2.0, "swept": 1.5}
    more = {"exit": 0, "nth": 3, "streak": 1, "error": "no", "adopted": True, "stable": True, "ended": 3.0}
    whole = json.loads(bench.record(name).read_text())
    wider = copy.deepcopy(whole)
    wider["runs"] = [{**run, **extra, **more, "id": f"b{i}"} for i, run in enumerate(wider["runs"])]
    cases = [(tree, place) for tree in (whole, wider) for place in places(tree)]
    for tree, place in cases:
        for wrong in WRONG:
            if place == ("format",) and not isinstance(wrong, bool) and isinstance(wrong, int) and wrong > 1:
                continue  # a newer format is another story
            bench.record(name).write_text(json.dumps(put(tree, place, wrong)))
            try:
                bench.turn()
                bench.turn()
            except Exception as exc:
                exc.add_note(f"{place} = {wrong!r}")
                raise
        bench.sweep()
    bench.record(name).unlink()
    bench.until_all_run()


@pytest.mark.parametrize("what", ["run/runs/a.json", "state/tasks/t.json", "state/manifest"])
def test_a_newer_format_is_refused_by_name_and_nothing_is_changed(what: str, node: Node) -> None:
    node.wish(a={}, t={"run": ["/bin/true"], "want": "done"})
    assert node.whiz("apply").returncode == 0
    pids = node.mains()
    path = node.home / what
    if path.is_dir():
        path = next(iter(path.iterdir()))
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    node.wish(b={})

    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in node.home.rglob("*") if p.is_file()}

    before = files()
    for command in ("apply", "check", "status", "explain"):
        done = node.whiz(command, *(["a"] if command == "explain" else []))
        assert done.returncode == 1, f"{command}: {done.stdout}{done.stderr}"
        assert str(path) in done.stderr
        assert "newer" in done.stderr
    assert node.mains() == pids
    assert files() == before


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
