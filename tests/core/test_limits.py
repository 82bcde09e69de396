"""How limits are held and what is said of it; whom the kernel killed; what a Run learns of either."""

from __future__ import annotations

import pytest

from tests.fake import FakeHost, FakeStore
from whiz.converge import converge
from whiz.core.limits import Grip, Ground, breach, files, grips, needed, rlimits
from whiz.core.model import Ending, Limits, Outcome, Proc, Program, Run, Seen, State, Wishes
from whiz.core.oom import from_events, from_log
from whiz.core.plan import plan
from whiz.core.settle import settle
from whiz.core.value import replace
from whiz.loop import turn

ALL = Limits(memory=100_000_000, cpu=1.6, share=0.5, files=64, tasks=20, core=0)
EVERY = frozenset({"memory", "cpu", "pids"})
NONE: frozenset[str] = frozenset()
SOFT = {"RLIMIT_CPU": 2, "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0}
MEMORY = (("memory.max", "100000000"), ("memory.oom.group", "1"))
CPU, PIDS = ("cpu.max", "50000 100000"), ("pids.max", "20")


@pytest.mark.parametrize(
    ("limits", "there", "words", "soft"),
    [
        (ALL, EVERY, (*MEMORY, CPU, PIDS), SOFT),
        (ALL, NONE, (), {**SOFT, "RLIMIT_NPROC": 20}),
        (ALL, {"pids"}, (PIDS,), SOFT),
        (ALL, {"memory"}, MEMORY, {**SOFT, "RLIMIT_NPROC": 20}),
        (ALL, {"cpu", "io"}, (CPU,), {**SOFT, "RLIMIT_NPROC": 20}),
        (Limits(share=3.0), EVERY, (("cpu.max", "300000 100000"),), {}),
        (Limits(share=0.01), EVERY, (("cpu.max", "1000 100000"),), {}),
        (Limits(cpu=0.2), EVERY, (), {"RLIMIT_CPU": 1}),
        (Limits(), EVERY, (), {}),
    ],
)
def test_what_is_there_and_what_is_asked(
    limits: Limits, there: set[str], words: tuple[tuple[str, str], ...], soft: dict[str, int]
) -> None:
    assert files(limits, frozenset(there)) == words
    assert rlimits(limits, frozenset(there)) == soft


def test_which_controllers_are_needed() -> None:
    assert needed(ALL) == EVERY
    assert needed(Limits(files=3, core=0, cpu=5.0)) == NONE
    assert needed(Limits(tasks=3)) == {"pids"}


HERE = Ground(room="/r", controllers=EVERY)
POLLED = "memory 100 MB: polled at each whiz apply"


def said(found: tuple[Grip, ...]) -> list[str]:
    return [g.words(stays=False) + (f" [{g.do}]" if g.do else "") for g in found]


@pytest.mark.parametrize(
    ("limits", "held", "ground", "root", "words"),
    [
        (ALL, EVERY, HERE, True, ["memory 100 MB: by cgroup", "cpu 1.6 s: by rlimit", "cpu 50%: by cgroup", "files 64: by rlimit", "tasks 20: by cgroup", "core 0 B: by rlimit"]),
        (Limits(), NONE, Ground(), True, []),
        (Limits(memory=10**8), NONE, Ground(), False, [f"{POLLED} (whiz has no cgroup of its own) [whiz install]"]),
        (Limits(memory=10**8), NONE, Ground(root=True), True, [f"{POLLED} (whiz has no cgroup of its own) [sudo whiz install]"]),
        (Limits(memory=10**8), NONE, Ground(trial=True), True, [f"{POLLED} (a trial home has no cgroup)"]),
        (Limits(memory=10**8), NONE, Ground(closed=True), False, [f"{POLLED} (the cgroup of whiz cannot be entered from this session) [let systemd start whiz: whiz install --user]"]),
        (Limits(memory=10**8), NONE, HERE, False, [f"{POLLED} (it was started without) [whiz restart, with its name]"]),
        (Limits(memory=10**8), NONE, Ground(room="/r"), False, [f"{POLLED} (/r has no memory controller)"]),
        (Limits(memory=10**8), NONE, Ground(room="/r", pi=True), False, [f"{POLLED} (/r has no memory controller) [append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt and reboot]"]),
        (Limits(share=0.5), NONE, Ground(room="/r", pi=True), False, ["cpu 50%: not held (/r has no cpu controller)"]),
        (Limits(tasks=9), NONE, Ground(room="/r"), True, ["tasks 9: not held (root is exempt from RLIMIT_NPROC; /r has no pids controller)"]),
        (Limits(tasks=9), NONE, Ground(room="/r"), False, ["tasks 9: by rlimit (with all other processes of its user; /r has no pids controller)"]),
    ],
)  # fmt: skip
def test_said_aloud(limits: Limits, held: frozenset[str], ground: Ground, root: bool, words: list[str]) -> None:
    assert said(grips(limits, held, ground, root=root)) == words


def test_what_ran_already_has_no_rlimits_of_ours() -> None:
    limits = Limits(memory=10**8, files=9)
    assert said(grips(limits, NONE, HERE, root=True, adopted=True))[1:] == [
        "files 9: not held (it was running already) [whiz restart, with its name]"
    ]
    (memory, _) = grips(limits, NONE, HERE, root=True, adopted=True)
    assert memory.words(stays=True) == "memory 100 MB: polled every 5 s (it was started without)"


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (100_000_000, None),
        (120_000_000, "memory 120 MB is over its limit of 100 MB"),
        (100_000_001, "memory 100000001 B is over its limit of 100 MB"),
    ],
)
def test_a_ceiling(usage: int, words: str | None) -> None:
    assert breach(ALL, usage) == words
    assert breach(Limits(), usage) is None


