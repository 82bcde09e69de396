"""What people are told: status rows, the verdict, differences, and what is written down."""

from __future__ import annotations

import pytest

from whiz.core.diff import changes, masked
from whiz.core.errors import Busy, ManifestError, NewerFormat, Problem, UsageError, WhizError
from whiz.core.forecast import forecast
from whiz.core.model import (
    Check,
    Limits,
    Log,
    Manifest,
    On,
    Proc,
    Program,
    Restart,
    Run,
    Start,
    State,
    Wait,
    Want,
    Wishes,
)
from whiz.core.order import cycles, ordered
from whiz.core.plan import plan
from whiz.core.restart import ended_how
from whiz.core.status import Row, counts, report, verdict
from whiz.core.value import replace
from whiz.core.wire import digest, dump, dump_runs, load, load_proc, load_runs

BOOT = "boot-1"
P = Program(name="web", argv=("/web",))
ASKED = replace(P, ready=Check(way="port"))
RUN = Run(id="r1", program=P, boot=BOOT, started=100.0, at=7.0, proc=Proc(BOOT, 5, 50))
ENDED = replace(RUN, exited=999.0, exit=1, ended=999.0)
TASK = Program(name="job", argv=("/job",), want=Want.DONE, restart=Restart(on=On.FAILURE))


def row(manifest: Manifest, *runs: Run, held: str = "", now: float = 1000.0) -> Row:
    wishes = Wishes(held=frozenset({held} - {""}))
    steps = plan(manifest, runs, wishes, now, BOOT)
    return report(manifest, runs, wishes, steps, now)[0]


@pytest.mark.parametrize(
    ("given", "state", "why"),
    [
        (row({"web": P}, RUN), State.RUNNING, "up for 15 min"),
        (row({"web": P}, replace(RUN, adopted=True)), State.RUNNING, "adopted: was running already; seen for 15 min"),
        (row({"web": ASKED}, replace(RUN, program=ASKED)), State.STARTING, "not ready yet"),
        (row({"web": ASKED}, replace(RUN, program=ASKED, ready=101.0)), State.READY, "up for 15 min"),
        (row({"web": ASKED}, replace(RUN, program=ASKED, asked=999.0, told=(Proc(BOOT, 5, 50),)), held="web"), State.STOPPING, "stopping: held; pid 5 still there"),
        (row({"web": P}), State.WAITING, "will start: not running"),
        (row({"web": P}, replace(ENDED, streak=2)), State.WAITING, "waiting 3.0 s: exited 1, three times in a row; back-off 4.0 s"),
        (row({"web": P}, replace(ENDED, streak=9)), State.CRASH_LOOP, "waiting 4 min 58 s: crash loop: exited 1, 10 times in a row; back-off 4 min 59 s"),
        (row({"web": P}, replace(ENDED, streak=9, ended=1.0)), State.CRASH_LOOP, "will start: crash loop: exited 1, 10 times in a row; back-off 4 min 59 s"),
        (row({"web": P}, replace(ENDED, exit=None, error="no such file")), State.ERROR, "will start: cannot run: no such file; back-off 1.0 s"),
        (row({"web": P}, RUN, held="web"), State.RUNNING, "will stop: held"),
        (row({"web": P}, ENDED, held="web"), State.HELD, "held down until unhold"),
        (row({"web": replace(P, want=Want.DOWN)}), State.STOPPED, "none runs, as wished"),
        (row({"web": replace(P, after=("db",)), "db": replace(P, name="db")}), State.WAITING, "waiting: after db"),
        (row({"web": replace(P, restart=Restart(on=On.NEVER))}, replace(ENDED, program=replace(P, restart=Restart(on=On.NEVER)))), State.FAILED, "exited 1; restart is never"),
        (row({"web": replace(P, restart=Restart(on=On.FAILURE))}, replace(ENDED, exit=0)), State.SUCCEEDED, "has succeeded"),
        (row({"job": TASK}, replace(ENDED, program=TASK, exit=0)), State.SUCCEEDED, "has succeeded"),
        (row({"job": TASK}, replace(RUN, program=TASK)), State.RUNNING, "running until it has succeeded"),
        (row({}, RUN), State.RUNNING, "will stop: no longer in the whizzifest"),
        (row({}, replace(RUN, asked=999.0, told=(Proc(BOOT, 5, 50),))), State.STOPPING, "stopping: no longer in the whizzifest; pid 5 still there"),
        (row({"web": P}, replace(RUN, exited=999.0)), State.STOPPING, "left behind when the program ended unseen"),
    ],
)  # fmt: skip
def test_rows(given: Row, state: State, why: str) -> None:
    assert (given.state, given.why) == (state, why)


