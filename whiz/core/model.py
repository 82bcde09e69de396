"""The values everything else speaks in: frozen, comparable, JSON-shaped."""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from whiz.core.value import record, value


class Want(StrEnum):
    """What the manifest asks of a program."""

    UP = "up"  # a service: keep one run alive
    DONE = "done"  # a task: one run must succeed
    DOWN = "down"  # the hit list: no run may live


class On(StrEnum):
    """After which ends a program is started again."""

    ALWAYS = "always"
    FAILURE = "failure"
    NEVER = "never"


@record
class Restart:
    """When a program may start again. Times in seconds."""

    on: On = On.ALWAYS
    delay: float = 1.0
    max_delay: float = 300.0
    attempts: int | None = None
    stable: float = 60.0
    success_codes: tuple[int, ...] = (0,)


@record
class Ending:
    """How a program is stopped: which signal, how long it may take (s), how much of its tree."""

    signal: str = "TERM"
    grace: float = 10.0
    tree: str = "all"  # or "session": descendants that left the session are guests


@record
class Limits:
    """Ceilings. None leaves the machine's own. How each is held: whiz/core/limits.py."""

    memory: int | None = None  # bytes that its whole tree has in memory
    cpu: float | None = None  # seconds
    share: float | None = None  # of one core
    files: int | None = None
    tasks: int | None = None
    core: int | None = None  # bytes


@record
class Log:
    """Where output goes, and how many bytes of it are kept."""

    to: str = "file"  # or "journal", "null"
    max: int = 10_000_000


@record
class Check:
    """How to find out whether a program is ready, or still does its work. Times in seconds."""

    way: str  # file, port, unix, http, run, log, notify or fd
    what: str = ""  # the path, host:port, URL, pattern or descriptor
    argv: tuple[str, ...] = ()  # of `run`
    status: tuple[int, ...] = ()  # of `http`: which codes are well; without any, 200 to 399
    within: float = 30.0  # `ready`: how long that may take
    delay: float = 0.0  # `alive`: from being ready to the first look
    every: float = 10.0  # `alive`: from look to look
    timeout: float = 5.0  # for one look; for signs of life, how old the last may be
    failures: int = 3  # `alive`: in a row, before it is ended


@record
class Program:
    """What to run and what we wish of it."""

    name: str
    argv: tuple[str, ...]
    want: Want = Want.UP
    after: tuple[str, ...] = ()
    cwd: str = "/"
    env_defaults: tuple[tuple[str, str], ...] = ()  # from `defaults`; env_file overrides these
    env: tuple[tuple[str, str], ...] = ()
    env_file: str | None = None
    secrets: tuple[tuple[str, str], ...] = ()  # names in env_file -> keyed digests, never values
    user: str | None = None
    group: str | None = None
    umask: int = 0o022
    nice: int | None = None
    limits: Limits = Limits()
    stop: Ending = Ending()
    restart: Restart = Restart()
    log: Log = Log()
    files: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()  # (file, digest): what the program consists of
    schedule: str | None = None  # when a task is due, in the words of whiz/core/calendar.py
    ready: Check | None = None
    alive: Check | None = None

    @property
    def kept(self) -> bool:
        """Whether a chaperone must stay with it: its exit code decides something, or it notifies."""
        return self.want is Want.DONE or self.restart.on is not On.ALWAYS or "notify" in self.says

    @property
    def says(self) -> tuple[str, ...]:
        """What it is given to say by itself how it does: "notify", "watchdog SECONDS", "fd NUMBER"."""
        if self.ready is None and self.alive is None:
            return ()
        said = ["notify"] if "notify" in [c.way for c in (self.ready, self.alive) if c is not None] else []
        if self.ready is not None and self.ready.way == "fd":
            said.append(f"fd {self.ready.what}")
        if self.alive is not None and self.alive.way == "notify":
            said.append(f"watchdog {self.alive.timeout:g}")
        return tuple(said)


# What a running process has of its Program; the rest (want-up policy, limits on logs …) can change under it.
PROCESS_FIELDS = (
    "argv",
    "cwd",
    "env_defaults",
    "env",
    "secrets",
    "user",
    "group",
    "umask",
    "nice",
    "limits",
    "digests",
    "says",
)


_process_of = attrgetter(*PROCESS_FIELDS)


def same_process(a: Program, b: Program) -> bool:
    """Whether a process started for one would serve for the other."""
    return (
        a is b
        or a == b
        or (
            _process_of(a) == _process_of(b) and a.log.to == b.log.to and (a.want is Want.DONE) == (b.want is Want.DONE)
        )
    )


class Proc(NamedTuple):  # a tuple, because sets of them are what a turn reckons with
    """A process as the kernel names it; a bare pid names nothing. `ticks`: field 22 of /proc/PID/stat."""

    boot: str
    pid: int
    ticks: int


class State(StrEnum):
    """Of a Run: the first seven; a Program adds the rest."""

    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    ERROR = "error"  # never became the program's process
    LOST = "lost"  # ended while nobody watched
    STARTING = "starting"  # or not ready yet
    READY = "ready"  # runs, and has been asked
    WAITING = "waiting"
    CRASH_LOOP = "crash-loop"
    HELD = "held"


