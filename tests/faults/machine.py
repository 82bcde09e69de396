"""A machine of one's own, whose power can be cut: pid, mount and time namespaces, a boot id, and a card.

The card is an ext4 image, whose copy by reflink at an instant is the card as it would be after a cut. Commands of whiz
run in forks of one warm process: each machine is such a fork, the init of its namespaces; when it goes, all goes.

`python machine.py` is the warm process: one JSON request a line on stdin, an answer a line on stdout.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self, TextIO

from tests.faults.killer import Server, code, warm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

NEW_TIME, NEW_NS, NEW_PID = 0x80, 0x20000, 0x20000000  # CLONE_ (linux/sched.h)
FICLONE = 0x40049409  # linux/fs.h
NEVER = 1 << 40
_libc = ctypes.CDLL(None, use_errno=True)


def clone(card: str, to: str) -> None:
    """Take a card as it is at this instant."""
    with open(card, "rb") as f, open(to, "wb") as t:
        fcntl.ioctl(t.fileno(), FICLONE, f.fileno())


@dataclass(frozen=True)
class Place:
    """Where a machine has its things. `fleeting`: whether the run directory is in memory, as root's is."""

    card: str
    home: str  # where the card is mounted
    marks: str  # what programs note, outside of the card
    fleeting: bool
    boot: str
    options: str = ""
    uptime: int | None = None  # s since boot that its clock shows, None for the real one


@dataclass
class Cut:
    """The card at one instant, and what had been promised until then. `stop`: the system call of the turn."""

    card: str
    stop: int
    told: list[str]  # lines of history that somebody could have read before
    done: list[str]  # marks of programs that had ended well, looked at after


@dataclass
class Done:
    """One command of whiz, ended."""

    code: int
    said: str
    cuts: list[Cut] = field(default_factory=list)
    states: int = 0  # of the card, that differed


class Zygote:
    """The warm process, as its user sees it."""

    def __init__(self, room: str) -> None:
        from tests.faults.outside import ENV

        self.room, self._boots = room, 0
        self._server = subprocess.Popen(
            [sys.executable, "-P", os.path.abspath(__file__)], env=ENV, stdin=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()
        assert self._server.returncode == 0

    @contextmanager
    def on(self, place: Place) -> Iterator[Machine]:
        """Switch a machine on; its power is cut at the end, if not before."""
        self._boots += 1
        pipes = [f"{self.room}/boot-{self._boots}.{end}" for end in ("in", "out")]
        for pipe in pipes:
            os.mkfifo(pipe)
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps({"place": asdict(place), "pipes": pipes}) + "\n")
        self._server.stdin.flush()
        with open(pipes[0], "w", encoding="utf-8") as requests, open(pipes[1], encoding="utf-8") as answers:
            machine = Machine(place, requests, answers)
            try:
                yield machine
            finally:
                machine.cut_power()
        for pipe in pipes:
            os.unlink(pipe)


class Machine:
    """One boot of one machine."""

    def __init__(self, place: Place, requests: TextIO, answers: TextIO) -> None:
        self.place, self._requests, self._answers = place, requests, answers
        self.init: int = json.loads(answers.readline())["init"]
        self.on = True
        self.ask()  # it is up

    def cut_power(self) -> None:
        """End it and everything on it."""
        if self.on:
            self.on = False
            with suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
            assert self._answers.read() == ""  # until nobody has its other end

    def ask(self, **request: Any) -> dict[str, Any]:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        assert "broken" not in answer, answer["broken"]
        return answer

    def whiz(self, *words: str, cut: dict[str, Any] | None = None) -> Done:
        """Run a command to its end. `cut`: copy the card whenever a system call has changed it; see Init._cutting."""
        got = self.ask(args=["--home", self.place.home, *words], cut=cut)
        return Done(got["code"], got["said"], [Cut(**c) for c in got["cuts"]], got["states"])

    def stay(self) -> int:
        """Start a whiz that stays; return its pid there."""
        return int(self.ask(stay=["--home", self.place.home, "run"])["pid"])

    def put(self, name: str, text: str, *, durable: bool) -> None:
        """Replace a file of the home, as an editor that cares for power cuts would, or one that does not."""
        self.ask(put=name, text=text, durable=durable)

    def path(self, name: str) -> str:
        """Return where a file of the home is for who looks from outside."""
        return f"/proc/{self.init}/root{self.place.home}/{name}"


# -- the other side


