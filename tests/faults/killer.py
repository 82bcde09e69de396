"""Kill whiz at any system call: its commands run in forks of one warm process, which traces them with ptrace(2).

Nothing here depends on the machine's architecture: stops are counted, system calls are not told apart. A stop of a
child that whiz has forked counts as well until that child's exec, where it is let go; so a kill of whiz while its child
stands between fork and exec is among the schedules. The child then goes on, or stands still until `release`.

`python killer.py` is the warm process: one JSON request a line on stdin, one answer a line on stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import zlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from whiz.core.model import Run
    from whiz.world.store import FileStore

TRACEME, CONT, SYSCALL, DETACH, SETOPTIONS, GETEVENTMSG = 0, 7, 24, 17, 0x4200, 0x4201
SYSGOOD, ON_FORK, ON_VFORK, ON_CLONE, ON_EXEC = 1, 2, 4, 8, 16
STOPPED = signal.SIGTRAP << 8 | 0x7F  # as waitpid tells it
FORKED, EXECED = (1, 2, 3), 4  # PTRACE_EVENT_FORK, _VFORK, _CLONE; _EXEC
WALL = 0x40000000  # waitpid: children of every kind
MARK = signal.SIGWINCH  # ignored by default; the traced child raises it before each record it writes


@dataclass(frozen=True, slots=True)
class Turn:
    """One command of whiz. `code`: its exit status, None when it was killed; `between`: children before their exec.

    `changes`: the stops at which what is watched was seen to have changed.
    """

    code: int | None
    stops: int = 0
    marks: int = 0
    between: int = 0
    changes: tuple[int, ...] = ()


class Killer:
    """The warm process, as its user sees it."""

    def __init__(self, out: str, main: str = "whiz.face.cli") -> None:
        from tests.faults.outside import ENV

        self._out, self._main = out, main
        self._server = subprocess.Popen(
            [sys.executable, "-P", os.path.abspath(__file__)],
            env=ENV,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()  # the end of its input is the end of it
        assert self._server.returncode == 0

    def run(self, *args: str, after: int = 0, stop: int | None = None, freeze: bool = False) -> Turn:
        """Run one command of whiz; kill it at the `stop`-th stop behind its `after`-th record.

        With `freeze` the children that stand between fork and exec at that moment stay there until `release`.
        """
        asked = {"args": args, "out": self._out, "main": self._main}
        return Turn(**self._ask(asked | {"after": after, "stop": stop, "freeze": freeze}))

    def watch(self, path: str, *args: str) -> Turn:
        """Run one command to its end, looking at a directory at each of its stops."""
        asked = {"args": args, "out": self._out, "main": self._main, "watch": path}
        return Turn(**self._ask(asked | {"after": 0, "stop": 10**9, "freeze": False}))

    def release(self) -> None:
        """Let the frozen children go on."""
        self._ask({"release": True})

    def said(self) -> str:
        """Return what the commands printed."""
        with open(self._out, encoding="utf-8", errors="replace") as f:
            return f.read()

    def _ask(self, request: dict[str, object]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, data: object = None) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _resume(request: int, pid: int, number: int = 0) -> None:
    """Let a tracee go on; one that was killed in the meantime says so at the next wait."""
    try:
        _ptrace(request, pid, number)
    except OSError as exc:
        if exc.errno != errno.ESRCH:
            raise


def listing(path: str) -> frozenset[tuple[str, int]]:
    """Return the names of what is in a directory and the checksums of what is in that: what tells its states apart."""
    found = set()
    for folder, folders, files in os.walk(path):
        found |= {(f"{folder}/{n}", -1) for n in folders}
        for name in files:
            with contextlib.suppress(FileNotFoundError), open(f"{folder}/{name}", "rb") as f:  # a thread may go on
                found.add((f"{folder}/{name}", zlib.crc32(f.read())))
    return frozenset(found)


class Watch:
    """Notes the stops at which a directory was seen to have changed."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._last = listing(path) if path else None
        self.changes: list[int] = []

    def look(self, stop: int) -> None:
        if self._path and (now := listing(self._path)) != self._last:
            self._last = now
            self.changes.append(stop)


