"""The socket of an [fcgi-program:x], which spawn-fcgi opens in supervisor's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.importing.expansions import filled
from whiz.core.importing.rules import octal, whole
from whiz.core.importing.values import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whiz.core.importing.ledger import Ledger
    from whiz.core.importing.supervisor_section import Section


def socket_words(section: Section, known: Mapping[str, str | int], name: str, ledger: Ledger) -> list[str]:
    """Return the words that open the socket of an fcgi-program and then become it."""
    options = {k: e for k, e in section.options.items() if k.startswith("socket")}
    words = ["/usr/bin/spawn-fcgi", "-n"]
    for key, entry in options.items():
        why = "spawn-fcgi opens it instead of supervisor: apt-get install spawn-fcgi"
        try:
            held = filled(entry.value, known)
            words += _words(key, held)
        except ValueError as exc:
            ledger.say(Kind.LOST, entry, str(exc) if " " in str(exc) else "the value is not understood", program=name)
            continue
        ledger.say(Kind.NEAR, entry, why, program=name)
    if "socket" not in options or known["numprocs"] != 1:
        why = "spawn-fcgi opens one socket for one process, and there is none, or there are several processes"
        ledger.withhold(name, why)
        ledger.say(
            Kind.LOST, options.get("socket", section.head), why, "have the program open its socket by itself", name
        )
    return [*words, "--"]


def _words(key: str, held: str) -> list[str]:
    scheme, _, rest = held.partition("://")
    if key == "socket_mode":
        return ["-M", f"0{octal(held)}"]
    if key == "socket_backlog":
        return ["-b", str(whole(held))]
    if key == "socket_owner":
        user, _, group = held.partition(":")
        return ["-U", user, *(["-G", group] if group else [])]
    if scheme == "unix":
        return ["-s", rest]
    host, _, port_number = rest.rpartition(":")
    return ["-a", host, "-p", str(whole(port_number))]
