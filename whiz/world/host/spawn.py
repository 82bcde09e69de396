"""Start one process: its environment, its log, its user and limits, under a chaperone where its exit code matters."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from whiz.core.limits import rlimits
from whiz.core.model import Limits, Program, Want
from whiz.core.value import replace, value
from whiz.world import disk
from whiz.world.host.cgroupfs import enter
from whiz.world.host.command import PATH, bounded, command
from whiz.world.host.output import output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whiz.core.model import Check
    from whiz.world.host.cgroup import Seat

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHAPERONE = os.path.join(_HERE, "chaperone.py")
_EXECSTEP = os.path.join(_HERE, "execstep.py")
_ID = 64  # hexadecimal digits of a release's id


@value
class Who:
    """The account a program runs as. `change`: whether it is another than whiz's own."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str
    change: bool


def who(program: Program) -> Who:
    """Return the account; raise LookupError-free OSError for one that does not exist."""
    import pwd  # noqa: PLC0415

    uid, gid = os.getuid(), os.getgid()
    try:
        if program.user is not None:
            entry = pwd.getpwuid(int(program.user)) if _number(program.user) else pwd.getpwnam(program.user)
        else:
            entry = pwd.getpwuid(uid)
    except KeyError:
        if program.user is not None:
            raise OSError(errno.EINVAL, f"there is no user {program.user!r}") from None
        return Who(uid, _group(program, gid), str(uid), "/", "/bin/sh", change=program.group is not None)
    asked = _group(program, entry.pw_gid if program.user is not None else gid)
    change = entry.pw_uid != uid or asked != gid
    return Who(entry.pw_uid, asked, entry.pw_name, entry.pw_dir, entry.pw_shell, change)


def _group(program: Program, otherwise: int) -> int:
    import grp  # noqa: PLC0415

    if program.group is None:
        return otherwise
    try:
        return grp.getgrgid(int(program.group)).gr_gid if _number(program.group) else grp.getgrnam(program.group).gr_gid
    except KeyError:
        raise OSError(errno.EINVAL, f"there is no group {program.group!r}") from None


def _number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10  # noqa: PLR2004  a uid has 32 bits


def base(account: Who | None = None) -> dict[str, str]:
    """Return what every environment begins with; without an account, for whiz's own helpers."""
    account = account or who(Program(name="whiz", argv=()))
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell,
    }


def environment(program: Program, account: Who) -> dict[str, str]:
    """Return what the program will find: a constant base, then defaults, env_file and its own. Raise OSError."""
    env = base(account) | dict(program.env_defaults)
    if program.env_file is not None:
        env |= dict(env_pairs(program.env_file))
        if account.uid == 0:
            disk.refuse_foreign(program.env_file)
    return env | dict(program.env) | {"WHIZ_NAME": program.name} | _released(program)


def _released(program: Program) -> dict[str, str]:
    """Return the id of the release that the program is of, where it is of one: it lies in DIR/releases/ID."""
    if "/" not in program.argv[0]:
        return {}
    above, _, rest = os.path.realpath(os.path.dirname(program.argv[0])).rpartition("/releases/")
    name = rest.partition("/")[0]
    return {"WHIZ_RELEASE": name} if above and len(name) == _ID else {}


def env_pairs(path: str) -> Iterator[tuple[str, str]]:
    """Yield the NAME=value lines of an env_file: '#' comments, 'export', one pair of quotes. Raise OSError."""
    data = disk.read(path)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, f"env_file {path} does not exist", path)
    for raw in data.decode(errors="surrogateescape").splitlines():
        line = raw.strip().removeprefix("export ").strip()
        name, eq, value = line.partition("=")
        if "\0" in line:
            raise OSError(errno.EINVAL, f"env_file {path} holds a NUL character", path)
        if not eq or line.startswith("#") or not name.strip():
            continue
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        yield name.strip(), value


def spawn(
    program: Program, mark: str, log: str, outcome: str, seat: Seat | None = None, said: str = ""
) -> tuple[int, bool]:
    """Start the program; return its pid, or its chaperone's and True. Raise OSError in the system's words.

    `seat`: its place in a cgroup. Where that holds limits, the exec step enters it, so that they are not ours for a
    moment; otherwise who starts the program visits it meanwhile: a child is born where its parent is.
    `said`: where it says how it does, for one that can (Program.says).

    No Python runs between fork and exec. Descriptors are not closed one by one: ours are close-on-exec, which lets
    go of the home's lock at the exec and not before.
    """
    account = who(program)
    form = command(program)
    env = environment(program, account)
    settings = _settings(program, account, seat, said)
    exe, argv = form.exe, list(form.argv)
    if "notify" in program.says:
        env |= {"NOTIFY_SOCKET": said} | _watchdog(program)
    if settings is None and not os.path.isdir(program.cwd):
        raise NotADirectoryError(errno.ENOTDIR, f"cwd {program.cwd} is not a directory", program.cwd)
    if settings is not None:
        argv = [sys.executable, "-I", "-S", _EXECSTEP, settings, exe, *argv]
        exe = sys.executable
    if program.kept:
        lasting = "1" if program.want is Want.DONE else "0"
        places = ["", ""] if seat is None else [seat.aside, "" if seat.held else seat.procs]
        argv = [sys.executable, "-I", "-S", _CHAPERONE, outcome, lasting, "1" if settings else "0", *places, exe, *argv]
        exe = sys.executable
    env["WHIZ_RUN"] = mark
    out = output(program, log, (account.uid, account.gid) if account.change else None)
    channel = -1
    try:
        cwd = program.cwd if settings is None else "/"
        if program.kept or settings is not None:
            channel = _channel(env)
            env = {"PATH": PATH, "WHIZ_KEEPER" if program.kept else "WHIZ_RUN": mark, "WHIZ_ENV_FD": str(channel)}
        if "notify" in program.says:
            env["WHIZ_NOTIFY"] = f"{account.uid}:{said}"
        if seat is not None and not seat.held and not program.kept:
            enter(seat.procs)
        if settings is not None and not program.kept:
            return _stepped(exe, argv, env, program.umask, out), False
        return _popen(exe, argv, env, cwd, program.umask, out), program.kept
    except OSError as exc:
        raise OSError(exc.errno, _words(exc, form.exe), exc.filename) from exc
    finally:
        if seat is not None and not seat.held and not program.kept:
            enter(seat.home, seat.aside)
        os.close(out)
        if channel >= 0:
            os.close(channel)


