"""Records that lie: whatever they name, nobody is signalled but who was started for this home."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.entries import STRANGER
from tests.faults.outside import ENV, WHIZ, Live, clear, processes, stat, until
from whiz.core.model import Log, On, Proc, Program, Restart, Run, Want
from whiz.core.value import replace
from whiz.core.wire import dump_runs
from whiz.loop import turn
from whiz.ports import Clock
from whiz.world.host import LocalHost
from whiz.world.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from whiz.core.model import Manifest

PARTS = 4
RECORDS = int(os.environ.get("WHIZ_FORGED", "10000"))
AT_ONCE = 10  # records that one turn meets
HOME = f"{os.getpid():08x}"  # no other worker's


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[list[int]]:
    """A few processes that whiz has nothing to do with: leaders of sessions, members of one, a child."""
    noted = tmp_path / "noted"
    pool = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", STRANGER, str(noted)], stdout=subprocess.PIPE, start_new_session=lead
        )
        for lead in (True, True, False, False)
    ]
    try:
        for p in pool:
            assert p.stdout is not None
            assert p.stdout.readline() == b"ready\n"
        yield [p.pid for p in pool]
        assert [p.poll() for p in pool] == [None] * len(pool), "a stranger was killed"
        assert noted.read_text() == "", "a stranger got a signal"
    finally:
        for p in pool:
            p.kill()
            p.communicate()


class Watch:
    """What stands between whiz and pidfd_send_signal(2): it notes who would be signalled, and spares strangers."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wrong: list[str] = []
        self.right = 0
        self._send = signal.pidfd_send_signal
        patch.setattr(signal, "pidfd_send_signal", self._pidfd)
        for name in ("kill", "killpg"):
            patch.setattr(os, name, self._never(name))

    def _pidfd(self, fd: int, number: int, *rest: Any) -> None:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
            pid = next(int(line.split()[1]) for line in f if line.startswith("Pid:"))
        if pid == -1:
            raise ProcessLookupError
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                words = environ.read().split(b"\0")
        except OSError:
            words = []
        known = stat(pid)
        if known is None or known[0] in "ZX":
            return  # it has ended by itself meanwhile
        if any(word.startswith((b"WHIZ_RUN=" + HOME.encode(), b"WHIZ_KEEPER=" + HOME.encode())) for word in words):
            self.right += 1
            self._send(fd, number, *rest)
        else:
            self.wrong.append(f"signal {number} to pid {pid}")

    def _never(self, name: str) -> Callable[..., None]:
        def refuse(*args: int) -> None:
            self.wrong.append(f"os.{name}{args}")

        return refuse


