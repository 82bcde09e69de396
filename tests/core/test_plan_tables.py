"""Decisions as tables: tests/plan/*.toml, given -> expect. Adding a case needs no Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from whiz.core.model import Kill, Proc, Program, Run, Start, Step, Stop, Wishes
from whiz.core.plan import plan
from whiz.core.value import replace
from whiz.core.wire import load

BOOT = "boot-1"
FILES = sorted((Path(__file__).parent.parent / "plan").glob("*.toml"))
CASES = [(f"{f.stem}: {c['name']}", c) for f in FILES for c in tomllib.loads(f.read_text())["case"]]


def program(table: dict[str, Any]) -> Program:
    data = {"argv": [f"/bin/{table['name']}"], **table}
    if data.get("want") == "done":
        data["restart"] = {"on": "failure", **data.get("restart", {})}
    return load(Program, data)


def run(table: dict[str, Any], manifest: dict[str, Program]) -> Run:
    data = dict(table)
    name = data.pop("of")
    was = data.pop("was", None)
    base = program({"name": name}) if name not in manifest else manifest[name]
    if was is not None:
        base = program({"name": name, **was})
    pid = data.pop("pid", None)
    left = tuple(Proc(BOOT, p, 1) for p in data.pop("left", []))
    told = tuple(Proc(BOOT, p, 1) for p in data.pop("told", []))
    whole = Run(id=data.pop("id", f"{name}-1"), program=base, boot=data.pop("boot", BOOT), started=data.pop("started"))
    proc = None if pid is None else Proc(BOOT, pid, 1)
    return replace(whole, proc=proc, left=left, told=told, **data)


def say(step: Step) -> str:
    match step:
        case Start(p, why):
            return f"start {p.name}: {why}"
        case Stop(r, why):
            return f"stop {r.program.name}: {why}"
        case Kill(r, why):
            return f"kill {r.program.name}: {why}"
        case _:
            until = "" if step.until is None else f" until {step.until:g}"
            return f"wait {step.name}{until}: {step.why}"


@pytest.mark.parametrize(("name", "case"), CASES, ids=[n for n, _ in CASES])
def test_plan(name: str, case: dict[str, Any]) -> None:
    manifest = {p["name"]: program(p) for p in case.get("programs", [])}
    runs = [run(r, manifest) for r in case.get("runs", [])]
    wishes = Wishes(frozenset(case.get("held", [])), frozenset(case.get("restarts", {}).items()))
    steps = plan(manifest, runs, wishes, case.get("now", 1000.0), BOOT)

    assert case["expect"] == [say(s) for s in steps], name
