"""How fast one node is, beside a bare Python and other supervisors on the same machine in the same run.

A report, not a test: nothing here passes or fails. Rounds alternate (A B A B), so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from peers import S6, Absent
from resident import resident, trial
from sleeps import ended, new_tag, pids, seconds, wait_return, wait_up
from words import ratio, section, shown, table

from whiz.core.model import Proc, Program, Run, Wishes
from whiz.core.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from whiz.core.model import Manifest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = os.path.join(ROOT, "docs", "benchmarks")
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}  # no PYTHON* of the caller's
QUIET, MANY = 50, 200  # programs that run already, programs to start
PAIRS, ROUNDS = 21, 7  # rounds of the one and the other
QUICK_PAIRS, QUICK_ROUNDS = 5, 2


def main() -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="bench node", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try it out in few rounds; write to a temporary directory")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="measure just these supervisors: whiz,s6; as --quick"
    )
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    place = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick or only else DOCS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    began = time.strftime("%Y-%m-%d %H:%M")
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        python, whiz = install(room)
        plot = f"{place}/node.svg"
        parts = []
        if not only:
            parts += [quiet(room, python, whiz, QUICK_PAIRS if args.quick else PAIRS), planning()]
            parts.append(starting(room, whiz, QUICK_ROUNDS if args.quick else ROUNDS))
        loads.append(os.getloadavg()[0])
        parts.append(resident(room, whiz, commit(), plot, quick=args.quick, only=only))
    loads.append(os.getloadavg()[0])
    load = ", ".join(f"{n:.1f}" for n in loads)
    text = "\n".join([HEAD, "", *facts(began), f"- load average before, between and after: {load}", "", *parts])
    with open(f"{place}/node.md", "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    print(f"written to {os.path.relpath(place)}")
    return 0


HEAD = """\
# One node

Written by `./scripts/bench node`; run it again to measure your machine. Times are wall-clock: median (fastest to
slowest). Peers and whiz take turns within one run, so what matters is the ratio."""


def facts(began: str) -> list[str]:
    """Say what was measured on."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        names = [line.partition(":")[2].strip() for line in f if line.startswith(("model name", "Model"))]
        model = names[-1] if names else model
    return [
        f"- {began}, whiz at commit {commit()}",
        f"- {os.cpu_count()} cores, {model} ({platform.machine()})",
        f"- Linux {platform.release()}, Python {platform.python_version()}",
    ]


def commit() -> str:
    """Say which whiz this is."""
    edited = " with edits" if _output(["git", "-C", ROOT, "status", "--porcelain", "whiz"]) else ""
    return (_output(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]) or "unknown") + edited


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def install(room: str) -> tuple[str, str]:
    """Install whiz as a user has it: compiled, in a venv without the workshop's tools. Return (python, whiz).

    A copy, so that edits of the tree do not blur a run under way.
    """
    place = f"{room}/venv"
    venv.create(place, symlinks=True)
    packages = f"{place}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    shutil.copytree(f"{ROOT}/whiz", f"{packages}/whiz", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(f"{packages}/whiz", quiet=1)
    with open(f"{packages}/needs.pth", "w", encoding="utf-8") as f:
        f.write(sysconfig.get_path("purelib") + "\n")  # psutil and PyYAML
    for name in ("whiz", "quesofiesta"):
        with open(f"{os.path.dirname(sys.executable)}/{name}", encoding="utf-8") as f:
            body = f.read().partition("\n")[2]
        with open(f"{place}/bin/{name}", "w", encoding="utf-8") as f:
            f.write(f"#!{place}/bin/python\n{body}")
        shutil.copymode(f"{place}/bin/python", f"{place}/bin/{name}")
    return f"{place}/bin/python", f"{place}/bin/whiz"


# -- a: nothing to do


def quiet(room: str, python: str, whiz: str, pairs: int) -> str:
    """Measure the commands while everything runs already."""
    tag, base = new_tag(), f"{room}/quiet"
    words = [whiz, "--home", f"{base}/home", "-m", whizzifest(base, tag, QUIET)]
    bare = "`python3 -c pass`"
    commands = {bare: [python, "-c", "pass"]}
    commands |= {f"`whiz {name}`": [*words, name] for name in ("apply", "check", "status")}
    with ended(tag):
        timed([*words, "apply"])
        times: dict[str, list[float]] = {name: [] for name in commands}
        for n in range(pairs + 1):
            for name, command in commands.items():
                took = timed(command)
                if n:  # the first round warms up
                    times[name].append(took)
    rows = [(name, shown(t), ratio(t, times[bare])) for name, t in times.items()]
    applied = statistics.median(times["`whiz apply`"]) / statistics.median(times[bare])
    verdict = "within" if applied <= 5 else "over"  # noqa: PLR2004
    return section(
        f"Nothing to do: {QUIET} programs run",
        table(("command", "ms", "times a bare Python"), rows),
        f"{pairs} rounds. A quiet `whiz apply` costs {applied:.1f} bare starts of the same interpreter: {verdict} our"
        " target of 5. Whoever calls it every minute pays this.",
    )


