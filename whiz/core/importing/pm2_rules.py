"""What becomes of pm2's options, as its ecosystem reference and schema name them."""

from __future__ import annotations

import re

from whiz.core.importing.rules import Table, binary, bytes_of, lost, same, seconds, special, to, whole

_LOG = "whiz keeps stdout and stderr of a program in one file of its own, NAME.log"
_LOGS = "whiz logs NAME"
_APM = "it is for pm2's own monitoring, which whiz does not have"
_NO = ("false", "0", "")


def _millis(text: str) -> str:
    found = re.fullmatch(r"\s*([0-9]{1,12})\s*(ms|s|m|h|d)?\s*", text)
    if found is None:
        raise ValueError(text)
    length = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2] or "ms"]
    return seconds(int(found[1]) * length)


def _memory(text: str) -> str:
    return bytes_of(whole(text)) if text.strip().isdigit() else binary(text)


APP: Table = {
    "name": special("", "the program's name"),
    "name_prefix": special("", "before the program's name"),
    "script": special("run", "with its interpreter and arguments; a path counts from cwd; with blanks, a shell"),
    "args": special("run", "behind the script"),
    "interpreter": special("run", "before the script; without one, by the ending of the script's name"),
    "interpreter_args": special("run", "between interpreter and script"),
    "cwd": special("cwd", "the file's folder where nothing is said"),
    "env": special("env", "a variable each; what is a list or {…} as JSON, as pm2 has it"),
    "env_*": lost("whiz has one environment for each program", "copy what --env would add under env:"),
    "filter_env": same("nothing is inherited from who calls whiz"),
    "instances": special("instances", "a number; of max or 0: not carried over"),
    "exec_mode": lost(
        "whiz starts processes, which cannot share one listening socket as node's cluster does",
        "a port for each instance behind a proxy, or node:cluster within the program",
        ("fork", "fork_mode"),
    ),
    "instance_var": special("env", "the variable with the number of the instance; whiz counts from 1"),
    "increment_var": special("env", "instances become programs of their own, each with its number"),
    "namespace": lost(
        "whiz has no groups of programs", "whiz restart, hold and unhold take several names", ("default",)
    ),
    "uid": to("user"),
    "gid": to("group"),
    "username": same("pm2 notes here who started it; uid is what decides"),
    "port": special("env.PORT", "as pm2 does"),
    "max_memory_restart": to(
        "limits.memory", _memory, "all that the program started counts too, and in a cgroup the kernel ends it unasked"
    ),
    "min_uptime": to("restart.stable", _millis),
    "max_restarts": to("restart.attempts", whole),
    "restart_delay": to("restart.delay", _millis, "whiz waits only after quick failures, and doubles it"),
    "exp_backoff_restart_delay": to("restart.delay", _millis, "whiz doubles it, to restart.max_delay", "", ("0",)),
    "autorestart": special("restart.on", "false: `never`"),
    "stop_exit_codes": special("restart.success_codes", "with `on: failure`"),
    "cron_restart": special("schedule", "with autorestart false: a task; else not carried over"),
    "watch": lost("whiz looks at the files that are named under files:, not at folders", "files: [/path, …]", _NO),
    "ignore_watch": lost("whiz looks only at the files that are named under files:", "files:"),
    "watch_delay": lost("whiz looks at files at each turn", "files:"),
    "watch_options": lost("whiz looks only at the files that are named under files:", "files:"),
    "kill_timeout": to("stop.grace", _millis),
    "kill_retry_time": same("whiz insists each second until nothing is left"),
    "treekill": special("stop.tree", "false: `session`"),
    "shutdown_with_message": lost("whiz stops programs by a signal", "listen for SIGINT; stop: {signal: …}", _NO),
    "wait_ready": special("", "not carried over: process.send('ready') needs pm2's channel"),
    "listen_timeout": special("", "goes with wait_ready"),
    "out_file": special("log.to", "/dev/null for both: `null`; else not carried over"),
    "error_file": special("log.to", "/dev/null for both: `null`; else not carried over"),
    "log_file": lost(_LOG, _LOGS, ("/dev/null", "false")),
    "disable_logs": special("log.to", "true: `null`"),
    "log_type": lost("whiz keeps output as it came", "whiz events prints facts as JSON", ("raw",)),
    "log_date_format": lost(
        "whiz keeps output as it came, without times before its lines", "log: {to: journal} has times"
    ),
    "time": lost("whiz keeps output as it came, without times before its lines", "log: {to: journal} has times", _NO),
    "merge_logs": lost("each instance has a log of its own", "whiz logs NAME prints those of all instances", _NO),
    "pid_file": lost("whiz writes no pid file", "whiz status --json has the pid"),
    "source_map_support": lost("whiz puts nothing into node", "interpreter_args: --enable-source-maps", _NO),
    "disable_source_map_support": same("whiz puts nothing into node"),
    "force": same("a program's name, not its script, tells it from others"),
    "append_env_to_name": lost("whiz knows no --env", "give it the name by hand", _NO),
    "post_update": lost("whiz fetches no sources", "a task: want: done, which others come after"),
    "vizion": same("whiz looks at no version control"),
    "install_url": lost("whiz installs nothing", "a task: want: done, which others come after"),
    "execute_command": same("how the pm2 command line was called"),
    "write": same("how the pm2 command line was called"),
    "windowsHide": same("whiz runs on Linux"),
    "trace": lost(_APM, "", _NO),
    "disable_trace": same(_APM),
    "v8": lost(_APM, "", _NO),
    "event_loop_inspector": lost(_APM, "", _NO),
    "deep_monitoring": lost(_APM, "", _NO),
    "pmx": same(_APM),
    "automation": same(_APM),
    "io": lost(_APM),
}  # fmt: skip
ALIASES = {
    "exec": "script", "cmd": "script", "command": "script", "exec_interpreter": "interpreter",
    "node_args": "interpreter_args", "interpreterArgs": "interpreter_args", "out": "out_file",
    "output": "out_file", "out_log": "out_file",
    "error": "error_file", "err": "error_file", "err_file": "error_file", "err_log": "error_file",
    "log": "log_file", "pid": "pid_file", "cron": "cron_restart", "combine_logs": "merge_logs", "user": "uid",
}  # fmt: skip
TOP: Table = {
    "apps": special("programs", "an app each"),
    "deploy": lost("whiz runs programs, and fetches no sources", "pm2 deploy, rsync or git; then whiz apply"),
}
BY_ENDING = {
    ".js": "node", ".mjs": "node", ".cjs": "node", ".json": "node", ".ts": "bun", ".tsx": "bun", ".py": "python",
    ".rb": "ruby", ".php": "php", ".pl": "perl", ".sh": "bash", ".coffee": "coffee", ".ls": "lsc",
}  # fmt: skip