BAD = frozenset({State.FAILED, State.ERROR, State.LOST})


@record
class Run:
    """One execution of a program. It only ever gains facts. Times are CLOCK_BOOTTIME seconds but for `at`."""

    id: str
    program: Program  # as it was when started
    boot: str
    started: float
    at: float = 0.0  # wall time of the start, for people
    nth: int = 0  # runs of this program before this one
    streak: int = 0  # failures in a row before this one
    adopted: bool = False  # found running, not started by us
    proc: Proc | None = None
    up: float | None = None  # when that process was first known
    keeper: Proc | None = None
    error: str | None = None
    stable: bool = False  # was seen alive past restart.stable
    before: str = ""  # what stood there before, of that which will tell that it is ready
    ready: float | None = None  # when it was found ready
    ailing: int = 0  # looks in a row that found it not alive
    ails: str = ""  # what the last of them found
    unfit: str | None = None  # why it must end though it is wished: it does not do its work, or takes too much
    asked: float | None = None  # told to stop
    killed: float | None = None  # told with SIGKILL
    swept: float | None = None  # what it left behind was told to stop
    left: tuple[Proc, ...] = ()  # its tree besides `proc`, as last seen while it ends
    told: tuple[Proc, ...] = ()  # who got the signal
    exited: float | None = None  # the main process is gone
    exit: int | None = None  # its code, or minus its signal
    ended: float | None = None  # nothing of the tree is left

    @property
    def live(self) -> bool:
        """Whether anything of it may still run."""
        return self.ended is None

    @property
    def state(self) -> State:
        """Derived, never stored, so it cannot disagree with the facts."""
        if self.ended is None:
            if self.asked is not None or self.exited is not None:
                return State.STOPPING
            return State.RUNNING if self.proc is not None else State.STARTING
        if self.error is not None:
            return State.ERROR
        if self.unfit is not None:
            return State.FAILED
        if self.asked is not None:
            return State.STOPPED
        if self.exit is None:
            return State.LOST
        return State.SUCCEEDED if self.exit in self.program.restart.success_codes else State.FAILED


@value
class Ask:
    """A look to be taken at a Run. `kind`: "ready" or "alive"."""

    run: Run
    kind: str
    check: Check


@value
class Answer:
    """What such a look found. `taken`: whether anybody looked; who was not looked at has shown nothing.

    `over`: it gave itself up, so that one answer is enough.
    """

    run: str
    kind: str
    well: bool
    words: str = ""
    taken: bool = True
    over: bool = False


@value
class Outcome:
    """What a chaperone or a parent knows of a Run.

    `exit`: code, or minus the signal; `keeper`: `proc` is the chaperone's.
    """

    proc: Proc | None = None
    error: str | None = None
    exit: int | None = None
    ended: bool = False
    keeper: bool = False


@value
class Found:
    """A process that belongs to a name: by our mark (with run id) or by exact match (without)."""

    name: str
    proc: Proc
    run: str | None = None
    keeper: bool = False
    digest: str = ""  # of the Program it was started for, from the mark
    leader: bool = True  # of a session, as everything is that whiz starts; its children need not be


@record
class Seen:
    """One look at the machine. `found` is None unless all of /proc was read.

    `trees` has the Runs of which the look can tell who is left; `witnessed`: Runs that ended under the eyes of this
    very host, with all of their tree; `usage`: what the trees have in memory whose ceiling whiz holds itself;
    `felled`: whom the kernel killed for want of memory, in words.
    """

    boot: str
    alive: frozenset[Proc] = frozenset()
    outcomes: tuple[tuple[str, Outcome], ...] = ()  # run id -> what is known
    trees: tuple[tuple[str, tuple[Proc, ...]], ...] = ()  # run id -> living members besides the main process
    witnessed: frozenset[str] = frozenset()
    usage: tuple[tuple[str, int], ...] = ()  # run id -> bytes
    felled: tuple[tuple[str, str], ...] = ()  # run id -> words
    found: tuple[Found, ...] | None = None
    answers: tuple[Answer, ...] = ()


@value
class Wishes:
    """What was asked for by command: names held down, the Run that each restart ends, the end of everything.

    And by the calendar: the scheduled programs that are due, and in how many seconds the others are.
    """

    held: frozenset[str] = frozenset()
    restarts: frozenset[tuple[str, str]] = frozenset()  # (name, run id)
    ending: bool = False
    due: frozenset[str] = frozenset()
    coming: tuple[tuple[str, float], ...] = ()


@value
class Start:
    """Order: start this program."""

    program: Program
    why: str


@value
class Stop:
    """Order: ask this Run to end."""

    run: Run
    why: str


@value
class Kill:
    """Order: end this Run by force."""

    run: Run
    why: str


@value
class Wait:
    """Nothing to do for this program before `until` (None: until something else changes)."""

    name: str
    until: float | None
    why: str
    failed: bool = False  # time alone will not mend it


Step: TypeAlias = Start | Stop | Kill | Wait
Plan: TypeAlias = tuple[Step, ...]
Manifest: TypeAlias = dict[str, Program]
