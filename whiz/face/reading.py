"""Read the whizzifest for a whiz that stays, in a process of its own: PyYAML and the parser's memory go with it.

    python3 -I -c "... main()" HOUSE PATH CONFIG STATE ALLOW_EMPTY

Prints {"programs": [...], "problems": [...], "kept": ..., "texts": [...], "globs": [...], "busy": ...}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from whiz.core.errors import ManifestError, Problem, WhizError
from whiz.core.model import Program
from whiz.core.wire import dump, load
from whiz.world.sources import Loaded, Source, hooks_of

if TYPE_CHECKING:
    from whiz.core.shape import Node as YamlNode
    from whiz.core.shape import Report

_HOUSE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from whiz.face.reading import main; main()"
_LONG = 60.0  # s that reading a whizzifest can take at the very most


def parse_yaml(text: str, report: Report) -> YamlNode | None:
    """Return the tree of a YAML text; what is wrong with it goes into the report."""
    from whiz.world.yamltree import parse_yaml as parse  # noqa: PLC0415  PyYAML costs 15 ms; a quiet turn parses nothing

    return parse(text, report)


def read_apart(path: str, config: str, state: str, *, allow_empty: bool) -> Loaded:
    """Return the manifest in force, read by a child; raise ManifestError where there is none."""
    if (same := Source(path, config, state, parse_yaml, patience=0.0).unchanged()) is not None:
        return same
    import subprocess  # noqa: PLC0415  8 ms that a quiet turn does not have

    command = [sys.executable, "-I", "-c", _CODE, _HOUSE, path, config, state, "1" if allow_empty else ""]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONG, check=False)  # noqa: S603
    try:
        said = json.loads(done.stdout)
        problems = tuple(load(Problem, p) for p in said.pop("problems"))
        programs = said.pop("programs")
    except (ValueError, KeyError, TypeError) as exc:
        words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or exc
        raise WhizError(f"{path}: reading it failed: {words}") from None
    if programs is None:
        raise ManifestError(problems)
    manifest = {p.name: p for p in (load(Program, d) for d in programs)}
    return Loaded(
        manifest,
        problems,
        said["kept"],
        True,
        tuple((p, tuple(was)) for p, was in said["texts"]),
        tuple((g, tuple(found)) for g, found in said["globs"]),
        said["busy"],
        hooks_of(said["hooks"]),
    )


def main() -> None:
    """Be that child."""
    path, config, state, allow_empty = sys.argv[1:]
    source = Source(path, config, state, parse_yaml, patience=0.0)
    try:
        held = source.load(allow_empty=bool(allow_empty), keep=True)
    except ManifestError as exc:
        print(json.dumps({"programs": None, "problems": [dump(p) for p in exc.problems]}))  # noqa: T201
        return
    said: dict[str, object] = {
        "programs": [dump(p) for p in held.manifest.values()],
        "problems": [dump(p) for p in held.problems],
    }
    said |= {"kept": held.kept, "texts": held.texts, "globs": held.globs, "busy": held.busy, "hooks": held.hooks}
    print(json.dumps(said))  # noqa: T201
