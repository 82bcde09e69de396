"""The values of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whiz.core.value import record, value

if TYPE_CHECKING:
    from whiz.core.errors import Problem

PORT = 22
TIMEOUT = 60.0  # s that one host may take at most


@record
class Host:
    """A host, and how it is reached. Empty `user` and `keys` leave the choice to ssh's own rules."""

    name: str
    address: str
    user: str = ""
    port: int = PORT
    keys: tuple[str, ...] = ()  # files
    jump: tuple[Host, ...] = ()  # by way of these, the first one first
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    variables: tuple[tuple[str, object], ...] = ()
    whiz: str = "whiz"  # the command there
    become: bool = False  # root, by `sudo -n`
    timeout: float = TIMEOUT

    @property
    def route(self) -> tuple[object, ...]:
        """What tells the way to it from every other: two hosts with one route are one."""
        return (self.address, self.port, self.user, *(hop.route for hop in self.jump))

    @property
    def place(self) -> str:
        """Where it is, as ssh spells it."""
        where = f"[{self.address}]" if ":" in self.address else self.address
        return (f"{self.user}@" if self.user else "") + where + (f":{self.port}" if self.port != PORT else "")


@value
class Fleet:
    """Every host by name. `notes`: what an inventory says that has no meaning here."""

    hosts: dict[str, Host]
    groups: dict[str, tuple[str, ...]]  # with the members of groups within it
    notes: tuple[Problem, ...] = ()
