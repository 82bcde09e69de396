"""Where whiz's cgroup is, what is written to it, and that who runs there is kept out of inner nodes; memory of trees."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cgroups import delegated, procs
from whiz.core.model import Limits, Proc, Program, Run, Want
from whiz.core.value import replace
from whiz.world.host import cgroup
from whiz.world.host.cgroup import Cgroups, Seat
from whiz.world.host.cgroupfs import enabled
from whiz.world.host.memory import Families, felled, measure
from whiz.world.host.spawn import spawn
from whiz.world.host.stat import boot_id, identify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = f"user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service/app.slice"
AT = f"{'system.slice' if os.getuid() == 0 else USER}/whiz-programs.service"
P = Program(name="a/b", argv=("/bin/sleep", "1"), limits=Limits(memory=100, share=0.5, tasks=7, files=9))
RUN = Run(id="r1", program=P, boot="b", started=1.0)
FILES = {"memory.max": "max\n", "memory.oom.group": "0\n", "cpu.max": "max 100000\n", "pids.max": "max\n"}


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a directory that looks as the kernel's does, with a room that `whiz install` made; return the room."""
    monkeypatch.setattr(cgroup, "path_of", lambda _: "/system.slice/cron.service")
    room = tmp_path / AT
    for folder in (tmp_path / "system.slice/cron.service", room):
        folder.mkdir(parents=True)
    for folder in (tmp_path, *(tmp_path / p for p in ("system.slice", "system.slice/cron.service")), room):
        (folder / "cgroup.procs").write_text("")
    (tmp_path / "cgroup.controllers").write_text("")
    (room / "cgroup.controllers").write_text("cpu memory io pids\n")
    (room / "cgroup.subtree_control").write_text("memory pids cpu\n")
    mkdir = os.mkdir

    def with_files(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        for name, text in FILES.items():
            with open(f"{path}/{name}", "w", encoding="ascii") as f:
                f.write(text)

    def put(path: str, words: str) -> None:
        assert os.path.exists(path)
        with open(path, "w", encoding="ascii") as f:  # as the kernel takes it: what was there is gone
            f.write(words)

    monkeypatch.setattr(os, "mkdir", with_files)
    monkeypatch.setattr(cgroup, "put", put)
    return room


def test_limits_are_written_before_anybody_is_there(plain: Path, tmp_path: Path) -> None:
    groups = Cgroups(installed=True, mounts=("/no/such", str(tmp_path)))
    seat = groups.seat(RUN)
    leaf = plain / "a%2Fb@r1"
    assert seat == Seat(
        f"{leaf}/cgroup.procs",
        f"{tmp_path}/system.slice/cron.service/cgroup.procs",
        f"{plain}/@whiz/cgroup.procs",
        frozenset({"memory", "cpu", "pids"}),
    )
    assert {n: (leaf / n).read_text() for n in FILES} == {
        "memory.max": "100",
        "memory.oom.group": "1",
        "cpu.max": "50000 100000",
        "pids.max": "7",
    }
    assert groups.held(RUN) == {"memory", "cpu", "pids"}
    assert groups.ground().controllers == {"cpu", "memory", "io", "pids"}
    assert groups.ground().room == str(plain)


def test_what_cannot_be_written_does_not_count_as_held(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(path: str, words: str) -> None:
        if path.endswith("cpu.max"):
            raise OSError(22, "Invalid argument")
        with open(path, "w", encoding="ascii") as f:
            f.write(words)

    monkeypatch.setattr(cgroup, "put", refusing)
    groups = Cgroups(installed=True, mounts=(str(tmp_path),))
    seat = groups.seat(RUN)
    assert seat is not None
    assert seat.held == {"memory", "pids"}
    assert groups.held(RUN) == {"memory", "pids"}
    assert plain.exists()


@pytest.mark.usefixtures("plain")
def test_whose_cgroup_it_is(tmp_path: Path) -> None:
    """A trial home leaves the installed home's alone; and without one, nothing is made and nothing is found."""
    assert Cgroups(installed=True, mounts=(str(tmp_path),)).ground().room is not None
    trial = Cgroups(installed=False, mounts=(str(tmp_path),))
    assert (trial.ground().room, trial.ground().trial) == (None, True)
    assert trial.seat(RUN) is None
    nowhere = Cgroups(installed=True, mounts=("/no/such",))
    assert nowhere.ground().room is None
    assert (nowhere.seat(RUN), nowhere.of(RUN), nowhere.members(RUN)) == (None, None, [])
    nowhere.raze(RUN)
    nowhere.clear(RUN)


def test_it_is_closed_to_who_may_not_move_processes_there(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of a user is not below the user's own systemd, and the cgroup above both is root's."""
    access = os.access
    shut = str(plain.parent / "cgroup.procs") if os.getuid() == 0 else f"{tmp_path}/cgroup.procs"
    monkeypatch.setattr(os, "access", lambda path, mode: path != shut and access(path, mode))
    ground = Cgroups(installed=True, mounts=(str(tmp_path),)).ground()
    assert (ground.room, ground.closed) == (None, True)


@pytest.mark.usefixtures("plain")
def test_who_was_not_started_by_whiz_has_none(tmp_path: Path) -> None:
    groups = Cgroups(installed=True, mounts=(str(tmp_path),))
    assert groups.seat(RUN) is not None
    assert groups.of(RUN) is not None
    assert groups.of(replace(RUN, adopted=True)) is None
    assert groups.of(replace(RUN, program=replace(P, want=Want.DOWN))) is None
    assert groups.of(replace(RUN, id="r2")) is None


def test_a_limit_that_cannot_be_entered_is_an_error(tmp_path: Path) -> None:
    """A program with limits never runs outside of them; one without runs all the same."""
    nowhere = [f"{tmp_path}/no/{n}/cgroup.procs" for n in ("procs", "home", "aside")]
    held = Seat(nowhere[0], nowhere[1], nowhere[2], frozenset({"pids"}))
    program = Program(name="a", argv=("/bin/true",), limits=Limits(tasks=9))
    with pytest.raises(OSError, match=r"/no/procs/cgroup\.procs: No such file or directory"):
        spawn(program, "m", f"{tmp_path}/log", f"{tmp_path}/out", held)
    pid, keeper = spawn(
        replace(program, limits=Limits()), "m", f"{tmp_path}/log", f"{tmp_path}/out", replace(held, held=frozenset())
    )
    assert not keeper
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- the kernel's own


@pytest.fixture
def room() -> Iterator[Path]:
    yield from delegated(f"whiz-test-{os.getpid()}-{time.monotonic_ns()}")


@pytest.fixture
def controller(room: Path) -> Iterator[str]:
    """Return a controller that is to be had in the room, whichever it is."""
    top = room.parent
    name = (top / "cgroup.controllers").read_text().split()
    if not name:
        pytest.skip("the unified hierarchy has no controller at all")
    on = name[0] in (top / "cgroup.subtree_control").read_text().split()
    (top / "cgroup.subtree_control").write_text(f"+{name[0]}")
    yield name[0]
    with contextlib.suppress(OSError):
        (room / "cgroup.subtree_control").write_text(f"-{name[0]}")
    if not on:
        (top / "cgroup.subtree_control").write_text(f"-{name[0]}")


def test_who_sits_in_the_room_itself_is_moved_aside(room: Path, controller: str) -> None:
    """The kernel refuses controllers to the children of a cgroup that holds processes."""
    with subprocess.Popen(["sleep", "1008.5"]) as sleeper:  # as nobody else: it would be adopted
        (room / "cgroup.procs").write_text(str(sleeper.pid))
        with pytest.raises(OSError, match="busy"):
            (room / "cgroup.subtree_control").write_text(f"+{controller}")
        assert enabled(str(room), frozenset({controller, "absent"})) == {controller}
        assert procs(room / "@whiz") == [sleeper.pid]
        assert enabled(str(room), frozenset({controller})) == {controller}
        assert enabled(str(room), frozenset()) == frozenset()
        sleeper.kill()


def test_who_is_inside_does_not_kill_itself(room: Path) -> None:
    """A whiz that a program has called ends that program's others, and lives to say so."""
    run = Run(id="r1", program=Program(name="a", argv=("/a",)), boot="b", started=1.0)
    code = (
        "import os, sys\nfrom whiz.core.model import Program, Run\nfrom whiz.world.host.cgroup import Cgroups\n"
        "run = Run(id='r1', program=Program(name='a', argv=('/a',)), boot='b', started=1.0)\n"
        "groups = Cgroups(installed=False)\nassert groups.of(run), groups.ground()\ngroups.raze(run)\nprint('lives')\n"
    )
    (room / "a@r1").mkdir()
    words = ["/bin/sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', str(room / "a@r1"), sys.executable, "-c", code]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "lives\n"
    assert Cgroups(installed=False).of(run) is None  # from here, where nothing is ours


# -- memory


def test_what_many_share_is_counted_once(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nheld = bytearray(60_000_000)\nfor i in range(0, len(held), 4096): held[i] = 1\n"
        "for _ in range(3):\n    if not os.fork(): break\n"
        f"open({str(tmp_path / 'up')!r}, 'a').write('x')\ntime.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as main:
        try:
            end = time.monotonic() + 30
            while not (tmp_path / "up").exists() or len((tmp_path / "up").read_text()) < 4:
                assert time.monotonic() < end
                time.sleep(0.01)
            pids = Families({main.pid}).of(main.pid, "r1")
            assert len(pids) == 4
            assert measure(pids, 10**9) > 240_000_000
            assert 60_000_000 < measure(pids, 100_000_000) < 120_000_000
        finally:
            os.killpg(main.pid, 9)
    end = time.monotonic() + 30
    while measure(pids, 10) or Families(frozenset()).of(main.pid, "r1"):  # the killed are there for a moment
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nobody_was_killed_for_want_of_memory_who_lives() -> None:
    me = identify(os.getpid(), boot_id())
    assert isinstance(me, Proc)
    assert felled(me.pid, time.clock_gettime(time.CLOCK_BOOTTIME)) is None
