"""What becomes of supervisor's options, section by section, as its configuration reference names them."""

from __future__ import annotations

from whiz.core.importing.rules import Table, binary, lost, octal, same, seconds, signal, special, to, truth, whole

_LOG = "whiz keeps what a program prints in a file of its own, NAME.log"
_LOGS = "whiz logs NAME; or let the program itself write elsewhere"
_EVENTS = "whiz sends no events for what a program prints"
_ON = "commands under on: are told of starts, ends and crash loops, as JSON"
_SERVER = "whiz has no server, no socket and no password: whoever may write its files may command it"
_OWN = "it is about supervisord itself, which whiz replaces"


def _on(text: str) -> str:
    if text.strip().lower() == "unexpected":
        return "failure"
    return "always" if truth(text) else "never"


def _stable(text: str) -> str:
    if whole(text) == 0:
        raise ValueError("whiz backs off from a program that ends at once, and takes 60 s of life for a success")
    return seconds(whole(text))


def _max(text: str) -> str:
    if whole(text.rstrip("kKmMgGbB")) == 0:
        raise ValueError("a log of whiz always has a limit")
    return binary(text)


PROGRAM: Table = {
    "command": special("run", "words as supervisor splits them; %(…)s expanded"),
    "process_name": special("", "the program's name; of several, one for each number"),
    "numprocs": special("instances", "`instances`, or programs of their own where the number matters in other ways"),
    "numprocs_start": special("", "the numbers of `numprocs` begin here"),
    "priority": special("after", "the lower are started first; whiz waits until they run"),
    "autostart": special("", "of false: the program is written as a comment, since whiz starts what it is given"),
    "startsecs": to("restart.stable", _stable),
    "startretries": to("restart.attempts", lambda t: whole(t) + 1),  # whiz counts the first one too
    "autorestart": to("restart.on", _on),
    "exitcodes": special("restart.success_codes", "whiz counts 0 as a success whatever else is"),
    "stopsignal": to("stop.signal", signal),
    "stopwaitsecs": to("stop.grace", lambda t: seconds(whole(t))),
    "stopasgroup": lost(
        "whiz always signals the whole tree of a program", "stop: {tree: session}", ("true", "1", "yes")
    ),
    "killasgroup": lost("whiz always kills the whole tree of a program", "stop: {tree: session}", ("true", "1", "yes")),
    "user": to("user"),
    "redirect_stderr": lost(f"{_LOG}, stderr and stdout in one", "", ("true", "1", "yes", "on")),
    "stdout_logfile": special("log.to", "AUTO: as whiz does; NONE: `null`; a path: not carried over"),
    "stdout_logfile_maxbytes": to("log.max", _max),
    "stdout_logfile_backups": lost(
        "whiz keeps one file of the newest output, no older ones", "a larger log: {max: …}", ("0",)
    ),
    "stdout_capture_maxbytes": lost(_EVENTS, _ON, ("0", "0b", "0kb", "0mb")),
    "stdout_events_enabled": lost(_EVENTS, _ON, ("false", "0", "no", "off")),
    "stdout_syslog": special("log.to", "true: `journal`"),
    "stderr_logfile": special("", f"{_LOG}, stderr and stdout in one"),
    "stderr_logfile_maxbytes": same("stderr goes to the one log, which log.max limits"),
    "stderr_logfile_backups": same("stderr goes to the one log, of which whiz keeps one file"),
    "stderr_capture_maxbytes": lost(_EVENTS, _ON, ("0", "0b", "0kb", "0mb")),
    "stderr_events_enabled": lost(_EVENTS, _ON, ("false", "0", "no", "off")),
    "stderr_syslog": special("log.to", "true: `journal`"),
    "environment": special("env", "a variable each"),
    "directory": special("cwd", "%(…)s expanded"),
    "umask": to("umask", octal),
    "serverurl": lost("whiz has no server for programs to call", "the command line: whiz status --json", ("auto",)),
}
FCGI: Table = {
    **PROGRAM,
    "socket": special("run", "opened by `spawn-fcgi`, which then becomes the program"),
    "socket_backlog": special("run", "`spawn-fcgi -b`"),
    "socket_owner": special("run", "`spawn-fcgi -U -G`"),
    "socket_mode": special("run", "`spawn-fcgi -M`"),
}
LISTENER: Table = {
    **PROGRAM,
    "buffer_size": lost("nobody sends a listener supervisor's events", _ON),
    "events": lost("nobody sends a listener supervisor's events", _ON),
    "result_handler": lost("nobody reads what a listener answers", _ON),
}
GROUP: Table = {
    "programs": lost(
        "whiz has no groups: each program is one by itself", "whiz restart, hold and unhold take several names"
    ),
    "priority": special("after", "the programs of lower groups are started first"),
}
SUPERVISORD: Table = {
    "logfile": same(f"{_OWN}; what whiz did is in `whiz history`"),
    "logfile_maxbytes": same(f"{_OWN}; what it keeps of its history is bounded"),
    "logfile_backups": same(f"{_OWN}; what it keeps of its history is bounded"),
    "loglevel": same(f"{_OWN}; whiz --verbose says more"),
    "pidfile": same(f"{_OWN} and which is found without one"),
    "umask": special("umask", "for each program that has none of its own"),
    "nodaemon": same(f"{_OWN}; whiz run stays in the foreground"),
    "silent": same(f"{_OWN}; whiz --quiet prints problems only"),
    "minfds": special("limits.files", "for each program, where it is more than 1024"),
    "minprocs": lost("whiz sets ceilings, no minimum of processes", "`ulimit -u` where whiz is started", ("200",)),
    "nocleanup": same(f"{_OWN}; whiz removes no logs at its start"),
    "childlogdir": lost(_LOG, "/var/log/whiz, or log/ of --home"),
    "user": special("user", "for each program that has none of its own"),
    "directory": special("cwd", "for each program that has none of its own"),
    "strip_ansi": lost(
        "whiz keeps output as it came", "whiz logs NAME | sed 's/\\x1b\\[[0-9;]*m//g'", ("false", "0", "no", "off")
    ),
    "environment": special("env", "for each program, its own overriding"),
    "identifier": same(f"{_OWN}; a node's name stands in node.yaml"),
}
SERVER: Table = {
    key: lost(_SERVER, "ssh to the node; whiz status --json")
    for key in ("file", "chmod", "chown", "port", "username", "password")
}
CONTROL: Table = {
    key: same("it is about supervisorctl; the command whiz needs no server")
    for key in ("serverurl", "username", "password", "prompt", "history_file")
}
RPC: Table = {
    "supervisor.rpcinterface_factory": lost(
        "whiz has no server that could be extended",
        "the command line: whiz status --json",
        ("supervisor.rpcinterface:make_main_rpcinterface",),
    )
}
INCLUDE: Table = {"files": same("what it names is read as well")}
PLUGIN: Table = {"supervisor.ctl_factory": lost("the command whiz has no plugins", "a script of your own around it")}
SECTIONS: dict[str, Table] = {
    "program": PROGRAM,
    "fcgi-program": FCGI,
    "eventlistener": LISTENER,
    "group": GROUP,
    "include": INCLUDE,
    "supervisord": SUPERVISORD,
    "unix_http_server": SERVER,
    "inet_http_server": SERVER,
    "supervisorctl": CONTROL,
    "rpcinterface": RPC,
    "ctlplugin": PLUGIN,
}
