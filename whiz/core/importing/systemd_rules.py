"""What becomes of the directives of systemd's [Unit], [Service], [Timer] and [Install], as its man pages name them."""

from __future__ import annotations

from whiz.core.importing.oncalendar import every, schedule, span
from whiz.core.importing.rules import Rule, Table, bytes_of, lost, octal, same, seconds, signal, special, to, whole
from whiz.core.importing.systemd_limits import CONTROL, CREDENTIALS, FOLDERS, IO, LOGGING, RLIMITS, SANDBOX, SCHEDULING

_NO = ("no", "false", "off", "0")
_YES = ("yes", "true", "on", "1")
_ON = "commands under on: are told of starts, ends and crash loops"
_MANAGER = "whiz has no jobs, targets or states of the machine: it keeps programs"
_SHELL = "a line of shell before the command: run: [/bin/sh, -c, 'test … && exec …']"
_ALONE = "whiz keeps each program by itself; what one does, does not stop or start another"


def _delay(text: str) -> str:
    return seconds(span(text))


def _grace(text: str) -> str:
    if text.strip() in ("infinity", "0"):
        raise ValueError("whiz always ends what does not stop in time")
    return seconds(span(text))


def _burst(text: str) -> int:
    if whole(text) < 1:
        raise ValueError("0 means no limit, which is whiz's own way")
    return whole(text)