class Forger:
    """Writes records that never were."""

    def __init__(self, seed: int, home: Path, strangers: list[int]) -> None:
        self.random = random.Random(seed)
        self.records, self.tasks = home / "runs", home / "tasks"
        for folder in (self.records, self.tasks, home / "state", home / "log"):
            folder.mkdir()
        self.home = home
        self.host = LocalHost(HOME, str(home / "log"), str(self.records), str(self.tasks))
        self.now = 1e6
        self.clock = Clock(boot=lambda: self.now, wall=lambda: 0.0, name=lambda: os.urandom(6).hex())
        self.strangers = strangers
        gone = subprocess.Popen(["true"])
        gone.wait()
        kernel = [int(n) for n in os.listdir("/proc") if n.isdigit() and not self._words(int(n))]
        self.exact = [1, os.getpid(), *kernel[:20]]  # who may be named rightly, and is still nobody's to signal
        self.others = [*strangers, os.getppid(), *self.exact, gone.pid, 2**22 + 1]

    @staticmethod
    def _words(pid: int) -> bytes:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return f.read()
        except OSError:
            return b"?"

    def proc(self) -> Proc:
        """Name a process, never a stranger rightly: that would be a record of our own."""
        pid = self.random.choice(self.others) if self.random.random() < 0.99 else self.random.choice((0, -1, 2**40))
        known = stat(pid)
        ticks = known[2] if known is not None else self.random.randrange(10**6)
        boot = self.host.boot
        lie = self.random.randrange(4)
        if lie == 0:
            boot = self.random.choice(("", "f51f280f-0000-4aac-abee-8c3415dc0fd3", boot.upper()))
        elif lie == 1 or (pid not in self.exact):
            ticks += self.random.choice((-1, 1, -ticks, 10**9))
        return Proc(boot, pid, ticks)

    def procs(self, most: int) -> tuple[Proc, ...]:
        return tuple(self.proc() for _ in range(self.random.randint(0, most)))

    def moment(self) -> float | None:
        return self.random.choice((None, None, self.now - 100, self.now - 0.5, self.now + 100))

    def program(self, name: str, real: Program | None) -> Program:
        if real is not None and self.random.random() < 0.5:
            return real
        argv: tuple[str, ...] = ("/bin/sleep", "1234")
        if self.random.random() < 0.5:
            argv = tuple(self._words(self.random.choice(self.strangers)).decode().rstrip("\0").split("\0"))
        want = self.random.choice(tuple(Want))
        return Program(name=name, argv=argv, want=want, restart=Restart(on=self.random.choice(tuple(On))))

    def run(self, name: str, real: Program | None) -> Run:
        proc, known = self.proc(), self.random.random()
        run = Run(
            id=f"adopted-{proc.pid}-{proc.ticks}" if known < 0.3 else os.urandom(6).hex(),
            program=self.program(name, real),
            boot=self.random.choice((self.host.boot, self.host.boot, "another")),
            started=self.now - self.random.choice((0.0, 1.0, 1000.0, -1000.0)),
            nth=self.random.choice((0, 1, 5, 10**6)),
            streak=self.random.choice((0, 1, 50)),
            adopted=self.random.random() < 0.3,
            proc=self.random.choice((None, proc, proc, proc)),
            keeper=self.random.choice((None, self.proc())),
            asked=self.moment(),
            killed=self.moment(),
            swept=self.moment(),
            left=self.procs(3),
            told=self.procs(3),
        )
        if self.random.random() < 0.3:
            run = replace(run, exited=self.moment(), exit=self.random.choice((None, 0, 1, -9)))
        if self.random.random() < 0.1:
            run = replace(run, ended=self.moment())
        return run

    def forge(self, names: list[str], manifest: Manifest) -> None:
        for name in names:
            runs = tuple(self.run(name, manifest.get(name)) for _ in range(self.random.choice((1, 1, 1, 2, 4))))
            task = any(r.program.want is Want.DONE for r in runs) and self.random.random() < 0.7
            folder = self.tasks if task else self.records
            (folder / f"{name}.json").write_text(json.dumps(dump_runs(runs)))
            if self.random.random() < 0.3:
                proc = self.proc()
                outcome = {"format": 1, "proc": [proc.boot, proc.pid, proc.ticks], "ended": self.random.random() < 0.5}
                place = self.random.choice((self.tasks, self.records)) / f"{name}@{runs[-1].id}.outcome"
                place.write_text(json.dumps(outcome | self.random.choice(({}, {"exit": 0}, {"error": "no"}))))

    def forget(self) -> None:
        for folder in (self.records, self.tasks):
            for file in folder.iterdir():
                file.unlink()

    def close(self, home: Path) -> None:
        clear(f"FAULT={home}\0")

        def reaped() -> bool:
            self.host.look(())
            return len(self.host.children) == 0  # a Popen that is let go of unreaped warns

        until(reaped, "every child is reaped")

    def turn(self, manifest: Manifest) -> None:
        store = FileStore(str(self.records), str(self.tasks), str(self.home / "state"), mend=True)
        turn(self.host, store, manifest, self.clock)


def manifest_of(home: Path) -> Manifest:
    """Three programs that can run, one that cannot, one that may not; two of the forged names stand in none."""
    env = (("FAULT", str(home)),)
    quiet = Log(to="null")
    programs = [
        Program(name="up", argv=("/bin/sleep", f"1000.{os.getpid()}"), env=env, log=quiet),
        Program(name="second", argv=("/bin/sleep", f"1001.{os.getpid()}"), env=env, log=quiet),
        Program(name="broken", argv=("/nowhere/at/all",), env=env),
        Program(name="down", argv=(f"no-such-name-{os.getpid()}",), want=Want.DOWN),
    ]
    return {p.name: p for p in programs}


