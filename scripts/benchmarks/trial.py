"""One supervisor in one situation: what it is told, and what is seen of it from outside. Ends all that was started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import subjects
from processes import comm, descendants, is_program, lives, parent_of
from sleeps import pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from keepers import Keeper

PATIENCE = 30.0  # s for what should come to pass
MUTE = 10.0  # s for it to answer
ANSWER = 45.0  # s for a command to return
GUEST = "9"  # what a grandchild's argument has more than the program's


class Odd(Exception):
    """A situation did not even come about, so nothing can be said of the behaviour."""


@dataclass(frozen=True)
class Entry:
    """A program in a configuration. `pace`: it fails, and is started again at once ("spin") or after 1 s ("pause")."""

    name: str
    path: str
    words: tuple[str, ...] = ()
    pace: str = ""


class Trial:
    """The directory, the programs and the processes of one trial."""

    def __init__(self, keeper: Keeper, base: str, *, quick: bool) -> None:
        self.keeper, self.base, self.quick = keeper, base, quick
        self.entries: list[Entry] = []
        self.command: subprocess.Popen[bytes] | None = None
        self.seconds: dict[str, str] = {}
        os.makedirs(base)

    # -- what it is told

    def program(self, name: str, text: str, pace: str = "", **words: object) -> Entry:
        """Write a program and return its entry."""
        self.seconds[name] = f"1000.{os.getpid():07d}{len(self.seconds):03d}"
        words |= {"seconds": self.seconds[name], "guest": self.seconds[name] + GUEST}
        path = subjects.written(self.base, name, text, **words)
        return Entry(name, path, pace=pace)

    def write(self, *entries: Entry) -> None:
        """Write the configuration."""
        self.entries = list(entries)
        self.keeper.configure(self.base, self.entries)

    def up(self, *entries: Entry) -> None:
        """Write the configuration, start the supervisor, and wait until all is up and known to it."""
        self.write(*entries)
        self.start()
        for entry in entries:
            self.until(lambda e=entry: self.starts(e.name) and (e.pace or self.copies(e.name)), f"{entry.name} is up")
            if not entry.pace:
                self.until(lambda e=entry: self.pid(e.name) in self.copies(e.name), f"{entry.name} is known to be up")

    def start(self) -> None:
        """Start the supervisor."""
        self.command = self.keeper.start(self.base)

    def again(self) -> None:
        """Start it again, wait until it answers, and let it act."""
        self.start()
        self.within(self.answers, MUTE)  # one that does not is judged by what becomes of its programs
        self.calm()

    def kill(self, *, everyone: bool = True, programs: bool = False) -> None:
        """Kill -9 the supervisor's first process, or each of its processes; and its programs, as a power cut would."""
        first, rest = self.keeper.parts[:1], self.keeper.parts if everyone or programs else ()
        victims = [p for part in (first, rest) for p in self.supervisors(part)]
        victims += [p for e in self.entries for p in self.copies(e.name)] if programs else []
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.until(lambda: not any(lives(p) for p in victims), "what was killed is gone")

    def change(self, name: str, *words: str) -> None:
        """Give a program other arguments in the configuration."""
        self.write(*(replace(e, words=words) if e.name == name else e for e in self.entries))

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the supervisor's commands; one that does not return has failed."""
        with self.asking(*command) as asked:
            try:
                said, _ = asked.communicate(timeout=ANSWER)
            except subprocess.TimeoutExpired:
                asked.kill()
                said = asked.communicate()[0] + b"(did not return)"
        return subprocess.CompletedProcess(command, asked.returncode, said.decode(errors="replace"))

    def asking(self, *command: str) -> subprocess.Popen[bytes]:
        """Launch one of the supervisor's commands."""
        return subprocess.Popen(
            command,
            env=self.keeper.environment(self.base),
            cwd=self.base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def stop(self, name: str) -> str:
        """Stop a program by the documented command, until that says done; return what it said if it failed."""
        return self.keeper.stopped(self, name)

    def resume(self, name: str) -> None:
        """Let it run again."""
        self.ask(*self.keeper.told(self.base, "resume", name))

    def reload(self) -> str:
        """Have the configuration read anew; return what was said, if it was refused."""
        done = self.ask(*self.keeper.told(self.base, "reload"))
        self.calm()
        return done.stdout.strip()[-200:] if done.returncode else ""

    # -- what is seen

    def state(self, name: str) -> str:
        """Return the supervisor's word for a program."""
        return self.keeper.state(self, name)[0]

    def pid(self, name: str) -> int | None:
        """Return the process that the supervisor takes for a program."""
        return self.keeper.state(self, name)[1]

    def output(self, name: str) -> str:
        """Return what a program has printed."""
        try:
            with open(f"{self.base}/{self.keeper.log.replace('NAME', name)}", encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def answers(self) -> bool:
        """Whether the supervisor answers."""
        return bool(self.keeper.state(self, self.entries[0].name)[0])

    def marks(self, name: str) -> list[str]:
        """Return the lines that a program left."""
        try:
            with open(f"{self.base}/marks/{name}", encoding="ascii") as f:
                return [line.strip() for line in f]
        except FileNotFoundError:
            return []

    def mark(self, name: str) -> None:
        """Leave a file that a program waits for."""
        with open(f"{self.base}/marks/{name}", "w", encoding="ascii"):
            pass

    def starts(self, name: str) -> int:
        """Return how often a program was started."""
        return sum(line.startswith("start") for line in self.marks(name))

    def copies(self, name: str, *, guest: bool = False) -> list[int]:
        """Return the living processes that are this program, or its grandchild."""
        word = self.seconds[name] + (GUEST if guest else "")
        path = "" if guest else f"{self.base}/programs/{name}"
        found = {p for p in pids() if is_program(p, word, path)}
        return sorted(p for p in found if parent_of(p) not in found)  # a shell's child is its copy until it executes

    def supervisors(self, names: tuple[str, ...]) -> list[int]:
        """Return the supervisor's processes of these names."""
        return sorted(p for p in descendants(os.getppid()) if comm(p).startswith(names)) if names else []

    def calm(self, times: float = 1) -> None:
        """Give the supervisor the time in which it would surely have acted."""
        time.sleep(self.keeper.calm * times)

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds; raise Odd when it does not come to pass."""
        if not self.within(holds, seconds):
            raise Odd(f"not within {seconds:.0f} s: {what}")

    def within(self, holds: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Wait until something holds, and say whether it came to pass."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True
