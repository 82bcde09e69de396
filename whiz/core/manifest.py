"""From documents to Programs: the line form, the YAML form, defaults, roles, instances and the hit list."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whiz.core import keys
from whiz.core.checks import check, fits, instance
from whiz.core.errors import ManifestError
from whiz.core.model import Ending, Limits, Log, On, Program, Restart, Want
from whiz.core.order import cycles
from whiz.core.shape import BAD, Node, Report, good_name, unique
from whiz.core.value import replace
from whiz.core.words import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whiz.core.errors import Problem
    from whiz.core.model import Check, Manifest


@dataclass(frozen=True, slots=True)
class Identity:
    """What node.yaml says of this machine."""

    name: str | None = None
    roles: tuple[str, ...] = ()


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
            below = {k.value: v for k, v in _pairs(found)}
            if name not in below:
                return found if found is not self.value else self.key
            found = below[name]
        return found


@dataclass(slots=True)
class Document:
    """One file, read: its tree, or the problems that kept it from being one."""

    path: str
    root: Node | None
    report: Report


def includes(document: Document) -> tuple[tuple[str, Node], ...]:
    """Return the patterns this document includes, each with its place."""
    for key, value in _pairs(document.root):
        if key.value == "include":
            nodes = value.value if value.kind == "list" else [value]
            return tuple((n.value, n) for n in nodes if n.kind == "str" and n.value)
    return ()


def build(documents: Iterable[Document], node: Identity) -> Manifest:
    """Return the Programs of all documents, the first being the main one; raise ManifestError with every problem.

    What depends on other files (the digests of a program's own files and of its env_file) is not yet in them.
    """
    docs = list(documents)
    entries: dict[str, Program] = {}
    where: dict[str, Entry] = {}
    names: dict[str, str] = {}  # in lower case -> as it stands first
    families: dict[str, list[str]] = {}
    common: dict[str, Any] = {}
    for doc in docs:
        top = _top(doc)
        common = common or top.get("defaults", {})
        defaults = _merged(common, top.get("defaults", {}))
        for key, value in top.get("programs", ()):
            given = keys.PROGRAM.read(value, doc.report)
            taken = _name_taken(key, where, names, doc.report)
            where.setdefault(key.value, Entry(key, value, doc.report))
            names.setdefault(key.value.lower(), key.value)
            if taken or given is BAD or not _wanted(key, value, given, node, doc.report):
                continue
            made = _programs(given, defaults, posixpath.dirname(doc.path), where[key.value])
            families[key.value] = [p.name for p in made]
            entries |= {p.name: p for p in made}
        for entry in top.get("hitlist", ()):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(doc.path), entry)) if "/" in entry else entry
            entries[f"hitlist/{path}"] = Program(name=f"hitlist/{path}", argv=(path,), want=Want.DOWN)
    entries = {name: _expanded(p, families, where) for name, p in entries.items()}
    _refuse_cycles(entries, where)
    problems = tuple(sorted({p for doc in docs for p in doc.report.problems}, key=_place))
    if problems:
        raise ManifestError(problems)
    return entries


def hooks(documents: Iterable[Document]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return event -> the commands that are told of it, of documents that `build` found right."""
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for doc in documents:
        for event, argv in _top(doc).get("on", {}).items():
            found[event] = (*found.get(event, ()), _placed(argv, posixpath.dirname(doc.path)))
    return found


def _placed(argv: tuple[str, ...], base: str) -> tuple[str, ...]:
    """Return a command whose relative path counts from the file that it stands in."""
    return (posixpath.normpath(posixpath.join(base, argv[0])), *argv[1:]) if "/" in argv[0] else argv


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.message


def _pairs(root: Node | None) -> list[tuple[Node, Node]]:
    return root.value if root is not None and root.kind == "map" else []


def _top(doc: Document) -> dict[str, Any]:
    """Read the top keys of a document; `programs` stays a list of nodes."""
    out: dict[str, Any] = {}
    known = {k.name: k for k in keys.TOP}
    if doc.root is None or doc.root.kind == "null":
        return out
    if doc.root.kind != "map":
        doc.report.at(doc.root, "expected top keys such as programs: and hitlist:, found something else")
        return out
    for key, value in unique(doc.root, doc.report):
        if key.value == "programs":
            if value.kind == "map":
                out["programs"] = list(unique(value, doc.report))
            elif value.kind != "null":
                doc.report.at(value, "programs: expects NAME: lines below it")
        elif key.value not in known:
            close = near(str(key.value), [*known, "programs"])
            doc.report.at(key, f"unknown key {key.value!r}", f"did you mean {close!r}?" if close else "")
        elif key.value == "version":
            if value.value != "1":
                doc.report.at(value, f"version {value.value} is not known to this whiz", "write version: 1")
        else:
            held = known[key.value].shape.read(value, doc.report)
            if held is not BAD:
                out[key.value] = held
    return out


def _name_taken(key: Node, where: Mapping[str, Entry], names: Mapping[str, str], report: Report) -> bool:
    """Report a name that is malformed, or that another entry has, also in other letters."""
    if not good_name(key.value):
        report.at(key, f"{key.value!r} cannot be a name", "use letters, digits, '.', '_' and '-', at most 200")
        return True
    name = names.get(key.value.lower())
    if name is None:
        return False
    other = where[name]
    same = "stands twice" if name == key.value else f"differs from {name!r} only by case"
    again = other.report.file == report.file and other.key.line == key.line
    hint = "the file is included twice" if again else "give it another name"
    report.at(key, f"{key.value!r} {same}: also in {other.report.file}:{other.key.line}", hint)
    return True


def _wanted(key: Node, value: Node, given: dict[str, Any], node: Identity, report: Report) -> bool:
    """Whether the entry is for this node."""
    for asked, have, what in (("roles", node.roles, "roles"), ("hosts", node.name, "a name")):
        if asked not in given:
            continue
        if not have:
            place = next((k for k, _ in value.value if k.value == asked), key)
            report.at(
                place,
                f"{key.value!r} is for certain {asked}, but this node has no {what}",
                f"write {'roles: [...]' if asked == 'roles' else 'name: ...'} into node.yaml",
            )
            return False
        if not set(given[asked]) & ({have} if isinstance(have, str) else set(have)):
            return False
    return True


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return `low` overridden by `high`, sub-maps key by key."""
    out = dict(low)
    for key, value in high.items():
        held = out.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            out[key] = _merged(held, value)
        elif key == "env" and held is not None:
            out[key] = tuple((dict(held) | dict(value)).items())
        else:
            out[key] = value
    return out


def _programs(given: dict[str, Any], defaults: dict[str, Any], base: str, entry: Entry) -> list[Program]:
    """Make the Programs of one entry, one for each instance."""
    common_env = defaults.get("env", ())
    all_given = _merged({k: v for k, v in defaults.items() if k != "env"}, given)
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
            checks[kind] = replace(held, argv=_placed(held.argv, base)) if held.argv else held
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
    argv = _placed(argv, base)
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


def _expanded(p: Program, families: Mapping[str, list[str]], where: Mapping[str, Entry]) -> Program:
    """Turn the names in `after` into the programs they mean; an entry for other nodes only is skipped."""
    after: list[str] = []
    for name in p.after:
        if name not in where:
            entry = where[p.name.partition(":")[0]]
            close = near(name, where)
            hint = f"did you mean {close!r}?" if close else "no entry has this name"
            entry.report.at(entry.at("after"), f"{entry.key.value!r} comes after unknown {name!r}", hint)
        after += families.get(name, [])
    return p if tuple(after) == p.after else replace(p, after=tuple(after))


def _refuse_cycles(entries: Manifest, where: Mapping[str, Entry]) -> None:
    for path in cycles({n: p.after for n, p in entries.items()}):
        entry = where[path[0].partition(":")[0]]
        entry.report.at(entry.at("after"), f"a cycle in after: {' → '.join(path)}", "remove one of these")


def mentions(document: Document) -> bool:
    """Whether a document names anything at all, be it for other nodes."""
    return any(k.value in ("programs", "hitlist") and v.value for k, v in _pairs(document.root))
