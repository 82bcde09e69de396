"""Every key of a YAML whizzifest and of node.yaml, once: parser, JSON Schema and reference read this table."""

from __future__ import annotations

from typing import Any

from whiz.core.checks import shapes
from whiz.core.model import On, Want
from whiz.core.shape import NAME, SCALAR, Choice, Key, Many, Pairs, Record, Text, Words, good_name
from whiz.core.words import SIGNALS, duration, share, size


def _name(text: str) -> str:
    if not good_name(text):
        raise ValueError(text)
    return text


def _whole(low: int, high: int = 2**31) -> Any:  # noqa: ANN401  a function that accepts text
    def accept(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number

    return accept


class Share(float):
    """A part of one core; what else `limits.cpu` may be is a duration."""


def _cpu(text: str) -> float:
    return Share(share(text)) if text.rstrip().endswith("%") else duration(text)


def _umask(text: str) -> int:
    number = int(text.removeprefix("0o"), 8)
    if not 0 <= number <= 0o777:  # noqa: PLR2004
        raise ValueError(text)
    return number


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(text)
    return text


def _path(text: str) -> str:
    if not text or text.startswith("~") or "\0" in text:
        raise ValueError(text)
    return text


def _signal(text: str) -> str:
    name = text.upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise ValueError(text)
    return name


def _schedule(text: str) -> str:
    from whiz.core.calendar import parse  # noqa: PLC0415  most whizzifests have none

    parse(text)
    return text


NAMES = Many(Text("a name of letters, digits, '.', '_' and '-'", _name, NAME.pattern, ("str", "int", "float")))
DURATION = Text("a duration such as 1.5s, 2m or 1h", duration, r"^[0-9.]+ *(ms|s|m|h|d)?$", ("str", "int", "float"))
SIZE = Text("a size such as 64MB or 1.5GiB", size, r"^[0-9.]+ *([KMGkmg]([Ii]?[Bb])?|[Bb])?$", ("str", "int", "float"))
CPU = Text(
    "a duration such as 1m, or a share of one core such as 50%",
    _cpu,
    r"^[0-9.]+ *(ms|s|m|h|d|%)?$",
    ("str", "int", "float"),
)
COUNT = Text("a whole number of 1 or more", _whole(1), kinds=("int",))
PATH = Text("an absolute path", _absolute, "^/")
PLACE = Text("a path", _path, "^[^~]")  # a relative one counts from its file: whiz/core/entry.py
USER = Text("a user or group name, or a number", kinds=("str", "int"))

LIMITS = Record(
    (
        Key("memory", SIZE, "What the program and all it started may have in memory together; beyond it, it ends."),
        Key(
            "cpu",
            CPU,
            "A share of one core, for the program and all it started (`200%`: two cores). Or a duration: CPU time in "
            "total of each process (RLIMIT_CPU), beyond which the kernel ends it with SIGXCPU.",
        ),
        Key("files", COUNT, "Open descriptors of each process (RLIMIT_NOFILE)."),
        Key("tasks", COUNT, "Processes and threads of the program and all it started."),
        Key("core", SIZE, "Size of a core dump (RLIMIT_CORE)."),
    )
)
STOP = Record(
    (
        Key("signal", Text(f"a signal: {', '.join(SIGNALS)}", _signal), "What asks it to stop.", "TERM"),
        Key("grace", DURATION, "How long it may take before SIGKILL.", "10s"),
        Key(
            "tree",
            Choice(("all", "session")),
            "`all`: the stop is over when every descendant is gone; "
            "`session`: descendants that left the session are guests (sshd, tmux).",
            "all",
        ),
    )
)
RESTART = Record(
    (
        Key("on", Choice(tuple(On), On), "After which end it is started again.", "always (`want: done`: failure)"),
        Key("delay", DURATION, "Back-off after the first quick failure; it doubles.", "1s"),
        Key("max_delay", DURATION, "The longest back-off.", "5m"),
        Key("attempts", COUNT, "Give up after so many failures in a row.", "never give up"),
        Key("stable", DURATION, "A run that lives so long is no quick failure.", "60s"),
        Key(
            "success_codes",
            Many(Text("an exit code from 0 to 255", _whole(0, 255), kinds=("int",))),
            "Exit codes that count as success.",
            "0",
        ),
    )
)
LOG = Record(
    (
        Key(
            "to",
            Choice(("file", "journal", "null")),
            "Where output goes: NAME.log in the log directory, journald, or nowhere.",
            "file",
        ),
        Key("max", SIZE, "How much of the newest output is kept.", "10MB"),
    )
)
READY, ALIVE = shapes(PATH, DURATION)
SHARED = (
    Key("cwd", PLACE, "Working directory.", "/"),
    Key(
        "env",
        Pairs(),
        "Environment variables; `{n}` is the instance's number. Nothing is inherited from who called whiz.",
    ),
    Key("env_file", PLACE, "A file of NAME=value lines, for secrets: its values never reach a record or a message."),
    Key("user", USER, "Run as this user.", "whiz's own"),
    Key("group", USER, "Run with this group.", "the user's"),
    Key("umask", Text("an octal mask such as 022", _umask, kinds=("int", "str")), "File mode creation mask.", "022"),
    Key("nice", Text("a number from -20 to 19", _whole(-20, 19), kinds=("int",)), "Scheduling priority.", "whiz's own"),
    Key("limits", LIMITS, "Ceilings."),
    Key("stop", STOP, "How it is stopped."),
    Key("restart", RESTART, "When it is started again."),
    Key("log", LOG, "Where its output goes."),
)
PROGRAM = Record(
    (
        Key(
            "run",
            Words(),
            "The destination: a path with optional arguments, split into words as a shell does (none runs), or a list. "
            "A `.py` that is not executable runs under Python. A relative path with a `/` counts from the file it "
            "stands in; a bare name is looked for on the PATH. `{n}` is the instance's number.",
        ),
        Key(
            "want",
            Choice(tuple(Want), Want),
            "`up`: keep it running; `done`: run it until it succeeded once; `down`: it may not run.",
            "up",
        ),
        Key("after", NAMES, "Start only when these run (`up`) or have succeeded (`done`); stops run in reverse."),
        Key("roles", NAMES, "Only on nodes with one of these roles (node.yaml)."),
        Key("hosts", NAMES, "Only on the nodes with these names (node.yaml)."),
        Key(
            "instances",
            Text("a whole number from 1 to 1000", _whole(1, 1000), kinds=("int",)),
            "How many copies, named NAME:1, NAME:2 …",
        ),
        Key(
            "files",
            Many(PLACE),
            "What the program consists of, directories too: new content restarts it.",
            "its destination",
        ),
        *SHARED,
        Key("ready", READY, "When it counts as running, so that what comes `after` it may start."),
        Key("alive", ALIVE, "What tells that it still does its work; one that does not is ended and started again."),
        Key(
            "schedule",
            Text('a moment such as "every day at 03:00", or cron\'s five fields', _schedule, speaks=True),
            "For `want: done`: run it whenever it is due, instead of once.",
        ),
    ),
    required=("run",),
)
DEFAULTS = Record(SHARED)
EVENTS = {
    "start": "A program was started.",
    "exit": "A run is over: succeeded, failed, stopped, lost or error, with its exit code where it is known.",
    "error": "A program could not be started.",
    "crash_loop": "A program fails again and again; said once for each row of failures.",
    "stop": "A program was asked to stop.",
    "kill": "A program did not stop in time.",
    "adopt": "A process that was running already is now looked after.",
    "find": "A process of ours was found whose record was lost.",
    "hold": "Somebody keeps a program down.",
    "unhold": "Somebody lets it run again.",
    "restart": "Somebody asked for a new start.",
    "ready": "A program was found ready.",
    "ailing": "A look found a program not alive; said again only after one that found it well.",
}
HOOKS = Record(tuple(Key(name, Words(), doc) for name, doc in EVENTS.items()))
TOP = (
    Key("version", Choice(("1",)), "The format of this file.", "1"),
    Key("include", Many(SCALAR), "Further whizzifests: paths or globs, relative to this file, read in sorted order."),
    Key("defaults", DEFAULTS, "Options for every program of this file and of what it includes."),
    Key(
        "hitlist",
        Many(SCALAR),
        "Paths or basenames of executables and scripts that may not run: sugar for `want: down`.",
    ),
    Key("on", HOOKS, "Commands that are told what happens: the fact comes as a line of JSON on their stdin."),
)
NODE = Record(
    (
        Key("name", Text("a name of letters, digits, '.', '_' and '-'", _name, NAME.pattern), "This node's name."),
        Key("roles", NAMES, "What this node is for."),
    )
)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a YAML whizzifest."""
    programs = {
        "type": "object",
        "additionalProperties": PROGRAM.schema(),
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
    }
    properties = {k.name: {**k.shape.schema(), "description": k.doc} for k in TOP}
    properties["version"] = {"const": 1, "description": "The format of this file."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "whizzifest",
        "type": "object",
        "additionalProperties": False,
        "properties": {**properties, "programs": {**programs, "description": "What should run, by name."}},
    }