def test_error_and_given_up() -> None:
    failed = replace(ENDED, exit=None, error="no such file", ended=1000.0)

    assert row({"web": P}, failed).state is State.ERROR
    gave_up = replace(P, restart=Restart(attempts=1))
    assert row({"web": gave_up}, replace(failed, program=gave_up)).state is State.ERROR
    done_up = replace(P, restart=Restart(on=On.NEVER))
    odd = report({"web": done_up}, (), Wishes(), (Wait("web", None, "gave up", failed=True),), 0.0)[0]
    assert odd.state is State.WAITING
    stopped = replace(ENDED, asked=998.0)
    assert (
        report({"web": P}, (stopped,), Wishes(), (Wait("web", None, "x", failed=True),), 0.0)[0].state is State.FAILED
    )
    assert report({"web": P}, (), Wishes(), (), 0.0)[0].why == "not looked at yet"


def test_verdict() -> None:
    fine, bad = row({"web": P}, RUN), row({"web": P}, replace(ENDED, streak=9))

    assert verdict([fine], ()) == 0
    assert verdict([fine], (Wait("x", None, "y"),)) == 3
    assert verdict([fine, bad], ()) == 1
    assert counts([fine, bad, fine]) == {"running": 2, "crash-loop": 1}


def test_how_it_ended() -> None:
    assert ended_how(replace(ENDED, asked=998.0)) == "was stopped"
    assert ended_how(replace(ENDED, error="no")) == "cannot run: no"
    assert ended_how(replace(ENDED, exit=-9)) == "killed by SIGKILL"


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (replace(P, argv=("/web", "--fps", "10")), "added --fps 10"),
        (replace(P, argv=("/other",)), "/web → /other"),
        (replace(P, argv=("/web", "--token", "s3cret", "--key=s3cret", "--x=1")), "added --token *** --key=*** --x=1"),
        (replace(P, env=(("A", "1"), ("API_TOKEN", "s3cret"))), "env A unset → 1, env API_TOKEN unset → ***"),
        (replace(P, env_defaults=(("A", "1"),)), "env A unset → 1"),
        (replace(P, secrets=(("DB", "digest"),)), "env DB unset → ***"),
        (replace(P, umask=0o077), "umask 022 → 077"),
        (replace(P, user="pi", nice=3), "user unset → pi, nice unset → 3"),
        (replace(P, limits=Limits(files=9)), "limits.files unset → 9"),
        (replace(P, limits=Limits(share=0.5, memory=64_000_000)), "limits.memory unset → 64000000, limits.cpu unset → 50%"),
        (replace(P, digests=(("/web", "d"),)), "file /web is one of its files now"),
        (replace(P, log=Log(to="null")), "log.to file → null"),
        (replace(P, log=Log(max=5)), ""),
        (replace(P, want=Want.DONE), "want up → done"),
    ],
)  # fmt: skip
def test_changes(new: Program, said: str) -> None:
    assert changes(P, new) == said


def test_changed_files() -> None:
    made = replace(P, digests=(("/web", "d"), ("/lib", "e")))
    assert changes(made, replace(P, digests=(("/web", "x"),))) == (
        "file /lib is none of its files any more, file /web has new content"
    )
    moved = replace(P, argv=("/other",), digests=(("/other", "d"), ("/lib", "e")))
    assert changes(made, moved) == "/web → /other"


def test_changes_masked() -> None:
    assert changes(replace(P, argv=()), P) == "started for another entry of this name"
    assert changes(replace(P, secrets=(("DB", "a"),)), replace(P, secrets=(("DB", "b"),))) == "env DB has a new value"
    assert masked("PATH", "/bin") == "/bin"
    long = replace(P, argv=("/web", "--fps", "5", "--size", "9"))
    assert changes(long, replace(P, argv=("/web", "--fps", "6", "--size", "9"))) == "--fps 5 → --fps 6"
    assert changes(long, replace(P, argv=("/web", "--fps", "5"))) == "dropped --size 9"
    assert (
        changes(replace(P, argv=("/web", "--key", "a")), replace(P, argv=("/web", "--key", "b")))
        == "--key *** → --key ***"
    )
    assert changes(replace(P, argv=("/web", "--n=1", "2")), replace(P, argv=("/web", "--n=1", "3"))) == "2 → 3"
    assert changes(replace(P, env=(("A", "1"), ("B", "2"))), replace(P, env=(("A", "1"), ("B", "3")))) == "env B 2 → 3"