def spawn_look(program: Program, check: Check, kind: str, out: int) -> int:
    """Start a command that looks at a program, as its user and in its environment; return its pid. Raise OSError."""
    account = who(program)
    form = bounded(command(replace(program, argv=check.argv)), check.timeout + 1)
    env = environment(program, account) | {"WHIZ_EVENT": kind}
    settings = _settings(replace(program, limits=Limits(), ready=None), account)
    if account.change and os.getuid() == 0:
        os.fchown(out, account.uid, account.gid)  # opening /dev/stdout asks for it
    if settings is None:
        return _popen(form.exe, list(form.argv), env, program.cwd, program.umask, out)
    channel = _channel(env)
    try:
        step = [sys.executable, "-I", "-S", _EXECSTEP, settings, form.exe, *form.argv]
        own = {"PATH": PATH, "WHIZ_EVENT": kind, "WHIZ_ENV_FD": str(channel)}
        return _stepped(sys.executable, step, own, program.umask, out)
    finally:
        os.close(channel)


def _watchdog(program: Program) -> dict[str, str]:
    """Return what tells a program how often to give a sign of life, as sd_watchdog_enabled(3) reads it."""
    if program.alive is None or program.alive.way != "notify":
        return {}
    return {"WATCHDOG_USEC": str(round(program.alive.timeout * 1e6))}


def _channel(env: dict[str, str]) -> int:
    """Return a descriptor that holds a program's environment for the chaperone or exec step, which must not live in it.

    That may be root's Python while the environment (LD_PRELOAD, PYTHON...) is written by somebody else.
    """
    import json  # noqa: PLC0415

    fd = os.memfd_create("whiz-env", 0)  # inherited
    os.write(fd, json.dumps(env, ensure_ascii=False).encode(errors="surrogateescape"))
    return fd


def _popen(exe: str, argv: list[str], env: dict[str, str], cwd: str, umask: int, out: int) -> int:
    child = subprocess.Popen(  # noqa: S603  running what the manifest says is the purpose
        argv,
        executable=exe,
        env=env,
        cwd=cwd,
        umask=umask,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
        close_fds=False,
    )
    child.returncode = 0  # the host reaps by number; subprocess is to leave it alone
    return child.pid


def _stepped(exe: str, argv: list[str], env: dict[str, str], umask: int, out: int) -> int:
    """Start through the exec step and wait until it has become the program or said why not."""
    r, w = os.pipe()
    try:
        os.set_inheritable(w, True)
        pid = _popen(exe, argv, env | {"WHIZ_ERROR_FD": str(w)}, "/", umask, out)
    except OSError:
        os.close(r)
        raise
    finally:
        os.close(w)
    with open(r, "rb") as said:
        words = said.read().decode(errors="replace")
    if words:
        os.waitpid(pid, 0)
        raise OSError(errno.EINVAL, words)
    return pid


def _settings(program: Program, account: Who, seat: Seat | None = None, said: str = "") -> str | None:
    """Return the JSON for the exec step, None where nothing needs it."""
    held = seat.held if seat is not None else frozenset()
    limits = rlimits(program.limits, held)
    fd = program.ready.what if program.ready is not None and program.ready.way == "fd" else None
    if program.nice is None and not limits and not account.change and not held and fd is None:
        return None
    import json  # noqa: PLC0415

    wish: dict[str, object] = {"cwd": program.cwd}
    if fd is not None:
        wish["says"] = [int(fd), said]
    if program.nice is not None:
        wish["nice"] = program.nice
    if limits:
        wish["limits"] = limits
    if seat is not None and held:
        wish["cgroup"] = seat.procs
    if account.change:
        wish |= {"uid": account.uid, "gid": account.gid, "groups": os.getgrouplist(account.name, account.gid)}
    return json.dumps(wish)


def _words(exc: OSError, exe: str) -> str:
    if exc.errno == errno.ENOEXEC:
        return f"{exe} has no #! line and is no executable of this machine"
    where = f"{os.fsdecode(exc.filename)}: " if exc.filename and os.fsdecode(exc.filename) != exe else ""
    return f"{where}{exc.strerror or exc}"
