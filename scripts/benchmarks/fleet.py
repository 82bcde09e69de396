"""How soon many hosts have answered: whiz fleet beside ansible, pyinfra, parallel-ssh and ssh itself.

The hosts are sshd servers in network namespaces of this machine, which therefore does both ends' work. A report, not a
test. Rounds alternate, so that a busy machine slows all alike. Needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import getting
import ground
from node import DOCS, commit, facts, install
from words import ratio, section, shown, table

from tests.fleet.sshds import Hosts

FORKS = 32  # at once, for everybody
ROUNDS = {20: 7, 100: 3}  # how often each is asked
REACH = {"ansible": 6.0, "ssh": 1.3}  # what we reach for
SSH, PING, COLD = "`ssh`, 32 at once (xargs)", "`ansible -m ping`", "`ansible -m ping`, first time"
EXEC, CHECK, SSH_CHECK = "`whiz fleet exec true`", "`whiz fleet check`", "`ssh … whiz check --json`, 32 at once (xargs)"

PSSH = """\
import sys
from pssh.clients.native import ParallelSSHClient
hosts = [line.split() for line in open(sys.argv[1])]
client = ParallelSSHClient([h for h, _ in hosts], port=int(hosts[0][1]), pkey=sys.argv[2], pool_size=int(sys.argv[3]),
                           allow_agent=False)
done = client.run_command("true")
client.join(done)
sys.exit(any(h.exit_code for h in done))
"""


def main() -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="bench fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 5 hosts; write to a temporary directory")
    parser.add_argument("--hosts", default="20,100", metavar="N,N", help="how many, up to 250 (default: 20,100)")
    parser.add_argument("--rounds", type=int, default=0, help="of each (default: 7; of 100 hosts 3)")
    parser.add_argument("--bare", action="store_true", help="just ssh and whiz: nothing is fetched; as --quick")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return _inside(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    ground.needed("ssh", "ssh-keygen", "xargs")
    if not args.bare:
        getting.pythons()
    with tempfile.TemporaryDirectory(prefix="whiz-bench-") as room:
        os.chmod(room, 0o755)  # noqa: S103  sshd drops its rights
        install(room)
        words = [room, "--hosts", args.hosts, "--rounds", str(args.rounds), *(["--quick"] if args.quick else [])]
        words += ["--bare"] if args.bare else []
        return ground.inside(__file__, words)


def _inside(args: argparse.Namespace) -> int:
    room = Path(args.inside)
    place = tempfile.mkdtemp(prefix="whiz-bench-report-") if args.quick or args.bare else DOCS
    began, load = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
    (room / "memory").mkdir()
    ground.prepare(str(room / "memory"))
    ground.bridge(ground.MASTER)
    sizes = [5] if args.quick else [int(n) for n in args.hosts.split(",")]
    python = "" if args.bare else f"{getting.pythons()}/python"
    parts = [measured(room, python, n, args.rounds or (1 if args.quick else ROUNDS.get(n, 3))) for n in sizes]
    said = f"- load average before and after: {load:.1f}, {os.getloadavg()[0]:.1f}"
    text = "\n".join([HEAD, "", *facts(began), f"- {_versions(bare=args.bare)}", said, "", *parts])
    Path(f"{place}/fleet.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {os.path.relpath(place)}")
    return 0


HEAD = """\
# Many hosts

Written by `./scripts/bench fleet` (about five minutes, as root); run it again to measure your machine. Each host is an
sshd in a network namespace of its own, behind one bridge: the machine does the servers' work too, which is the same for
all, and there is no network to wait for, so what is measured is what each costs. Everybody asks 32 at once.
parallel-ssh does not look at host keys, the others do. Times are wall-clock: median (fastest to slowest). CPU is the
client's own, its children's included."""


class Spaced(Hosts):
    """Hosts of which each has a network of its own."""

    first = 0  # of their numbers, so that two fleets do not meet
    places: dict[str, str]  # name -> address

    def address(self) -> str:
        """Return the address of a new namespace."""
        self._n += 1
        number = Spaced.first = Spaced.first + 1
        address = f"10.78.{1 + number // 250}.{1 + number % 250}"
        self.places[f"pi{self._n}"] = address
        self._name = ground.host(number, address)
        return address

    def server(self, folder: Path) -> list[str]:
        """Return the command of an sshd there."""
        return [*ground.at(self._name), *super().server(folder)]


@dataclass
class Subject:
    """One way to ask them all."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measured(room: Path, python: str, n: int, rounds: int) -> str:
    """Ask n hosts in every way, by turns."""
    folder = room / str(n)
    folder.mkdir()
    hosts = Spaced(folder, room / "venv/bin/whiz")
    hosts.places = {}
    try:
        for i in range(n):
            hosts.up(f"pi{i + 1}")
            hosts.write(f"pi{i + 1}", "programs:\n  web: {run: /bin/true, want: done}\n")
        code, out, err = hosts.fleet("apply", "-j", "8")
        if code != 0:
            raise SystemExit(f"bench: the hosts do not come up: {out}{err}")
        subjects = _subjects(hosts, python)
        for turn in range(rounds + 1):
            for name, subject in subjects.items():
                took, cpu = _timed(subject, hosts, name)
                if turn:  # the first round warms up
                    subject.times.append(took)
                    subject.cpu.append(cpu)
            _hang_up(hosts)
    finally:
        hosts.end()
    return _told(subjects, n, rounds)