@pytest.mark.parametrize("part", range(PARTS))
def test_forged_records_signal_nobody(
    part: int, tmp_path: Path, strangers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.getrandbits(32) + part
    forger, manifest = Forger(seed, tmp_path, strangers), manifest_of(tmp_path)
    watch = Watch(monkeypatch)
    names = [*manifest, "gone", "lost", "strange:1", "strange:2", "hitlist:x", "old"]
    assert len(names) == AT_ONCE
    try:
        for i in range(RECORDS // PARTS // AT_ONCE):
            forger.forget()
            forger.forge(names, manifest)
            for _ in range(2):
                forger.turn(manifest)
                forger.now += forger.random.choice((0.0, 0.01, 20.0))
                assert watch.wrong == [], f"seed {seed}, turn {i}"
            mains = [p.argv[1] for p in processes(f"FAULT={tmp_path}\0") if p.leader]
            assert len(mains) == len(set(mains)), f"seed {seed}, turn {i}: a second copy: {mains}"
    finally:
        monkeypatch.undo()
        forger.close(tmp_path)


def test_the_watch_sees_a_wrong_signal(tmp_path: Path, strangers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The one record that could not be told from a true one shows that the tests above can fail."""
    forger, watch = Forger(1, tmp_path, strangers), Watch(monkeypatch)
    known = stat(strangers[0])
    assert known is not None
    proc = Proc(forger.host.boot, strangers[0], known[2])
    run = Run(id="a", program=Program(name="gone", argv=("x",)), boot=forger.host.boot, started=1.0, proc=proc)
    (forger.records / "gone.json").write_text(json.dumps(dump_runs((run,))))
    forger.turn({})
    assert watch.wrong == [f"signal {signal.SIGTERM} to pid {strangers[0]}"]


@pytest.mark.parametrize("lie", ["boot", "ticks"])
def test_a_process_that_is_not_quite_the_recorded_one_is_not_believed(
    lie: str, tmp_path: Path, strangers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    forger, watch = Forger(1, tmp_path, strangers), Watch(monkeypatch)
    program = manifest_of(tmp_path)["up"]
    known = stat(strangers[0])
    assert known is not None
    right = Proc(forger.host.boot, strangers[0], known[2])
    proc = replace(right, boot="another") if lie == "boot" else replace(right, ticks=known[2] - 1)
    run = Run(id="a", program=program, boot=forger.host.boot, started=forger.now, stable=True, proc=proc)
    (forger.records / "up.json").write_text(json.dumps(dump_runs((run,))))
    try:
        forger.turn({"up": program})
        forger.now += 10  # past the back-off
        forger.turn({"up": program})
        until(
            lambda: [p.argv[1:] for p in processes(f"FAULT={tmp_path}\0")] == [program.argv[1:]], "one of our own runs"
        )
        assert watch.wrong == []
    finally:
        monkeypatch.undo()
        forger.close(tmp_path)


# in a chroot / is no mount point, and its propagation cannot be changed; nothing is mounted here but a /proc of its own
UNSHARE = ("unshare", "--propagation", "unchanged")
PID = ("--pid", "--fork", "--kill-child", "--mount-proc")
MOUNT = ("--mount", "--fork", "--kill-child")

INIT = """
import json, os, subprocess, sys
os.setsid()  # pid 1 leads a session, as init does
second, beside = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
home, *whiz = sys.argv[1:]
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
ticks = int(open("/proc/1/stat").read().rpartition(")")[2].split()[19])
proc = {"boot": boot, "pid": 1, "ticks": ticks}
run = {"id": "a", "program": {"name": "gone", "argv": ["x"]}, "boot": boot, "started": 1.0, "left": [proc]}
os.makedirs(home + "/run/runs")
for lie in ({"proc": proc}, {"keeper": proc}, {"proc": proc, "exited": 1.0}):
    with open(home + "/run/runs/gone.json", "w") as f:
        json.dump({"format": 1, "runs": [run | lie]}, f)
    subprocess.run([*whiz, "apply", "--allow-empty", "--wait", "1"], stdout=subprocess.DEVNULL)
    assert second.poll() is beside.poll() is None, lie
print("alive")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="unshare(1) of namespaces takes root")
def test_a_record_that_names_init_does_not_end_the_machine(tmp_path: Path) -> None:
    """Neither init nor who is of its session, were the record right in every number."""
    (tmp_path / "whizzifest.yaml").write_text("programs: {}\n")
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", INIT, str(tmp_path), *WHIZ, "--home", str(tmp_path)]
    done = subprocess.run(
        [*UNSHARE, *PID, *command],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


CONTAINER = """
import os, subprocess, sys
home, *whiz = sys.argv[1:]
second = subprocess.Popen(["/usr/bin/sleep", "1000.25"], cwd="/")
assert second.pid == 2
with open(home + "/whizzifest", "w") as f:
    f.write("a|/usr/bin/sleep 1000.25\\n")
subprocess.run([*whiz, "apply"], check=True, stdout=subprocess.DEVNULL)
words = [open(f"/proc/{pid}/cmdline").read() for pid in os.listdir("/proc") if pid.isdigit()]
print(words.count("/usr/bin/sleep\\0" "1000.25\\0"))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="unshare(1) of namespaces takes root")
def test_in_a_container_process_2_is_one_like_any_other(tmp_path: Path) -> None:
    """Outside it is the parent of the kernel's threads; here it is adopted, and not doubled."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-W",
        "ignore",
        "-c",
        CONTAINER,
        str(tmp_path),
        *WHIZ,
        "--home",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*UNSHARE, *PID, *command],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


# -- other namespaces


def whiz(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WHIZ, "--home", str(home), *words], env=ENV, capture_output=True, text=True, check=False)


def own(home: Path, word: str) -> list[Live]:
    return [p for p in processes(f"FAULT={home}\0") if p.leader and p.argv[-1] == word]


@pytest.mark.skipif(os.getuid() != 0, reason="unshare(1) of namespaces takes root")
@pytest.mark.parametrize(
    ("space", "marked"), [(PID, False), (PID, True), (MOUNT, False)], ids=["pid", "pid, marked", "mount"]
)
def test_a_process_of_another_namespace_is_nobody_of_ours(  # noqa: PLR0915  one life, told in order
    space: tuple[str, ...], marked: bool, tmp_path: Path
) -> None:
    """Neither adopted nor counted nor signalled, be its arguments, its executable and its mark the same."""
    word = f"1000.{os.getpid()}"
    exe = tmp_path / f"guest-{os.getpid()}"
    shutil.copy("/bin/sleep", exe)
    entry = {"run": [str(exe), word], "env": {"FAULT": str(tmp_path)}, "stop": {"grace": "50ms"}}
    home = tmp_path / "home"
    home.mkdir()

    def wish(**top: object) -> None:
        (home / "whizzifest.yaml").write_text(json.dumps({"version": 1, **top}))

    guest: subprocess.Popen[bytes] | None = None
    try:
        env = {"FAULT": str(tmp_path), "PATH": os.environ["PATH"]}
        if marked:  # the mark of the very Run that lives, copied into a container
            wish(programs={"guest": entry})
            assert whiz(home, "apply").returncode == 0
            env = own(tmp_path, word)[0].env
        inherited = [f"{name}={value}" for name, value in env.items()]  # by what runs inside, not by unshare itself
        guest = subprocess.Popen([*UNSHARE, *space, "--", "env", "-i", *inherited, str(exe), word], env={})

        def inside() -> list[int]:
            ours = os.readlink(f"/proc/self/ns/{'pid' if space is PID else 'mnt'}")
            seen = [p.pid for p in processes(f"FAULT={tmp_path}\0") if p.argv == (str(exe), word)]
            return [p for p in seen if os.readlink(f"/proc/{p}/ns/{'pid' if space is PID else 'mnt'}") != ours]

        until(lambda: len(inside()) == 1, "the process runs in its namespace")
        inner = inside()

        def calm(*words: str) -> bool:
            """Run a command that succeeds and leaves the process in its namespace alone."""
            done = whiz(home, *words)
            assert done.returncode == 0, done.stderr
            return inside() == inner

        def of_ours() -> list[int]:
            return [p.pid for p in own(tmp_path, word) if p.pid not in inner]

        # not adopted: one of our own is started
        wish(programs={"guest": entry})
        assert calm("apply")
        assert len(of_ours()) == 1
        before = of_ours()
        # not counted
        told = json.loads(whiz(home, "status", "--json").stdout)
        assert [p["pid"] for p in told["programs"]] == before
        assert told["strangers"] == []
        # nor after the records are lost
        (home / "run/runs/guest.json").unlink()
        assert calm("apply")
        assert of_ours() == before
        # not signalled with what is restarted, removed, or on the hit list
        assert calm("restart", "guest")
        assert len(of_ours()) == 1
        assert of_ours() != before
        wish(programs={"other": {"run": ["/bin/sleep", word], "env": {"FAULT": str(tmp_path)}}})
        assert calm("apply")
        assert [p.argv[0] for p in own(tmp_path, word) if p.pid not in inner] == ["/usr/bin/sleep"]
        wish(hitlist=[exe.name, str(exe)])
        assert calm("apply")
        assert of_ours() == []
    finally:
        if guest is not None:
            guest.kill()
            guest.wait()
        clear(f"FAULT={tmp_path}\0")
