"""The keeper of one Run: starts it, waits for it, writes down how it ended. Standard library alone; run as a file.

    python3 -I -S chaperone.py OUTCOME FOREVER STEP ASIDE PROCS EXE ARGV...

The working directory is the program's own; its environment comes as JSON from the descriptor WHIZ_ENV_FD. OUTCOME is
written when the program started or could not, and when it ended: {"format": 1, "proc": [boot, pid, ticks], "error":
words, "exit": code or minus the signal, "ended": bool}. The ended program is reaped only after that, so no moment shows
neither. FOREVER (0 or 1): whether a full disk is waited for, or given up after a while. STEP (0 or 1): EXE is
execstep.py's interpreter, which reports its errors through a pipe. ASIDE and PROCS: the cgroup.procs of where we
belong, and of where the program is to be born, or nothing. We do not stay in its cgroup, which is killed whole.

WHIZ_NOTIFY, UID:PATH, asks for a socket at PATH that this user's program notifies, as sd_notify(3) says. What it said
stands in PATH.said: 1 it is ready, 0 not yet, ! it gave itself up. Its signs of life are written to memory, because a
card would wear out: to a file that is our standard input (/proc/PID/fd/0), whose time tells when the last one was.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

PATIENCE = 3.0  # s a full disk may keep an outcome from being written when nobody must know it for ever


def write(path: str, record: dict[str, object], forever: bool) -> None:
    """Replace the outcome in one step, durably, trying again while the disk refuses."""
    end = time.monotonic() + PATIENCE
    folder, name = os.path.split(path)
    new = os.path.join(folder, "." + name + ".new")
    while True:
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(fd, 0o600)  # the umask is the program's
                os.write(fd, json.dumps(dict(record, format=1)).encode())
                if forever:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(new, path)
            if forever:
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            return
        except OSError:
            try:
                os.unlink(new)  # a full disk needs every byte
            except OSError:
                pass
            if not forever and time.monotonic() > end:
                return
            time.sleep(0.5)


def enter(procs: str) -> None:
    """Go to a cgroup, where there is one and it lets us in."""
    try:
        if procs:
            fd = os.open(procs, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                os.close(fd)
    except OSError:
        return


def born(pid: int) -> list[object]:
    """Name a process as the kernel does: boot id, pid, start ticks (field 22 of /proc/PID/stat)."""
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    with open("/proc/%d/stat" % pid, "rb") as f:
        text = f.read()
    return [boot, pid, int(text[text.rindex(b")") + 2 :].split()[19])]


def start(step: bool, exe: str, argv: list[str], env: dict[str, str]) -> tuple[int | None, str | None]:
    """Return (pid, words of failure)."""
    r, w = os.pipe()
    if step:  # it reads the program's environment itself
        os.set_inheritable(w, True)
        env = dict(os.environ, WHIZ_ERROR_FD=str(w))
    reset = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ]
    try:
        pid = os.posix_spawn(exe, argv, env, setsid=True, setsigdef=reset, setsigmask=[])
    except OSError as exc:
        return None, exc.strerror or str(exc)
    os.close(w)
    words = b""
    while step:
        piece = os.read(r, 4096)
        words += piece
        if not piece:
            break
    os.close(r)
    return pid, words.decode(errors="replace") or None


def listen(where: str) -> tuple[socket.socket, str]:
    """Return the socket that a program notifies, and its path."""
    uid, path = where.split(":", 1)
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    ear.bind(path)
    os.chmod(path, 0o600)
    if int(uid) != os.getuid():
        os.chown(path, int(uid), -1)
    return ear, path


def hear(ear: socket.socket, path: str, pid: int) -> None:
    """Write down what the program says, until it has ended; a disk that refuses is asked again each second."""
    ended, state, written = os.pidfd_open(pid), b"0", b""
    poll = select.poll()
    poll.register(ear, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(1000 if state != written else None)}
        for _ in range(100 if ear.fileno() in ready else 0):  # whoever floods us does not hide the end from us
            try:
                words = ear.recv(65536, socket.MSG_DONTWAIT).split(b"\n")
            except BlockingIOError:
                break
            if b"WATCHDOG=trigger" in words:
                state = b"!"
            elif b"READY=1" in words and state != b"!":  # who gave himself up does not take it back
                state = b"1"
            if not {b"READY=1", b"WATCHDOG=1"}.isdisjoint(words):
                os.pwrite(0, b"1", 0)
        if state != written:
            written = state if put(path + ".said", state) else b""
        if ended in ready:
            os.close(ended)
            return


def put(path: str, state: bytes) -> bool:
    """Write one byte; return whether the disk took it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return os.pwrite(fd, state, 0) == 1
        finally:
            os.close(fd)
    except OSError:
        return False


def forget(path: str) -> None:
    """Remove what is nobody's any more; a whiz may have been faster."""
    try:
        os.unlink(path)
    except OSError:
        return


def main() -> None:
    outcome, forever, step = sys.argv[1], sys.argv[2] == "1", sys.argv[3] == "1"
    aside, procs, exe = sys.argv[4:7]
    enter(aside)
    channel = int(os.environ["WHIZ_ENV_FD"])
    with open(channel, encoding="utf-8", errors="surrogateescape", closefd=False) as f:
        f.seek(0)
        env = json.load(f)
    os.set_inheritable(channel, step)
    del os.environ["WHIZ_KEEPER"]
    os.environ["WHIZ_RUN"] = env["WHIZ_RUN"]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    notified = os.environ.pop("WHIZ_NOTIFY", None)
    try:
        ear = listen(notified) if notified else None
    except OSError as exc:
        write(outcome, {"error": "its notify socket: %s" % (exc.strerror or exc), "ended": True}, forever)
        sys.exit(127)
    enter(procs)  # a child is born where its parent is
    pid, error = start(step, exe, sys.argv[7:], env)
    enter(aside if procs else "")
    if pid is None or error:
        write(outcome, {"error": error, "ended": True}, forever)
        sys.exit(127)
    os.close(channel)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if ear is not None:
        os.dup2(os.memfd_create("whiz-beats"), 0)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    os.chdir("/")
    record: dict[str, object] = {"proc": born(pid), "ended": False, "mark": env["WHIZ_RUN"]}
    write(outcome, record, False)
    if ear is not None:
        hear(*ear, pid)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    write(outcome, dict(record, exit=code, ended=True), forever)
    if ear is not None:
        forget(ear[1])
        forget(ear[1] + ".said")
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
