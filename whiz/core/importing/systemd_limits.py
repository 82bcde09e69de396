"""What becomes of systemd's directives for limits, cgroups, sandboxes, folders, logs and priorities."""

from __future__ import annotations

import re

from whiz.core.importing.oncalendar import span
from whiz.core.importing.rules import Table, binary, lost, same, seconds, special, to, whole

_NO = ("no", "false", "off", "0", "")
_BWRAP = "bwrap, setpriv or systemd-run before the command"


def _lost(names: str, why: str, hint: str = "", same: tuple[str, ...] = _NO) -> Table:
    return {name: lost(why, hint, same) for name in names.split()}


def _soft(text: str) -> str:
    if text.strip() == "infinity":
        raise ValueError("whiz sets ceilings, and leaves the machine's own where it sets none")
    return text.rpartition(":")[2].strip()


def _count(text: str) -> int:
    held = _soft(text)
    found = re.fullmatch(r"([0-9]{1,12})([KMG]?)", held)
    if found is None:
        raise ValueError(f"{held!r} is no number")
    return whole(found[1]) << 10 * " KMG".index(found[2] or " ")


def _size(text: str) -> str:
    if "%" in text:
        raise ValueError("whiz limits memory in bytes, not in parts of the machine's")
    return binary(_soft(text))


def _quota(text: str) -> str:
    if not text.strip().endswith("%"):
        raise ValueError("it is no percentage")
    return text.strip()