def _subjects(hosts: Spaced, python: str) -> dict[str, Subject]:
    """Write what each is told, and return how each is called."""
    home, key = hosts.home, hosts.key
    there = list(hosts.places.items())
    common = f"Port {hosts.port}\nIdentityFile {key}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
    blocks = [f"Host {name}\nHostName {address}\n" for name, address in there]
    (home / "ssh_config").write_text("".join(blocks) + f"Host *\nUserKnownHostsFile {hosts.known}\n{common}")
    (home / "names").write_text("".join(f"{name} {hosts.dir}/{name}/whiz\n" for name, _ in there))
    (home / "hosts.ini").write_text("".join(f"{name}\n" for name, _ in there))
    (home / "places").write_text("".join(f"{address} {hosts.port}\n" for _, address in there))
    (home / "ask.py").write_text(PSSH)
    lines = [(name, {"ssh_hostname": address, "ssh_port": hosts.port, "ssh_key": str(key)}) for name, address in there]
    (home / "inventory.py").write_text(f"hosts = {lines!r}\n")
    bin_ = os.path.dirname(python)
    xargs = f"xargs -P {FORKS} -L 1 sh -c 'ssh -F {home}/ssh_config \"$0\" {{}} ' <{home}/names"
    ping = [f"{bin_}/ansible", "all", "-i", f"{home}/hosts.ini", "-m", "ping", "-f", str(FORKS)]
    ansible = {
        "ANSIBLE_SSH_ARGS": f"-F {home}/ssh_config -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{home}/cp",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    whiz = [str(hosts.whiz), "--home", str(home), "fleet"]
    ours = {
        SSH: Subject(["sh", "-c", xargs.replace("{}", "true")]),
        EXEC: Subject([*whiz, "exec", "-j", str(FORKS), "true"]),
        SSH_CHECK: Subject(["sh", "-c", xargs.replace("{}", '"$1" check --json')]),
        CHECK: Subject([*whiz, "check", "-j", str(FORKS)]),
    }
    if not python:
        return ours
    return ours | {
        "`parallel-ssh`, true": Subject([python, f"{home}/ask.py", f"{home}/places", str(key), str(FORKS)]),
        "`pyinfra exec -- true`": Subject(
            [f"{bin_}/pyinfra", "-y", "--parallel", str(FORKS), f"{home}/inventory.py", "exec", "--", "true"]
        ),
        COLD: Subject(ping, ansible),
        PING: Subject(ping, ansible),
    }


def _timed(subject: Subject, hosts: Hosts, name: str) -> tuple[float, float]:
    """Run it once; return the seconds, and those of the processor."""
    env = {"PATH": os.environ["PATH"], "HOME": str(hosts.home), "LANG": "C.UTF-8", **subject.env}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        subject.argv, env=env, cwd=hosts.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    took, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"bench: {name}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-1000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _hang_up(hosts: Hosts) -> None:
    """Close the connections that ansible keeps, so that its first ping of the next round is a first one."""
    for path in (hosts.home / "cp").glob("*"):
        subprocess.run(["ssh", "-O", "exit", "-S", str(path), "x"], check=False, capture_output=True)
    shutil.rmtree(hosts.home / "cp", ignore_errors=True)


def _told(subjects: dict[str, Subject], n: int, rounds: int) -> str:
    bare, check = subjects[SSH].times, subjects[CHECK].times
    rows = [
        (name, shown(s.times), ratio(s.times, bare), ratio(s.times, check), f"{statistics.median(s.cpu):.1f}")
        for name, s in subjects.items()
    ]
    reached = []
    if COLD in subjects:
        first, again = (statistics.median(subjects[by].times) / statistics.median(check) for by in (COLD, PING))
        reached = [
            f"whiz check is {first:.1f} times as fast as ansible's first ping (we reach for {REACH['ansible']:g})",
            f"{again:.1f} times as fast as one over connections that ansible kept",
        ]
    connections = statistics.median(subjects[EXEC].times) / statistics.median(bare)
    reached.append(f"its connections cost {connections:.2f} times those of bare ssh (we reach for {REACH['ssh']:g})")
    worse = [name for name, s in subjects.items() if name not in (EXEC, SSH) and "check" not in name]
    worse = [w for w in worse if statistics.median(subjects[w].times) < statistics.median(subjects[EXEC].times)]
    if statistics.median(subjects[SSH_CHECK].times) < statistics.median(check):
        worse.append(SSH_CHECK)
    if connections > 1:
        worse.insert(0, SSH)
    lose = f"Faster than we are at the same: {', '.join(worse)}." if worse else "Nobody here is faster at the same."
    head = ("asked by", "ms", "times bare ssh", "times whiz check", "CPU, s")
    return section(f"{n} hosts", table(head, rows), f"{rounds} rounds. " + "; ".join(reached) + f". {lose}")


def _versions(*, bare: bool) -> str:
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    held = [name.replace("==", " ") for name in (() if bare else getting.PYTHONS)]
    return ", ".join([*held, re.split(r"[ ,]", ssh)[0], f"whiz at {commit()}"])


if __name__ == "__main__":
    sys.exit(main())
