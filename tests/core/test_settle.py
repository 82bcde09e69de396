"""What one look teaches."""

from __future__ import annotations

from whiz.core.model import Found, Manifest, Outcome, Proc, Program, Run, Seen, State, Want, Wishes
from whiz.core.settle import done, must_scan, settle, strangers
from whiz.core.value import replace
from whiz.core.wire import digest

BOOT = "boot-1"
P = Program(name="web", argv=("/web",))
MAIN, CHILD, KEEPER = Proc(BOOT, 5, 50), Proc(BOOT, 6, 60), Proc(BOOT, 4, 40)
RUN = Run(id="r1", program=P, boot=BOOT, started=100.0, proc=MAIN)
WEB: Manifest = {"web": P}


def one(run: Run, seen: Seen, now: float = 1000.0) -> Run:
    (settled,) = settle(WEB, (run,), seen, now)
    return settled


def test_alive_and_then_stable() -> None:
    seen = Seen(boot=BOOT, alive=frozenset({MAIN}))

    assert one(RUN, seen, 110.0) == RUN
    assert one(RUN, seen, 160.0).stable
    assert one(replace(RUN, stable=True), seen, 170.0).stable


def test_gone_with_its_code() -> None:
    seen = Seen(boot=BOOT, outcomes=(("r1", Outcome(exit=3, ended=True)),), trees=(("r1", ()),))
    run = one(RUN, seen)

    assert (run.exited, run.exit, run.ended, run.state) == (1000.0, 3, 1000.0, State.FAILED)


def test_gone_and_nobody_knows_how() -> None:
    assert one(RUN, Seen(boot=BOOT, trees=(("r1", ()),))).state is State.LOST


def test_without_a_scan_it_has_not_ended() -> None:
    run = one(RUN, Seen(boot=BOOT))

    assert run.exited == 1000.0
    assert run.live
    assert run.state is State.STOPPING


def test_its_tree_outlives_it() -> None:
    run = one(RUN, Seen(boot=BOOT, alive=frozenset({CHILD}), trees=(("r1", (CHILD,)),)))

    assert run.live
    assert run.left == (CHILD,)
    assert one(run, Seen(boot=BOOT, alive=frozenset({CHILD}), trees=(("r1", (CHILD,)),))) == run
    assert not one(run, Seen(boot=BOOT, trees=(("r1", ()),))).live


def test_the_chaperone_speaks_for_its_program() -> None:
    kept = replace(RUN, proc=None, keeper=KEEPER)
    alive = frozenset({KEEPER, MAIN})
    located = one(kept, Seen(boot=BOOT, alive=alive, outcomes=(("r1", Outcome(proc=MAIN)),)))

    assert kept.state is State.STARTING
    assert located.proc == MAIN
    assert located.state is State.RUNNING
    assert one(located, Seen(boot=BOOT, alive=frozenset({KEEPER}))) == located  # it is about to write how it ended
    failed = one(
        kept, Seen(boot=BOOT, outcomes=(("r1", Outcome(error="no such file", ended=True)),), trees=(("r1", ()),))
    )
    assert failed.state is State.ERROR
    assert one(located, Seen(boot=BOOT, alive=frozenset({MAIN})), 9000.0).stable  # the chaperone was killed: it goes on


def test_a_start_that_was_only_written_down() -> None:
    bare = replace(RUN, proc=None)

    assert one(bare, Seen(boot=BOOT)) == bare
    found = (Found("web", MAIN, "r1"),)
    assert one(bare, Seen(boot=BOOT, alive=frozenset({MAIN}), trees=(), found=found)).proc == MAIN
    found = (Found("web", KEEPER, "r1", keeper=True),)
    assert one(bare, Seen(boot=BOOT, alive=frozenset({KEEPER}), trees=(), found=found)).keeper == KEEPER
    never = one(bare, Seen(boot=BOOT, trees=(), found=()))
    assert never.state is State.LOST
    assert not never.live


def test_another_boot_ended_everything() -> None:
    old = replace(RUN, boot="boot-0")

    assert one(old, Seen(boot=BOOT)).state is State.LOST
    assert one(old, Seen(boot=BOOT, outcomes=(("r1", Outcome(exit=0, ended=True)),))).state is State.SUCCEEDED


def test_records_lost_marks_found() -> None:
    found = (
        Found("web", MAIN, "r9", digest=digest(P)),
        Found("web", CHILD, "r9", digest=digest(P), leader=False),
        Found("job", KEEPER, "r8", keeper=True, digest="x"),
        Found("gone", Proc(BOOT, 9, 90), "r7", digest="x", leader=False),
    )
    seen = Seen(boot=BOOT, alive=frozenset({MAIN}), trees=(), found=found)
    runs = {r.id: r for r in settle(WEB, (), seen, 1000.0)}

    assert runs["r9"].program == P
    assert runs["r9"].proc == MAIN
    assert runs["r8"].keeper == KEEPER
    assert runs["r8"].program.argv == ()
    assert runs["r7"].exited == 1000.0


def test_found_running_it_is_adopted_the_older_one() -> None:
    found = (Found("web", CHILD), Found("web", MAIN), Found("other", KEEPER))
    seen = Seen(boot=BOOT, alive=frozenset({MAIN, CHILD}), trees=(), found=found)
    (run,) = settle(WEB, (), seen, 1000.0)

    assert run.adopted
    assert run.proc == MAIN
    assert strangers(WEB, (run,), seen) == (Found("web", CHILD),)
    assert settle(WEB, (run,), seen, 1000.0) == (run,)
    assert strangers(WEB, (), Seen(boot=BOOT)) == ()


def test_the_hit_list_takes_every_match() -> None:
    manifest = {"web": replace(P, want=Want.DOWN)}
    found = (Found("web", CHILD), Found("web", MAIN))

    assert len(settle(manifest, (), Seen(boot=BOOT, trees=(), found=found), 1.0)) == 2


def test_when_all_of_proc_must_be_read() -> None:
    calm = Seen(boot=BOOT, alive=frozenset({MAIN}))
    task = Program(name="job", argv=("/job",), want=Want.DONE)
    ended = Run(id="j", program=task, boot=BOOT, started=1.0, proc=CHILD, exited=2.0, exit=0, ended=2.0)
    none = Wishes()

    assert not must_scan(WEB, (RUN,), calm, none)
    assert must_scan(WEB, (), calm, none)
    assert must_scan(WEB, (RUN,), Seen(boot=BOOT), none)
    assert must_scan(WEB, (replace(RUN, asked=1.0),), calm, none)
    assert must_scan(WEB, (replace(RUN, exited=1.0),), calm, none)
    assert must_scan({**WEB, "bad": replace(P, name="bad", want=Want.DOWN)}, (RUN,), calm, none)
    assert must_scan({**WEB, "job": task}, (RUN,), calm, none)
    assert not must_scan({**WEB, "job": task}, (RUN, ended), calm, none)
    assert must_scan({**WEB, "job": task}, (RUN, ended), calm, Wishes(restarts=frozenset({("job", "j")})))
    assert not must_scan({**WEB, "job": task}, (RUN,), calm, Wishes(held=frozenset({"job"})))
    assert not done(task, (replace(ended, program=replace(task, argv=("/other",))),), none)
