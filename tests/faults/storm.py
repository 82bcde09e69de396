"""A storm over one node: kills of anything, edits, wishes, clock steps, a full disk. What holds meanwhile is checked.

The storm is the reaper of all that it starts, so that nothing escapes it, and judges by marks and /proc alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

from tests.faults.entries import STRANGER, Entry, marks
from tests.faults.outside import ENV, HOUSE, WHIZ, Live, processes, stat, until
from tests.tools import forget_clocks
from whiz.world.home import home

KINDS = ("plain", "tree", "stubborn", "kept", "far", "flaky", "task", "stepped")
STEP = 50 * 365 * 86400  # s that the clock may be put forward or back
LONG = 1_000_000  # s that programs sleep: longer than any storm
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER (linux/prctl.h)


class Storm:
    """One node and what happens to it. `disk`: its run, state and log, small enough to be filled."""

    def __init__(self, room: str, programs: int, seed: str, faketime: str | None) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.room, self.disk, self.clock = room, f"{room}/node", f"{room}/clock"
        self.number = self.random.randrange(10**9)
        kinds = [KINDS[i % len(KINDS)] for i in range(programs)]
        self.entries = [Entry(f"p{i:03}-{k}", k, self.number, base=LONG) for i, k in enumerate(kinds)]
        self.did: Counter[str] = Counter()
        self.whiz, self.id, self.lives = 0, "", 0
        self.codes: dict[int, int] = {}
        self.strangers: dict[int, str] = {}
        self.uncertain: set[str] = set()  # names of which a command may or may not have noted its wish
        self.broken = self.full = False
        self.faketime = faketime
        self.env = {**ENV, "PYTHONPATH": HOUSE, "PYTHONFAULTHANDLER": "1"}
        if faketime is not None:
            self.env["PYTHONPATH"] += f":{HOUSE}/tests/clock"
            self.env |= {"LD_PRELOAD": faketime, "FAKETIME_TIMESTAMP_FILE": self.clock}
            # read anew once a second, not at every look at the clock: that is done under a lock, which starves threads
            self.env |= {"FAKETIME_CACHE_DURATION": "1"}
            self.env |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

    # -- before and after

    def begin(self) -> None:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        os.makedirs(self.disk, exist_ok=True)
        os.chmod(self.disk, 0o755)
        self.id = home(self.disk).id
        self.set_clock(0)
        self.stand_by()
        self.write()
        self.stay()

    def stand_by(self) -> None:
        """Start who only looks like a program of the whizzifest, or talks of one."""
        first = self.entries[0]
        run = [str(word) for word in first.yaml(self.room)["run"]]
        forged = {"WHIZ_RUN": f"deadbeef/{first.name}/adopted-1-1/0123456789ab", "WHIZ_NAME": first.name}
        noted = f"{self.room}/noted"
        looks: list[tuple[list[str], dict[str, str]]] = [
            (["/bin/sleep", first.length], {}),
            (["/bin/sleep", first.length], forged),
            (["/bin/sh", "-c", "trap '' INT; read -r line", *run[3:]], {}),
            ([sys.executable, "-I", "-S", "-c", STRANGER, noted, *run], {}),
            ([sys.executable, "-I", "-S", "-c", STRANGER, noted, *run[3:]], forged),
        ]
        hold, self._open = os.pipe()  # what nobody ever writes to
        for argv, env in looks:
            p = subprocess.Popen(
                argv, env={**env, "STORM": self.room}, stdin=hold, stdout=subprocess.PIPE, start_new_session=True
            )
            assert p.stdout is not None
            if STRANGER in argv:
                assert p.stdout.readline() == b"ready\n"
            p.stdout.close()
            p.returncode = 0  # reaped by us, not by subprocess
            self.strangers[p.pid] = " ".join(argv[:1] + argv[-2:])
        os.close(hold)

    def end(self) -> None:
        """Kill whiz, then everything else of this storm."""
        for pid in [self.whiz, *self.strangers]:
            with contextlib.suppress(ProcessLookupError):
                if pid and pid not in self.codes:
                    os.kill(pid, signal.SIGKILL)

        def none() -> bool:
            for p in self.family():
                known = stat(p.pid)
                if known is not None and known[2] == p.ticks:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(p.pid, signal.SIGKILL)
            self.reap()
            return not self.family()

        until(none, "everything is gone", 60)

    def autopsy(self) -> str:
        """End a whiz that still lives in such a way that it tells where each of its threads is; return what it said."""
        with contextlib.suppress(ProcessLookupError, AssertionError):
            if self.whiz not in self.codes:
                os.kill(self.whiz, signal.SIGABRT)
                until(lambda: self.ended(self.whiz), "whiz dies", 10)
        with open(f"{self.room}/said", encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-100:])

    def reap(self) -> None:
        """Reap whatever has ended, orphans too, and remember how."""
        with contextlib.suppress(ChildProcessError):
            while (got := os.waitpid(-1, os.WNOHANG))[0]:
                self.codes[got[0]] = os.waitstatus_to_exitcode(got[1])

    def ended(self, pid: int) -> bool:
        """Whether a child of ours has ended."""
        self.reap()
        return pid in self.codes

    # -- whiz

    def stay(self) -> None:
        """Start the whiz that stays, once the one before is gone."""
        self.lives += 1
        with open(f"{self.room}/said", "ab") as out:
            words = [*WHIZ, "--home", self.disk, "-m", f"{self.room}/whizzifest.yaml", "run", "--allow-empty"]
            self.whiz = self.spawn(words, out.fileno())

    def spawn(self, argv: list[str], out: int) -> int:
        forget_clocks()
        null = os.open("/dev/null", os.O_RDONLY)
        moves = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
        pid = os.posix_spawn(argv[0], argv, self.env, file_actions=moves, setsid=True)
        os.close(null)
        self.codes.pop(pid, None)
        return pid

    def stays(self) -> bool:
        """Whether whiz is there and has said so."""
        self.reap()
        try:
            with open(f"{self.disk}/run/resident.json", encoding="utf-8") as f:
                return bool(json.load(f)["proc"]["pid"] == self.whiz) and self.whiz not in self.codes
        except (FileNotFoundError, ValueError):
            return False

    def command(self, *words: str, patience: float = 300) -> tuple[int, str]:
        """Run one command to its end; return its code and what it said."""
        path = f"{self.room}/answer"
        with open(path, "wb") as out:
            pid = self.spawn([*WHIZ, "--home", self.disk, "-m", f"{self.room}/whizzifest.yaml", *words], out.fileno())
        until(lambda: self.ended(pid), f"{words} returns", patience)
        with open(path, encoding="utf-8", errors="replace") as f:
            said = f.read()
        assert "Traceback" not in said, said
        return self.codes.pop(pid), said

    # -- what happens

    def strike(self, *, spare: bool) -> None:
        """Let one thing happen; `spare`: not to whiz."""
        blows = [self.kill, self.kill, self.kill, self.edit, self.edit, self.wish, self.restart, self.ask, self.nudge]
        blows += [self.step, self.spoil, self.fill] + ([] if spare else [self.kill_whiz, self.leave, self.renew])
        blow = self.random.choice(blows)
        self.did[blow.__name__] += 1
        blow()

    def kill(self) -> None:
        """Kill -9 one or a few of the processes that whiz started: programs, their children, chaperones."""
        family = self.family()
        for p in self.random.sample(family, min(len(family), self.random.choice((1, 1, 1, 3, 20)))):
            known = stat(p.pid)
            if self.full and p.env.get("WHIZ_NAME", "").endswith("-far") and not far(p):
                continue  # while no record can be written: see docs/design.md, what cannot be known
            if known is not None and known[2] == p.ticks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(p.pid, signal.SIGKILL)
            for entry in self.entries:
                entry.disturbed |= entry.name == p.env.get("WHIZ_NAME")

    def edit(self) -> None:
        """Change, remove or bring back a few entries."""
        for entry in self.random.sample(self.entries, self.random.choice((1, 2, 5))):
            if self.random.random() < 0.7:
                entry.version, entry.disturbed = entry.version + 1, False
            else:
                entry.listed, entry.disturbed = not entry.listed, True
        self.write()

    def wish(self) -> None:
        """Hold a program, or undo that."""
        entry = self.random.choice(self.entries)
        if entry.listed and not self.broken:
            code, said = self.command("unhold" if entry.held else "hold", entry.name, "--wait", "0")
            entry.disturbed = True
            if code in (0, 1, 3) and "the wish" not in said:
                entry.held = not entry.held
            else:
                self.uncertain.add(entry.name)

    def restart(self) -> None:
        entry = self.random.choice(self.entries)
        if entry.listed:
            entry.disturbed = True
            self.command("restart", entry.name, "--wait", "0")

    def ask(self) -> None:
        """Ask a question, which is to be answered whatever goes on."""
        self.command(*self.random.choice((("status",), ("check",), ("history",), ("status", "--json"))))

    def nudge(self) -> None:
        self.tell(signal.SIGHUP)

    def step(self) -> None:
        """Put the clock somewhere in a hundred years."""
        self.set_clock(self.random.randint(-STEP, STEP))

    def spoil(self) -> None:
        """Leave half a whizzifest, or mend it."""
        self.broken = not self.broken
        self.write()

    def fill(self) -> None:
        """Fill the disk to its last byte, or free it."""
        self.full = not self.full
        filler = f"{self.disk}/filler"
        if not self.full:
            os.unlink(filler)
        elif os.path.ismount(self.disk):
            with open(filler, "wb", buffering=0) as f, contextlib.suppress(OSError):
                while f.write(bytes(4096)):
                    continue
        else:
            self.full = False

    def kill_whiz(self) -> None:
        os.kill(self.whiz, signal.SIGKILL)
        self.again()

    def leave(self) -> None:
        """Tell whiz to go, without the programs; what happens in between is found afterwards."""
        os.kill(self.whiz, signal.SIGTERM)
        until(lambda: self.ended(self.whiz), "whiz leaves when told", 300)
        self.kill()
        self.again()

    def renew(self) -> None:
        self.tell(signal.SIGUSR2)

    def again(self) -> None:
        until(lambda: self.ended(self.whiz), "whiz is gone", 120)
        time.sleep(self.random.choice((0, 0, 0.5)))
        self.stay()
        if self.random.random() < 0.7:
            until(lambda: self.stays() or self.full or self.ended(self.whiz), "whiz stays", 300)

    def tell(self, number: signal.Signals) -> None:
        if self.stays():  # before that it would end of any signal
            os.kill(self.whiz, number)

    def set_clock(self, seconds: int) -> None:
        with open(f"{self.clock}.new", "w", encoding="ascii") as f:
            f.write(f"{seconds:+}\n")
        os.rename(f"{self.clock}.new", self.clock)

    def write(self) -> None:
        programs = {e.name: e.yaml(self.room) for e in self.entries if e.listed}
        for program in programs.values():
            program["restart"] = {"stable": "1s", **program["restart"]}
            program["log"] = {"max": "100KB"}
        text = json.dumps({"version": 1, "programs": programs})  # JSON is YAML
        with open(f"{self.room}/new", "w", encoding="utf-8") as f:
            f.write(text[: len(text) // 2] if self.broken else text)
        os.rename(f"{self.room}/new", f"{self.room}/whizzifest.yaml")

    # -- what must hold

    def family(self) -> list[Live]:
        """Return every process that was started for this home, chaperones too, which do not have its environment."""
        found = []
        for p in processes():
            marked = p.env.get("WHIZ_KEEPER", p.env.get("WHIZ_RUN", "")).startswith(f"{self.id}/")
            if p.env.get("FAULT") == self.room or marked:
                found.append(p)
        return found

    def check(self) -> None:
        """Assert what must hold at every moment: one of each, whiz there, no stranger touched."""
        self.reap()
        mains = Counter(p.env.get("WHIZ_NAME") for p in self.family() if p.leader and not p.chaperone and not far(p))
        twice = {name: count for name, count in mains.items() if count > 1}
        assert not twice, f"run more than once: {twice}"
        code = self.codes.get(self.whiz)
        assert code in (None, 75), f"whiz ended by itself: {code}"
        if code == 75:  # a command was at work when it came
            self.again()
        dead = {pid: (name, self.codes[pid]) for pid, name in self.strangers.items() if pid in self.codes}
        assert not dead, f"strangers were killed: {dead}"
        noted = f"{self.room}/noted"
        assert os.path.getsize(noted) == 0, "strangers were signalled"

    def calm(self) -> None:
        """End what would keep the machine from its whizzifest."""
        with open(f"{self.room}/calm", "w", encoding="ascii"):
            pass
        self.broken = False
        if self.full:
            self.fill()
        self.write()
        for entry in self.entries:
            if entry.name in self.uncertain and entry.listed:
                self.command("hold" if entry.held else "unhold", entry.name, "--wait", "0")
        self.tell(signal.SIGHUP)

    def wished(self) -> dict[str, str]:
        """Return program -> the number that it sleeps for."""
        return {e.name: e.length for e in self.entries if e.listed and e.kind != "task" and not e.held}

    def shown(self) -> dict[str, str]:
        self.reap()
        live = [p for p in self.family() if p.leader and not p.chaperone and not far(p)]
        return {p.env.get("WHIZ_NAME", "?"): p.argv[-1] for p in live}

    def undone(self) -> list[str]:
        """Return the tasks that are wished and never succeeded."""
        tasks = [e for e in self.entries if e.kind == "task" and e.listed and not e.held]
        return [e.name for e in tasks if ["done", f"v{e.version}"] not in [m[:2] for m in marks(self.room, e.name)]]

    def mains(self) -> set[int]:
        """Return who leads a session, and neither minds another nor is its child."""
        return {p.pid for p in self.family() if p.leader and not p.chaperone and not far(p)}

    def starts(self) -> int:
        return sum(m[0] == "start" for e in self.entries for m in marks(self.room, e.name))

    def last_start(self, entry: Entry) -> int:
        return [int(m[2]) for m in marks(self.room, entry.name) if m[0] == "start"][-1]

    def droppings(self) -> list[str]:
        """Return the temporary files that somebody left in the home."""
        found = [f"{folder}/{n}" for folder, _, names in os.walk(self.disk) for n in names]
        return [path for path in found if path.endswith(".new")]

    def overlaps(self) -> list[str]:
        return [e.name for e in self.entries if any(m[0] == "overlap" for m in marks(self.room, e.name))]


def far(p: Live) -> bool:
    """Whether this is the child that leads a session of its own: it sleeps for longer by one digit."""
    return len(p.argv[-1].rpartition(".")[2]) > 9 and p.argv[0] == "sleep"
