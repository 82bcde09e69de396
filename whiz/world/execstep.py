"""The last step before a program: what only the process itself can set, then exec. Standard library; run as a file.

    python3 -I -S execstep.py SETTINGS EXE ARGV...

SETTINGS is JSON: nice, limits {RLIMIT name: number}, cgroup (the cgroup.procs of one that limits it), says [descriptor,
path of the file it writes to], uid, gid, groups, cwd. The program's environment comes as JSON from the descriptor
WHIZ_ENV_FD: this interpreter may be root's, and must not itself obey what the program's may say.
What fails is written to the descriptor WHIZ_ERROR_FD; nothing written means that exec succeeded.
"""

import json
import os
import resource
import signal
import sys


def environment(fd: int) -> dict[str, str]:
    with open(fd, encoding="utf-8", errors="surrogateescape") as f:
        f.seek(0)
        return {str(k): str(v) for k, v in json.load(f).items()}


def enter(procs: str) -> None:
    fd = os.open(procs, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def main() -> None:
    fd = int(os.environ["WHIZ_ERROR_FD"])
    os.set_inheritable(fd, False)
    what = "settings"
    try:
        wish = json.loads(sys.argv[1])
        exe, argv, env = sys.argv[2], sys.argv[3:], environment(int(os.environ["WHIZ_ENV_FD"]))
        if "nice" in wish:
            what = "nice"
            os.setpriority(os.PRIO_PROCESS, 0, wish["nice"])
        for what, n in wish.get("limits", {}).items():
            # beyond the soft CPU limit comes SIGXCPU, beyond the hard one SIGKILL
            resource.setrlimit(getattr(resource, what), (n, n + 5 if what == "RLIMIT_CPU" else n))
        if "says" in wish:
            number, what = wish["says"]
            said = os.open(what, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            if number == fd:  # our own way to tell what fails
                fd = os.dup(fd)  # close-on-exec
            if said == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(said, number)
                os.close(said)
        if "cgroup" in wish:
            what = wish["cgroup"]
            enter(what)  # late: what this interpreter has in memory stays counted where it was
        if "uid" in wish:
            what = f"become uid {wish['uid']}"
            os.setgroups(wish["groups"])
            os.setresgid(wish["gid"], wish["gid"], wish["gid"])
            os.setresuid(wish["uid"], wish["uid"], wish["uid"])
        what = f"cwd {wish['cwd']}"
        os.chdir(wish["cwd"])
        what = exe
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # this interpreter ignores them
        os.execve(exe, argv, env)
    except (OSError, ValueError, OverflowError, MemoryError) as exc:
        words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        os.write(fd, f"{what}: {words}".encode())
    os._exit(127)


if __name__ == "__main__":
    main()
