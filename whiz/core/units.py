"""What systemd is told, so that whiz is there after a boot and releases arrive: the units, and their names."""

from __future__ import annotations

import re
from enum import StrEnum

from whiz.core.subtree import PROGRAMS
from whiz.core.value import value

SERVICE = "whiz.service"
TIMER = "whiz.timer"
PULL = "whiz-pull.service"
PULLS = ("whiz-pull-boot.timer", "whiz-pull.timer")  # the first after a boot; those that follow
ALL = (PROGRAMS, SERVICE, TIMER, PULL, *PULLS)
FIRST = 60  # s after a boot within which the first pull is begun

_NEVER = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")  # surrogates: what is no UTF-8, which systemd does not read
_END = 100  # s that the programs may take to end at shutdown; a user's manager is killed after 120
_MARGIN = 10  # s more before systemd no longer waits


class Mode(StrEnum):
    """Who takes the turns."""

    SYSTEMD = "systemd"  # whiz run, as a service
    TIMER = "timer"  # whiz apply, once a minute
    CRON = "cron"  # likewise


@value
class Pull:
    """How releases arrive. `words`: the whole call; `every`: s; `first`: whether nothing is there to run before one."""

    words: tuple[str, ...]
    every: float
    first: bool = False


@value
class Site:
    """What is installed where. `words`: how whiz is called; `user`: whose manager, None for the system's.

    `runtime`: whether the run directory is systemd's to make; `pull`: None where no release is followed.
    """

    words: tuple[str, ...]
    user: str | None = None
    runtime: bool = False
    pull: Pull | None = None


def unwritable(path: str) -> str:
    """Say why no unit or crontab can hold this path; nothing where they can. Both end a line at a line feed."""
    found = _NEVER.search(path)
    if found is None:
        return ""
    return "is no UTF-8" if found[0] >= "\ud800" else f"holds the control character {found[0]!r}"


def begun(site: Site, mode: Mode) -> tuple[str, ...]:
    """Return the units that are enabled and running in this mode."""
    turns = {Mode.SYSTEMD: (SERVICE,), Mode.TIMER: (TIMER,), Mode.CRON: ()}[mode]
    return (PROGRAMS, *turns, *(PULLS if site.pull and mode is not Mode.CRON else ()))


def units(site: Site, mode: Mode) -> dict[str, str]:
    """Return name -> text of the units that this mode has."""
    made = {PROGRAMS: programs(site)}
    if mode is Mode.SYSTEMD:
        made[SERVICE] = _resident(site)
    if mode is Mode.TIMER:
        made |= {SERVICE: _turn(site), TIMER: _TIMER}
    if site.pull and mode is not Mode.CRON:
        boot, then = PULLS
        made |= {PULL: _pull(site, site.pull), boot: _PULL_BOOT, then: _pulls(site.pull)}
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


# -- releases
#
# Two timers, because RandomizedDelaySec= holds for all that a timer says: U(0, 60 s) is for the boot, 0.5 to 1.5 times
# `poll`, counted from the end of a pull, for later. The second does nothing until a pull has ended in this boot, and
# once one has, it goes on whatever came of it. Both stop and start with the programs, by hand too.


def _pull(site: Site, pull: Pull) -> str:
    """Return the service of one pull. Nothing hardens it: programs that it starts would have that for ever.

    Only Wants=: a node where that unit fails is to get the release that mends it.
    """
    return f"""\
{_MADE}
[Unit]
Description=quesofiesta asks for a new release
Wants={PROGRAMS}
After={PROGRAMS} network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={" ".join(map(_word, pull.words))}
TimeoutStartSec=1d
SuccessExitStatus=SIGTERM
SyslogLevel=warning
LogLevelMax=notice
{_common(site)}"""


_PULL_BOOT = f"""\
{_MADE}
[Unit]
Description=the first pull after a boot
Requires={PROGRAMS}

[Timer]
Unit={PULL}
OnActiveSec=0
RandomizedDelaySec={FIRST}s
AccuracySec=1s

[Install]
WantedBy=timers.target {PROGRAMS}
"""


def _pulls(pull: Pull) -> str:
    return f"""\
{_MADE}
[Unit]
Description=quesofiesta asks for a new release, again and again
Requires={PROGRAMS}

[Timer]
OnUnitInactiveSec={_seconds(pull.every / 2)}
RandomizedDelaySec={_seconds(pull.every)}
AccuracySec=1s

[Install]
WantedBy=timers.target {PROGRAMS}
"""


def _seconds(every: float) -> str:
    return f"{every:.3f}".rstrip("0").rstrip(".") + "s"


# -- what all have


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
