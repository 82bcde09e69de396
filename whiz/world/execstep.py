"""The last step before a program: what only the process itself can set, then exec. Standard library; run as a file.

    python3 -I -S execstep.py SETTINGS EXE ARGV...

SETTINGS is JSON: nice, limits {RLIMIT name: number}, uid, gid, groups, cwd, says [descriptor, path of the file it
writes to]. The program's environment comes as JSON
from the descriptor WHIZ_ENV_FD: this interpreter may be root's, and must not itself obey what the program's may say.
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
        hard = [(name, getattr(resource, name), n) for name, n in wish.get("limits", {}).items()]
        for name, number, n in hard:
            if name != "RLIMIT_AS":
                what = name
                # beyond the soft CPU limit comes SIGXCPU, beyond the hard one SIGKILL
                resource.setrlimit(number, (n, n + 5 if name == "RLIMIT_CPU" else n))
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
        for name, number, n in hard:
            if name == "RLIMIT_AS":  # last: this interpreter may be larger than the program may become
                resource.setrlimit(number, (n, n))
        os.execve(exe, argv, env)
    except (OSError, ValueError, OverflowError, MemoryError) as exc:
        words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        os.write(fd, f"{what}: {words}".encode())
    os._exit(127)


if __name__ == "__main__":
    main()
