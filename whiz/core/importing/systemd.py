"""systemd's services with their drop-ins, and the timers that start them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.importing.ledger import Ledger
from whiz.core.importing.rules import apply
from whiz.core.importing.systemd_rules import BOOTED, SECTIONS, TIMER
from whiz.core.importing.systemd_service import Service
from whiz.core.importing.systemd_text import Unit, read, specified
from whiz.core.importing.values import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whiz.core.importing.values import Ported

# what is a list in systemd: each line adds to it, and an empty one begins anew; of everything else the last holds
_LISTS = frozenset({
    "After", "Before", "Wants", "Requires", "Environment", "EnvironmentFile", "UnsetEnvironment", "PassEnvironment",
    "ExecStart", "ExecStartPre", "ExecStop", "SuccessExitStatus", "RestartPreventExitStatus", "Documentation",
    "WantedBy", "RequiredBy", "OnCalendar", "OnUnitActiveSec", "OnUnitInactiveSec",
})  # fmt: skip


def translate(units: Sequence[Unit]) -> Ported:
    """Translate services, each with the timers that name it."""
    held = {u.name: [e for s in u.sources for e in read(s)] for u in units}
    ledger = Ledger([e for entries in held.values() for e in entries])
    options = {u.name: _options(u, held[u.name], ledger) for u in units}
    services = {u.name: u for u in units if u.kind == "service"}
    timers: dict[str, list[Unit]] = {}
    for unit in units:
        if unit.kind == "timer":
            named = options[unit.name].get("Unit", [])
            timers.setdefault(named[-1].value if named else f"{unit.stem}.service", []).append(unit)
    ported: dict[str, Service] = {}
    for name, unit in services.items():
        head = Entry(unit.sources[0].file, 1, name, "", "")
        service = Service(unit, head, options[name], ledger)
        service.port(by_clock=name in timers)
        ported[name] = service
    for name, found in timers.items():
        for timer in found:
            _timer(timer, name, ported.get(name), options[timer.name], ledger)
    names = {unit_name: s.name for unit_name, s in ported.items()}
    for service in ported.values():
        _order(service, names, ledger)
    return ledger.ported()


def _options(unit: Unit, entries: Sequence[Entry], ledger: Ledger) -> dict[str, list[Entry]]:
    """Return directive -> the entries that hold, specifiers replaced; remark upon all others."""
    out: dict[str, list[Entry]] = {}
    for entry in entries:
        table = SECTIONS.get(entry.section, {})
        if not entry.key:
            ledger.say(Kind.LOST, entry, "it is no NAME=value below a [Section]; systemd ignores it too")
            continue
        if entry.key not in table:
            if not (entry.key.startswith("X-") or entry.section.startswith("[X-")):
                why = "systemd's man pages name no such directive here" if table else "this section is not for services"
                ledger.say(Kind.LOST, entry, why, "is it misspelt?")
            else:
                ledger.say(Kind.SAME, entry, "X- is for notes, which systemd ignores too")
            continue
        try:
            entry = entry._replace(value=specified(entry.value, unit))  # noqa: PLW2901  the same one, filled in
        except ValueError as exc:
            ledger.say(Kind.LOST, entry, str(exc), "write it by hand")
            continue
        before = out.setdefault(entry.key, [])
        if before and (entry.key not in _LISTS or not entry.value):
            for other in before:
                ledger.say(Kind.SAME, other, f"{entry.file}:{entry.line} comes later, and that holds")
            before.clear()
        if entry.value:
            before.append(entry)
        else:
            ledger.say(Kind.SAME, entry, "it takes back what stands before it")
    return {key: found for key, found in out.items() if found}


def _timer(timer: Unit, name: str, service: Service | None, options: Mapping[str, list[Entry]], ledger: Ledger) -> None:
    """Give the service its schedule."""
    scheduled = service is not None and ledger.has(service.name, "schedule") is not None
    for key, entries in options.items():
        for entry in entries:
            if entry.section == "[Unit]":
                _about_timer(entry, ledger)
            elif service is None:
                ledger.say(Kind.LOST, entry, f"there is no {name} in this import", f"whiz import {name} {timer.name}")
            elif key == "Unit":
                ledger.idle(entry, "it is the service of its name anyway")
                if name != f"{timer.stem}.service":
                    ledger.used(entry)
            elif entry.section == "[Install]":
                ledger.say(Kind.SAME, entry, "whiz goes by the schedules of the whizzifest")
            elif TIMER[key].to and scheduled:
                why = "whiz has one schedule for a program, and another line gave it one"
                ledger.say(Kind.LOST, entry, why, "a second task with the same run:", service.name)
            else:
                apply(ledger, TIMER[key], entry, service.name)
                scheduled = ledger.has(service.name, "schedule") is not None
    if service is not None and not scheduled:
        head = Entry(timer.sources[0].file, 0, timer.name, "", "")
        ledger.withhold(service.name, "its timer could not be carried over, and without one it would run at once")
        ledger.say(
            Kind.LOST, head, "nothing of it is a schedule that whiz has", "write schedule: by hand", service.name
        )


def _about_timer(entry: Entry, ledger: Ledger) -> None:
    if entry.key in ("Description", "Documentation"):
        ledger.say(Kind.SAME, entry, "the timer is a line of its program here")
    elif entry.value in BOOTED or entry.key == "DefaultDependencies":
        ledger.say(Kind.SAME, entry, "whiz looks at schedules when the system is up")
    else:
        ledger.say(Kind.LOST, entry, "the timer is a line of its program here, and waits for nothing")


def _order(service: Service, names: Mapping[str, str], ledger: Ledger) -> None:
    """See to After=, Before=, Wants= and Requires=: among the programs of this import they are order."""
    for key in ("After", "Before", "Wants", "Requires"):
        for entry in service.options.get(key, []):
            for word in entry.value.split():
                if word in names and key == "After":
                    ledger.after(service.name, [names[word]], entry)
                elif word in names and key == "Before":
                    ledger.after(names[word], [service.name], entry)
                elif word in names:
                    why = f"{word} is kept by itself; whether it is up makes no difference to this one"
                    ledger.say(Kind.NEAR, entry, why, f"after: {names[word]} is for order", service.name)
                elif word in BOOTED:
                    ledger.say(Kind.SAME, entry, "whiz starts when the system is up", program=service.name)
                else:
                    hint = "the program may end when it lacks it: it is started again" if key != "Before" else ""
                    why = f"whiz does not know {word}, which is not in this import"
                    ledger.say(Kind.LOST, entry, why, hint, service.name)
            ledger.idle(entry, "it makes no difference here")
