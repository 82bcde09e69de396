"""Releases to eight real hosts: one turns back, one loses its power amid a pull, one is off, and deploy itself is killed."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil

from tests.lab.master import Master
from whiz.core.release.channel import bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Host, Lab

CLI = "whiz.face.quesofiesta.cli"
MANIFEST = "programs:\n  camera: {run: ./camera.sh}\n"
GOOD = "#!/bin/sh\n# {}\nexec sleep 100000\n"
PICKY = "#!/bin/sh\n# {}\ncase $(hostname) in {}) echo no lens; exit 3;; esac\nexec sleep 100000\n"
HOLD = "#!/bin/sh\n[ ! -e /run/hold ] || touch /run/held\nwhile [ -e /run/hold ]; do sleep 0.1; done\n"


class House:
    """The master's repository, served to the hosts, and what is deployed from it."""

    def __init__(self, master: Master, hosts: list[Host]) -> None:
        self.master, self.hosts = master, {h.name: h for h in hosts}
        self.source, self.repo = master.home / "dist", master.home / "repo"
        self.source.mkdir()
        for name, text in (("whizzifest.yaml", MANIFEST), ("hold.sh", HOLD)):
            (self.source / name).write_text(text)
            (self.source / name).chmod(0o755)
        config = self.run("init", str(self.repo), "--app", "camera").partition("mirrors:")[0]
        words = ("serve", "--repo", str(self.repo), "--bind", "10.77.0.1")
        self._server = subprocess.Popen(master.argv(CLI, *words), stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        assert "serving" in self._server.stdout.readline()
        config += "mirrors: ['http://10.77.0.1:8088']\ngate: {healthy: 1s, within: 60s}\n"
        for host in hosts:
            host.write("/etc/whiz/quesofiesta.yaml", config)
            host.write("/etc/whiz/node.yaml", f"name: {host.name}\n")

    def end(self) -> None:
        for process in psutil.Process(self._server.pid).children():
            process.kill()
        self._server.communicate()

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(self.master.argv(CLI, *words), check=False, capture_output=True, text=True, timeout=250)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, text: str) -> None:
        (self.source / "camera.sh").write_text(text)
        (self.source / "camera.sh").chmod(0o755)

    def words(self, *words: str) -> list[str]:
        fleet = str(self.master.home / "fleet.yaml")
        common = ["deploy", str(self.source), "--repo", str(self.repo), "--fleet", fleet, "--soak", "0"]
        return [*common, "--preflight", "sh hold.sh", *words]

    def deploy(self, *words: str, code: int = 0) -> str:
        return self.run(*self.words(*words), code=code)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        argv = self.master.argv(CLI, *self.words(*words))
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def history(self) -> Any:
        return json.loads(self.run("history", "--repo", str(self.repo), "--json"))["history"]

    def order(self) -> list[str]:
        """Return the hosts as they fall into the waves of what is written now."""
        words = ("build", str(self.source), "--repo", str(self.repo), "--preflight", "sh hold.sh", "--json")
        salt = json.loads(self.run(*words))["id"][:16]
        return sorted(self.hosts, key=lambda n: (bucket(salt, n), n))

    def everywhere(self, text: str) -> dict[str, str]:
        """Have every host run a command; return what each prints."""
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(self.hosts, pool.map(lambda h: h.run(text).strip(), self.hosts.values()), strict=True))

    def current(self) -> dict[str, str]:
        return self.everywhere("basename $(readlink /var/lib/whiz/apps/camera/current)")


def results(out: str) -> dict[str, str]:
    """Return host -> result of a table."""
    rows = out.partition("HOST ")[2].splitlines()[1:]
    found = (re.fullmatch(r"(pi\d+) +([a-z]+(?: [a-z]+)?)(  .*)?", row) for row in rows)
    return {m[1]: m[2] for m in found if m}


def test_eight_hosts(lab: Lab, tmp_path: Path) -> None:
    hosts = lab(8)
    house = House(Master(lab, tmp_path, hosts), hosts)
    try:
        _deploys(house)
        _one_turns_back(house)
        _one_is_cut_and_one_is_off(house)
        _a_canary_aborts(house)
        _deploy_is_killed(house)
    finally:
        house.end()


