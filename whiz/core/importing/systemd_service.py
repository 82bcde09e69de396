"""One service of systemd on its way into the ledger."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from whiz.core.importing.rules import apply, coming, signal, whole
from whiz.core.importing.systemd_command import Exec, commands, joined, plain
from whiz.core.importing.systemd_rules import COMING, EXITS, SERVICE, SIGTERM_CODES, UNIT
from whiz.core.importing.systemd_text import words
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.importing.ledger import Ledger
    from whiz.core.importing.systemd_text import Unit

_AGAIN = {
    "no": ("never", ""), "always": ("always", ""), "on-failure": ("failure", ""),
    "on-abnormal": ("failure", "an exit with a code other than 0 starts it again too"),
    "on-abort": ("failure", "an exit with a code other than 0 starts it again too"),
    "on-watchdog": ("failure", "every failure starts it again"),
    "on-success": ("always", "a failure starts it again too: whiz has nothing for successes alone"),
}  # fmt: skip


class Service:
    """Translates the directives that hold."""

    def __init__(self, unit: Unit, head: Entry, options: Mapping[str, list[Entry]], ledger: Ledger) -> None:
        self.unit, self.head, self.options, self.ledger = unit, head, options, ledger
        self.name = ledger.program(unit.stem, head)

    def last(self, key: str) -> Entry | None:
        """Return the entry that holds."""
        return self.options[key][-1] if key in self.options else None

    def port(self, *, by_clock: bool) -> None:
        """Translate all but what concerns other units."""
        ledger, name = self.ledger, self.name
        for key in ("Description", "Documentation"):
            for entry in self.options.get(key, []):
                ledger.title(name, entry.value)
                ledger.used(entry)
        kind = self.last("Type")
        task = by_clock or (kind is not None and kind.value == "oneshot")
        if task:
            ledger.carry(kind or self.head, name, "want", "done")
        self._type(kind)
        env = self._environment()
        self._command(env, task=task)
        self._restart(task=task)
        self._codes()
        self._stop()
        self._place()
        self._log()
        for key, entries in self.options.items():
            rule = SERVICE.get(key) or UNIT.get(key)
            for entry in entries:
                if rule is not None and rule.kind is not None:
                    apply(ledger, rule, entry, name)
                elif entry.section == "[Install]":
                    ledger.say(Kind.SAME, entry, "whiz starts what is in the whizzifest", program=name)
        self._limit()

    def _type(self, entry: Entry | None) -> None:
        ledger, name = self.ledger, self.name
        told = entry.value if entry is not None else ""
        if entry is None:
            pass
        elif told in ("simple", "exec", "idle", "oneshot"):
            ledger.idle(entry, "")
            if told != "oneshot":
                ledger.say(Kind.SAME, entry, "whiz starts what comes after it once it runs", program=name)
        elif told == "forking":
            why = "it leaves its process behind and exits, and whiz ends what is left behind by a program that ended"
            ledger.say(Kind.LOST, entry, why, "the program's flag for the foreground, such as -f, -D or -n", name)
            ledger.withhold(name, "it goes into the background")
        else:
            self._coming(
                entry, "Type=notify", "whiz takes it for started when it runs, and does not listen for sd_notify yet"
            )
        self._promised(told)

    def _promised(self, told: str) -> None:
        """See to what waits for whiz to have it, and to what a run leaves; `told`: the type."""
        ledger, name = self.ledger, self.name
        if (watchdog := self.last("WatchdogSec")) is not None:
            self._coming(watchdog, "WatchdogSec", "whiz does not listen for sd_notify yet")
        if (quota := self.last("CPUQuota")) is not None:
            if quota.value.endswith("%"):
                self._coming(quota, "CPUQuota", "whiz does not yet limit a program's share of the CPU")
            else:
                ledger.say(Kind.LOST, quota, "it is no percentage", "", name)
        if (remain := self.last("RemainAfterExit")) is not None:
            if told == "oneshot" and remain.value.lower() in ("yes", "true", "1", "on"):
                why = "it runs once, until it succeeded, and again when the entry changes; not at each boot"
                ledger.say(Kind.NEAR, remain, why, "@reboot whiz restart NAME in a crontab", name)
            elif remain.value.lower() in ("no", "false", "0", "off"):
                ledger.say(Kind.SAME, remain, "a run of whiz is over when its processes are gone", program=name)
            else:
                ledger.say(Kind.LOST, remain, "a run of whiz is over when its processes are gone", "", name)

    def _coming(self, entry: Entry, what: str, why: str) -> None:
        coming(self.ledger, COMING[what], entry, self.name, why)

    def _environment(self) -> dict[str, str]:
        """Carry variables over; return those that are sure to be set so."""
        ledger, name = self.ledger, self.name
        gone = {w for e in self.options.get("UnsetEnvironment", []) for w in e.value.split()}
        env: dict[str, tuple[str, Entry]] = {}
        for entry in self.options.get("Environment", []):
            ledger.idle(entry, "it sets nothing")
            try:
                pairs = [w.partition("=") for w in words(entry.value)]
            except ValueError as exc:
                ledger.say(Kind.LOST, entry, str(exc), "write env: by hand", name)
                continue
            for key, equals, held in pairs:
                if not equals or not key:
                    ledger.say(Kind.LOST, entry, f"{key!r} is no NAME=value; systemd ignores it too", "", name)
                elif key not in gone and f"{key}={held}" not in gone:
                    env[key] = (held, entry)
        for entry in self.options.get("UnsetEnvironment", []):
            ledger.say(
                Kind.SAME, entry, "whiz sets nothing that the whizzifest does not, but PATH, LANG, HOME …", program=name
            )
        for key, (held, entry) in env.items():
            ledger.carry(entry, name, f"env.{key}", held)
        return {} if self._env_file(bool(env)) else {k: v for k, (v, _) in env.items()}

    def _env_file(self, env: bool) -> bool:  # noqa: FBT001  whether there are other variables
        entries = self.options.get("EnvironmentFile", [])
        for i, entry in enumerate(entries):
            path = entry.value.removeprefix("-")
            whys = ["the program does not start where the file is missing"] if path != entry.value else []
            whys += ["where both have a variable, env: holds, in systemd the file"] if env else []
            if i or any(c in path for c in "*?["):
                why = "whiz reads one file of variables for a program"
                self.ledger.say(Kind.LOST, entry, why, "put them into one file", self.name)
            else:
                self.ledger.carry(
                    entry,
                    self.name,
                    "env_file",
                    path,
                    "; ".join(whys),
                    "an empty file will do" if path != entry.value else "",
                )
        return bool(entries)

    def _read(self, key: str) -> list[Exec]:
        found = []
        for entry in self.options.get(key, []):
            self.ledger.idle(entry, "it runs nothing")
            try:
                held = commands(entry.value)
            except ValueError as exc:
                self.ledger.say(Kind.LOST, entry, str(exc), "write it by hand", self.name)
                continue
            for command in held:
                if command.privileged and self.last("User") is not None:
                    why = f"'{command.prefix}' runs it with more rights than User= has; whiz runs all as one user"
                    hint = "a task of its own, without user:, which this comes after"
                    self.ledger.say(Kind.LOST, entry, why, hint, self.name)
                    if key != "ExecStart":
                        continue
                if "@" in command.prefix:
                    self.ledger.say(
                        Kind.LOST, entry, "whiz sets no other argv[0]", "exec -a in a line of bash", self.name
                    )
                found.append(command)
                self.ledger.used(entry)
        return found

    def _command(self, env: dict[str, str], *, task: bool) -> None:
        before, main = self._read("ExecStartPre"), self._read("ExecStart")
        if not main:
            return
        entry = self.options["ExecStart"][-1]
        why = ""
        if before or len(main) > 1:
            why = "a shell runs the commands one after another and becomes the last"
        elif plain(main[0], env) is None:
            why = "a shell fills in variables that are not sure before it starts"
        elif main[0].forgiven:
            why = "'-' has no equal: a failure is one"
        if len(main) > 1 and not task:
            why = "systemd takes several commands of a oneshot only; here they run one after another"
        self.ledger.carry(entry, self.name, "run", joined(before, main, env), why)

    def _restart(self, *, task: bool) -> None:
        ledger, name, entry = self.ledger, self.name, self.last("Restart")
        told = entry.value if entry is not None else "no"
        if told not in _AGAIN:
            ledger.say(Kind.LOST, entry or self.head, "systemd has no such Restart=", program=name)
            told = "no"
        on, why = _AGAIN[told]
        if task and on == "always":
            on, why = "failure", "a task of whiz is over when it has succeeded"
        ledger.carry(entry or self.head, name, "restart.on", on, why)
        if (delay := self.last("RestartSec")) is not None:
            apply(ledger, SERVICE["RestartMaxDelaySec"], delay, name)
            if (held := ledger.has(name, "restart.max_delay")) is not None:
                ledger.carry(delay, name, "restart.delay", held)

    def _limit(self) -> None:
        """See to StartLimitIntervalSec: of 0 there is no limit."""
        for key in ("StartLimitIntervalSec", "StartLimitInterval"):
            for entry in self.options.get(key, []):
                if entry.value.strip() in ("0", "0s", "infinity"):
                    self.ledger.say(Kind.SAME, entry, "whiz never gives up where it is not told to", program=self.name)
                    self.ledger.drop(self.name, "restart.attempts")
                else:
                    why = "whiz counts failures in a row, however long they take"
                    self.ledger.say(Kind.LOST, entry, why, "restart: {stable: …} ends a row", self.name)

    def _codes(self) -> None:
        ledger, name, codes = self.ledger, self.name, []
        for key in ("SuccessExitStatus", "RestartPreventExitStatus"):
            for entry in self.options.get(key, []):
                ledger.idle(entry, "it names no code")
                for word in entry.value.split():
                    code = EXITS.get(word.upper().removeprefix("EX_"))
                    if code is None and word.isdigit() and len(word) <= 3:  # noqa: PLR2004  up to 255
                        code = whole(word)
                    if code is not None:
                        codes.append(code)
                    elif word in SIGTERM_CODES and key == "SuccessExitStatus":
                        why = f"whiz takes an end by {word} for a stop where whiz asked for it, else for a failure"
                        ledger.say(Kind.NEAR, entry, why, program=name)
                    else:
                        ledger.say(
                            Kind.LOST, entry, f"{word!r} is no exit code, and whiz has nothing else here", "", name
                        )
                why = "it counts as a success" if key != "SuccessExitStatus" else ""
                if codes:
                    ledger.carry(entry, name, "restart.success_codes", sorted(set(codes)), why)
                if why and codes and ledger.has(name, "restart.on") == "always":
                    ledger.carry(entry, name, "restart.on", "failure", "an exit with 0 ends it too")

    def _stop(self) -> None:
        ledger, name = self.ledger, self.name
        for stop in self.options.get("ExecStop", []):
            match [w.removeprefix("-") for w in stop.value.split()]:
                case [kill, *given, "$MAINPID" | "${MAINPID}"] if posixpath.basename(kill) == "kill" and len(given) < 3:  # noqa: PLR2004
                    told = given[-1] if given else "TERM"
                    try:
                        ledger.carry(stop, name, "stop.signal", signal(told), "whiz signals the whole tree")
                    except ValueError as exc:
                        ledger.say(Kind.LOST, stop, str(exc), program=name)
                case _:
                    why = "whiz stops a program by a signal, and runs no command for it"
                    ledger.say(Kind.LOST, stop, why, "stop: {signal: …, grace: …}", name)
        if (entry := self.last("TimeoutSec")) is not None:
            apply(ledger, SERVICE["TimeoutStopSec"], entry, name)
            ledger.say(Kind.NEAR, entry, "whiz sets no time for a start", "timeout 90 COMMAND", name)
        if (entry := self.last("KillMode")) is not None:
            told = entry.value.lower()
            if told == "control-group":
                ledger.say(Kind.SAME, entry, "whiz signals and ends the whole tree", program=name)
            elif told == "process":
                ledger.carry(entry, name, "stop.tree", "session", "whiz spares only who left the program's session")
            else:
                ledger.say(Kind.LOST, entry, "whiz signals and ends the whole tree", "stop: {tree: session}", name)

    def _place(self) -> None:
        if (entry := self.last("WorkingDirectory")) is None:
            return
        path = entry.value.removeprefix("-")
        why = "the program does not start where the folder is missing" if path != entry.value else ""
        hint = "write the whole path" if path == "~" else ""
        self.ledger.carry(entry, self.name, "cwd", path, why, hint)

    def _log(self) -> None:
        ledger, name = self.ledger, self.name
        out, err = self.last("StandardOutput"), self.last("StandardError")
        for entry in (e for e in (out, err) if e is not None):
            told = entry.value.lower()
            first = entry is out
            if told in ("journal", "syslog", "journal+console", "syslog+console", "kmsg", "kmsg+console"):
                ledger.carry(entry, name, "log.to", "journal", "" if told == "journal" else "it goes to journald")
            elif told == "inherit" and not first:
                ledger.say(Kind.SAME, entry, "stderr goes where stdout goes", program=name)
            elif told == "null" and first and (err is None or err.value.lower() in ("null", "inherit")):
                ledger.carry(entry, name, "log.to", "null")
            elif told == "null" and not first and out is not None and out.value.lower() == "null":
                ledger.say(Kind.SAME, entry, "stderr goes where stdout goes", program=name)
            else:
                why = "stdout and stderr go to one log of whiz's own, NAME.log"
                ledger.say(Kind.LOST, entry, why, "whiz logs NAME; or log: {to: journal}", name)