MEMCG = "6,9,%d,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/b,task_memcg=/a/b/c,task=python3,pid=7,uid=0\n"
KILLED = (
    "3,10,%d,-;Memory cgroup out of memory: Killed process 7 (python3) total-vm:114224kB, anon-rss:45824kB, UID:0\n"
)
GLOBAL = "3,11,%d,-;Out of memory: Killed process 7 (a,pid=8) total-vm:11kB, UID:0\n SUBSYSTEM=x\n"
OLDER = "4,11,%d,-;Out of memory: Kill process 7 (x) score 900 or sacrifice child\n"
CHOSEN = "3,11,%d,-,caller=T7;Out of memory (oom_kill_allocating_task): Killed process 7 (x) total-vm:1kB\n"
NOW = 2_000_000_000  # µs since boot


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], None),
        ([MEMCG % NOW, KILLED % NOW], "killed: out of memory (the limit of the cgroup /a/b)"),
        ([KILLED % NOW], "killed: out of memory (the limit of a cgroup)"),
        ([GLOBAL % NOW], "killed: out of memory of the machine"),
        ([OLDER % NOW], "killed: out of memory of the machine"),
        ([CHOSEN % NOW], "killed: out of memory of the machine"),
        ([GLOBAL.replace("process 7", "process 77") % NOW], None),
        ([GLOBAL.replace("3,11", "11,11") % NOW], None),  # somebody wrote that into the log
        ([GLOBAL % 1_000_000], None),  # its number was another's then
        (["6,12,99,-;usb 1-1: new device\n", "no record\n", MEMCG % NOW], None),
        ([KILLED % 1_000_000, GLOBAL % NOW], "killed: out of memory of the machine"),
    ],
)
def test_the_kernels_log(records: list[str], words: str | None) -> None:
    assert from_log(records, 7, 1900.0, 2001.0) == words


@pytest.mark.parametrize(
    ("text", "limit", "words"),
    [
        ("low 0\nmax 3\noom 1\noom_kill 2\n", 10**8, "killed: out of memory (its limit of 100 MB)"),
        ("low 0\noom 0\noom_kill 1\n", 10**8, "killed: out of memory of the machine"),
        ("oom 1\noom_kill 1\n", None, "killed: out of memory of the machine"),
        ("low 0\noom 0\noom_kill 0\n", 10**8, None),
        ("", 10**8, None),
        ("low\n", None, None),
    ],
)
def test_what_a_cgroup_counts(text: str, limit: int | None, words: str | None) -> None:
    assert from_events(text, limit) == words


NOBODY = Wishes()
P = Program(name="web", argv=("/web",), limits=ALL)
MAIN, CHILD = Proc("b", 5, 50), Proc("b", 6, 60)
RUN = Run(id="r1", program=P, boot="b", started=100.0, proc=MAIN, up=100.0)
ALIVE = Seen(boot="b", alive=frozenset({MAIN}))
GONE = Seen(boot="b", outcomes=(("r1", Outcome(exit=-9, ended=True)),), trees=(("r1", ()),))
OVER = "memory 120 MB is over its limit of 100 MB"


def one(run: Run, seen: Seen) -> Run:
    (settled,) = settle({"web": P}, (run,), seen, 110.0)
    return settled


def test_too_much_memory_is_noted_once_and_ends_the_run() -> None:
    assert one(RUN, replace(ALIVE, usage=(("r1", 90_000_000),))) == RUN
    over = one(RUN, replace(ALIVE, usage=(("r1", 120_000_000),)))
    assert over.unfit == OVER
    assert one(over, replace(ALIVE, usage=(("r1", 10),))).unfit == OVER
    assert [s.why for s in plan({"web": P}, (over,), NOBODY, 110.0, "b") if hasattr(s, "run")] == [OVER]
    assert one(replace(RUN, asked=101.0), replace(ALIVE, usage=(("r1", 120_000_000),))).unfit is None


def test_killed_for_want_of_memory_is_failed_and_says_so() -> None:
    felled = replace(GONE, felled=(("r1", "killed: out of memory"),))
    assert (one(RUN, felled).state, one(RUN, felled).unfit) == (State.FAILED, "killed: out of memory")
    assert one(RUN, GONE).unfit is None
    asked = one(replace(RUN, asked=101.0), felled)
    assert (asked.state, asked.unfit) == (State.STOPPED, None)
    assert one(RUN, replace(ALIVE, felled=felled.felled)).unfit is None  # it lives


def test_force_takes_all_of_it_at_once_after_that_is_written_down() -> None:
    host, store = FakeHost(stubborn=frozenset({"web"})), FakeStore()
    deaf = Program(name="web", argv=("/web",), stop=Ending(grace=1.0))
    clock = host.clock()
    converge(host, store, {"web": deaf}, clock, 0.1, lambda _: None)
    (run,) = store.runs()
    seen: list[float | None] = []

    class Noting(FakeHost):
        def raze(self, run: Run) -> None:
            seen.append(store.runs()[0].killed)
            super().raze(run)

    host.__class__ = Noting
    turn(host, store, {}, clock, ending=True)
    assert host.razed == []
    host.now += 1
    turn(host, store, {}, clock, ending=True)
    assert (host.razed, seen) == ([run.id], [host.now])
    assert host.cleared == []
    turn(host, store, {}, clock, ending=True)
    assert host.cleared == [run.id]
