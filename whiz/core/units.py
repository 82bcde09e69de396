"""What systemd and cron are told, so that whiz is there after a boot: the texts, and the names in them."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum

from whiz.core.subtree import PROGRAMS
from whiz.core.value import value

SERVICE = "whiz.service"
TIMER = "whiz.timer"
ALL = (PROGRAMS, SERVICE, TIMER)

_OURS = " # by whiz install"  # ends our lines of a crontab; the shell takes it for the comment it is
_LINE = re.compile(r".*\n|.+")
_TURN = re.compile(r"(?:^|[\s/])whiz\s(?:.*\s)?(?:apply|run)\b")
_NEVER = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")  # surrogates: what is no UTF-8, which systemd does not read
_END = 100  # s that the programs may take to end at shutdown; a user's manager is killed after 120
_MARGIN = 10  # s more before systemd no longer waits


class Mode(StrEnum):
    """Who takes the turns."""

    SYSTEMD = "systemd"  # whiz run, as a service
    TIMER = "timer"  # whiz apply, once a minute
    CRON = "cron"  # likewise


@value
class Site:
    """What is installed where. `words`: how whiz is called; `user`: whose manager, None for the system's.

    `runtime`: whether the run directory is systemd's to make.
    """

    words: tuple[str, ...]
    user: str | None = None
    runtime: bool = False


def unwritable(path: str) -> str:
    """Say why no unit or crontab can hold this path; nothing where they can. Both end a line at a line feed."""
    found = _NEVER.search(path)
    if found is None:
        return ""
    return "is no UTF-8" if found[0] >= "\ud800" else f"holds the control character {found[0]!r}"


def begun(mode: Mode) -> tuple[str, ...]:
    """Return the units that are enabled and running in this mode."""
    return (PROGRAMS, *{Mode.SYSTEMD: (SERVICE,), Mode.TIMER: (TIMER,), Mode.CRON: ()}[mode])


def units(site: Site, mode: Mode) -> dict[str, str]:
    """Return name -> text of the units that this mode has."""
    made = {PROGRAMS: programs(site)}
    if mode is Mode.SYSTEMD:
        made[SERVICE] = _resident(site)
    if mode is Mode.TIMER:
        made |= {SERVICE: _turn(site), TIMER: _TIMER}
    return made


def programs(site: Site, *, ends: bool = True) -> str:
    """Return the unit that owns the programs' cgroup. `ends`: whether they end with it.

    systemd drops the cgroup of such a service when it is empty as the start is over: somebody is in it by then, in a
    group of its own, because the kernel gives controllers only to a group that has no process itself. Where the tree
    is not a unified one, there is no cgroup to keep, and nobody stays.
    """
    stop = f"ExecStop={_line(site, 'stop', '--wait', f'{_END}s')}\n" if ends else ""
    before = "" if site.user else "After=network.target remote-fs.target\nBefore=cron.service\n"
    return f"""\
{_MADE}
[Unit]
Description=the programs of whiz
{before}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{_HERE}; sleep infinity & mkdir -p $$c/holder && echo $$! >$$c/holder/cgroup.procs || kill $$!'
{stop}ExecStopPost=/bin/sh -c '{_HERE}; {_GONE}'
TimeoutStopSec={_END + _MARGIN}
KillMode=process
OOMPolicy=continue
Delegate=yes
TasksMax=infinity

[Install]
WantedBy={_target(site)}
"""


_MADE = "# Made by `whiz install`, which writes it anew; what you add belongs into `systemctl edit`."
_HERE = "c=/sys/fs/cgroup$$(sed -n s/^0:://p /proc/self/cgroup); c=$${c%%/.control}"
_GONE = (
    "[ -d $$c/holder ] || exit 0; for p in $$(cat $$c/holder/cgroup.procs); do kill $$p; done; "
    'while [ -n "$$(cat $$c/holder/cgroup.procs)" ]; do sleep 0.02; done'
)

# not After= that: in a user's manager timers come before all else, and in the cycle a stop would be dropped
_TIMER = f"""\
{_MADE}
[Unit]
Description=whiz keeps its whizzifest, once a minute
Requires={PROGRAMS}

[Timer]
OnActiveSec=0
OnUnitActiveSec=1min
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _resident(site: Site) -> str:
    return f"""\
{_MADE}
[Unit]
Description=whiz keeps its whizzifest
Requires={PROGRAMS}
After={PROGRAMS}
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={_line(site, "run")}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
WatchdogSec=3min
{_common(site)}
[Install]
WantedBy={_target(site)}
"""


def _turn(site: Site) -> str:
    """Return the service of one turn, which may be cut short. What systemd says of each would wear the card."""
    return f"""\
{_MADE}
[Unit]
Description=whiz takes a turn
Requires={PROGRAMS}
After={PROGRAMS}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={_line(site, "apply", "--quiet")}
TimeoutStartSec=10min
SuccessExitStatus=SIGTERM
SyslogLevel=warning
LogLevelMax=notice
{_common(site)}"""


def _common(site: Site) -> str:
    """Return what holds for whoever takes turns: programs that are in its cgroup live on when it goes."""
    runtime = "RuntimeDirectory=whiz\nRuntimeDirectoryPreserve=yes\n" if site.runtime else ""
    return f"""\
SuccessExitStatus=3 75
KillMode=process
OOMPolicy=continue
Delegate=yes
TasksMax=infinity
{runtime}"""


def _target(site: Site) -> str:
    return "default.target" if site.user else "multi-user.target"


def _line(site: Site, *more: str) -> str:
    return " ".join(_word(w) for w in (*site.words, *more))


def _word(text: str) -> str:
    """Return one word of a command as systemd reads it (systemd.service(5))."""
    text = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[^\s\"'\\;]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- cron


def table(text: str, site: Site | None) -> str:
    """Return a crontab with our lines as they should be; without them where there is no site.

    What is not ours stays to the byte, whatever else than a line feed Python takes for the end of a line.
    """
    lines = _LINE.findall(text)
    wanted = _lines(site) if site is not None else []
    if [line for line in lines if _ours(line)] == wanted:
        return text
    others = "".join(line for line in lines if not _ours(line))
    return others + ("\n" if wanted and others and not others.endswith("\n") else "") + "".join(wanted)


def others(text: str) -> tuple[str, ...]:
    """Return the lines of a crontab that are not ours and take turns as well."""
    lines = (line.strip() for line in _LINE.findall(text) if not _ours(line))
    return tuple(line for line in lines if not line.startswith("#") and _TURN.search(line))


def _ours(line: str) -> bool:
    return line.rstrip().endswith(_OURS)


def _lines(site: Site) -> list[str]:
    command = shlex.join((*site.words, "apply", "--quiet")).replace("%", "\\%")
    return [f"{when} {command}{_OURS}\n" for when in ("@reboot", "* * * * *")]
