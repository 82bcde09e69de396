"""What several files were translated into, as one whizzifest: no name twice, nothing both wanted and hit."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from whiz.core.importing.values import Kind, Ported, Remark, Translation
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def together(parts: Sequence[Ported]) -> Ported:
    """Return all of it as one."""
    whole = Ported()
    taken: set[str] = set()
    for part in parts:
        names = dict.fromkeys([t.program for t in part.translations])
        new = {name: _free(name, taken | {n.lower() for n in names}) for name in names if name.lower() in taken}
        renamed = _renamed(part, new)
        taken |= {t.program.lower() for t in renamed.translations}
        whole = Ported(
            (*whole.translations, *renamed.translations),
            (*whole.remarks, *renamed.remarks),
            tuple(dict.fromkeys((*whole.hitlist, *renamed.hitlist))),
            (*whole.withheld, *renamed.withheld),
            (*whole.titles, *renamed.titles),
        )
    return _peaceful(whole)


def _free(name: str, taken: set[str]) -> str:
    n = 2
    while f"{name}-{n}".lower() in taken:
        n += 1
    return f"{name}-{n}"


def _renamed(part: Ported, new: Mapping[str, str]) -> Ported:
    if not new:
        return part
    where = {t.program: t for t in reversed(part.translations)}
    said = [
        Remark(
            Kind.NEAR, where[n].file, where[n].line, n, f"its name is {other!r} here: another file has it", "", (other,)
        )
        for n, other in new.items()
    ]
    return replace(
        part,
        translations=tuple(_translation(t, new) for t in part.translations),
        remarks=(*(replace(r, programs=tuple(new.get(p, p) for p in r.programs)) for r in part.remarks), *said),
        withheld=tuple((new.get(n, n), why) for n, why in part.withheld),
        titles=tuple((new.get(n, n), text) for n, text in part.titles),
    )


def _translation(t: Translation, new: Mapping[str, str]) -> Translation:
    held = t.value
    if t.key == "after" and isinstance(held, list):
        held = [new.get(n, n) for n in held]
    return t._replace(program=new.get(t.program, t.program), value=held)


def _peaceful(whole: Ported) -> Ported:
    """Take from the hit list what a program is."""
    wanted = {str(t.value[0]): t.program for t in whole.translations if t.key == "run" and isinstance(t.value, list)}
    wanted |= {posixpath.basename(path): name for path, name in wanted.items()}
    said = tuple(
        Remark(Kind.LOST, "the hit list", 0, hit, f"the program {wanted[hit]!r} runs it", "remove one of the two")
        for hit in whole.hitlist
        if hit in wanted
    )
    return replace(whole, remarks=(*whole.remarks, *said), hitlist=tuple(h for h in whole.hitlist if h not in wanted))