def timed(command: list[str]) -> float:
    """Run a command to its end and return the seconds; raise when it fails."""
    begin = time.perf_counter()
    subprocess.run(command, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


# -- b: deciding


def planning() -> str:
    """Measure `plan` in this process."""
    rows, figures = [], {}
    for situation, make in SITUATIONS.items():
        small, large = plan_times(make, 1_000, 30), plan_times(make, 10_000, 5)
        growth = statistics.median(large) / statistics.median(small)
        figures[situation] = statistics.median(small)
        rows.append((situation, shown(small), shown(large), f"{growth:.1f}"))
    slow = [f"{name} ({s * 1000:.0f} ms)" for name, s in figures.items() if s > 0.010]  # noqa: PLR2004
    said = (
        f"over our target of 10 ms for 1,000: {', '.join(slow)}"
        if slow
        else "each within our target of 10 ms for 1,000"
    )
    return section(
        "Deciding: `plan` alone, in process",
        table(("every program", "1,000 programs, ms", "10,000 programs, ms", "growth (10 is linear)"), rows),
        f"Medians of 30 and 5 calls; {said}.",
    )


def plan_times(make: Callable[[int], tuple[Manifest, tuple[Run, ...]]], n: int, times: int) -> list[float]:
    """Return the seconds of some calls of plan."""
    manifest, runs = make(n)
    out = []
    for _ in range(times):
        begin = time.perf_counter()
        plan(manifest, runs, Wishes(), 1e6, "boot")
        out.append(time.perf_counter() - begin)
    return out


def _manifest(n: int, word: str = "same") -> Manifest:
    return {f"p{i}": Program(name=f"p{i}", argv=("/bin/sleep", str(i), word)) for i in range(n)}


def _runs(manifest: Manifest) -> tuple[Run, ...]:
    programs = enumerate(manifest.values())
    return tuple(
        Run(id=f"r{i}", program=p, boot="boot", started=float(i), proc=Proc("boot", i, i)) for i, p in programs
    )


def _ended(n: int) -> tuple[Manifest, tuple[Run, ...]]:
    runs = (
        Run(id=r.id, program=r.program, boot=r.boot, started=r.started, proc=r.proc, exited=1e5, exit=1, ended=1e5)
        for r in _runs(_manifest(n))
    )
    return _manifest(n), tuple(runs)


# Equal values of other objects, as they come from two files: nothing is found by identity.
SITUATIONS: dict[str, Callable[[int], tuple[Manifest, tuple[Run, ...]]]] = {
    "is missing": lambda n: (_manifest(n), ()),
    "runs": lambda n: (_manifest(n), _runs(_manifest(n))),
    "has changed": lambda n: (_manifest(n), _runs(_manifest(n, "other"))),
    "has failed": _ended,
}


# -- c: starting


def starting(room: str, whiz: str, rounds: int) -> str:
    """Measure how long it takes until many programs are up, from the launch of the command."""
    title = f"Starting {MANY} programs"
    peer = s6_here(room)
    ours, done, theirs = [], [], []
    for n in range(rounds + 1):
        up, returned = whiz_round(f"{room}/whiz-{n}", whiz)
        other = s6_round(f"{room}/s6-{n}", peer) if peer else 0.0
        if n:  # the first round warms up
            ours.append(up)
            done.append(returned)
            theirs.append(other)
    rows = [
        (f"`whiz apply`: all {MANY} are up", shown(ours), ratio(ours, theirs) if peer else "-"),
        ("`whiz apply`: has returned", shown(done), ratio(done, theirs) if peer else "-"),
    ]
    if not peer:
        hint = "s6 is not installed, so there is nothing to compare with: `apt-get install -y s6` and run this again."
        return section(title, table(("", "ms", "times s6"), rows), hint)
    rows.insert(0, (f"`s6-svscan`: all {MANY} are up", shown(theirs), "1.0"))
    times = statistics.median(ours) / statistics.median(theirs)
    said = f"Here whiz loses: s6 is {times:.1f} times as fast" if times > 1 else f"whiz takes {times:.2f} of s6's time"
    return section(
        title,
        table(("", "ms", "times s6"), rows),
        f"{rounds} rounds; a `run` file each for s6, a fresh home and one whizzifest for whiz. {said}. s6 keeps a"
        f" supervisor per program ({MANY} more processes) and starts them side by side; whiz starts one after the other"
        " and writes each start down before and after.",
    )


def s6_here(room: str) -> S6 | None:
    """Return s6, if it can be had."""
    s6 = S6()
    try:
        s6.install(room)
    except Absent:
        return None
    return s6


def whiz_round(base: str, whiz: str) -> tuple[float, float]:
    """Return the seconds from the launch until all are up, and until the command has returned."""
    tag = new_tag()
    words = [whiz, "--home", f"{base}/home", "-m", whizzifest(base, tag, MANY), "--quiet", "apply"]
    before = pids()
    with ended(tag):
        begin = time.perf_counter()
        with subprocess.Popen(words, env=ENV, stdin=subprocess.DEVNULL) as command, ThreadPoolExecutor() as other:
            returns = other.submit(wait_return, command)
            up, returned = wait_up(tag, MANY, before), returns.result()
        if command.returncode:
            raise SystemExit(f"bench: {' '.join(words)} gave {command.returncode}")
    return up - begin, returned - begin


def s6_round(base: str, s6: S6) -> float:
    """Return the seconds from the launch until all are up."""
    with trial(s6, base, MANY) as (_, took, _command):
        return took


def whizzifest(base: str, tag: str, n: int) -> str:
    """Write a whizzifest of sleeping programs and return its path."""
    os.makedirs(base)
    with open(f"{base}/whizzifest", "w", encoding="ascii") as f:
        f.writelines(f"p{i}|/bin/sleep {argument}\n" for i, argument in enumerate(seconds(tag, n)))
    return f"{base}/whizzifest"


if __name__ == "__main__":
    sys.exit(main())
