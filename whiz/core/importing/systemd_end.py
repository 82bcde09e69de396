"""How a service of systemd ends and is started again: Restart=, its limits, exit codes, and how it is stopped."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from whiz.core.importing.rules import apply, signal, whole
from whiz.core.importing.systemd_rules import EXITS, SERVICE, SIGTERM_CODES
from whiz.core.importing.values import Kind

if TYPE_CHECKING:
    from whiz.core.importing.systemd_service import Service

_AGAIN = {
    "no": ("never", ""), "always": ("always", ""), "on-failure": ("failure", ""),
    "on-abnormal": ("failure", "an exit with a code other than 0 starts it again too"),
    "on-abort": ("failure", "an exit with a code other than 0 starts it again too"),
    "on-watchdog": ("failure", "every failure starts it again"),
    "on-success": ("always", "a failure starts it again too: whiz has nothing for successes alone"),
}  # fmt: skip


def ends(service: Service, *, task: bool) -> None:
    """Carry over all of it but the limits of restarts, which need the others first."""
    _restart(service, task=task)
    _codes(service)
    _stop(service)


def _restart(service: Service, *, task: bool) -> None:
    ledger, name, entry = service.ledger, service.name, service.last("Restart")
    told = entry.value if entry is not None else "no"
    if told not in _AGAIN:
        ledger.say(Kind.LOST, entry or service.head, "systemd has no such Restart=", program=name)
        told = "no"
    on, why = _AGAIN[told]
    if task and on == "always":
        on, why = "failure", "a task of whiz is over when it has succeeded"
    ledger.carry(entry or service.head, name, "restart.on", on, why)
    if (delay := service.last("RestartSec")) is not None:
        apply(ledger, SERVICE["RestartMaxDelaySec"], delay, name)
        if (held := ledger.has(name, "restart.max_delay")) is not None:
            ledger.carry(delay, name, "restart.delay", held)


def limit(service: Service) -> None:
    """See to StartLimitIntervalSec: of 0 there is no limit."""
    for key in ("StartLimitIntervalSec", "StartLimitInterval"):
        for entry in service.options.get(key, []):
            if entry.value.strip() in ("0", "0s", "infinity"):
                service.ledger.say(
                    Kind.SAME, entry, "whiz never gives up where it is not told to", program=service.name
                )
                service.ledger.drop(service.name, "restart.attempts")
            else:
                why = "whiz counts failures in a row, however long they take"
                service.ledger.say(Kind.LOST, entry, why, "restart: {stable: …} ends a row", service.name)


def _codes(service: Service) -> None:
    ledger, name, codes = service.ledger, service.name, []
    for key in ("SuccessExitStatus", "RestartPreventExitStatus"):
        for entry in service.options.get(key, []):
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
                    ledger.say(Kind.LOST, entry, f"{word!r} is no exit code, and whiz has nothing else here", "", name)
            why = "it counts as a success" if key != "SuccessExitStatus" else ""
            if codes:
                ledger.carry(entry, name, "restart.success_codes", sorted(set(codes)), why)
            if why and codes and ledger.has(name, "restart.on") == "always":
                ledger.carry(entry, name, "restart.on", "failure", "an exit with 0 ends it too")


def _stop(service: Service) -> None:
    ledger, name = service.ledger, service.name
    for stop in service.options.get("ExecStop", []):
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
    if (entry := service.last("TimeoutSec")) is not None:
        apply(ledger, SERVICE["TimeoutStopSec"], entry, name)
    if (entry := service.last("KillMode")) is not None:
        told = entry.value.lower()
        if told == "control-group":
            ledger.say(Kind.SAME, entry, "whiz signals and ends the whole tree", program=name)
        elif told == "process":
            ledger.carry(entry, name, "stop.tree", "session", "whiz spares only who left the program's session")
        else:
            ledger.say(Kind.LOST, entry, "whiz signals and ends the whole tree", "stop: {tree: session}", name)
