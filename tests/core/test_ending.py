"""Told to end everything; and what a whiz that stays need not look for."""

from __future__ import annotations

from whiz.core.model import Proc, Program, Run, Seen, Stop, Want, Wishes
from whiz.core.plan import plan
from whiz.core.settle import must_scan
from whiz.core.value import replace

A = Program(name="a", argv=("/a",))
B = Program(name="b", argv=("/b",), after=("a",))
TASK = Program(name="t", argv=("/t",), want=Want.DONE)
RUN = Run(id="ra", program=A, boot="b", started=1.0, proc=Proc("b", 4, 40))


def test_everything_ends_in_reverse_and_nothing_starts() -> None:
    manifest = {"a": A, "b": B, "t": TASK}
    runs = (RUN, replace(RUN, id="rb", program=B, proc=Proc("b", 5, 50)))
    ending = Wishes(ending=True)
    steps = plan(manifest, runs, ending, 9.0, "b")
    assert [(type(s), s.why) for s in steps if isinstance(s, Stop)] == [(Stop, "whiz was told to end them")]
    assert [s.run.program.name for s in steps if isinstance(s, Stop)] == ["b"]
    gone = tuple(replace(r, asked=9.0, exited=9.0, ended=9.0) for r in runs)
    assert plan(manifest, gone, ending, 10.0, "b") == ()


def test_what_ended_before_our_eyes_is_not_missing() -> None:
    ended = replace(RUN, exited=2.0, exit=1, ended=2.0)
    seen = Seen(boot="b", witnessed=frozenset({"ra"}))
    assert not must_scan({"a": A}, (ended,), seen, Wishes())
    assert must_scan({"a": A}, (ended,), replace(seen, witnessed=frozenset()), Wishes())
    assert must_scan({"a": A}, (RUN,), seen, Wishes())
    assert not must_scan({"a": A}, (RUN,), replace(seen, trees=(("ra", ()),)), Wishes())