class Init(Server):
    """The first process of a machine."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self._reap()
        if "stay" in request:
            return {"pid": self.fork({"args": request["stay"], "out": f"{self.place.marks}/said"}, trace=False)}
        if "kill" in request:
            os.kill(request["kill"], signal.SIGKILL)
            os.waitpid(request["kill"], 0)
            return {}
        if "put" in request:
            self._put(f"{self.place.home}/{request['put']}", request["text"], durable=request["durable"])
            return {}
        return self._command(request["args"], request["cut"]) if "args" in request else {}

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                os.waitpid(-1, os.WNOHANG)

    def _put(self, path: str, text: str, *, durable: bool) -> None:
        with open(f"{path}~", "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            if durable:
                os.fsync(f.fileno())
        os.rename(f"{path}~", path)
        if durable:
            fd = os.open(os.path.dirname(path), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    def _command(self, args: list[str], cut: dict[str, Any] | None) -> dict[str, Any]:
        out = f"{self.place.marks}/answer"
        open(out, "wb").close()
        answer: dict[str, Any] = {"cuts": [], "states": 0}
        pid = self.fork({"args": args, "out": out}, trace=cut is not None)
        if cut is None:
            answer["code"] = code(os.waitpid(pid, 0)[1])
        else:
            cutter = Cutter(self.place, **cut)
            answer["code"] = self.trace(pid, 0, NEVER, False, cutter.look).code
            cutter.look(-1, last=True)
            answer |= {"cuts": [asdict(c) for c in cutter.cuts], "states": cutter.states}
        with open(out, encoding="utf-8", errors="replace") as f:
            answer["said"] = f.read()
        return answer


class Cutter:
    """Copies the card where a system call has changed it.

    `folder`: where to; `most`: how many copies are kept, each as likely as any other; `seed`, `provoke`: how often the
    kernel is made to write back at a system call, with the data (as after 30 s) or without (as after 5 s), so that what
    whiz has not synced reaches the card in pieces.
    """

    def __init__(self, place: Place, folder: str, most: int, seed: str, provoke: float) -> None:
        self.place, self.folder, self.most, self.provoke = place, folder, most, provoke
        self.random = random.Random(seed)
        self.cuts: list[Cut] = []
        self.states, self._last = 0, -1
        device = os.stat(place.home).st_dev
        self._counters = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat"

    def look(self, stop: int, *, last: bool = False) -> None:
        """Copy the card, if it is another than before; the last time in any case."""
        if self.random.random() < self.provoke:
            self._write_back()
        with open(self._counters, encoding="ascii") as f:
            written = int(f.read().split()[4])
        if written == self._last and not last:
            return
        self._last = written
        self.states += 1
        place = len(self.cuts) if len(self.cuts) < self.most else self.random.randrange(self.states)
        if last:
            place = min(place, self.most - 1)
        if place < self.most:
            cut = take(self.place.card, f"{self.folder}/{place}.img", self.place.home, self.place.marks, stop)
            self.cuts[place : place + 1] = [cut]

    def _write_back(self) -> None:
        fd = os.open(f"{self.place.home}/.sync", os.O_WRONLY | os.O_CREAT, 0o600)
        if self.random.random() < 0.5:
            os.write(fd, b".")
            os.fsync(fd)  # commits the journal: all names, but no data of other files
        else:
            _libc.syncfs(fd)
        os.close(fd)


def take(card: str, to: str, home: str, marks: str, stop: int) -> Cut:
    """Copy a card together with what was promised before and was true after."""
    told = _lines(f"{home}/state/history.jsonl")
    clone(card, to)
    names = (n for n in os.listdir(marks) if n.endswith(".mark"))
    return Cut(to, stop, told, [f"{n[:-5]} {line}" for n in names for line in _lines(f"{marks}/{n}") if "done" in line])


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def _serve() -> None:
    """Boot a machine for each line."""
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            status = 1
            try:
                _boot(Place(**request["place"]), *request["pipes"])
                status = 0
            except BaseException:  # noqa: BLE001  a fork must not return into its parent's program
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _boot(place: Place, come: str, go: str) -> None:
    """Make the namespaces and their first process, and wait for its end."""
    _call("unshare", NEW_NS | NEW_PID | (NEW_TIME if place.uptime is not None else 0))
    if place.uptime is not None:
        with open("/proc/uptime", encoding="ascii") as f:
            behind = int(float(f.read().split()[0])) - place.uptime
        with open("/proc/self/timens_offsets", "w", encoding="ascii") as f:
            f.write(f"boottime {-behind} 0\n")
    with open(come, encoding="utf-8") as requests, open(go, "w", encoding="utf-8") as answers:
        r, w = os.pipe()
        init = os.fork()
        if init == 0:
            os.close(w)
            os.read(r, 1)
            _up(place)
            server = Init(place)
            for line in requests:
                print(json.dumps(server.answer(json.loads(line))), file=answers, flush=True)
            os._exit(0)
        print(json.dumps({"init": init}), file=answers, flush=True)
        os.close(w)
    os.waitpid(init, 0)


def _up(place: Place) -> None:
    """Mount what a machine has: its processes, its boot id, its card, its memory."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    _call("mount", b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
    run = ["mount", "-t", "proc", "proc", "/proc"]
    subprocess.run(run, check=True)
    boot = f"{place.marks}/boot-id"
    with open(boot, "w", encoding="ascii") as f:
        f.write(place.boot + "\n")
    subprocess.run(["mount", "--bind", boot, "/proc/sys/kernel/random/boot_id"], check=True)
    options = ",".join(filter(None, ("loop", place.options)))
    subprocess.run(["mount", "-t", "ext4", "-o", options, place.card, place.home], check=True)
    if place.fleeting:
        os.makedirs(f"{place.home}/run", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", f"{place.home}/run"], check=True)


def _call(name: str, *args: Any) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    warm()
    _serve()