UNIT: Table = {
    "Description": special("", "a comment before the program"),
    "Documentation": special("", "a comment before the program"),
    "After": special("after", "programs of this import; targets of a booted system need nothing"),
    "Before": special("after", "of the other program"),
    "Wants": special("", "programs of this import; else not carried over"),
    "Requires": special("", "programs of this import; else not carried over. Order is what After= says"),
    "StartLimitIntervalSec": special("restart.attempts", "0: whiz never gives up; else not carried over"),
    "StartLimitInterval": special("restart.attempts", "its older name"),
    "StartLimitBurst": to("restart.attempts", _burst, "whiz counts failures in a row, until restart.stable"),
    "StartLimitAction": lost("whiz does not reboot", _ON, ("none",)),
    "OnFailure": lost("whiz starts no unit on a failure", f"{_ON}; on: {{crash_loop: COMMAND}}"),
    "OnSuccess": lost("whiz starts no unit on a success", f"{_ON}; or a task that comes after it"),
    "OnFailureJobMode": lost(_MANAGER, _ON),
    "OnSuccessJobMode": lost(_MANAGER, _ON),
    "DefaultDependencies": same("whiz starts when the system is up"),
    "RequiresMountsFor": lost("whiz does not wait for mounts", _SHELL.replace("test …", "mountpoint -q PATH")),
    "DefaultInstance": special("", "the instance where the template itself is imported"),
    "CollectMode": same("whiz keeps no unit in memory"),
    "RefuseManualStart": lost(_MANAGER, "whiz hold NAME", _NO),
    "RefuseManualStop": lost(_MANAGER, "", _NO),
    "SourcePath": same("it notes what the unit was generated from"),
    **{k: lost(_ALONE, "after: is about order") for k in (
        "Requisite", "BindsTo", "PartOf", "Upholds", "Conflicts", "PropagatesReloadTo", "ReloadPropagatedFrom",
        "PropagatesStopTo", "StopPropagatedFrom", "JoinsNamespaceOf",
    )},
    **{k: lost(_MANAGER, "", _NO) for k in (
        "StopWhenUnneeded", "AllowIsolate", "IgnoreOnIsolate", "SurviveFinalKillSignal",
    )},
    **{k: lost(_MANAGER, "", ("none", "infinity")) for k in (
        "JobTimeoutSec", "JobRunningTimeoutSec", "JobTimeoutAction", "JobTimeoutRebootArgument", "FailureAction",
        "SuccessAction", "FailureActionExitStatus", "SuccessActionExitStatus", "RebootArgument",
    )},
    **{f"{w}{k}": lost("whiz looks at no conditions before a start", _SHELL) for w in ("Condition", "Assert") for k in (
        "Architecture", "Firmware", "Virtualization", "Host", "KernelCommandLine", "KernelVersion", "Credential",
        "Environment", "Security", "Capability", "ACPower", "NeedsUpdate", "FirstBoot", "PathExists",
        "PathExistsGlob", "PathIsDirectory", "PathIsSymbolicLink", "PathIsMountPoint", "PathIsReadWrite",
        "PathIsEncrypted", "DirectoryNotEmpty", "FileNotEmpty", "FileIsExecutable", "User", "Group",
        "ControlGroupController", "Memory", "CPUs", "CPUFeature", "OSRelease", "MemoryPressure", "CPUPressure",
        "IOPressure",
    )},
}  # fmt: skip
_STARTING: Table = {
    "Type": special(
        "want", "oneshot: `done`; forking: written as a comment; notify: `ready`, within 90s where nothing is said"
    ),
    "ExitType": lost("a run of whiz ends with its main process", "", ("main",)),
    "RemainAfterExit": special("", "of a task: it runs once until it succeeded, not at each boot"),
    "GuessMainPID": same("what whiz starts is the main process"),
    "PIDFile": lost(
        "what whiz starts is the main process: it must stay in the foreground", "the program's own flag for it"
    ),
    "BusName": lost("whiz does not wait for a name on D-Bus", "ready: {run: COMMAND}, one that asks for the name"),
    "ExecStart": special("run", "words; with Pre commands, several commands or variables: `/bin/sh -c`"),
    "ExecStartPre": special("run", "before the command, in one `/bin/sh -c`"),
    "ExecCondition": lost("whiz looks at no conditions before a start", _SHELL),
    "ExecStartPost": lost("whiz runs nothing after a start", "on: {start: COMMAND}"),
    "ExecReload": lost("whiz has no reload", "whiz restart NAME; or kill -HUP the pid that whiz status shows"),
    "ExecStop": special("stop.signal", "of `kill -SIG $MAINPID`; else not carried over"),
    "ExecStopPost": lost("whiz runs nothing after an end", "on: {exit: COMMAND}"),
    "NotifyAccess": lost(
        "where ready or alive say notify, whiz hears whoever runs as the program's user", "", ("all",)
    ),
    "Sockets": lost("whiz opens no sockets for programs", "have the program listen by itself"),
    "FileDescriptorStoreMax": lost("whiz keeps no descriptors for programs", "", ("0",)),
    "FileDescriptorStorePreserve": lost("whiz keeps no descriptors for programs", "", ("no",)),
    "NonBlocking": lost("whiz passes no sockets to programs", "", _NO),
    "OpenFile": lost("whiz opens no files for programs", "have the program open it"),
    "USBFunctionDescriptors": lost("whiz sets up no USB functions"),
    "USBFunctionStrings": lost("whiz sets up no USB functions"),
    "RootDirectoryStartOnly": lost("whiz changes no root", "", _NO),
    "PermissionsStartOnly": lost("whiz runs all of a command as one user", "", _NO),
}
_ENDING: Table = {
    "Restart": special("restart.on", "no: `never`; always: `always`; on-failure and its kin: `failure`"),
    "RestartSec": special("restart.delay", "and `max_delay`, so that it stays as long"),
    "RestartSteps": lost("whiz doubles the delay at each step", "restart: {delay: …, max_delay: …}", ("0",)),
    "RestartMaxDelaySec": to("restart.max_delay", _delay),
    "RestartMode": lost("whiz has no units that a restart could pass by", "", ("normal",)),
    "SuccessExitStatus": special("restart.success_codes", "codes and their names; not signals"),
    "RestartPreventExitStatus": special(
        "restart.success_codes", "with `on: failure`: whiz does not start again after a success"
    ),
    "RestartForceExitStatus": lost("whiz has no codes that restart a program otherwise", "restart: {on: always}"),
    "TimeoutStartSec": special("ready.within", "of notify; infinity: a year. Else whiz sets no time for a start"),
    "TimeoutStopSec": to("stop.grace", _grace, hint="stop: {grace: 1h} is a long time too"),
    "TimeoutSec": special("stop.grace", "as TimeoutStopSec; and as TimeoutStartSec"),
    "TimeoutAbortSec": lost("whiz aborts no program", "stop: {grace: …}"),
    "TimeoutStartFailureMode": lost("whiz stops who is not ready in time as any program", "stop: {…}", ("terminate",)),
    "TimeoutStopFailureMode": lost("whiz kills what does not stop in time", "", ("terminate", "kill")),
    "TimeoutCleanSec": same("whiz removes no folders of programs"),
    "RuntimeMaxSec": lost("whiz sets no time for a run", "timeout 1h COMMAND", ("infinity",)),
    "RuntimeRandomizedExtraSec": lost("whiz sets no time for a run", "timeout 1h COMMAND"),
    "WatchdogSec": special("alive", "`notify`; whiz stops who falls silent as any program, where systemd aborts it"),
    "WatchdogSignal": lost("whiz stops who falls silent as it stops any program", "stop: {signal: …}"),
    "KillMode": special("stop.tree", "control-group: as whiz does; process: `session`"),
    "KillSignal": to("stop.signal", signal),
    "RestartKillSignal": lost("whiz stops a program for a restart as for good", "stop: {signal: …}"),
    "FinalKillSignal": lost("whiz ends what does not stop by SIGKILL", "", ("sigkill", "kill", "9")),
    "SendSIGHUP": lost("whiz sends one signal", "stop: {signal: HUP}", _NO),
    "SendSIGKILL": lost("whiz always ends what does not stop in time", "stop: {grace: 1h}", _YES),
    "OOMPolicy": lost(
        "beyond limits.memory all of a program ends; where the machine's memory runs out, the kernel's choice alone",
        "limits: {memory: …}",
    ),
    "StartLimitIntervalSec": UNIT["StartLimitIntervalSec"],
    "StartLimitInterval": UNIT["StartLimitInterval"],
    "StartLimitBurst": UNIT["StartLimitBurst"],
    "StartLimitAction": UNIT["StartLimitAction"],
    "FailureAction": UNIT["FailureAction"],
    "RebootArgument": UNIT["RebootArgument"],
}
_PLACE: Table = {
    "User": to("user"),
    "Group": to("group"),
    "SupplementaryGroups": lost("whiz gives a program the groups of its user", "usermod -aG GROUP USER"),
    "DynamicUser": lost("whiz makes no users", "adduser --system NAME; user: NAME", _NO),
    "WorkingDirectory": special("cwd", "'-' is dropped, '~' not carried over"),
    "Environment": special("env", "a variable each"),
    "EnvironmentFile": special("env_file", "the first; with '-' too it must be there"),
    "PassEnvironment": lost("nothing is inherited from who called whiz", "env: {NAME: value}"),
    "UnsetEnvironment": special("env", "variables of the file are left out; others nobody sets"),
    "UMask": to("umask", octal),
    "Nice": to("nice", whole),
    "PAMName": lost("whiz opens no PAM session", "runuser -l USER -c COMMAND"),
    "ExecSearchPath": lost("whiz looks for bare commands on its own PATH", "write the whole path"),
}
SERVICE: Table = {
    **_STARTING, **_ENDING, **_PLACE, **SANDBOX, **SCHEDULING, **LOGGING, **FOLDERS, **CREDENTIALS,
    **CONTROL, **IO, **RLIMITS,
}  # fmt: skip
TIMER: Table = {
    "OnCalendar": to("schedule", schedule, hint="write schedule: by hand"),
    "OnUnitActiveSec": to("schedule", every, "it is reckoned from the last start", "write schedule: by hand"),
    "OnUnitInactiveSec": to("schedule", every, "it is reckoned from the last start, not the end", "write it by hand"),
    **{k: lost("whiz reckons from when it first saw the entry, not from a boot", "@reboot in a crontab") for k in (
        "OnBootSec", "OnStartupSec", "OnActiveSec",
    )},
    "AccuracySec": same("whiz wakes when the moment has come"),
    "RandomizedDelaySec": lost("whiz draws no times by lot", "another minute for each node", ("0",)),
    "RandomizedOffsetSec": lost("whiz draws no times by lot", "another minute for each node", ("0",)),
    "FixedRandomDelay": lost("whiz draws no times by lot", "another minute for each node", _NO),
    "OnClockChange": lost("whiz runs nothing because the clock was set", "", _NO),
    "OnTimezoneChange": lost("whiz runs nothing because the time zone was set", "", _NO),
    "Persistent": lost("whiz catches up once what was missed while it or the machine was off", "", _YES),
    "WakeSystem": lost("whiz wakes no machine that sleeps", "rtcwake", _NO),
    "RemainAfterElapse": same("whiz keeps no timers"),
    "DeferReactivation": same("whiz starts no second run beside one that still runs"),
    "Unit": special("", "the service that is meant"),
}  # fmt: skip
INSTALL: Table = {
    "WantedBy": special("", "whiz starts what is in the whizzifest"),
    "RequiredBy": special("", "whiz starts what is in the whizzifest"),
    "UpheldBy": special("", "whiz starts what is in the whizzifest"),
    "Alias": lost("a program has one name in whiz"),
    "Also": lost("whiz imports what it is given", "whiz import with that unit too"),
    "DefaultInstance": UNIT["DefaultInstance"],
}
SECTIONS = {"[Unit]": UNIT, "[Service]": SERVICE, "[Timer]": TIMER, "[Install]": INSTALL}
_BOOTED = (
    "network", "basic", "sysinit", "local-fs", "remote-fs", "multi-user", "default", "graphical", "timers", "paths",
    "sockets", "slices", "swap", "time-set", "nss-user-lookup", "nss-lookup", "getty", "rsyslog", "syslog",
    "systemd-journald", "systemd-user-sessions", "local-fs-pre", "network-pre", "dbus", "shutdown", "umount",
)  # fmt: skip
BOOTED = frozenset(f"{n}.{k}" for n in _BOOTED for k in ("target", "service", "socket")) | {
    "-.mount",
    "-.slice",
    "system.slice",
}
EXITS = {
    "SUCCESS": 0, "FAILURE": 1, "INVALIDARGUMENT": 2, "NOTIMPLEMENTED": 3, "NOPERMISSION": 4, "NOTINSTALLED": 5,
    "NOTCONFIGURED": 6, "NOTRUNNING": 7, "USAGE": 64, "DATAERR": 65, "NOINPUT": 66, "NOUSER": 67, "NOHOST": 68,
    "UNAVAILABLE": 69, "SOFTWARE": 70, "OSERR": 71, "OSFILE": 72, "CANTCREAT": 73, "IOERR": 74, "TEMPFAIL": 75,
    "PROTOCOL": 76, "NOPERM": 77, "CONFIG": 78, "EXCEPTION": 255,
}  # fmt: skip
SIGTERM_CODES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE", "TERM", "INT", "HUP", "PIPE")
__all__ = ["BOOTED", "EXITS", "INSTALL", "SECTIONS", "SERVICE", "TIMER", "UNIT", "Rule", "bytes_of"]