def test_forecast_sleeps_through_waits() -> None:
    told = [
        type(s).__name__ for t in forecast({"web": P}, (replace(ENDED, streak=2),), Wishes(), 1000.0, BOOT) for s in t
    ]

    assert told == ["Wait", "Start"]


def test_forecast_of_what_is_on_its_way() -> None:
    stopping = replace(RUN, asked=999.0, told=(Proc(BOOT, 5, 50),))
    starting = replace(RUN, id="r2", program=replace(P, name="db"), proc=None)
    fitting = replace(RUN, id="r3", program=TASK, proc=None)
    leaving = replace(RUN, id="r4", program=replace(P, name="x"), exited=999.0, left=(Proc(BOOT, 9, 9),))
    manifest = {"web": P, "db": replace(P, name="db"), "job": TASK, "x": replace(P, name="x")}
    turns = list(forecast(manifest, (stopping, starting, fitting, leaving), Wishes(), 1000.0, BOOT))

    assert [s.program.name for t in turns for s in t if isinstance(s, Start)] == ["web", "x"]
    assert turns[-1] == ()


def test_forecast_looks_beyond_a_running_task() -> None:
    running = replace(RUN, program=TASK)
    manifest = {"job": TASK, "web": replace(P, after=("job",))}
    turns = list(forecast(manifest, (running,), Wishes(), 1000.0, BOOT))

    assert [s.program.name for t in turns for s in t if isinstance(s, Start)] == ["web"]


def test_order() -> None:
    assert ordered({"c": ["b"], "b": ["a"], "a": [], "z": ["unknown"]}) == ["a", "b", "c", "z"]
    assert cycles({"a": ["b"], "b": ["a"]}) == [["a", "b", "a"]]
    assert cycles({"a": []}) == []


BAD_RECORDS: list[tuple[object, str]] = [
    ([], "no format number"),
    ({"format": "x"}, "no format number"),
    ({"format": 1}, "a record without runs"),
    ({"format": 1, "runs": ["x"]}, "Run is not an object"),
    ({"format": 1, "runs": [{"x": 1}]}, "Run: "),
]


def test_wire() -> None:
    assert load(Run, dump(RUN)) == RUN
    assert dump(Limits()) == {}
    assert load_runs(dump_runs((RUN, ENDED))) == (RUN, ENDED)
    assert len(digest(P)) == 12
    assert digest(P) == digest(replace(P, restart=Restart(delay=9.0)))
    assert digest(P) != digest(replace(P, argv=("/x",)))
    for bad, said in BAD_RECORDS:
        with pytest.raises(ValueError, match=said):
            load_runs(bad)
    with pytest.raises(NewerFormat, match="newer whiz"):
        load_runs({"format": 2, "runs": []})
    odd: dict[str, object] = {
        "left": "odd",
        "started": None,
        "nth": True,
        "exit": "1",
        "proc": {"boot": 5},
        "program": [],
        "stable": 1,
    }
    for field, value in (odd | {"at": float("nan"), "streak": 10**20, "told": [{}]}).items():
        with pytest.raises(ValueError, match="Run: "):
            load(Run, {**dump(RUN), field: value})
    with pytest.raises(ValueError, match="argv"):
        load(Program, {"name": "x"})
    with pytest.raises(ValueError, match="no process has pid"):
        load(Run, {**dump(RUN), "proc": {"boot": BOOT, "pid": 2**40, "ticks": 1}})
    assert load_proc([BOOT, 5, 50]) == Proc(BOOT, 5, 50)


def test_errors() -> None:
    assert str(Problem("/w", 0, 0, "gone")) == "/w: gone"
    assert [e("x").code for e in (WhizError, UsageError, Busy)] == [1, 2, 75]
    assert ManifestError((Problem("/w", 1, 2, "m"),)).code == 2
