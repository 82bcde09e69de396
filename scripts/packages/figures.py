"""Measure an installed whiz on the machine that this runs on, which should have no other; print a table.

    python3 figures.py [RUNS]

Ten programs, root's home. CPU seconds say more than wall seconds where others are at work.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = 10
IDLE = 70.0  # s: whiz run looks at least every 60
RESIDENT = Path("/run/whiz/resident.json")
WHIZZIFEST = Path("/etc/whiz/whizzifest")


def main() -> None:
    runs = int(sys.argv[1]) if sys.argv[1:] else 7
    WHIZZIFEST.parent.mkdir(parents=True)
    WHIZZIFEST.write_text("".join(f"p{i}|sleep {100000 + i}\n" for i in range(PROGRAMS)))
    subprocess.run(["whiz", "apply", "--quiet", "--wait", "5m"], check=True)
    rows = [("machine", f"{platform.machine()}, Python {platform.python_version()}, {libraries()}")]
    rows += [(f"`{' '.join(c)}`", costs(c, runs)) for c in (
        ["python3", "-c", "pass"],
        ["whiz", "--version"],
        ["whiz", "apply", "--quiet"],
        ["whiz", "check"],
        ["whiz", "status"],
    )]  # fmt: skip
    rows += [*resident(), *disk()]
    print("| | |\n|---|---|")
    print("\n".join(f"| {name} | {held} |" for name, held in rows))
    WHIZZIFEST.write_text("")
    subprocess.run(["whiz", "apply", "--allow-empty", "--quiet", "--wait", "5m"], check=True)


def libraries() -> str:
    names = ["python3-psutil", "python3-yaml", "python3-schedule", "python3-watchdog"]
    form = "${Package} ${Version}, "
    return subprocess.check_output(["dpkg-query", "-W", "-f", form, *names], text=True).strip(", ")


def costs(command: list[str], runs: int) -> str:
    """Return what a command costs: the least and the middle of its CPU seconds, the least of its wall seconds."""
    cpu, wall = [], []
    for _ in range(runs + 1):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        if done.returncode:
            sys.exit(f"figures: {' '.join(command)}: exit status {done.returncode}")
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        wall.append(ended - began)
    cpu, wall = sorted(cpu[1:]), sorted(wall[1:])  # the first warms the caches
    least, middle = cpu[0] * 1e3, cpu[len(cpu) // 2] * 1e3
    return f"CPU {least:.0f} ms at least, {middle:.0f} in the middle; {wall[0] * 1e3:.0f} ms at least"


def resident() -> list[tuple[str, str]]:
    """Return what `whiz run` needs while nothing happens."""
    whiz = subprocess.Popen(["whiz", "run", "--quiet"])
    while not RESIDENT.exists():
        time.sleep(0.1)
    pid = json.loads(RESIDENT.read_text())["proc"]["pid"]
    time.sleep(20)
    before = ran(pid)
    time.sleep(IDLE)
    spent = ran(pid) - before
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    threads, descriptors = len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))
    whiz.terminate()
    whiz.wait()
    return [
        ("`whiz run`, idle, PSS", f"{pss / 1024:.1f} MiB, {threads} threads, {descriptors} descriptors"),
        (f"`whiz run`, idle for {IDLE:.0f} s", f"{spent * 1e3:.1f} ms of CPU"),
    ]


def ran(pid: int) -> float:
    """Return how long (s) a process's threads have been on a processor, finer than in clock ticks."""
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def disk() -> list[tuple[str, str]]:
    listed = subprocess.check_output(["dpkg", "-L", "whiz"], text=True).split()
    files = [Path(p) for p in listed if Path(p).is_file() and not Path(p).is_symlink()]
    compiled = [*Path("/usr/lib/python3/dist-packages/whiz").rglob("*.pyc")]
    own, made = (sum(p.stat().st_size for p in group) / 1024 for group in (files, compiled))
    return [
        ("on disk", f"{len(files)} files of {own:.0f} KiB, and {len(compiled)} compiled at install, {made:.0f} KiB"),
        ("what one would not have without it", needs()),
    ]


def needs() -> str:
    """Return the size of what whiz depends on besides Python."""
    names = ["python3-psutil", "python3-yaml", "libyaml-0-2", "python3-schedule", "python3-watchdog"]
    sizes = subprocess.check_output(["dpkg-query", "-W", "-f", "${Installed-Size}\n", *names], text=True).split()
    return f"{', '.join(names)}: {sum(map(int, sizes))} KiB"


if __name__ == "__main__":
    main()
