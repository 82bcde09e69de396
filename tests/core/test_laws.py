"""The laws of the reconciler, as properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake import BOOT, FakeHost, FakeStore
from whiz.converge import converge
from whiz.core.forecast import forecast
from whiz.core.model import (
    Check,
    Ending,
    Kill,
    Manifest,
    On,
    Proc,
    Program,
    Restart,
    Run,
    Start,
    State,
    Step,
    Stop,
    Wait,
    Want,
    Wishes,
    same_process,
)
from whiz.core.order import ordered
from whiz.core.plan import plan
from whiz.core.settle import settle
from whiz.core.value import replace
from whiz.core.wire import dump_runs, load_runs
from whiz.loop import observe, turn

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NAMES = ["cam", "db", "fit", "gps", "web"]
endings = st.builds(Ending, grace=st.sampled_from([0.0, 5.0]), tree=st.sampled_from(["all", "session"]))


def programs(argvs: tuple[str, ...] = ("/a", "/b", "/missing")) -> st.SearchStrategy[Program]:
    def whole(name: str, argv: str, want: Want, on: On, attempts: int | None, stop: Ending) -> Program:
        on = On.FAILURE if want is Want.DONE else on
        rule = Restart(on=on, attempts=attempts)
        return Program(name=name, argv=(argv,), want=want, restart=rule, stop=stop)

    return st.builds(
        whole,
        st.sampled_from(NAMES),
        st.sampled_from(argvs),
        st.sampled_from(Want),
        st.sampled_from(On),
        st.sampled_from([None, 1, 3]),
        endings,
    )


@st.composite
def manifests(draw: st.DrawFn, argvs: tuple[str, ...] = ("/a", "/b", "/missing")) -> Manifest:
    """Draw programs whose `after` points only backwards in some order, so that there is no cycle."""
    found = {p.name: p for p in draw(st.lists(programs(argvs), max_size=5))}
    names = draw(st.permutations(sorted(found)))
    out = {}
    for i, name in enumerate(names):
        after = draw(st.lists(st.sampled_from(names[:i]), unique=True, max_size=2)) if i else []
        ready = draw(st.sampled_from([None, Check(way="port")])) if found[name].want is Want.UP else None
        out[name] = replace(found[name], after=tuple(after), ready=ready)
    return {n: out[n] for n in found}


times = st.integers(0, 500).map(float)
maybe = st.none() | times
procs = st.builds(Proc, st.sampled_from([BOOT, "boot-0"]), st.integers(2, 50), st.integers(1, 9))
runs = st.lists(
    st.builds(
        Run,
        id=st.uuids().map(str),
        program=programs() | st.just(Program(name="gone", argv=("/a",), after=("web",))),
        boot=st.sampled_from([BOOT, "boot-0"]),
        started=times,
        nth=st.integers(0, 3),
        streak=st.integers(0, 2000),
        ready=maybe,
        ailing=st.integers(0, 3),
        unfit=st.none() | st.just("too large"),
        proc=st.none() | procs,
        keeper=st.none() | procs,
        error=st.none() | st.just("no such file"),
        stable=st.booleans(),
        asked=maybe,
        killed=maybe,
        swept=maybe,
        left=st.lists(procs, max_size=2).map(tuple),
        told=st.lists(procs, max_size=2).map(tuple),
        exited=maybe,
        ended=maybe,
        exit=st.none() | st.integers(-9, 3),
    ),
    max_size=8,
    unique_by=(lambda r: r.id, lambda r: (r.nth, r.started)),
)
wishes = st.builds(
    lambda held, again: Wishes(frozenset(held), frozenset(again)),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["r000001", "x"])), max_size=2),
)


@given(manifests(), runs, wishes, times)
def test_total_and_at_most_one_step_each(manifest: Manifest, rs: list[Run], wish: Wishes, now: float) -> None:
    steps = plan(manifest, rs, wish, now, BOOT)
    started = [s.program.name for s in steps if isinstance(s, Start)]
    ended = [s.run.id for s in steps if isinstance(s, Stop | Kill)]

    assert len(started) == len(set(started))
    assert len(ended) == len(set(ended))
    assert all(s.why for s in steps)


@given(manifests(), runs, wishes, times)
def test_safe(manifest: Manifest, rs: list[Run], wish: Wishes, now: float) -> None:
    """Only live Runs we know of are ended; nothing is started beside a live Run, held, or wanted down."""
    for s in plan(manifest, rs, wish, now, BOOT):
        if isinstance(s, Stop | Kill):
            assert s.run in rs
            assert s.run.live
        if isinstance(s, Start):
            assert not any(r.live and r.program.name == s.program.name for r in rs)
            assert s.program.want is not Want.DOWN
            assert s.program.name not in wish.held


@given(manifests(), runs, wishes, times, st.randoms())
def test_order_free(manifest: Manifest, rs: list[Run], wish: Wishes, now: float, rng: random.Random) -> None:
    """In which order the Runs are found makes no difference."""
    assert plan(manifest, rs, wish, now, BOOT) == plan(manifest, rng.sample(rs, len(rs)), wish, now, BOOT)


@given(manifests(), runs, wishes, times)
def test_what_is_written_reads_back(manifest: Manifest, rs: list[Run], wish: Wishes, now: float) -> None:
    again = load_runs(dump_runs(tuple(rs)))

    assert again == tuple(rs)
    assert plan(manifest, again, wish, now, BOOT) == plan(manifest, rs, wish, now, BOOT)


@given(manifests(), runs, times)
def test_settling_twice_is_settling_once(manifest: Manifest, rs: list[Run], now: float) -> None:
    host = FakeHost(now=now)
    once = settle(manifest, tuple(rs), host.scan(manifest, rs), now)

    assert settle(manifest, once, host.scan(manifest, once), now) == once


def settled(host: FakeHost, store: FakeStore, manifest: Manifest, said: list[Step] | None = None) -> tuple[Step, ...]:
    heard: list[Step] = [] if said is None else said
    return converge(host, store, manifest, host.clock(), 900.0, heard.append)


@given(manifests(), manifests(), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.data())
@settings(max_examples=150, deadline=None)
def test_converges(
    first: Manifest, second: Manifest, stubborn: set[str], litters: set[str], data: st.DataObject
) -> None:
    """From any state, through kills and holds, the machine comes to equal the manifest, and then stays quiet."""
    host = FakeHost(stubborn=frozenset(stubborn), litters=frozenset(litters))
    host.health.slow = {n: data.draw(st.sampled_from([0.0, 0.5, 20.0])) for n in NAMES}
    host.lives = {n: (2.0, 0) for n, p in second.items() if p.want is Want.DONE}
    store = FakeStore()
    settled(host, store, first)
    for name in data.draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        for proc in host.alive(name):
            host.end(proc, -9)
    if data.draw(st.booleans()):
        store.rows.clear()  # all records lost: the marks still tell
    if data.draw(st.booleans()):
        host.by_hand(data.draw(st.sampled_from(NAMES)))
    held = data.draw(st.sets(st.sampled_from(NAMES), max_size=1))
    store.held = set(held)
    settled(host, store, second)
    store.held.clear()
    last = settled(host, store, second)

    assert all(isinstance(s, Wait) for s in last)
    assert turn(host, store, second, host.clock()) == last
    holding = set()
    for name in ordered({n: p.after for n, p in second.items()}):
        p = second[name]
        able = p.argv != ("/missing",) and all(n in holding for n in p.after)
        mine = [r for r in store.runs() if r.program.name == name]
        good = any(r.state is State.SUCCEEDED and same_process(r.program, p) for r in mine)
        ours = [q for q in host.alive(name) if host.procs[q].run is not None or any(r.proc == q for r in mine)]
        if p.want is Want.DOWN:
            assert not host.alive(name)
            holding.add(name)
        elif able and p.restart.attempts is None and p.want is Want.DONE:
            assert good or host.alive(name)  # by hand: it is adopted, and never ends here
        elif able and p.restart.attempts is None and p.restart.on is On.ALWAYS:
            assert ours
        assert len(ours) <= 1
        if good or (p.want is Want.UP and ours):
            holding.add(name)
    strangers = {p.name for p in host.procs.values() if p.run is None}
    assert {p.name for p in host.procs.values()} <= set(second) | strangers
    assert all(n == 1 for n in host.most.values())


@given(manifests(("/a", "/b")), manifests(("/a", "/b", "/c")), st.data())
@settings(max_examples=150, deadline=None)
def test_check_equals_apply(first: Manifest, second: Manifest, data: st.DataObject) -> None:
    """The same steps in the same order, each with the same why, where starts and stops succeed at once."""
    host, store = FakeHost(), FakeStore()
    settled(host, store, first)
    for name in data.draw(st.lists(st.sampled_from(NAMES), max_size=2)):
        for proc in host.alive(name):
            host.end(proc, 1)
    store.held = data.draw(st.sets(st.sampled_from(NAMES), max_size=1))
    for run in data.draw(st.lists(st.sampled_from(store.runs()), max_size=2)) if store.runs() else []:
        store.restarts.add((run.program.name, run.id))
    known = observe(host, store, second, host.clock())
    foretold = [
        s for t in forecast(second, known, store.wishes(), host.now, host.boot) for s in t if not isinstance(s, Wait)
    ]
    said: list[Step] = []
    settled(host, store, second, said)

    def plain(steps: Sequence[Step]) -> list[tuple[type, str, str]]:
        acts = [s for s in steps if not isinstance(s, Wait)]
        return [(type(s), s.program.name if isinstance(s, Start) else s.run.program.name, s.why) for s in acts]

    assert plain(foretold) == plain(said)


@given(manifests(("/a",)))
@settings(deadline=None)
def test_an_unchanged_manifest_changes_nothing(manifest: Manifest) -> None:
    host, store = FakeHost(), FakeStore()
    settled(host, store, manifest)
    before, facts = dict(host.procs), len(store.facts)
    steps = settled(host, store, manifest)

    assert all(isinstance(s, Wait) for s in steps)
    assert host.procs == before
    assert len(store.facts) == facts
