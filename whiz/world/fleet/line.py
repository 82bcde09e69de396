"""Lines to hosts, through fabric and paramiko below it."""

from __future__ import annotations

import base64
import errno
import getpass
import hashlib
import logging
import os
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.fleet.answers import Fate, Reply
from whiz.core.fleet.model import PORT
from whiz.core.value import replace
from whiz.world.fleet.pool import GREETING

try:
    import fabric
    import paramiko

    from whiz.world.fleet.known import Known
except ImportError as exc:
    raise UsageError(
        f"a fleet needs fabric: apt-get install python3-fabric, or pip install 'whiz[master]' ({exc})"
    ) from exc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whiz.core.fleet.model import Host
    from whiz.world.fleet.pool import Turn

MOST = 8 * 2**20  # bytes of output that are kept of one host; beyond them we hang up
_PIECE = 32768
_ALIVE = (  # s, s, times: half a minute after a host is gone, who waits for it hears so
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 10),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 5),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 4),
)
_PROHIBITED = 1  # RFC 4254, 5.1: the jump host forwards nothing

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it prints what we tell in our own words


class Refused(Exception):
    """A host is there, and something about it is wrong."""


class Offline(Exception):
    """Nobody is there."""


class Lines:
    """Connections, each opened once. `known`: files of host keys; a host whose key is in none is refused."""

    def __init__(self, known: Sequence[str]) -> None:
        self._file = os.path.expanduser(known[0])  # where who is missing would be added
        self._known = Known(known)
        self._open: dict[object, fabric.Connection] = {}
        self._shut: dict[object, Exception] = {}  # jump hosts that led nowhere: none waits for one a second time
        self._locks: dict[object, threading.Lock] = {}
        self._lock = threading.Lock()

    def run(self, turn: Turn, command: str) -> Reply:
        """Run a shell's command on a host, and return what came of it."""
        host = turn.host
        try:
            line = self._reach(host, turn)
            with line.create_session() as channel:
                turn.keep(channel)
                turn.ask()
                channel.exec_command(command)
                channel.shutdown_write()
                return _listen(channel, host.name)
        except Offline as exc:
            return Reply(host.name, fate=Fate.OFFLINE, why=str(exc))
        except Refused as exc:
            return Reply(host.name, fate=Fate.FAILED, why=str(exc))
        except (paramiko.SSHException, OSError, EOFError) as exc:
            return Reply(host.name, fate=Fate.FAILED, why=f"the connection broke: {exc or type(exc).__name__}")

    def close(self) -> None:
        """Close every connection. paramiko's own way waits for a thread of each, a tenth of a second at worst."""
        for line in tuple(self._open.values()):
            with suppress(Exception):
                line.transport.sock.close()

    def _reach(self, host: Host, turn: Turn) -> fabric.Connection:
        """Return an open connection; those by way of the same hosts share the way."""
        with self._lock:
            lock = self._locks.setdefault(host.route, threading.Lock())
        with lock:
            if host.route in self._open and self._open[host.route].is_connected:
                return self._open[host.route]
            if not host.jump:
                line = self._log_in(host, _dial(host, min(turn.left, GREETING)), turn)
            else:
                line = self._log_in(host, _by_way_of(self._way(host, turn), host, turn.left), turn)
            self._open[host.route] = line
            return line

    def _way(self, host: Host, turn: Turn) -> fabric.Connection:
        """Return the connection to the last of its jump hosts."""
        *before, last = host.jump
        hop = replace(last, jump=tuple(before))
        try:
            if hop.route in self._shut:
                raise self._shut[hop.route]
            return self._reach(hop, turn)
        except (Offline, Refused) as exc:
            self._shut[hop.route] = exc
            raise type(exc)(f"the jump host {last.name}: {exc}") from exc

    def _log_in(self, host: Host, sock: socket.socket | paramiko.Channel, turn: Turn) -> fabric.Connection:
        """Speak ssh over a socket: check who is there, and log in. Nobody is asked anything."""
        if turn.host.name == host.name:
            turn.keep(sock)
        user = host.user or getpass.getuser()
        keys = _keys(host)
        limit = {"banner_timeout": turn.left, "auth_timeout": turn.left}
        line = fabric.Connection(
            host.address,
            user=user,
            port=host.port,
            gateway=False,
            forward_agent=False,
            config=fabric.Config(overrides={"load_ssh_configs": False}, lazy=True),
            connect_kwargs={
                "sock": sock,
                "key_filename": keys,
                "look_for_keys": not keys,
                "timeout": turn.left,
                **limit,
            },
        )
        where = host.address if host.port == PORT else f"[{host.address}]:{host.port}"
        for key in self._known.keys(where):
            line.client.get_host_keys().add(where, key.get_name(), key)
        line.client.set_missing_host_key_policy(_Refuse(host, self._file))
        try:
            line.open()
        except paramiko.BadHostKeyException as exc:
            now = f"its host key has changed, to {_print(exc.key)}"
            raise Refused(f"{now}: if that is right, ssh-keygen -R '{where}', and take the new one") from exc
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as exc:
            with_keys = f" with {', '.join(host.keys)}" if host.keys else ""
            raise Refused(f"it does not let {user} in{with_keys}: {exc}") from exc
        except (paramiko.SSHException, EOFError) as exc:
            raise Refused(f"ssh with it fails: {exc or 'it hangs up'}") from exc
        except OSError as exc:
            raise Offline(_said(exc)) from exc
        return line


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses whom nobody knows, and says how to be known."""

    def __init__(self, host: Host, file: str) -> None:
        self._host, self._file = host, file

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Refuse."""
        port = "" if self._host.port == PORT else f"-p {self._host.port} "
        scan = f"ssh-keyscan {port}{self._host.address} >>{self._file}"
        raise Refused(f"its host key {_print(key)} is not known: compare it, then {scan}")


