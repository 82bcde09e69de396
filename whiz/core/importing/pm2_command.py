"""What pm2 would execute for an app: interpreter, script and arguments."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Protocol

from whiz.core.importing.command import anchored, pathless, split
from whiz.core.importing.pm2_rules import BY_ENDING
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from whiz.core.importing.ledger import Ledger
    from whiz.core.shape import Node

_COMMANDS = ("npm", "npx", "yarn", "pnpm", "node", "serve", "bash", "sh", "python", "python3", "bun", "deno")


class App(Protocol):
    """What is asked of an app."""

    options: dict[str, tuple[Entry, Node]]
    ledger: Ledger
    head: Entry

    def text(self, key: str) -> str:
        """Return an option as text."""


def run(app: App, cwd: str, name: str) -> tuple[str, dict[str, str]]:
    """Carry the command over; return its interpreter, and the variables that pm2 adds for it."""
    beside = [app.options[key][0] for key in ("interpreter", "interpreter_args", "args") if key in app.options]
    script = app.text("script").strip()
    if not script:
        for other in beside:
            app.ledger.say(Kind.LOST, other, "without a script there is nothing that it could be for", program=name)
        return "", {}
    entry = app.options["script"][0]
    if " " in script:
        app.ledger.carry(entry, name, "run", ["/bin/bash", "-c", script])
        for other in beside:
            app.ledger.say(Kind.SAME, other, "pm2 has no use for it either where the script is a whole command")
        return "", {}
    for other in beside:
        app.ledger.used(other)
    if script.startswith("~"):
        app.ledger.say(Kind.LOST, entry, "whiz expands no '~'", "write the whole path", name)
        return "", {}
    interpreter, words, why = _words(app, script, cwd)
    if interpreter in ("", "none") and "interpreter_args" in app.options:
        lost = "no interpreter runs it here, whose options these could be"
        app.ledger.say(Kind.LOST, app.options["interpreter_args"][0], lost, "interpreter: with its path", name)
    why = why or pathless(words, {k.value: v.value for k, v in _env(app)})
    app.ledger.carry(entry, name, "run", words, why)
    return interpreter, {"PYTHONUNBUFFERED": "1"} if "python" in interpreter else {}


def _env(app: App) -> list[tuple[Node, Node]]:
    node = app.options["env"][1] if "env" in app.options else None
    return node.value if node is not None and node.kind == "map" else []


def _words(app: App, script: str, cwd: str) -> tuple[str, list[str], str]:
    """Return the interpreter, all words, and what there is to say of them."""
    interpreter = app.text("interpreter").strip()
    if not interpreter and script in _COMMANDS:
        return "", [script, *_split(app, "args")], ""
    ending = posixpath.splitext(script)[1]
    path = posixpath.normpath(posixpath.join(cwd, script))
    why = ""
    if not interpreter:
        interpreter = BY_ENDING.get(ending, "none")
        if interpreter == "none" and "/" not in script:
            why = "pm2 takes the file of that name in cwd, else a command on the PATH; here it is the file"
    elif interpreter.startswith("node@"):
        why = f"whiz does not choose among nvm's versions: write the path of {interpreter} instead of node"
        interpreter = "node"
    interpreter = "python3" if interpreter == "python" else interpreter
    before = [] if interpreter == "none" else [anchored(interpreter, cwd), *_split(app, "interpreter_args")]
    return interpreter, [*before, path, *_split(app, "args")], why


def _split(app: App, key: str) -> list[str]:
    """Return arguments: a list as it is, a string as pm2 splits it."""
    if key not in app.options:
        return []
    entry, node = app.options[key]
    if node.kind == "list":
        return [str(v.value) for v in node.value]
    try:
        return split(entry.value)
    except ValueError as exc:
        app.ledger.say(Kind.LOST, entry, str(exc), "write the arguments as a list")
        return []