def _deploys(house: House) -> None:
    house.write(GOOD.format(1))
    assert set(results(house.deploy()).values()) == {"updated"}
    assert set(house.everywhere("whiz status | grep -c running").values()) == {"2"}, "the program, and the sum"


def _one_turns_back(house: House) -> None:
    one = house.current()["pi4"]
    house.write(PICKY.format(2, "pi4"))
    out = house.deploy("--abort-at", "50%", code=1)
    said = results(out)
    assert said.pop("pi4") == "rolled back"
    assert set(said.values()) == {"updated"}
    assert "pi4   rolled back  camera did not keep running: " in out
    assert "==> pi4 <==\nno lens\n" in out
    now = house.current()
    assert now.pop("pi4") == one
    assert len({*now.values(), one}) == 2


def _one_is_cut_and_one_is_off(house: House) -> None:
    """Their next turn and pull make up for it, as their timers' would."""
    cut, off = house.hosts["pi5"], house.hosts["pi9"]
    off.kill()
    cut.run("touch /run/hold")
    house.write(GOOD.format(3))
    process = house.begin("--abort-at", "50%")
    cut.until("test -e /run/held")
    cut.kill()
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 1, out
    said = results(out)
    assert (said.pop("pi5"), said.pop("pi9")) == ("failed", "offline")
    assert set(said.values()) == {"updated"}
    for host in (cut, off):
        host.begin()
    for host in (cut, off):
        host.wait()
        host.run("whiz apply")
        host.run("quesofiesta pull")
        assert "all as signed" in host.run("quesofiesta fsck")
    assert len(set(house.current().values())) == 1


def _a_canary_aborts(house: House) -> None:
    """The first wave is well, in the second one fails: who was updated goes back, the rest never hears of it."""
    before = house.current()
    house.write(PICKY.format(4, "nobody"))
    house.write(PICKY.format(4, bad := house.order()[0]))
    while (order := house.order())[0] == bad or bad in order[4:]:  # it shall be one of the second wave
        house.write(PICKY.format(4, bad := order[1]))
    out = house.deploy("--canary", "1%,50%", code=1)
    said = results(out)
    assert said == dict.fromkeys(order[4:], "not asked") | dict.fromkeys(order[:4], "returned") | {bad: "rolled back"}
    assert "; aborted: 1 of 4 hosts failed, more than 2 %\n" in out
    house.everywhere("quesofiesta pull")
    assert house.current() == before


POINTS = (
    "wave 1 of 2: offering ",
    "number ",
    "1 host asked to pull: ",
    "looking ",
    "wave 2 of 2: offering ",
    "7 hosts asked to pull: ",
)


def _deploy_is_killed(house: House) -> None:
    """At each of these messages: what the last one says holds, and the same command goes on to the end."""
    before = house.history()[-1]
    house.write(GOOD.format(5))
    for point in POINTS:
        process = house.begin("--canary", "1%", *(["--soak", "1h"] if point == "looking " else []))
        last = _killed_at(process, point)
        now = house.history()[-1]
        assert now["seq"] >= before["seq"]
        held = re.match(r"number (\d+)(?::| says so already:) stable offers (\S+) to (all hosts|1 of 8 hosts)", last)
        if held is None:  # it is, or it is not
            assert "offering" in last
            continue
        assert now["seq"] == int(held[1])
        offered = now["rollouts"] or [now]
        assert [o["label"] for o in offered] == [held[2]]
        assert bool(now["rollouts"]) == (held[3] != "all hosts")
    out = house.deploy("--canary", "1%")
    assert set(results(out).values()) <= {"updated", "already"}
    said = house.history()
    new = [e for e in said if e["seq"] > before["seq"]]
    assert [bool(e["rollouts"]) for e in new] == [True, False]
    assert len(set(house.current().values())) == 1


def _killed_at(process: subprocess.Popen[str], point: str) -> str:
    """Kill it when it says this; return the last that it said of what holds."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in _lines(process):
        lines.append(line)
        if line.startswith(point):
            for child in psutil.Process(process.pid).children():
                child.kill()
    process.wait()
    process.stdout.close()
    assert any(line.startswith(point) for line in lines), lines
    return [line for line in lines if re.match(r"number |wave \d of \d: offering|offering", line)][-1]


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout
