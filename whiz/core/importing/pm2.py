"""pm2's ecosystem files, as JSON or YAML."""

from __future__ import annotations

import json
import math
import posixpath
import re
from typing import TYPE_CHECKING

from whiz.core.importing.ledger import Ledger, refuse
from whiz.core.importing.pm2_command import run
from whiz.core.importing.pm2_rules import ALIASES, APP, TOP
from whiz.core.importing.rules import apply, truth, whole
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.importing.values import Ported, Source
    from whiz.core.shape import Node

_MOST = 1000
_EXACT = 2**53  # up to here every whole number is itself
_INDICES = 2**32  # of an array, and what JavaScript takes for one of them
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def translate(source: Source, root: Node) -> Ported:
    """Translate the tree of an ecosystem file: {apps: [...]}, a list of apps, or one app."""
    apps: list[Node]
    entries: list[Entry] = []
    top = {k.value: v for k, v in root.value} if root.kind == "map" else {}
    if "apps" in top:
        held = top["apps"]
        apps = held.value if held.kind == "list" else [held]
        entries += [
            Entry(source.file, k.line, "the file", k.value, flat(v)) for k, v in root.value if k.value != "apps"
        ]
    else:
        apps = root.value if root.kind == "list" else [root]
    for number, app in enumerate(apps, 1):
        if app.kind != "map":
            raise refuse(source.file, app.line, f"app {number} is no {{…}} with options", flat(app), "is it pm2's?")
    options = [list(_options(app, source, n)) for n, app in enumerate(apps, 1)]
    ledger = Ledger([*entries, *(e for o in options for e, _ in o)])
    for entry in entries:
        if entry.key in TOP:
            apply(ledger, TOP[entry.key], entry)
    for number, (app, told) in enumerate(zip(apps, options, strict=True), 1):
        _App(source, Entry(source.file, app.line, f"app {number}", "", ""), told, ledger).port()
    return ledger.ported()


def flat(node: Node) -> str:
    """Return a value as one text."""
    if node.kind == "map":
        return ", ".join(f"{k.value}: {flat(v)}" for k, v in node.value)
    if node.kind == "list":
        return ", ".join(flat(v) for v in node.value)
    return str(node.value)


def variable(node: Node) -> str:
    """Return a value as pm2 puts it into an environment: what is no word or number as JSON.stringify writes it."""
    if node.kind == "map":
        pairs = {str(k.value): v for k, v in node.value}  # of two the last, at the place of the first
        order = sorted(pairs, key=lambda k: int(k) if _INDEX.fullmatch(k) else _INDICES)  # which JavaScript puts first
        return "{" + ",".join(f"{_quoted(k)}:{_inner(pairs[k])}" for k in order) + "}"
    if node.kind == "list":
        return "[" + ",".join(map(_inner, node.value)) + "]"
    return _number(node.value) if node.kind in ("int", "float") else str(node.value)


def _inner(node: Node) -> str:
    return _quoted(node.value) if node.kind == "str" else variable(node)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(text: str) -> str:
    """Return a number as JavaScript spells it; as it stands where that would take all of its rules."""
    try:
        number = float(text)
    except ValueError:  # one of YAML's
        return text
    if number.is_integer():
        return f"{number:.0f}" if abs(number) <= _EXACT else text
    return text if "e" in repr(number) or math.isinf(number) else repr(number)


def _options(app: Node, source: Source, number: int) -> Iterator[tuple[Entry, Node]]:
    for key, held in app.value:
        yield Entry(source.file, key.line, f"app {number}", str(key.value), flat(held)), held


