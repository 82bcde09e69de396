"""How a service of systemd starts: its Type=, when it counts as started, its watchdog, and its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.importing.oncalendar import span
from whiz.core.importing.rules import seconds
from whiz.core.importing.systemd_command import Exec, commands, joined, plain
from whiz.core.importing.values import Kind

if TYPE_CHECKING:
    from whiz.core.importing.systemd_service import Service
    from whiz.core.importing.values import Entry

_START = "90s"  # systemd's DefaultTimeoutStartSec
_NEVER = "365d"  # whiz has no start without an end
_AT_ONCE = ("", "simple", "exec", "idle")
_EVERY = 10.0  # s from look to look of whiz where nothing is said


def starts(service: Service, env: dict[str, str], *, task: bool) -> None:
    """Carry over type, times and command."""
    entry = service.last("Type")
    told = entry.value if entry is not None else ""
    notifies = entry is not None and told in ("notify", "notify-reload") and not task
    if entry is not None:
        _type(service, entry, task=task)
    _timeout(service, told, notifies=notifies)
    _watchdog(service, told)
    _remains(service, told)
    _command(service, env, task=task)


def _type(service: Service, entry: Entry, *, task: bool) -> None:
    ledger, name, told = service.ledger, service.name, entry.value
    if told in (*_AT_ONCE, "oneshot"):
        ledger.idle(entry, "")
        if told != "oneshot":
            ledger.say(Kind.SAME, entry, "whiz starts what comes after it once it runs", program=name)
    elif told == "forking":
        why = "it leaves its process behind and exits, and whiz ends what is left behind by a program that ended"
        ledger.say(Kind.LOST, entry, why, "the program's flag for the foreground, such as -f, -D or -n", name)
        ledger.withhold(name, "it goes into the background")
    elif told == "dbus":
        why = "whiz does not wait for a name on D-Bus, and takes it for started when it runs"
        ledger.say(Kind.LOST, entry, why, "ready: {run: COMMAND}, one that asks for the name", name)
    elif told not in ("notify", "notify-reload"):
        ledger.say(Kind.LOST, entry, "systemd has no such Type=", program=name)
    elif task:
        ledger.say(Kind.LOST, entry, "what comes after a task of whiz waits until it has succeeded", program=name)
    else:
        why = "whiz has no reload" if told == "notify-reload" else ""
        ledger.carry(entry, name, "ready", {"notify": True, "within": _START}, why, "whiz restart NAME" if why else "")


def _span(text: str) -> float:
    """Read a time of which 0 and infinity mean none: 0."""
    return 0 if text.strip() == "infinity" else span(text)


def _timeout(service: Service, told: str, *, notifies: bool) -> None:
    """See to how long a start may take: TimeoutStartSec=, else that half of TimeoutSec=."""
    ledger, name = service.ledger, service.name
    own = service.last("TimeoutStartSec")
    entry = own or service.last("TimeoutSec")
    if entry is None:
        return
    try:
        most = _span(entry.value)
        within = seconds(most) if most else _NEVER
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "ready: {within: …}", name)
        return
    if notifies:
        why = "" if most else "whiz has no start without an end: a year stands for it"
        ledger.carry(entry, name, "ready", {"notify": True, "within": within}, why)
    elif not most or (told in _AT_ONCE and "ExecStartPre" not in service.options):
        ledger.say(Kind.SAME, entry, "its start has no time that could be over", program=name)
    else:
        why = "whiz sets a time for a start only where it is told by ready: when that is over"
        ledger.say(Kind.LOST if own else Kind.NEAR, entry, why, "timeout 90 COMMAND", name)


def _watchdog(service: Service, told: str) -> None:
    ledger, name = service.ledger, service.name
    if (entry := service.last("WatchdogSec")) is None:
        return
    try:
        most = _span(entry.value)
        held: dict[str, object] = {"notify": True, "timeout": seconds(most)}
        if most < _EVERY:
            held["every"] = seconds(max(1.0, most))
    except ValueError as exc:
        ledger.say(Kind.LOST, entry, str(exc), "alive: {notify: true, timeout: …}", name)
        return
    if not most:
        ledger.say(Kind.SAME, entry, "none is asked for", program=name)
    elif told == "oneshot":
        ledger.say(Kind.SAME, entry, "systemd watches a service once it is started, which a oneshot is at its end")
    else:
        why = "whiz stops who falls silent as it stops any program; systemd aborts it (SIGABRT)"
        ledger.carry(entry, name, "alive", held, why, "stop: {signal: ABRT}")


def _remains(service: Service, told: str) -> None:
    """See to what a run leaves; `told`: the type."""
    ledger, name = service.ledger, service.name
    if (remain := service.last("RemainAfterExit")) is None:
        return
    if told == "oneshot" and remain.value.lower() in ("yes", "true", "1", "on"):
        why = "it runs once, until it succeeded, and again when the entry changes; not at each boot"
        ledger.say(Kind.NEAR, remain, why, "@reboot whiz restart NAME in a crontab", name)
    elif remain.value.lower() in ("no", "false", "0", "off"):
        ledger.say(Kind.SAME, remain, "a run of whiz is over when its processes are gone", program=name)
    else:
        ledger.say(Kind.LOST, remain, "a run of whiz is over when its processes are gone", "", name)


def _command(service: Service, env: dict[str, str], *, task: bool) -> None:
    before, main = _read(service, "ExecStartPre"), _read(service, "ExecStart")
    if not main:
        return
    entry = service.options["ExecStart"][-1]
    why = ""
    if before or len(main) > 1:
        why = "a shell runs the commands one after another and becomes the last"
    elif plain(main[0], env) is None:
        why = "a shell fills in variables that are not sure before it starts"
    elif main[0].forgiven:
        why = "'-' has no equal: a failure is one"
    if len(main) > 1 and not task:
        why = "systemd takes several commands of a oneshot only; here they run one after another"
    service.ledger.carry(entry, service.name, "run", joined(before, main, env), why)


def _read(service: Service, key: str) -> list[Exec]:
    found = []
    for entry in service.options.get(key, []):
        service.ledger.idle(entry, "it runs nothing")
        try:
            held = commands(entry.value)
        except ValueError as exc:
            service.ledger.say(Kind.LOST, entry, str(exc), "write it by hand", service.name)
            continue
        for command in held:
            if command.privileged and service.last("User") is not None:
                why = f"'{command.prefix}' runs it with more rights than User= has; whiz runs all as one user"
                hint = "a task of its own, without user:, which this comes after"
                service.ledger.say(Kind.LOST, entry, why, hint, service.name)
                if key != "ExecStart":
                    continue
            if "@" in command.prefix:
                service.ledger.say(
                    Kind.LOST, entry, "whiz sets no other argv[0]", "exec -a in a line of bash", service.name
                )
            found.append(command)
            service.ledger.used(entry)
    return found
