"""Rubbish in the place of records: it is set aside and named, the programs run, and none of them twice."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.onlooker import Node
from tests.faults.outside import clear, until
from whiz.core.model import Log, On, Program, Restart
from whiz.loop import turn
from whiz.ports import Clock
from whiz.world.host import LocalHost
from whiz.world.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whiz.core.model import Manifest


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

    def told(self) -> str:
        """Return the last facts of the history."""
        path = self.home / "state/history.jsonl"
        return "\n".join(path.read_text().splitlines()[-8:]) if path.exists() else "no history"

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
        assert bench.turn() == pids, f"cut at {cut}: {bench.told()}"
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