class _App:
    """One app on its way into the ledger."""

    def __init__(self, source: Source, head: Entry, told: list[tuple[Entry, Node]], ledger: Ledger) -> None:
        self.source, self.head, self.ledger = source, head, ledger
        self.options: dict[str, tuple[Entry, Node]] = {}
        for entry, node in told:
            key = ALIASES.get(entry.key, entry.key)
            if not entry.value.strip():
                ledger.say(Kind.SAME, entry, "it is empty, as if it were not there")
                continue
            if key in self.options:
                before = self.options[key][0]
                ledger.say(Kind.SAME, before, f"line {entry.line} says it again, later, and that holds")
            self.options[key] = (entry, node)

    def port(self) -> None:
        """Translate it, once or once for each instance."""
        count = self._count()
        separate = count > 1 and ("increment_var" in self.options or self._braces())
        for number in range(count if separate else 1):
            self._one(f"-{number}" if separate else "", number, 0 if separate or count == 1 else count)

    def text(self, key: str) -> str:
        """Return an option as text; nothing where it is not given."""
        return self.options[key][0].value if key in self.options else ""

    def yes(self, key: str, otherwise: bool) -> bool:  # noqa: FBT001  what pm2 takes it for
        """Return a yes or no; say so where it is neither."""
        if key not in self.options:
            return otherwise
        try:
            return truth(self.text(key))
        except ValueError as exc:
            self.ledger.say(Kind.LOST, self.options[key][0], str(exc))
            return otherwise

    def _braces(self) -> bool:
        return any("{n}" in e.value for e, _ in self.options.values())

    def _count(self) -> int:
        if "instances" not in self.options:
            return 1
        entry = self.options["instances"][0]
        try:
            count = whole(entry.value)
        except ValueError:
            count = 0
        if not 1 <= count <= _MOST:
            why = "it is reckoned from this machine's processors, or no number; one is started"
            self.ledger.say(Kind.LOST, entry, why, "instances: N, and see exec_mode")
            return 1
        self.ledger.idle(entry, "there is one anyway")
        if count > 1:
            self.ledger.used(entry)
        return count

    def _one(self, suffix: str, number: int, instances: int) -> None:
        ledger, source = self.ledger, self.source
        script = self.text("script")
        wished = self.text("name") or posixpath.splitext(posixpath.basename(script.split(" ")[0]))[0] or "app"
        place = self.options.get("name", (self.head, None))[0]
        name = ledger.program(f"{self.text('name_prefix')}{wished}{suffix}", place)
        for key in ("name", "name_prefix"):
            if key in self.options:
                ledger.used(self.options[key][0])
        cwd = posixpath.normpath(posixpath.join(source.folder, self.text("cwd")))
        self._cwd(cwd, name)
        interpreter, env = run(self, cwd, name)
        if "instances" in self.options and "exec_mode" not in self.options and interpreter.endswith(("node", "bun")):
            self.ledger.say(Kind.LOST, self.options["instances"][0], APP["exec_mode"].why, APP["exec_mode"].hint, name)
        self._env(env, number, instances, name)
        self._ends(name)
        self._log(name)
        for key, (entry, _) in self.options.items():
            rule = APP["env_*"] if key.startswith("env_") else APP.get(key)
            if rule is not None and rule.kind is not None:
                apply(ledger, rule, entry, name)
        ledger.carry(self.head, name, "stop.signal", "INT")  # what pm2 sends where nothing is said

    def _cwd(self, cwd: str, name: str) -> None:
        if "cwd" in self.options:
            entry = self.options["cwd"][0]
            why = (
                "" if entry.value.startswith("/") else "it counts from where pm2 is called; here from the file's folder"
            )
            if entry.value.startswith("~"):
                self.ledger.say(Kind.LOST, entry, "whiz expands no '~'", "write the whole path", name)
            else:
                self.ledger.carry(entry, name, "cwd", cwd, why)
        else:
            self.ledger.carry(self.head, name, "cwd", cwd)

    def _env(self, env: dict[str, str], number: int, instances: int, name: str) -> None:
        """Carry the variables over, those of pm2's own among them."""
        ledger, values = self.ledger, dict(env)
        where = dict.fromkeys(env, self.head)
        if "env" in self.options:
            entry, node = self.options["env"]
            ledger.used(entry)
            pairs = node.value if node.kind == "map" else []
            if node.kind != "map":
                ledger.say(Kind.LOST, entry, "it is no {…} of variables", "write env: by hand", name)
            for key, held in pairs:
                values[str(key.value)] = variable(held)
                where[str(key.value)] = entry._replace(
                    line=key.line, section=f"{entry.section} env", key=str(key.value)
                )
        if "port" in self.options:
            values["PORT"], where["PORT"] = self.text("port"), self.options["port"][0]
        if "increment_var" in self.options:
            entry, key = self.options["increment_var"][0], self.text("increment_var")
            ledger.used(entry)
            try:
                values[key] = str(whole(values[key]) + number)
                where.setdefault(key, entry)
            except (KeyError, ValueError):
                ledger.say(Kind.LOST, entry, f"env has no number {key} to count from", f"write env: {{{key}: …}}", name)
        if instances:
            key = self.text("instance_var") or "NODE_APP_INSTANCE"
            place = self.options.get("instance_var", self.options["instances"])[0]
            ledger.carry(self.options["instances"][0], name, "instances", instances)
            ledger.carry(place, name, f"env.{key}", "{n}", "whiz counts instances from 1, pm2 from 0")
        elif "instance_var" in self.options:
            ledger.carry(self.options["instance_var"][0], name, f"env.{self.text('instance_var')}", str(number))
        for key, held in values.items():
            ledger.carry(where[key], name, f"env.{key}", held)

    def _ends(self, name: str) -> None:
        """See to what happens when it ends, and by the clock."""
        ledger, options = self.ledger, self.options
        again = self.yes("autorestart", otherwise=True)
        if "autorestart" in options:
            ledger.idle(options["autorestart"][0], "whiz starts again what ends")
        if "cron_restart" in options and self.text("cron_restart") not in ("0", "false"):
            entry = options["cron_restart"][0]
            if again:
                hint = f"a task: want: done, schedule: {entry.value!r}, run: whiz restart NAME"
                ledger.say(Kind.LOST, entry, "whiz restarts no program by the clock", hint, name)
            elif ledger.carry(entry, name, "schedule", entry.value.strip(), hint="write schedule: by hand"):
                ledger.carry(options["autorestart"][0], name, "want", "done")
            else:
                ledger.withhold(name, "its schedule could not be carried over, and without one it would run at once")
        elif "cron_restart" in options:
            ledger.say(Kind.SAME, options["cron_restart"][0], "none is asked for", program=name)
        if not again:
            ledger.carry(options["autorestart"][0], name, "restart.on", "never")
        if "stop_exit_codes" in options:
            self._codes(again, name)
        if "restart_delay" in options or "exp_backoff_restart_delay" in options:
            own = "15s" if "exp_backoff_restart_delay" in options else ""
            entry = options["exp_backoff_restart_delay" if own else "restart_delay"][0]
            if own and entry.value.strip() != "0":
                ledger.carry(entry, name, "restart.max_delay", own)
        self._tree(name)

    def _tree(self, name: str) -> None:
        ledger, options = self.ledger, self.options
        if "treekill" in options:
            entry = options["treekill"][0]
            if self.yes("treekill", otherwise=True):
                ledger.say(Kind.SAME, entry, "whiz signals the whole tree", program=name)
            else:
                ledger.carry(entry, name, "stop.tree", "session", "whiz spares only who left the program's session")

    def _codes(self, again: bool, name: str) -> None:  # noqa: FBT001  autorestart
        entry, codes = self.options["stop_exit_codes"][0], []
        for word in entry.value.replace(",", " ").split():
            try:
                codes.append(whole(word))
            except ValueError:
                self.ledger.say(Kind.LOST, entry, f"{word!r} is no exit code", program=name)
        why = "an exit with 0 ends it too; whiz has no codes that stop a program otherwise"
        if codes and self.ledger.carry(entry, name, "restart.success_codes", sorted(set(codes)), why) and again:
            self.ledger.carry(entry, name, "restart.on", "failure")

    def _log(self, name: str) -> None:
        ledger, options = self.ledger, self.options
        nowhere = [key for key in ("out_file", "error_file") if self.text(key) in ("/dev/null", "NULL")]
        both = len(nowhere) == 2  # noqa: PLR2004  both
        for key in ("out_file", "error_file"):
            if key not in options:
                continue
            if both:
                ledger.carry(options[key][0], name, "log.to", "null")
            else:
                why = "whiz keeps stdout and stderr in one file of its own, NAME.log"
                ledger.say(Kind.LOST, options[key][0], why, "whiz logs NAME", name)
        if "disable_logs" in options:
            if self.yes("disable_logs", otherwise=False):
                ledger.carry(options["disable_logs"][0], name, "log.to", "null")
            else:
                ledger.say(Kind.SAME, options["disable_logs"][0], "whiz keeps a log", program=name)
        for key in ("wait_ready", "listen_timeout"):
            if key in options:
                if key == "wait_ready" and not self.yes(key, otherwise=False):
                    ledger.say(Kind.SAME, options[key][0], "whiz waits for no message", program=name)
                else:
                    why = "process.send('ready') needs pm2's channel, which whiz does not have"
                    ledger.say(Kind.LOST, options[key][0], why, "ready: {port: …, within: …}", name)
