"""The hosts of a fleet as commands meet them: who is meant, and one question to all of them at once."""

from __future__ import annotations

import posixpath
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Protocol

from whiz.core.fleet.select import once, select
from whiz.face import voice
from whiz.face.reading import parse_yaml
from whiz.world.fleet.files import Files
from whiz.world.home import home

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from whiz.core.fleet.answers import Reply
    from whiz.core.fleet.model import Fleet, Host
    from whiz.world.fleet.pool import Turn

KNOWN = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class Ways(Protocol):
    """How hosts are reached."""

    def run(self, turn: Turn, command: str) -> Reply:
        """Run a shell's command on the host whose turn it is."""

    def close(self) -> None:
        """Let go of them all."""


def load(args: argparse.Namespace) -> Fleet:
    """Return the fleet that is meant; warn of what has no meaning in it."""
    path = args.fleet or f"{home(getattr(args, 'home', None)).config}/fleet.yaml"
    fleet = Files(parse_yaml).load(path)
    for note in fleet.notes:
        voice.warn(str(note))
    return fleet


def chosen(fleet: Fleet, to: str) -> tuple[Host, ...]:
    """Return the hosts that `--to` means, each once; warn of second names."""
    found, same = once(select(fleet, to))
    for name, first in same:
        voice.warn(f"{name} is {first} by another name: it is asked once")
    return found


def lines() -> Ways:
    """Return connections by ssh, for as many questions as there are; raise UsageError where fabric is missing."""
    from whiz.world.fleet.line import Lines  # noqa: PLC0415  fabric costs a third of a second

    return Lines(KNOWN)


def ask(
    args: argparse.Namespace, ways: Ways, hosts: Sequence[Host], command: Callable[[Host], str]
) -> tuple[Reply, ...]:
    """Ask them all, showing on a terminal how far that is."""
    from whiz.world.fleet.pool import each  # noqa: PLC0415  only who asks needs threads

    shows = sys.stderr.isatty() and not voice.wants_json(args) and not getattr(args, "quiet", False)
    done = 0

    def tell(reply: Reply, asked: tuple[str, ...]) -> None:
        nonlocal done
        done += 1
        if shows:
            text = f"{done} of {len(hosts)} answered, {reply.host} last; waiting for {', '.join(asked) or 'nobody'}"
            width = shutil.get_terminal_size().columns
            sys.stderr.write(f"\r\x1b[2K{text[: width - 1]}" if asked else "\r\x1b[2K")
            sys.stderr.flush()

    replies = each(hosts, lambda turn: ways.run(turn, command(turn.host)), tell, args.jobs)
    if shows:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()
    return replies


def root(host: Host) -> list[str]:
    """Return the words before a command that make it root's, where it shall be."""
    return ["sudo", "-n", "--"] if host.become and host.user != "root" else []


def line(host: Host, words: Sequence[str], tool: str = "") -> str:
    """Return what a shell on the host is given to run its whiz, or the `tool` that lies beside that."""
    path = posixpath.join(posixpath.dirname(host.whiz), tool) if tool else host.whiz
    command = shlex.quote(path)
    if path.startswith("~/"):  # the shell there knows whose home it is
        command = "~/" + shlex.quote(path[2:])
    return " ".join([*root(host), command, shlex.join(words)])