class Server:
    def __init__(self) -> None:
        self._frozen: list[int] = []

    def serve(self) -> None:
        for line in sys.stdin:
            request = json.loads(line)
            if "release" in request:
                self._let_go()
                answer = Turn(None)
            elif request["stop"] is None:
                answer = Turn(code(os.waitpid(self.fork(request, trace=False), 0)[1]))
            else:
                watch = Watch(request.get("watch"))
                pid = self.fork(request, trace=True)
                answer = self.trace(pid, request["after"], request["stop"], request["freeze"], watch.look)
                answer = replace(answer, changes=tuple(watch.changes))
            sys.stdout.write(json.dumps(asdict(answer)) + "\n")
            sys.stdout.flush()
        self._let_go()

    def _let_go(self) -> None:
        for pid in self._frozen:
            _resume(DETACH, pid)
        self._frozen.clear()

    def fork(self, request: dict[str, Any], *, trace: bool) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            null = os.open("/dev/null", os.O_RDONLY)
            out = os.open(str(request["out"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for have, want in ((null, 0), (out, 1), (out, 2)):
                os.dup2(have, want)
            main = importlib.import_module(request.get("main", "whiz.face.cli")).main
            args = request["args"]
            assert isinstance(args, list)
            if trace:
                _ptrace(TRACEME, 0)
                os.kill(os.getpid(), signal.SIGSTOP)
            code = main(args)
            sys.stdout.flush()
        except BaseException:  # noqa: BLE001  a fork must not return into its parent's program
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def trace(
        self, whiz: int, after: int, stop: int, freeze: bool, at: Callable[[int], object] = lambda _: None
    ) -> Turn:
        """Step whiz until its kill or its end; `at` is called at each stop, with its number."""
        os.waitpid(whiz, WALL)
        _ptrace(SETOPTIONS, whiz, SYSGOOD | ON_FORK | ON_VFORK | ON_CLONE | ON_EXEC)
        stops = marks = 0
        step = SYSCALL if after == 0 else CONT
        children: set[int] = set()
        past: set[int] = set()  # who became a program or ended, perhaps before we hear that it was forked
        _resume(step, whiz)
        while True:
            who, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                if who == whiz:
                    return Turn(code(status), stops, marks)
                children.discard(who)
                past.add(who)
                continue
            sign, event, give = os.WSTOPSIG(status), status >> 16, 0
            if sign == signal.SIGTRAP | 0x80:
                stops += 1
                at(stops)
                if stops >= stop and marks >= after:
                    return Turn(None, stops, marks, self._kill(whiz, children, who, freeze))
            elif event in FORKED:
                told = ctypes.c_ulong()
                _ptrace(GETEVENTMSG, who, ctypes.addressof(told))
                children |= {told.value} - past
            elif event == EXECED:
                children.discard(who)
                past.add(who)
                _resume(DETACH, who)
                continue
            elif sign == MARK and who == whiz:
                marks += 1
                if marks == after:
                    step, stops = SYSCALL, 0
            elif sign != signal.SIGSTOP or who == whiz:
                give = sign
            _resume(step, who, give)

    def _kill(self, whiz: int, children: set[int], stopped: int, freeze: bool) -> int:
        """Kill whiz; let its children go on, or keep them where they stand; return how many there are."""
        threads = {int(n) for n in os.listdir(f"/proc/{whiz}/task")} - {whiz}
        os.kill(whiz, signal.SIGKILL)
        for one in (*threads, whiz):  # whose end is told only when that of each thread was
            while os.WIFSTOPPED(os.waitpid(one, WALL)[1]):
                continue
        between = 0
        for child in children - threads:
            status = STOPPED if child == stopped else os.waitpid(child, WALL)[1]
            if not os.WIFSTOPPED(status):
                continue
            before_exec = status >> 16 != EXECED
            between += before_exec
            if freeze and before_exec:
                self._frozen.append(child)
            else:
                _resume(DETACH, child)
        return between


def code(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _announced(save: Callable[[FileStore, Run], None]) -> Callable[[FileStore, Run], None]:
    @functools.wraps(save)
    def wrapper(self: FileStore, run: Run) -> None:
        signal.raise_signal(MARK)
        save(self, run)

    return wrapper


def warm() -> None:
    """Import everything that a command could, so that forks start where their work starts."""
    import whiz

    for module in pkgutil.walk_packages(whiz.__path__, "whiz."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("psutil", "yaml", "hashlib", "pwd", "grp", "logging", "concurrent.futures"):
        importlib.import_module(name)
    store = importlib.import_module("whiz.world.store").FileStore
    store.save = _announced(store.save)
    gc.freeze()


if __name__ == "__main__":
    warm()
    Server().serve()