_SET = "namespaces, mounts and filters are not whiz's"
SANDBOX: Table = {
    **_lost(
        "PrivateTmp PrivateDevices PrivateNetwork PrivateIPC PrivatePIDs PrivateUsers PrivateMounts ProtectHostname"
        " ProtectClock ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups"
        " ProtectSystem ProtectHome ProtectProc ProcSubset LockPersonality MemoryDenyWriteExecute"
        " RestrictRealtime RestrictSUIDSGID RemoveIPC"
        " RestrictAddressFamilies RestrictFileSystems RestrictNamespaces PrivateBPF MemoryKSM"
        " SystemCallFilter SystemCallErrorNumber SystemCallArchitectures SystemCallLog"
        " ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths NoExecPaths TemporaryFileSystem BindPaths"
        " BindReadOnlyPaths MountFlags MountAPIVFS BindLogSockets RootDirectory RootImage RootImageOptions RootHash"
        " RootHashSignature RootVerity RootEphemeral RootImagePolicy MountImages MountImagePolicy ExtensionImages"
        " ExtensionImagePolicy ExtensionDirectories NetworkNamespacePath IPCNamespacePath",
        _SET,
        _BWRAP,
        (*_NO, "all", "default"),
    ),
    **_lost("NoNewPrivileges", "whiz sets no such bit", "setpriv --no-new-privs COMMAND"),
    **_lost(
        "CapabilityBoundingSet AmbientCapabilities SecureBits",
        "whiz sets no capabilities",
        "setpriv --bounding-set, --ambient-caps or setcap on the program",
    ),
    **_lost(
        "SELinuxContext AppArmorProfile SmackProcessLabel", "whiz sets no label", "runcon or aa-exec before the command"
    ),
    **_lost(
        "Personality KeyringMode", "whiz leaves it as the machine has it", "setarch before the command", ("", "inherit")
    ),
}
SCHEDULING: Table = {
    **_lost("OOMScoreAdjust", "whiz leaves every program at 0", "choom -n N -- COMMAND", ("0",)),
    **_lost(
        "CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork",
        "whiz leaves it",
        "chrt before the command",
        (*_NO, "other"),
    ),
    **_lost("CPUAffinity", "whiz leaves it", "taskset -c LIST COMMAND", ("",)),
    **_lost("NUMAPolicy NUMAMask", "whiz leaves it", "numactl before the command", ("", "default")),
    **_lost("IOSchedulingClass IOSchedulingPriority", "whiz leaves it", "ionice before the command", ("", "0")),
    **_lost("TimerSlackNSec CoredumpFilter", "whiz leaves it", "", ("",)),
    "IgnoreSIGPIPE": lost("programs of whiz get SIGPIPE as from a shell", "trap '' PIPE in a line of shell", _NO),
}
_JOURNAL = ("journal", "inherit", "journal+console", "kmsg", "syslog")
LOGGING: Table = {
    "StandardOutput": special("log.to", "journal: `journal`; null: `null`; a file: not carried over"),
    "StandardError": special("log.to", "as StandardOutput: both go to one place"),
    "StandardInput": lost(
        "a program of whiz reads nothing: /dev/null", "COMMAND < FILE in a line of shell", ("null", "")
    ),
    **_lost(
        "StandardInputText StandardInputData", "a program of whiz reads nothing", "COMMAND < FILE in a line of shell"
    ),
    **_lost(
        "TTYPath TTYReset TTYVHangup TTYVTDisallocate TTYRows TTYColumns",
        "whiz gives no terminal",
        "script -qc COMMAND",
    ),
    **_lost("UtmpIdentifier UtmpMode", "whiz writes no utmp", "", ("",)),
    **_lost(
        "SyslogIdentifier SyslogFacility SyslogLevel SyslogLevelPrefix LogLevelMax LogExtraFields LogNamespace",
        "what goes to the journal goes under the program's name, as it came",
        "COMMAND | systemd-cat -t NAME -p LEVEL",
        ("",),
    ),
    **_lost(
        "LogRateLimitIntervalSec LogRateLimitBurst LogFilterPatterns",
        "a log of whiz keeps the newest",
        "log: {max: 10MB}",
    ),
}
_MKDIR = "install -d -o USER /run/NAME in a task that the program comes after"
FOLDERS: Table = _lost(
    "RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve StateDirectory StateDirectoryMode CacheDirectory"
    " CacheDirectoryMode LogsDirectory LogsDirectoryMode ConfigurationDirectory ConfigurationDirectoryMode"
    " StateDirectoryQuota StateDirectoryAccounting CacheDirectoryQuota CacheDirectoryAccounting LogsDirectoryQuota"
    " LogsDirectoryAccounting",
    "whiz makes no folders",
    _MKDIR,
)
CREDENTIALS: Table = _lost(
    "LoadCredential LoadCredentialEncrypted SetCredential SetCredentialEncrypted ImportCredential",
    "whiz passes no credentials",
    "env_file: a file that only root may read",
)
# who holds it where whiz has no cgroup, which it has where `whiz install` made one
_MEMORY = "where whiz has no cgroup, it looks every 5 s instead of the kernel"
_CPU = "where whiz has no cgroup, nobody holds it"
_OWN = "where whiz has no cgroup, all processes of its user are counted, and root's are not"
_TASKS = "where whiz has a cgroup, the program's own are counted, not all of its user"
# two directives that are one key here: the first holds
TWICE = (("CPUQuota", "LimitCPU"), ("TasksMax", "LimitNPROC"), ("MemoryMax", "MemoryLimit"))
RLIMITS: Table = {
    "LimitNOFILE": to("limits.files", _count, "one number for soft and hard", "ulimit -n in a line of shell"),
    "LimitNPROC": to("limits.tasks", _count, _TASKS, "ulimit -u in a line of shell"),
    "LimitCORE": to("limits.core", _size, "one number for soft and hard", "ulimit -c in a line of shell"),
    "LimitCPU": to(
        "limits.cpu",
        lambda t: seconds(span(_soft(t))),
        "one number for soft and hard",
        "ulimit -t in a line of shell",
        ("infinity",),
    ),
    "LimitAS": lost("whiz limits memory that is in use, not addresses", "prlimit --as=N COMMAND", ("infinity",)),
    **{
        f"Limit{name.upper()}": lost("whiz has no such limit", f"prlimit --{name}=N COMMAND", ("infinity",))
        for name in (
            "fsize",
            "data",
            "stack",
            "rss",
            "memlock",
            "locks",
            "sigpending",
            "msgqueue",
            "nice",
            "rtprio",
            "rttime",
        )
    },
}
CONTROL: Table = {
    "MemoryMax": to("limits.memory", _size, _MEMORY, same=("infinity",)),
    "MemoryLimit": to("limits.memory", _size, _MEMORY, same=("infinity",)),
    "TasksMax": to("limits.tasks", _count, _OWN, "limits: {tasks: N}", ("infinity",)),
    "CPUQuota": to("limits.cpu", _quota, _CPU, same=("infinity",)),
    **{k: same("whiz status shows CPU and memory of each program") for k in (
        "CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting", "BlockIOAccounting", "IPAccounting",
    )},
    **_lost(
        "MemoryMin MemoryLow MemoryHigh MemorySwapMax MemoryZSwapMax MemoryZSwapWriteback DefaultMemoryLow"
        " DefaultMemoryMin StartupMemoryLow StartupMemoryHigh StartupMemoryMax StartupMemorySwapMax"
        " StartupMemoryZSwapMax CPUWeight StartupCPUWeight CPUShares StartupCPUShares CPUQuotaPeriodSec AllowedCPUs"
        " StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes MemoryPressureWatch"
        " MemoryPressureThresholdSec ManagedOOMSwap ManagedOOMMemoryPressure ManagedOOMMemoryPressureLimit"
        " ManagedOOMMemoryPressureDurationSec ManagedOOMPreference DisableControllers CPUSetPartition",
        "whiz has no such limit",
        "limits: {memory: …, cpu: …, tasks: …}; nice:; or systemd-run before the command",
        ("", "infinity", "auto", "100", "1024", "none"),
    ),
    "Slice": lost("whiz has no slices", "systemd-run --slice= before the command", ("system.slice", "-.slice")),
    "Delegate": lost("whiz gives no cgroup away", "", _NO),
    "DelegateSubgroup": lost("whiz gives no cgroup away", "", _NO),
    "CoredumpReceive": lost("whiz gives no cgroup away", "", _NO),
}  # fmt: skip
IO: Table = _lost(
    "IOWeight StartupIOWeight IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax"
    " IODeviceLatencyTargetSec BlockIOWeight StartupBlockIOWeight BlockIODeviceWeight BlockIOReadBandwidth"
    " BlockIOWriteBandwidth IPAddressAllow IPAddressDeny SocketBindAllow SocketBindDeny RestrictNetworkInterfaces"
    " NFTSet IPIngressFilterPath IPEgressFilterPath BPFProgram DeviceAllow DevicePolicy",
    "whiz limits neither disks, devices nor networks",
    "systemd-run -p … before the command; nftables",
    ("", "auto"),
)
