"""Every key of fleet.yaml, once: the parser and the page docs/fleet.md follow this table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whiz.core import words
from whiz.core.keys import NAMES
from whiz.core.shape import BAD, JSON, Choice, Key, Many, Record, Text, unique

if TYPE_CHECKING:
    from whiz.core.shape import Node, Report

_SCALAR = ("str", "int", "float")
_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")
_HIGHEST = 65535


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _HIGHEST:
        raise ValueError(text)
    return number


def _timeout(text: str) -> float:
    seconds = words.duration(text)
    if not 0.1 <= seconds <= 86400.0:  # noqa: PLR2004  a tenth of a second to a day
        raise ValueError(text)
    return seconds


def _plain(pattern: str) -> Any:  # noqa: ANN401  a function that accepts text
    """Accept what no shell, no ssh and no terminal takes for something else."""
    known = re.compile(pattern)

    def accept(text: str) -> str:
        if known.fullmatch(text) is None:
            raise ValueError(text)
        return text

    return accept


def flag(text: str) -> bool:
    """Return what a yes or no means, in the words of YAML and of Ansible."""
    return text.lower() in _YES


@dataclass(frozen=True)
class Truth:
    """Yes or no, as YAML and Ansible write it."""

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read one."""
        if node.kind in ("str", "bool", "int") and node.value.lower() in (*_YES, *_NO):
            return flag(node.value)
        return Choice(("true", "false")).read(node, report)

    def schema(self) -> JSON:
        """Describe it."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Anything:
    """Data of any kind, for whoever asks for it; a map at the top."""

    def read(self, node: Node, report: Report) -> Any:  # noqa: ANN401
        """Read a map from names to data."""
        if node.kind != "map":
            report.at(node, "expected NAME: value lines")
            return BAD
        return {key.value: plain(value) for key, value in unique(node, report)}

    def schema(self) -> JSON:
        """Describe it."""
        return {"type": "object"}


def plain(node: Node) -> object:
    """Return the data of a node."""
    match node.kind:
        case "map":
            return {str(k.value): plain(v) for k, v in node.value}
        case "list":
            return [plain(v) for v in node.value]
        case "bool":
            return flag(node.value)
        case "int" if node.value.lstrip("-").isdecimal():
            return int(node.value)
        case "float" if re.fullmatch(r"-?\d+\.\d+", node.value):
            return float(node.value)
        case "null":
            return None
        case _:
            return str(node.value)


ADDRESS = Text("a name or address of a host", _plain(r"[A-Za-z0-9_{][A-Za-z0-9._:%{}-]*"), kinds=_SCALAR)
USER = Text("a user's name", _plain(r"[A-Za-z0-9_][A-Za-z0-9._@\\-]*\$?"), kinds=("str", "int"))
PORT = Text("a port, 1 to 65535", _port, kinds=("str", "int"))
FILE = Text("a path", _plain(r"[^\0\n]+"))
HOP = Text(
    "[USER@]HOST[:PORT]", _plain(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9_[][A-Za-z0-9._:%\]-]*"), kinds=_SCALAR
)
COMMAND = Text("the path of a command", _plain(r"[A-Za-z0-9_/~][^\0\n]*"))
TIMEOUT = Text("a duration from 0.1s to 1d, such as 30s", _timeout, kinds=_SCALAR)

COMMON = (
    Key("user", USER, "Who logs in.", "ssh's own choice"),
    Key("port", PORT, "Where its sshd listens.", "22"),
    Key("key", Many(FILE), "Files of private keys; a relative path counts from this file.", "ssh's own choice"),
    Key("jump", Many(HOP), "By way of these: names of this fleet, or [user@]host[:port]; `none` for none."),
    Key("roles", NAMES, "What it is for."),
    Key("groups", NAMES, "Groups that it belongs to; a group may belong to others."),
    Key("vars", Anything(), "Data for whoever asks: `whiz fleet hosts --json` shows it."),
    Key("whiz", COMMAND, "The whiz there.", "whiz"),
    Key("become", Truth(), "Whether to be root there, by `sudo -n`.", "false"),
    Key("timeout", TIMEOUT, "What it may cost at most, from the first packet to the last.", "60s"),
)
HOST = Record(
    (Key("address", ADDRESS, "Its name or address in the network; `{name}` is its name.", "its name"), *COMMON)
)
GROUP = Record(COMMON)
OPTIONS = {k.name: k.shape for k in HOST.keys}
TOP = (
    Key("version", Text("1", kinds=("int", "str")), "Of this form: 1.", "1"),
    Key("include", Many(FILE), "More hosts: other fleet files, Ansible inventories, an ssh config."),
    Key("defaults", Record(tuple(k for k in COMMON if k.name != "groups")), "For every host of this file."),
    Key("groups", GROUP, "By name: what holds for the hosts of a group."),
    Key("hosts", HOST, "By name: the hosts. `cam[01:10]` stands for ten."),
)
