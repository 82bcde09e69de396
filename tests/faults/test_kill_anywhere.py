"""kill -9 of whiz at any system call: never a second copy, nothing lost, no stranger touched."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.faults.entries import KINDS, Entry, marks
from tests.faults.killer import Killer
from tests.faults.outside import Live, clear, processes, stat, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = 8
LANES = 2  # schedules at the same time in each part: half of their time is waiting
SCHEDULES = int(os.environ.get("WHIZ_SCHEDULES", "1000"))
REPLAY = os.environ.get("WHIZ_SEED")  # the seed of one schedule, as a failure prints it


def gone(p: Live) -> bool:
    """Whether a process has exited, reaped or not."""
    known = stat(p.pid)
    return known is None or known[2] != p.ticks or known[0] in "ZX"


class Schedule:
    """One home, a few programs, and what happens to them."""

    def __init__(self, seed: str, home: str, killer: Killer) -> None:
        self.random = random.Random(seed)
        self.home, self.killer = home, killer
        self.number = self.random.randrange(10**9)
        self.log: list[str] = []
        self.touched: set[str] = set()  # names that a hold or its undoing was asked for
        kinds = self.random.sample(list(KINDS), self.random.randint(2, 4))
        self.entries = [Entry(f"{kind}-{i}", kind, self.number) for i, kind in enumerate(kinds)]
        if self.random.random() < 0.5:
            self.entries[-1].after = [self.entries[0].name]
        self.entries[self.random.randrange(len(self.entries))].listed = self.random.random() < 0.7
        self.bystanders: list[subprocess.Popen[bytes]] = []

    # -- the whole

    def run(self) -> None:
        os.makedirs(self.home)
        self.stand_by()
        self.write()
        for _ in range(self.random.randint(2, 4)):
            self.killed_turn()
            self.check()
            if self.random.random() < 0.6:
                self.happen()
        self.settle_wishes()
        self.converge()
        self.check_final()
        before = self.mains()
        turn = self.whiz("apply")
        assert turn == 0, "a machine that is as wished stays so"
        assert self.mains() == before, "a machine that is as wished is left alone"
        self.check_final()

    def stand_by(self) -> None:
        """Start who only looks like a program of the whizzifest."""
        first = self.entries[0]
        marks = {"WHIZ_RUN": f"deadbeef/{first.name}/adopted-1-1/0123456789ab", "WHIZ_NAME": first.name}
        for env in ({}, marks):
            self.bystanders.append(subprocess.Popen(["sleep", first.length], env=env, start_new_session=True))

    def write(self) -> None:
        programs = {e.name: e.yaml(self.home) for e in self.entries if e.listed}
        for program in programs.values():
            program["after"] = [name for name in program["after"] if name in programs]
        new = f"{self.home}/new"
        with open(new, "w", encoding="utf-8") as f:
            json.dump({"version": 1, "programs": programs}, f)  # JSON is YAML
        os.rename(new, f"{self.home}/whizzifest.yaml")

    def whiz(self, *words: str) -> int | None:
        turn = self.killer.run(*self.words(*words))
        self.log.append(f"{' '.join(words)} -> {turn.code}")
        return turn.code

    def words(self, command: str, *rest: str) -> tuple[str, ...]:
        empty = ("--allow-empty",) if command == "apply" else ()
        return ("--home", self.home, command, "--wait", "5", *empty, *rest)

    # -- what happens

    def killed_turn(self) -> None:
        known = [e for e in self.entries if e.listed]
        words: tuple[str, ...] = ("apply",)
        if known and self.random.random() < 0.25:
            entry = self.random.choice(known)
            words = (self.random.choice(("hold", "unhold", "restart")), entry.name)
            if words[0] == "restart" or words[0] == "hold":
                entry.disturbed = True
            if words[0] != "restart":
                self.touched.add(entry.name)
        if self.random.random() < 0.25:
            after, stop = 0, int(10 ** self.random.uniform(0, 3.7))
        else:
            after, stop = self.random.randint(1, 8), int(10 ** self.random.uniform(0, 2.7))
        freeze = self.random.random() < 0.5
        turn = self.killer.run(*self.words(*words), after=after, stop=stop, freeze=freeze)
        self.log.append(f"{' '.join(words)} killed at {after}+{stop}, freeze {freeze} -> {turn}")
        if turn.between and freeze:
            try:
                assert self.whiz("apply") == 75, "a child that has not called exec holds the lock"
                self.check()
            finally:
                self.killer.release()

    def happen(self) -> None:
        """Let something happen between two turns."""
        entry = self.random.choice(self.entries)
        what = self.random.choice(("edit", "edit back", "list", "kill", "kill"))
        if what == "edit":
            entry.version += 1
            entry.disturbed = False
        elif what == "edit back":
            entry.version, entry.disturbed = 1, True
        elif what == "list":
            entry.listed = not entry.listed
            entry.disturbed = True
        else:
            entry.disturbed = True
            family = [p for p in self.family() if p.env.get("WHIZ_NAME") == entry.name and p.leader]
            mains = [p for p in family if not p.chaperone]
            keepers = [p for p in family if p.chaperone]
            victims = self.random.choice((mains, mains, keepers, family))
            for p in victims:
                with contextlib.suppress(ProcessLookupError):  # a task may end by itself
                    os.kill(p.pid, signal.SIGKILL)
                what += f" {p.pid}"
            until(lambda: all(map(gone, victims)), "they are dead")
        self.log.append(f"{what} {entry.name}")
        self.write()

    def settle_wishes(self) -> None:
        """Bring every wish that a killed command may or may not have noted to a known state."""
        for name in sorted(self.touched):
            entry = next(e for e in self.entries if e.name == name)
            if not entry.listed:
                entry.listed = True
                self.write()
            awaited = any(name in e.after for e in self.entries)  # what comes after a held one waits: no end to reach
            entry.held = not awaited and self.random.random() < 0.3
            entry.disturbed |= entry.held
            self.until_not_busy("hold" if entry.held else "unhold", name)

    def until_not_busy(self, *words: str) -> int | None:
        """Run a command again while a child of the one before still holds the lock."""
        end = time.monotonic() + 20
        while (code := self.whiz(*words)) == 75:
            assert time.monotonic() < end, "the lock is held for ever"
        return code

    def converge(self) -> None:
        end = time.monotonic() + 30
        while self.until_not_busy("apply") != 0:
            assert time.monotonic() < end, "the wishes never hold"
            self.check()

    # -- what must hold

    def family(self) -> list[Live]:
        return [p for p in processes(f"FAULT={self.home}\0") if p.env.get("FAULT") == self.home]

    def mains(self) -> dict[str, list[int]]:
        """Return program -> pids of its main processes: leaders of their sessions that are no chaperones."""
        out: dict[str, list[int]] = {}
        for p in self.family():
            if p.leader and not p.chaperone:
                out.setdefault(p.env.get("WHIZ_NAME", "?"), []).append(p.pid)
        return out

    def marks(self, name: str) -> list[list[str]]:
        return marks(self.home, name)

    def check(self) -> None:
        for name, pids in self.mains().items():
            assert len(pids) == 1, f"{name} runs {len(pids)} times: {pids}"
        for entry in self.entries:
            told = self.marks(entry.name)
            assert not [m for m in told if m[0] == "overlap"], f"{entry.name} ran beside its predecessor: {told}"
            if entry.kind == "task" and not entry.disturbed:
                finished = Counter(m[1] for m in told if m[0] == "done")
                again = finished[f"v{entry.version}"]
                assert again <= 1, f"{entry.name} succeeded {again} times"
        ended = [(p.pid, p.args, p.poll()) for p in self.bystanders]
        assert all(code is None for *_, code in ended), f"a bystander was killed: {ended}"

    def check_final(self) -> None:
        wished = {e.name: e.length for e in self.entries if e.listed and not e.held and e.kind != "task"}
        until(lambda: self.shown() == wished, f"the machine is {wished}", 5)
        self.check()
        until(self.whole, "each has the tree it should have", 5)  # a chaperone may be about to exit
        for entry in self.entries:
            if entry.kind == "task" and entry.listed and not entry.held and self.may_run(entry):
                done = [m for m in self.marks(entry.name) if m[:2] == ["done", f"v{entry.version}"]]
                assert done, f"{entry.name} never succeeded: {self.marks(entry.name)}"

    def whole(self) -> bool:
        members = Counter(p.env.get("WHIZ_NAME") for p in self.family())
        for entry in self.entries:
            up = entry.listed and not entry.held and entry.kind != "task"
            sizes = {"tree": {2}, "slow": {2}, "kept": {1, 2}}.get(entry.kind, {1}) if up else {0}
            if members[entry.name] not in sizes:
                return False
        return True

    def shown(self) -> dict[str, str]:
        return {p.env.get("WHIZ_NAME", "?"): p.argv[-1] for p in self.family() if p.leader and not p.chaperone}

    def may_run(self, entry: Entry) -> bool:
        return all(e.listed and not e.held for e in self.entries if e.name in entry.after)

    def close(self) -> None:
        self.killer.release()
        for p in self.bystanders:
            p.kill()
            p.wait()
        clear(f"FAULT={self.home}\0")

    def story(self) -> str:
        entries = "\n".join(map(str, self.entries))
        marks = "\n".join(f"{e.name}: {self.marks(e.name)}" for e in self.entries)
        seen = "\n".join(str(p.argv) + str(p.pid) for p in self.family())
        told = ""
        for place in ("state/history.jsonl", *(f"run/runs/{e.name}.json" for e in self.entries)):
            if os.path.exists(f"{self.home}/{place}"):
                with open(f"{self.home}/{place}", encoding="utf-8") as f:
                    told += f"{place}: {f.read()}\n"
        return f"{entries}\n" + "\n".join(self.log) + f"\n{marks}\n{seen}\n{told}"


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_any_system_call_harms_nobody(part: int, tmp_path: Path) -> None:
    """WHIZ_SCHEDULES says how many schedules all parts take together; WHIZ_SEED replays one."""
    base = random.getrandbits(32)
    count = len(range(part, SCHEDULES, PARTS)) if REPLAY is None else part == 0
    seeds = iter([REPLAY or f"{base}-{part}-{i}" for i in range(count)])
    with ThreadPoolExecutor(LANES) as lanes:
        for lane in [lanes.submit(_take, seeds, str(tmp_path / str(i))) for i in range(LANES)]:
            lane.result()


def _take(seeds: Iterator[str], folder: str) -> None:
    """Take one schedule after the other with a warm process of one's own."""
    os.makedirs(folder)
    with Killer(f"{folder}/out") as killer:
        for i, seed in enumerate(seeds):
            schedule = Schedule(seed, f"{folder}/{i}", killer)
            try:
                schedule.run()
            except AssertionError as exc:
                pytest.fail(f"WHIZ_SEED={seed}: {exc}\n{schedule.story()}\n{killer.said()[-600:]}")
            finally:
                schedule.close()
