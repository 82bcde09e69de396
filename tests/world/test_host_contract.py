"""One contract, two hosts: the fake may never drift from the real one."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.fake import FakeHost, FakeStore
from whiz.converge import converge
from whiz.core.model import Answer, Ask, Check, On, Outcome, Proc, Program, Restart, Run, Seen, State, Want
from whiz.core.settle import settle
from whiz.core.value import replace
from whiz.ports import Clock, Host, Store
from whiz.world.host import LocalHost
from whiz.world.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEAF = ("/bin/sh", "-c", "trap '' TERM; exec sleep 97001")
PROGRAMS = {
    "short": Program(name="short", argv=("/bin/sh", "-c", "exit 3"), restart=Restart(on=On.ALWAYS)),
    "long": Program(name="long", argv=("/bin/sleep", "97002")),
    "deaf": Program(name="deaf", argv=DEAF),
    "absent": Program(name="absent", argv=("/missing",)),
    "task": Program(name="task", argv=("/bin/true",), want=Want.DONE, restart=Restart(on=On.FAILURE)),
    "asked": Program(name="asked", argv=("/bin/sleep", "97003"), ready=Check(way="run", argv=("/bin/true",))),
    "bad": Program(name="bad", argv=("/bin/false",), want=Want.DONE, restart=Restart(on=On.NEVER)),
}


@dataclass
class Bench:
    host: Host
    store: Store
    clock: Clock

    def run(self, name: str) -> Run:
        program = PROGRAMS[name]
        return Run(id=self.clock.name(), program=program, boot=self.host.boot, started=self.clock.boot())

    def until(self, run: Run, happened: Callable[[Seen], bool]) -> Seen:
        end = time.monotonic() + 20
        while True:
            seen = self.host.look([run])
            if happened(seen):
                return seen
            assert time.monotonic() < end
            self.host.wait([p for p in (run.proc,) if p is not None], 0.05)


def fake(_path: Path) -> Bench:
    lives = {"short": (0.01, 3), "task": (0.01, 0), "bad": (0.01, 1)}
    host = FakeHost(lives=lives, stubborn=frozenset({"deaf"}))
    return Bench(host, FakeStore(), host.clock())


def real(path: Path) -> Bench:
    folders = [str(path / n) for n in ("log", "runs", "tasks", "state")]
    for folder in folders:
        os.mkdir(folder)
    logs, records, tasks, state = folders
    host = LocalHost(f"{os.getpid():08x}", logs, records, tasks)
    clock = Clock(lambda: time.clock_gettime(time.CLOCK_BOOTTIME), time.time, lambda: os.urandom(6).hex())
    return Bench(host, FileStore(records, tasks, state), clock)


@pytest.fixture(params=[fake, real], ids=["fake", "real"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench = request.param(tmp_path)
    yield made
    everything = {n: replace(p, want=Want.DOWN) for n, p in PROGRAMS.items()}
    del everything
    for run in made.store.runs():
        made.host.signal([p for p in (run.proc, run.keeper) if p is not None], "KILL")


def started(bench: Bench, name: str) -> Run:
    run = bench.run(name)
    got = bench.host.start(run)
    assert got.error is None
    assert got.proc is not None
    run = replace(run, proc=got.proc)
    bench.store.save(run)
    return run


def test_an_exit_code_is_reported(bench: Bench) -> None:
    run = started(bench, "short")
    seen = bench.until(run, lambda s: bool(s.outcomes))

    assert seen.alive == frozenset()
    assert dict(seen.outcomes) == {run.id: Outcome(exit=3, ended=True)}


def test_a_signal_ends_a_polite_process(bench: Bench) -> None:
    run = started(bench, "long")
    assert bench.host.look([run]).alive == {run.proc}
    bench.host.signal([run.proc] if run.proc else [], "TERM")
    seen = bench.until(run, lambda s: bool(s.outcomes))

    assert dict(seen.outcomes)[run.id].exit == -signal.SIGTERM


def test_what_cannot_run_is_an_error_and_no_process(bench: Bench) -> None:
    got = bench.host.start(bench.run("absent"))

    assert got.proc is None
    assert got.error is not None
    assert "No such file or directory" in got.error


def test_another_identity_is_never_signalled(bench: Bench) -> None:
    run = started(bench, "long")
    assert run.proc is not None
    for other in (replace(run.proc, ticks=run.proc.ticks - 1), replace(run.proc, boot="another")):
        bench.host.signal([other], "KILL")
        assert bench.host.look([replace(run, proc=other)]).alive == frozenset()
    bench.host.signal([Proc(bench.host.boot, 2**22 - 1, 1)], "KILL")

    assert bench.host.look([run]).alive == {run.proc}


def test_a_scan_finds_what_was_started_by_its_mark(bench: Bench) -> None:
    run = started(bench, "long")
    manifest = {"long": PROGRAMS["long"]}
    seen = bench.host.scan(manifest, [])
    (found,) = settle(manifest, (), seen, bench.clock.boot())

    assert found.id == run.id
    assert found.program == run.program
    assert found.proc == run.proc


def test_the_loop_drives_either_host_to_the_same_end(bench: Bench) -> None:
    manifest = {n: PROGRAMS[n] for n in ("long", "deaf", "task", "bad", "absent")}
    converge(bench.host, bench.store, manifest, bench.clock, 1.0, lambda _: None)
    states = {r.program.name: r.state for r in bench.store.runs()}
    assert states == {
        "long": State.RUNNING,
        "deaf": State.RUNNING,
        "task": State.SUCCEEDED,
        "bad": State.FAILED,
        "absent": State.ERROR,
    }
    deaf = replace(PROGRAMS["deaf"], stop=replace(PROGRAMS["deaf"].stop, grace=0.2))
    down = {"long": replace(PROGRAMS["long"], want=Want.DOWN), "deaf": replace(deaf, want=Want.DOWN)}
    told: list[str] = []
    converge(bench.host, bench.store, down, bench.clock, 20.0, lambda s: told.append(type(s).__name__))

    assert not [r for r in bench.store.runs() if r.live]
    assert "Stop" in told


def test_a_look_is_answered_once_and_wakes(bench: Bench) -> None:
    run = started(bench, "asked")
    health, check = bench.host.health, run.program.ready
    assert check is not None
    assert health.answers() == ()
    assert not health.asking()
    now = bench.clock.boot()
    health.ask([Ask(run, "ready", check)], now)
    assert health.asked == {(run.id, "ready"): now}
    assert health.asking()
    found: tuple[Answer, ...] = ()
    end = time.monotonic() + 20
    while not found:
        bench.host.wait([], 5.0)
        bench.host.look([run])
        found = health.answers()
        assert time.monotonic() < end
    assert [(a.run, a.kind, a.well) for a in found] == [(run.id, "ready", True)]
    assert health.answers() == ()
    assert not health.asking()
