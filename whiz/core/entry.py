"""One entry of a whizzifest: its options with the defaults, its paths, and the Programs that it comes to."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whiz.core import keys
from whiz.core.checks import check, fits, instance
from whiz.core.model import Ending, Limits, Log, On, Program, Restart, Want
from whiz.core.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.model import Check
    from whiz.core.shape import Node, Report


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one program stands: its name, its value, its file's report."""

    key: Node
    value: Node
    report: Report

    def at(self, *path: str) -> Node:
        """Return the node of an option such as ("restart", "delay"), as near as it was written down."""
        found = self.value
        for name in path:
            below = {k.value: v for k, v in pairs(found)}
            if name not in below:
                return found if found is not self.value else self.key
            found = below[name]
        return found


def pairs(root: Node | None) -> list[tuple[Node, Node]]:
    """Return the keys and values of a map; none of anything else."""
    return root.value if root is not None and root.kind == "map" else []


def programs(given: dict[str, Any], defaults: dict[str, Any], base: str, entry: Entry) -> list[Program]:
    """Make the Programs of one entry, one for each instance."""
    common_env = defaults.get("env", ())
    all_given = merged({k: v for k, v in defaults.items() if k != "env"}, given)
    want = all_given.get("want", Want.UP)
    name, report = entry.key.value, entry.report
    policy = dict(all_given.get("restart", {}))
    if want is Want.DONE:
        if policy.get("on") is On.ALWAYS:
            report.at(
                entry.at("restart", "on"),
                f"{name!r} wants done, so it cannot restart always",
                "write restart: {on: failure}",
            )
        policy.setdefault("on", On.FAILURE)
    if "schedule" in all_given and want is not Want.DONE:
        report.at(entry.at("schedule"), f"{name!r} has a schedule, so it must be a task", "write want: done")
    checks: dict[str, Any] = {}
    for kind in ("ready", "alive"):
        if kind in all_given:
            held = check(kind, all_given[kind])
            checks[kind] = replace(held, argv=placed(held.argv, base)) if held.argv else held
            _refuse_check(kind, held, want, all_given.get("log", {}), entry)
            if not fits(held, all_given.get("instances", 1)):
                report.at(entry.at(kind), f"{name!r}: the last of its instances has no such {held.way} to look at")
    if policy.get("max_delay", 300.0) < policy.get("delay", 1.0):
        report.at(entry.at("restart", "max_delay"), f"{name!r}: restart.max_delay is shorter than restart.delay")
    if "success_codes" in policy:
        policy["success_codes"] = tuple(sorted({0, *policy["success_codes"]}))
    argv = all_given.get("run", ("?",))  # without one it was reported, and this manifest will be refused
    if argv[0].startswith("~"):
        report.at(entry.at("run"), f"{name!r}: '~' is not expanded", "write the whole path")
    argv = placed(argv, base)
    whole = Program(
        name=name,
        argv=argv,
        want=want,
        after=all_given.get("after", ()),
        cwd=all_given.get("cwd", "/"),
        env_defaults=common_env,
        env=all_given.get("env", ()),
        env_file=all_given.get("env_file"),
        user=all_given.get("user"),
        group=all_given.get("group"),
        umask=all_given.get("umask", 0o022),
        nice=all_given.get("nice"),
        limits=_limits(all_given.get("limits", {})),
        stop=Ending(**all_given.get("stop", {})),
        restart=Restart(**policy),
        log=Log(**all_given.get("log", {})),
        schedule=all_given.get("schedule"),
        **checks,
        files=all_given.get("files", (argv[0],) if "/" in argv[0] and want is not Want.DOWN else ()),
    )
    if "instances" not in all_given:
        return [whole]
    return [_instance(whole, n) for n in range(1, all_given["instances"] + 1)]


def _refuse_check(kind: str, held: Check, want: Want, log: Mapping[str, Any], entry: Entry) -> None:
    """Report what cannot be looked at."""
    name = entry.key.value
    if want is Want.DOWN or (kind == "ready" and want is Want.DONE):
        hint = f"remove {kind}; what comes after a task waits until it has succeeded" if want is Want.DONE else ""
        entry.report.at(entry.at(kind), f"{name!r} wants {want}, so it is never {kind}", hint or f"remove {kind}")
    if held.way == "log" and log.get("to", "file") != "file":
        entry.report.at(entry.at(kind, "log"), f"{name!r}: its output is not in a file", "write log: {to: file}")


def _limits(given: Mapping[str, Any]) -> Limits:
    """Return the ceilings; `cpu` is one of two things."""
    cpu = given.get("cpu")
    return Limits(**({**given, "cpu": None, "share": float(cpu)} if isinstance(cpu, keys.Share) else given))


def _instance(p: Program, n: int) -> Program:
    """Return the n-th copy, `{n}` replaced in words, environment and files."""

    def put(text: str) -> str:
        return text.replace("{n}", str(n))

    return replace(
        p,
        name=f"{p.name}:{n}",
        argv=tuple(map(put, p.argv)),
        env=tuple((k, put(v)) for k, v in p.env),
        env_defaults=tuple((k, put(v)) for k, v in p.env_defaults),
        files=tuple(map(put, p.files)),
        ready=None if p.ready is None else instance(p.ready, n),
        alive=None if p.alive is None else instance(p.alive, n),
    )


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return `low` overridden by `high`, sub-maps key by key."""
    out = dict(low)
    for key, value in high.items():
        held = out.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            out[key] = merged(held, value)
        elif key == "env" and held is not None:
            out[key] = tuple((dict(held) | dict(value)).items())
        else:
            out[key] = value
    return out


def placed(argv: tuple[str, ...], base: str) -> tuple[str, ...]:
    """Return a command whose relative path counts from the file that it stands in."""
    return (joined(base, argv[0]), *argv[1:]) if "/" in argv[0] else argv


def joined(base: str, path: str) -> str:
    """Return where a path leads that counts from a directory."""
    return posixpath.normpath(posixpath.join(base, path))


def anchored(given: dict[str, Any], base: str) -> dict[str, Any]:
    """Return options with their relative paths counted from the file that they stand in."""
    out = {k: joined(base, v) if k in ("cwd", "env_file") else v for k, v in given.items()}
    return out | ({"files": tuple(joined(base, f) for f in out["files"])} if "files" in out else {})
