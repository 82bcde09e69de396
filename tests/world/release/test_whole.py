"""Master and node together, by their commands: published, served, pulled, turned, and keys changed under way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.outside import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESOFIESTA = (sys.executable, "-P", "-m", "whiz.face.quesofiesta.cli")


class House:
    """A master, its server, and one node that follows it."""

    def __init__(self, path: Path) -> None:
        self.path, self.env = path, {**os.environ, "HOME": str(path)}
        self.source = path / "dist"
        (self.source / "bin").mkdir(parents=True)

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run([*QUESOFIESTA, *words], env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def master(self, *words: str) -> str:
        return self.run(*words, "--repo", str(self.path / "repo"))

    def pull(self, code: int = 0) -> None:
        self.run("pull", "--home", str(self.path / "pi"), code=code)

    def current(self) -> str:
        return (self.path / "pi/state/apps/camera/current/bin/camera").read_text()

    def status(self) -> Any:
        return json.loads(self.run("status", "--json", "--home", str(self.path / "pi")))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    config = house.run("init", str(tmp_path / "repo"), "--app", "camera")
    server = subprocess.Popen(
        [*QUESOFIESTA, "serve", "--repo", str(tmp_path / "repo"), "--bind", "127.0.0.1", "--port", "0"],
        env=house.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = next(word for word in server.stdout.readline().split() if word.startswith("http://")).rstrip("/,.;")
    until(lambda: _answers(f"{address}/root/1"), "it serves")
    (tmp_path / "pi").mkdir()
    config = config.partition("mirrors:")[0] + f"mirrors: [{address}]\n"
    (tmp_path / "pi/quesofiesta.yaml").write_text(config)
    yield house
    server.terminate()
    server.wait()
    server.stdout.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_from_a_directory_to_a_node_and_back(house: House) -> None:
    program = house.source / "bin/camera"
    program.write_text("one\n")
    house.master("publish", str(house.source), "--label", "one")
    house.pull()
    assert house.current() == "one\n"
    program.write_text("two\n")
    house.master("publish", str(house.source), "--label", "two")
    house.pull()
    assert house.current() == "two\n"
    house.master("rollback")
    house.pull()
    assert house.current() == "one\n"
    house.master("rotate", "--new-key")
    program.write_text("three\n")
    house.master("publish", str(house.source), "--label", "three")
    house.master("rotate", "--new-root-key")
    house.pull()  # two key sets further
    assert house.current() == "three\n"
    house.master("pin", os.uname().nodename, "two")
    house.pull()
    assert house.current() == "two\n"
    house.master("unpin", os.uname().nodename)
    program.write_text("four\n")
    house.master("publish", str(house.source), "--label", "four")
    house.master("bundle", str(house.path / "stick.whiz"))
    text = (house.path / "pi/quesofiesta.yaml").read_text().partition("mirrors:")[0]
    (house.path / "pi/quesofiesta.yaml").write_text(f"{text}mirrors: ['bundle://{house.path}/stick.whiz']\n")
    house.pull()
    assert house.current() == "four\n"
    house.master("gc", "--keep", "1")
    house.master("verify")
    assert house.status()["last"]["label"] == "four"
    assert "all as signed" in house.run("fsck", "--home", str(house.path / "pi"))


def release(house: House, number: int) -> None:
    (house.source / "bin/camera").write_text(f"echo {number}\n")
    house.master("publish", str(house.source), "--label", f"v{number}")


def test_a_repository_that_is_restored_from_a_backup_under_a_running_fleet(house: House) -> None:
    repo, backup = house.path / "repo", house.path / "backup"
    release(house, 1)
    shutil.copytree(repo, backup)
    release(house, 2)
    house.master("rotate", "--new-key")
    house.pull()
    seen = house.status()["seq"]  # numbers are the time of day, or one more: they run ahead of a hasty master's clock
    until(lambda: time.time() > seen + 1, "the clock is past what the node has seen")
    shutil.rmtree(repo)
    shutil.copytree(backup, repo)
    house.pull(code=1)
    said = house.run("status", "--json", "--home", str(house.path / "pi"), code=1)
    assert "not trusted as the channel key" in json.loads(said)["failed"]["why"]
    assert "echo 2" in house.current()
    house.master("rotate", "--new-key")  # the key that the backup does not know of is still there, and is taken
    release(house, 3)
    house.pull()
    assert "echo 3" in house.current()
    assert house.status()["failed"] is None
    house.master("verify")


def test_what_changes_a_repository_at_the_same_time_waits_for_nobody_and_breaks_nothing(house: House) -> None:
    release(house, 1)
    words = [
        ("promote", "stable", "stable"),
        ("gc", "--keep", "1"),
        ("rotate", "--new-key"),
        ("promote", "stable", "beta"),
    ]
    command = [*QUESOFIESTA, "-q"]
    running = [
        subprocess.Popen([*command, *w, "--repo", str(house.path / "repo")], env=house.env, stderr=subprocess.PIPE)
        for _ in range(2)
        for w in words
    ]
    ended = [(p.communicate()[1].decode(), p.returncode) for p in running]
    assert {code for _, code in ended} <= {0, 75}, ended
    assert any(code == 0 for _, code in ended)
    assert all("another quesofiesta is at work" in said for said, code in ended if code)
    house.master("verify")
    release(house, 2)
    house.pull()
    assert "echo 2" in house.current()


def test_a_pack_of_all_spares_a_first_install_every_question(house: House) -> None:
    for n in range(50):
        (house.source / f"lib{n}.py").write_text(f"print({n})\n" * (n % 7))
    (house.source / "bin/camera").write_text("one\n")
    house.master("publish", str(house.source), "--pack")
    assert "all is as it should be" in house.master("verify")
    house.master("gc")
    shutil.rmtree(house.path / "repo/o")  # it is not asked for
    house.pull()
    assert house.current() == "one\n"
    assert house.run("fsck", "--home", str(house.path / "pi")).endswith("all as signed\n")