def _print(key: paramiko.PKey) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _dial(host: Host, seconds: float) -> socket.socket:
    """Return a TCP connection."""
    try:
        sock = socket.create_connection((host.address, host.port), timeout=seconds)
    except socket.gaierror as exc:
        raise Offline(f"no address for {host.address}: {exc.strerror}") from exc
    except (OSError, UnicodeError) as exc:
        ours = isinstance(exc, OSError) and exc.errno in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM)
        raise (Refused if ours else Offline)(_said(exc)) from exc
    for option, value in _ALIVE:
        sock.setsockopt(*option, value)
    return sock


def _keys(host: Host) -> list[str]:
    """Return the files of its keys that are there, as ssh does; not one is an error."""
    named = [os.path.expanduser(k.replace("%d", "~")) for k in host.keys]
    there = [k for k in named if os.access(k, os.R_OK)]
    if named and not there:
        raise Refused(f"no key to log in with: {', '.join(named)} cannot be read")
    return there


def _by_way_of(way: fabric.Connection, host: Host, seconds: float) -> paramiko.Channel:
    """Return a connection that a jump host made for us."""
    try:
        made: paramiko.Channel = way.transport.open_channel(
            "direct-tcpip", (host.address, host.port), ("", 0), timeout=seconds
        )
        return made
    except paramiko.ChannelException as exc:
        kind = Refused if exc.code == _PROHIBITED else Offline
        raise kind(f"not reached from the jump host {host.jump[-1].name}: {exc.text.lower()}") from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise Offline(f"not reached from the jump host {host.jump[-1].name}: {_said(exc)}") from exc


def _said(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__).lower()


def _listen(channel: paramiko.Channel, name: str) -> Reply:
    """Read what a command says until it ends, or has said too much."""
    out, err = bytearray(), bytearray()
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        ended = channel.eof_received or channel.closed  # before we look: what came before it is still read
        while channel.recv_ready():
            out += channel.recv(_PIECE)
            if len(out) > MOST:
                break
        while channel.recv_stderr_ready():
            err += channel.recv_stderr(_PIECE)
            if len(err) > MOST:
                break
        if len(out) + len(err) > MOST:
            channel.close()
            why = f"it said more than {MOST // 2**20} MiB, so we hung up"
            return Reply(name, None, _text(out), _text(err), Fate.FAILED, why, cut=len(out) + len(err) - MOST)
        if ended:
            break
        poll.poll(1000)
    code = channel.recv_exit_status()
    if code < 0:
        why = "the connection ended before the command did, or a signal ended it"
        return Reply(name, None, _text(out), _text(err), Fate.FAILED, why)
    return Reply(name, code, _text(out), _text(err))


def _text(data: bytearray) -> str:
    return data[:MOST].decode(errors="replace")
