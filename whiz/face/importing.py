"""`whiz import`: read what other supervisors were told, print it as a whizzifest, and say what that could not hold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from whiz.core.errors import ManifestError, UsageError, WhizError
from whiz.core.importing import jsontree, older, pm2, procfile, supervisor, systemd
from whiz.core.importing.guess import guess
from whiz.core.importing.systemd_text import Unit
from whiz.core.importing.together import together
from whiz.core.importing.values import Kind, Ported, Source
from whiz.core.importing.yamltext import programs_of, render, said
from whiz.core.manifest import Document, Identity, build
from whiz.core.shape import Report
from whiz.face import voice
from whiz.face.reading import parse_yaml
from whiz.world import foreign

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from whiz.core.importing.values import Remark
    from whiz.core.shape import Node

_COUNTED = {Kind.LOST: "not carried over", Kind.NEAR: "with a difference", Kind.SAME: "as whiz does anyway"}

_COUNTED = {Kind.LOST: "not carried over", Kind.NEAR: "with a difference", Kind.SAME: "as whiz does anyway"}


def carry(args: argparse.Namespace) -> int:
    """Print the whizzifest on stdout, the remarks on stderr."""
    ported = read(args.files, args.format)
    if not ported.translations and not ported.hitlist:
        _tell(ported.remarks)
        raise UsageError(f"{', '.join(args.files)}: no program is in it that whiz could run")
    text = render(ported, ", ".join(args.files))
    prove(text)
    lost = [r for r in ported.remarks if r.kind is Kind.LOST]
    code = 3 if lost else 0
    if voice.wants_json(args):
        told = [
            {"kind": r.kind, "file": r.file, "line": r.line, "what": r.what, "why": r.why}
            | {"hint": r.hint, "programs": r.programs}
            for r in ported.remarks
        ]
        voice.say_json({"whizzifest": text, "remarks": told, "exit": code})
        return code
    print(text, end="", flush=True)  # noqa: T201
    quiet = getattr(args, "quiet", False)
    _tell(lost if quiet else ported.remarks)
    if not quiet:
        voice.warn(summary(ported))
    return code


def _tell(remarks: Iterable[Remark]) -> None:
    for lines in said(remarks):
        voice.warn("\n    ".join(line.strip() for line in lines))


def summary(ported: Ported) -> str:
    """Say how much of it was carried over."""
    count = {kind: sum(r.kind is kind for r in ported.remarks) for kind in Kind}
    names, withheld = programs_of(ported).keys(), dict(ported.withheld).keys()
    made = len(names - withheld)
    words = [f"{made} program{'' if made == 1 else 's'} written"]
    if names & withheld:
        words.append(f"{len(names & withheld)} as comments only")
    return f"{', '.join(words)}; " + ", ".join(f"{count[k]} {_COUNTED[k]}" for k in count)


def read(files: Sequence[str], form: str | None) -> Ported:
    """Read and translate all files; raise WhizError where one cannot be read."""
    if list(files).count("-") > 1:
        raise UsageError("'-' can be read once only")
    parts: list[Ported] = []
    units: dict[str, Unit] = {}
    for file in files:
        path = foreign.unit_path(os.path.abspath(file)) if file != "-" else os.path.abspath("stdin")
        text = foreign.decoded(sys.stdin.buffer.read(), "stdin") if file == "-" else foreign.text_of(path, file)
        source = Source("stdin" if file == "-" else file, text, os.path.dirname(path))
        held = form or guess(source.file, text)
        if held == "systemd":
            units |= _units(file, path, source)
        else:
            parts.append(_translated(held, source, path))
    if units:
        parts.append(systemd.translate(tuple(units.values())))
    return together(parts)


def _translated(form: str, source: Source, path: str) -> Ported:
    match form:
        case "supervisor":
            return _supervisor(source)
        case "procfile":
            return procfile.translate(source, foreign.beside(path, ".env"))
        case "pm2":
            return pm2.translate(source, _tree(source))
        case "hitlist":
            return older.hitlist(source)
        case _:
            return older.translate(source)


def _supervisor(source: Source) -> Ported:
    sources, missing = [source], []
    for pattern in supervisor.further(source):
        found = foreign.matches(pattern)
        missing += [] if found else [pattern]
        sources += [Source(p, foreign.text_of(p, p), os.path.dirname(p)) for p in found]
    return supervisor.translate(sources, missing)


def _tree(source: Source) -> Node:
    if not source.file.endswith((".yaml", ".yml")):
        return jsontree.parse(source)
    report = Report(source.file, source.text.splitlines())
    root = parse_yaml(source.text, report)
    if root is None or report.problems:
        raise ManifestError(tuple(report.problems)) if report.problems else UsageError(f"{source.file}: it is empty")
    return root


def _units(file: str, path: str, source: Source) -> dict[str, Unit]:
    """Return a unit with its drop-ins, and the service or the timer beside it."""
    name = os.path.basename(os.path.abspath(file))
    if file == "-":
        name = "stdin.timer" if "[Timer]" in source.text else "stdin.service"
        return {name: Unit(name, (source,))}
    if os.path.dirname(os.path.abspath(file)).endswith((".service.d", ".timer.d")):
        name = os.path.basename(path)
    out = {name: _unit(name, path, file if os.path.abspath(file) == path else path)}
    stem, _, kind = name.rpartition(".")
    other = f"{stem}.{'timer' if kind == 'service' else 'service'}"
    near = foreign.unit_path(os.path.join(os.path.dirname(path), other))
    if os.path.isfile(near):
        out[other] = _unit(other, near, os.path.join(os.path.dirname(file), os.path.basename(near)))
    return out


def _unit(name: str, path: str, shown: str) -> Unit:
    files = [(path, shown), *((p, os.path.join(os.path.dirname(shown), os.path.relpath(p, os.path.dirname(path))))
                              for p in foreign.drop_ins(path, name))]  # fmt: skip
    return Unit(name, tuple(Source(s, foreign.text_of(p, s), os.path.dirname(path)) for p, s in files))


def prove(text: str) -> None:
    """Have whiz's own parser read what is to be printed: if it does not, that is a mistake of whiz."""
    report = Report("the whizzifest that import made", text.splitlines())
    document = Document(report.file, parse_yaml(text, report), report)
    try:
        build([document], Identity())
    except ManifestError as exc:
        raise WhizError(f"a mistake in whiz import itself; nothing is printed. Please report it:\n{exc}") from None
