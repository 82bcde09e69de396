"""The power is cut, at any system call of a turn and at any instant: what was promised before is there afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.entries import Entry, marks
from tests.faults.machine import Cut, Place, Zygote, take
from tests.faults.outside import clear, processes
from tests.tools import figure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.machine import Done, Machine

CI = os.environ.get("CI") == "true"
CUTS = int(os.environ.get("WHIZ_CUTS", "60"))  # that are looked at, in all tests together
REPLAY = os.environ.get("WHIZ_SEED")
missing = [w for w in ("mkfs.btrfs", "mkfs.ext4") if shutil.which(w) is None]
pytestmark = [
    pytest.mark.timeout(300 + 10 * CUTS),
    pytest.mark.skipif(os.getuid() != 0, reason="mounting cards takes root"),
    pytest.mark.skipif(bool(missing) and not CI, reason=f"{missing} not installed (apt-get install btrfs-progs)"),
]
OPTIONS = {"as Debian mounts it": "", "with nothing done for careless writers": "noauto_da_alloc,data=writeback"}
KINDS = ("plain", "kept", "stubborn", "task", "task")
DAILY = "every day at 03:00"


@dataclass(frozen=True)
class Wish:
    """What the machine is to be: program -> version, and who is held."""

    versions: tuple[tuple[str, int], ...]
    held: frozenset[str] = frozenset()


@dataclass
class Moment:
    """A cut, and what may hold after it."""

    cut: Cut
    wishes: set[Wish]
    said: str


@contextmanager
def reflinks(folder: Path) -> Iterator[Path]:
    """Mount a file system that can copy a card at an instant, with an empty card on it."""
    image, cards = folder / "reflinks.img", folder / "cards"
    cards.mkdir()
    script = 'truncate -s 4G "$0" && mkfs.btrfs -q "$0" && mount -o loop "$0" "$1"'
    script += ' && truncate -s 32M "$1/empty" && mkfs.ext4 -q "$1/empty"'
    subprocess.run(["sh", "-c", script, image, cards], check=True, capture_output=True)
    try:
        yield cards
    finally:
        subprocess.run(["umount", "--lazy", cards], check=True)


class Life:
    """One machine that is used until its power is cut, and what becomes of it at each of the cuts."""

    def __init__(self, seed: str, room: Path, cards: Path, zygote: Zygote, *, fleeting: bool, options: str) -> None:
        self.random = random.Random(seed)
        self.seed, self.room, self.cards, self.zygote = seed, room, cards, zygote
        for name in ("home", "marks", "copies"):
            (room / name).mkdir(parents=True, exist_ok=True)
        self.entries = [Entry(f"{k}-{i}", k, self.random.randrange(10**9)) for i, k in enumerate(KINDS)]
        self.daily = Entry("daily", "task", self.random.randrange(10**9))
        self.held: frozenset[str] = frozenset()
        self.wishes = {self.wish()}  # more than one: each may be what the card says
        self.moments: list[Moment] = []
        self.folders, self.boots, self.states = 0, 0, 0
        folder = cards / room.name
        folder.mkdir()
        shutil.copy(cards / "empty", folder / "card")
        home, noted = str(room / "home"), str(room / "marks")
        self.place = Place(str(folder / "card"), home, noted, fleeting, self.boot(), options)

    def boot(self) -> str:
        self.boots += 1
        return f"{self.boots:08x}-0000-4000-8000-{self.random.randrange(16**12):012x}"

    def wish(self) -> Wish:
        return Wish(tuple((e.name, e.version) for e in (*self.entries, self.daily)), self.held)

    # -- the machine as it is used

    def use(self, machine: Machine) -> None:
        """Let it come up for the first time, with a task due for two days."""
        self.edit(machine, durable=True)
        since = {"schedule": DAILY, "since": time.time() - 2 * 86400}
        os.makedirs(machine.path("state"), exist_ok=True)
        machine.put("state/calendar.json", json.dumps({"format": 1, "programs": {"daily": since}}), durable=True)

    def edit(self, machine: Machine, *, durable: bool) -> None:
        programs = {e.name: e.yaml(self.place.marks) for e in (*self.entries, self.daily)}
        programs["daily"]["schedule"] = DAILY
        self.wishes = self.wishes | {self.wish()}
        machine.put("whizzifest.yaml", json.dumps({"version": 1, "programs": programs}), durable=durable)
        if durable:
            self.wishes = {self.wish()}

    def command(self, machine: Machine, *words: str, most: int) -> None:
        """Run one command; keep up to `most` cards of its system calls, and the one of when it has returned.

        With 0 the whiz that stays is asked, and somebody else takes the cards.
        """
        before = self.wishes
        after = {replace(w, held=self.held) for w in before}
        self.wishes = before | after
        words = (*words, "--wait", "60")
        if most == 0:
            done = machine.whiz(*words)
            assert "Traceback" not in done.said, done.said
        else:
            folder = self.folder()
            provoke = self.random.choice((0, 0.003, 0.03))
            cut = {"folder": folder, "most": most, "seed": f"{self.seed}-{self.boots}", "provoke": provoke}
            done = machine.whiz(*words, cut=cut)
            assert done.code == 0, done.said
            self.states += done.states
            for c in done.cuts:
                self.moments.append(Moment(c, after if c.stop < 0 else before | after, f"{words} at {c.stop}"))
        self.wishes = after

    def folder(self) -> str:
        self.folders += 1
        folder = self.cards / self.room.name / str(self.folders)
        folder.mkdir()
        return str(folder)

    def cut_at_random(self, machine: Machine, count: int) -> None:
        """Take cards at random instants, and now and then have the kernel write back."""
        dice, folder = random.Random(f"{self.seed}-instants"), self.folder()
        for i in range(count):
            time.sleep(dice.expovariate(5))
            if dice.random() < 0.5:
                fd = os.open(machine.path(".sync"), os.O_WRONLY | os.O_CREAT, 0o600)
                os.write(fd, b".")
                os.fsync(fd)
                os.close(fd)
            before = self.wishes
            cut = take(self.place.card, f"{folder}/{i}.img", machine.path(""), self.place.marks, i)
            self.moments.append(Moment(cut, before | self.wishes, f"instant {i}"))

    def step(self, machine: Machine, most: int) -> None:
        """Do one of the things that people do."""
        entry = self.random.choice([e for e in self.entries if e.kind != "task"])
        match self.random.choice(("hold", "unhold", "restart", "edit", "edit", "task", "careless")):
            case "hold" if entry.name not in self.held:
                self.held |= {entry.name}
                self.command(machine, "hold", entry.name, most=most)
            case "unhold" if self.held:
                name = min(self.held)
                self.held -= {name}
                self.command(machine, "unhold", name, most=most)
            case "restart":
                self.command(machine, "restart", entry.name, most=most)
            case "task":
                self.entries[-1].version += 1
                self.edit(machine, durable=True)
                self.command(machine, "apply", most=most)
            case what:
                entry.version += 1
                self.edit(machine, durable=what != "careless")
                self.command(machine, "apply", most=most)

    def kill_one(self) -> None:
        live = [p for p in processes(f"FAULT={self.place.marks}\0") if "task" not in p.env.get("WHIZ_NAME", "")]
        if live:
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(live).pid, signal.SIGKILL)

    # -- the machine after a cut

    def examine(self, moment: Moment) -> None:
        """Boot from the card, and demand what had been promised."""
        cut = moment.cut
        for name in os.listdir(self.place.marks):
            if name.endswith((".mark", ".lock")):
                os.unlink(f"{self.place.marks}/{name}")
        place = replace(self.place, card=cut.card, boot=self.boot(), uptime=self.random.choice((None, 20, 20)))
        with self.zygote.on(place) as machine:
            first = self.until_it_holds(machine)
            shown = self.shown()
            assert any(shown == self.expected(w) for w in moment.wishes), (
                f"{shown} is none of {[self.expected(w) for w in moment.wishes]}"
            )
            self.tasks_of_any(moment, [dict(w.versions) for w in moment.wishes if shown == self.expected(w)])
            second = machine.whiz("apply", "--wait", "10")
            assert second.code == first.code, second.said
            assert not [n for n in second.said.splitlines() if n[:2] in ("+ ", "- ", "! ")], second.said
            assert self.shown() == shown, "a second turn is quiet"
            aside = [n for _, _, names in os.walk(machine.path("")) for n in names if n.endswith(".corrupt")]
            assert all(n.removesuffix(".corrupt") in first.said for n in aside), f"{aside}: {first.said}"
            for name in (
                "state/calendar.json",
                *(f"state/tasks/{e.name}.json" for e in self.entries if e.kind == "task"),
            ):
                with open(machine.path(name), encoding="utf-8") as f:
                    json.load(f)
        os.unlink(cut.card)

    def until_it_holds(self, machine: Machine) -> Done:
        """Apply until every wish holds: on a busy machine that takes more than one call."""
        said, end = "", time.monotonic() + 60
        while True:
            done = machine.whiz("apply", "--wait", "10")
            said += done.said
            assert "Traceback" not in said, said
            if done.code in (0, 2):
                return replace(done, said=said)
            assert time.monotonic() < end, f"exit {done.code}: {said}"

    def shown(self) -> dict[str, str]:
        live = [p for p in processes(f"FAULT={self.place.marks}\0") if p.leader and not p.chaperone]
        count = Counter(p.env["WHIZ_NAME"] for p in live)
        assert not [n for n, c in count.items() if c > 1], count
        return {p.env["WHIZ_NAME"]: p.argv[-1] for p in live}

    def expected(self, wish: Wish) -> dict[str, str]:
        versions = dict(wish.versions)
        up = [e for e in self.entries if e.kind != "task" and e.name not in wish.held]
        return {e.name: replace(e, version=versions[e.name]).length for e in up}

    def tasks_of_any(self, moment: Moment, wishes: list[dict[str, int]]) -> None:
        """Demand that tasks are done as one of these asks: they may differ in a task alone, which then tells them apart."""
        for versions in wishes[:-1]:
            with suppress(AssertionError):
                return self.tasks(moment, versions)
        return self.tasks(moment, wishes[-1])

    def tasks(self, moment: Moment, versions: dict[str, int]) -> None:
        """Demand that what was told to have succeeded is not done again, and that what never did is."""
        for entry in (*(e for e in self.entries if e.kind == "task"), self.daily):
            version = f"v{versions[entry.name]}"
            again = [m for m in marks(self.place.marks, entry.name) if m[0] == "start"]
            done = [m for m in moment.cut.done if m.startswith(f"{entry.name} done {version} ")]
            told = [
                f for f in map(fact, moment.cut.told) if f.get("event") == "exit" and f.get("program") == entry.name
            ]
            if entry is self.daily or entry.version == 1:  # its history speaks of one version
                assert not (any(f.get("state") == "succeeded" for f in told) and again), (
                    f"{entry.name} ran again: {again}"
                )
            assert done or again, f"{entry.name} was never done"
            assert len(again) <= 1, f"{entry.name} ran twice: {again}"

    def all_examined(self, how: str) -> None:
        for moment in self.moments:
            try:
                self.examine(moment)
            except (AssertionError, ValueError, OSError) as exc:
                exc.add_note(f"WHIZ_SEED={self.seed}: {moment.said}")
                raise
        place = "in memory" if self.place.fleeting else "on the card"
        figure(
            test="power",
            how=how,
            run=place,
            careless=bool(self.place.options),
            cuts=len(self.moments),
            states=self.states,
        )

    def close(self) -> None:
        clear(f"FAULT={self.place.marks}\0")


@pytest.fixture
def room(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("run", ["in memory", "on the card"])
def test_a_cut_at_any_system_call(run: str, options: str, room: Path) -> None:
    """WHIZ_CUTS says at how many; WHIZ_SEED replays one life."""
    seed = REPLAY or f"{random.getrandbits(32)}"
    each = max(1, CUTS // 4 // 5)
    with reflinks(room) as cards, Zygote(str(room)) as zygote:
        life = Life(seed, room / "life", cards, zygote, fleeting=run == "in memory", options=OPTIONS[options])
        try:
            with zygote.on(life.place) as machine:
                life.use(machine)
                life.command(machine, "apply", most=each)
                for _ in range(4):
                    life.step(machine, each)
            life.all_examined("system call")
        finally:
            life.close()


@pytest.mark.parametrize("run", ["in memory", "on the card"])
def test_a_cut_at_any_instant_under_a_whiz_that_stays(run: str, room: Path) -> None:
    """WHIZ_CUTS says at how many; what came before each is random, so a seed does not replay it to the letter."""
    seed = REPLAY or f"{random.getrandbits(32)}"
    with reflinks(room) as cards, Zygote(str(room)) as zygote:
        options = random.Random(seed).choice(list(OPTIONS.values()))
        life = Life(seed, room / "life", cards, zygote, fleeting=run == "in memory", options=options)
        try:
            with zygote.on(life.place) as machine:
                life.use(machine)
                machine.stay()
                taking = threading.Thread(target=life.cut_at_random, args=(machine, max(1, CUTS // 4)))
                taking.start()
                while taking.is_alive():
                    life.step(machine, 0)
                    life.kill_one()
                taking.join()
            assert len(life.moments) == max(1, CUTS // 4)
            life.all_examined("instant")
        finally:
            life.close()


def fact(line: str) -> dict[str, Any]:
    try:
        held = json.loads(line)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}
