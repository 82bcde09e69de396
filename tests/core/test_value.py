"""Values: frozen, slotted, comparable, and made by name or by position."""

from __future__ import annotations

import pytest

from whiz.core.model import Kill, Log, Proc, Program, Run, Start, Stop
from whiz.core.value import defaults, fields, replace

P = Proc("b", 5, 50)
RUN = Run(id="r", program=Program(name="x", argv=("/x",)), boot="b", started=1.0)


def test_made_and_compared() -> None:
    assert Proc(boot="b", pid=5, ticks=50) == P
    assert len({P, Proc("b", 5, 50), Proc("b", 5, 51)}) == 2
    assert hash(P) == hash(Proc("b", 5, 50))
    assert {Stop(RUN, "x"): 1}.get(Stop(RUN, "x")) == 1
    assert len({type(s) for s in (Stop(RUN, "x"), Kill(RUN, "x"))}) == 2
    alike: list[object] = [Stop(RUN, "x"), Kill(RUN, "x")]  # in fields, not in kind
    assert alike[0] != alike[1]


def test_matched_by_position() -> None:
    match Start(RUN.program, "why"):
        case Start(program, why):
            assert (program.name, why) == ("x", "why")


def test_replaced_not_changed() -> None:
    assert replace(P, pid=6) == Proc("b", 6, 50)
    for name in ("pid", "other"):
        with pytest.raises(AttributeError, match="a value cannot be changed"):
            setattr(P, name, 6)
        with pytest.raises(AttributeError, match="a value cannot be changed"):
            delattr(P, name)
    assert P.pid == 5


def test_wrongly_made() -> None:
    with pytest.raises(TypeError, match="Proc needs ticks"):
        Proc("b", 5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Proc has no field for zzz"):
        Proc("b", 5, 50, zzz=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Proc has no field for"):
        Proc("b", 5, 50, 60)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="zzz"):
        replace(P, zzz=1)


def test_shown_and_described() -> None:
    assert repr(Log(to="null")) == "Log(to='null')"
    assert fields(Log) == {"to": "str", "max": "int"}
    assert defaults(Log) == {"to": "file", "max": 10_000_000}
