"""Values: frozen, slotted, comparable, and made by name or by position."""

from __future__ import annotations

import pytest

from whiz.core.model import Found, Kill, Log, Proc, Program, Run, Start, Stop
from whiz.core.value import defaults, fields, replace

P = Found("b", Proc("b", 5, 50))
RUN = Run(id="r", program=Program(name="x", argv=("/x",)), boot="b", started=1.0)


def test_made_and_compared() -> None:
    again, other = Found("b", Proc("b", 5, 50)), Found("b", Proc("b", 5, 51))
    assert Found(name="b", proc=Proc("b", 5, 50)) == P
    assert len({P, again, other}) == 2
    assert hash(P) == hash(again)
    assert {Stop(RUN, "x"): 1}.get(Stop(RUN, "x")) == 1
    assert len({type(s) for s in (Stop(RUN, "x"), Kill(RUN, "x"))}) == 2
    alike: list[object] = [Stop(RUN, "x"), Kill(RUN, "x")]  # in fields, not in kind
    assert alike[0] != alike[1]


def test_matched_by_position() -> None:
    match Start(RUN.program, "why"):
        case Start(program, why):
            assert (program.name, why) == ("x", "why")


def test_replaced_not_changed() -> None:
    assert replace(P, name="c") == Found("c", P.proc)
    for name in ("name", "other"):
        with pytest.raises(AttributeError, match="a value cannot be changed"):
            setattr(P, name, 6)
        with pytest.raises(AttributeError, match="a value cannot be changed"):
            delattr(P, name)
    assert P.name == "b"


def test_wrongly_made() -> None:
    with pytest.raises(TypeError, match="Stop needs why"):
        Stop(RUN)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Stop has no field for zzz"):
        Stop(RUN, "x", zzz=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Stop has no field for"):
        Stop(RUN, "x", 60)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="zzz"):
        replace(P, zzz=1)


def test_shown_and_described() -> None:
    assert repr(Log(to="null")) == "Log(to='null')"
    assert fields(Proc) == {"boot": "str", "pid": "int", "ticks": "int"}
    assert fields(Log) == {"to": "str", "max": "int"}
    assert defaults(Log) == {"to": "file", "max": 10_000_000}
