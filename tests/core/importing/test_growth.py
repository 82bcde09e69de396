"""Twice as many programs are twice the work, counted in lines of Python that run: an import is never quadratic."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest

from whiz.core.importing import jsontree, older, pm2, procfile, supervisor, systemd
from whiz.core.importing.ledger import Ledger
from whiz.core.importing.systemd_text import Unit
from whiz.core.importing.together import together
from whiz.core.importing.values import Entry, Kind, Ported, Source
from whiz.core.importing.yamltext import programs_of, render
from whiz.core.manifest import Document, Identity, build
from whiz.core.shape import Report
from whiz.world.yamltree import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [f"p{n:04}" for n in range(1000)]  # of one length: what goes letter by letter is to cost the same for each


def from_supervisor(names: list[str]) -> Ported:
    section = '[program:{}]\ncommand=/bin/x -y\nenvironment=A="1"\nstartsecs=5\nstopwaitsecs=7\nnumprocs=1\n'
    return supervisor.translate([Source("s.conf", "".join(map(section.format, names)))])


def from_procfile(names: list[str]) -> Ported:
    text = "".join(f"{n}: exec x -p $PORT\n" for n in names)
    return procfile.translate(Source("Procfile", f"release: x\n{text}"), "/srv/.env")


def from_pm2(names: list[str]) -> Ported:
    app = '{{\n"script": "/bin/x",\n"env": {{\n"A": 1\n}},\n"instances": 2,\n"name": "{}"\n}}'
    source = Source("e.json", f"[{','.join(map(app.format, names))}]")
    return pm2.translate(source, jsontree.parse(source))


def from_units(names: list[str]) -> Ported:
    service = "[Unit]\nDescription=x\nStartLimitIntervalSec=0\nStartLimitBurst=9\n[Service]\nExecStart=/bin/x\nRestart=on-failure\n"
    units = [Unit(f"{n}.service", (Source(f"{n}.service", service),)) for n in names]
    timer = "[Timer]\nOnCalendar=daily\nOnBootSec=5\n"
    return systemd.translate([*units, *(Unit(f"{n}.timer", (Source(f"{n}.timer", timer),)) for n in names)])


def of_one_name(names: list[str]) -> Ported:
    return older.translate(Source("older", "".join("/bin/x|same\n" for _ in names)))


def lines(work: Callable[[], object]) -> int:
    """Return how many lines of Python run, each turn of a comprehension counted."""
    count, before = 0, sys.gettrace()

    def trace(_frame: object, event: str, _arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def carried(ported: Ported) -> None:
    """Go on as whiz import does: render, and read it as a whizzifest."""
    text = render(together([ported]), "here")
    report = Report("made", text.splitlines())
    build([Document("/made", parse_yaml(text, report), report)], Identity())


@pytest.mark.parametrize("form", [from_supervisor, from_procfile, from_pm2, from_units, of_one_name])
def test_work_grows_as_the_input_does(form: Callable[[list[str]], Ported]) -> None:
    carried(form(NAMES[:2]))  # what is kept from then on is no part of it
    _linear([lines(functools.partial(form, NAMES[:n])) for n in (40, 80, 120)])
    _linear([lines(functools.partial(carried, form(NAMES[:n]))) for n in (40, 80, 120)])


def _linear(work: list[int]) -> None:
    first, second, third = work
    assert third - second <= (second - first) * 1.01


def test_a_place_in_json_is_found_without_reading_what_stands_before_it() -> None:
    looked = 0

    class Text(str):
        __slots__ = ()

        def count(self, *words: Any) -> int:
            nonlocal looked
            looked += 1
            return super().count(*words)

    root = jsontree.parse(Source("e.json", Text('[\n"a",\n{"b":\n2}\n]')))
    assert looked == 0
    assert [(n.line, n.column) for n in (root, *root.value)] == [(1, 1), (2, 1), (3, 1)]
    ((key, held),) = root.value[1].value
    assert [(n.line, n.column) for n in (key, held)] == [(3, 2), (4, 1)]


def test_a_remark_on_many_programs_takes_each_down_once() -> None:
    hashed = 0

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            nonlocal hashed
            hashed += 1
            return super().__hash__()

    ledger, entry = Ledger(), Entry("s.conf", 1, "[x]", "key", "value")
    for name in NAMES[:200]:
        ledger.say(Kind.NEAR, entry, "all alike", program=Name(name))
    assert hashed < 1000


def test_many_of_one_priority_come_after_all_of_the_one_before() -> None:
    """Each after each would be a million names for two thousand programs."""
    sections = (f"[program:{n}]\ncommand=/bin/x\npriority={i % 3}\n" for i, n in enumerate(NAMES[:300]))
    programs = programs_of(supervisor.translate([Source("s.conf", "".join(sections))]))
    after: dict[str, list[str]] = {n: p.get("after", []) for n, p in programs.items()}  # type: ignore[misc]
    assert sum(map(len, after.values())) < 600

    def reached(name: str) -> set[str]:
        return {name}.union(*map(reached, after[name]))

    for level in (1, 2):
        for name in NAMES[level:300:3]:
            assert {*NAMES[level - 1 : 300 : 3]} <= reached(name)
