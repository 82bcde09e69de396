"""What a deploy does when it is not alone in the repository, and when it is cut; ssh has a stand-in, the rest is real."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.standin import StandIn
from tests.fleet.test_deploy_many import Mirror, Node
from whiz.core.errors import UsageError
from whiz.core.release.channel import bucket
from whiz.face.quesofiesta import cli
from whiz.face.quesofiesta.deploy import deploy
from whiz.face.quesofiesta.parser import build_parser
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[list[str]], tuple[int, str]]

NAMES = ("pi1", "pi2", "pi3")


class Master:
    """A repository, three nodes, and what comes between: `at_pull` is called at the next pull of any of them."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self._capsys = place, capsys
        self.repo, self.keys = str(place / "the repo"), str(place / "the keys")
        self.run("init", self.repo, "--app", "camera", "--keys", self.keys)
        (place / "src").mkdir()
        (place / "fleet.yaml").write_text("hosts:\n" + "".join(f"  {n}: \n" for n in NAMES))
        self.nodes = {n: Node(n, Mirror(place / "the repo"), bad=False) for n in NAMES}
        self.at_pull: Callable[[], object] = lambda: None
        self.ways = StandIn({n: self.answer(n) for n in NAMES})

    def answer(self, name: str) -> Answer:
        def answer(words: list[str]) -> tuple[int, str]:
            if words[1] == "pull":
                act, self.at_pull = self.at_pull, lambda: None
                act()
            return self.nodes[name].answer(words)

        return answer

    def run(self, *words: str, code: int = 0) -> str:
        assert cli.main(list(words)) == code
        return self._capsys.readouterr().out

    def change(self, *words: str) -> None:
        """Change the repository as from another terminal; print nothing."""
        assert cli.main([*words, "--repo", self.repo, "--keys", self.keys, "-q"]) == 0

    def words(self, text: str, *words: str) -> list[str]:
        (self.place / "src/run.sh").write_text(text)
        common = ["--repo", self.repo, "--keys", self.keys, "--fleet", str(self.place / "fleet.yaml"), "--soak", "0"]
        return ["deploy", str(self.place / "src"), *common, *words]

    def begin(self, text: str, *words: str) -> int:
        line = self.words(text, *words)
        return deploy(build_parser(line).parse_args(line), lambda: self.ways)

    def deploy(self, text: str, *words: str, code: int = 0) -> Any:
        self._capsys.readouterr()
        assert self.begin(text, *words, "--json") == code
        out, self.err = self._capsys.readouterr()
        return json.loads(out)

    def history(self) -> Any:
        return json.loads(self.run("history", "--repo", self.repo, "--json"))["history"]

    def states(self, said: Any) -> list[str]:
        return [h["state"] for h in said["hosts"]]


@pytest.fixture
def master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Master:
    return Master(tmp_path, capsys)


def test_a_rollback_meanwhile_is_not_undone(master: Master) -> None:
    master.deploy("one")
    one = master.history()[-1]
    master.at_pull = lambda: master.change("rollback", "-m", "no")
    said = master.deploy("two", "--canary", "1%", code=1)
    assert "stable was changed while this deploy ran, so it ends: number " in said["ended"]
    assert said["ended"].endswith(": no")
    last = master.history()[-1]
    assert (last["label"], last["rollouts"], last["note"]) == (one["label"], [], "no")
    assert sorted(master.states(said)).count("not asked") == 2
    assert master.err.count("takes it back") == 1, "it says no more what held before"
    master.change("rollback", one["label"])
    master.at_pull = lambda: master.change("rollback", one["label"])
    said = master.deploy("two", "--canary", "1%", code=1)
    assert "failed" not in master.states(said)
    assert "offers" not in master.err.partition("asked to pull")[2].replace("what is offered", "")


def test_a_rollout_that_is_under_way_is_told(master: Master) -> None:
    master.deploy("one")
    two = master.deploy("two", "--to", "pi1,pi2")["label"]
    master.deploy("three", "--to", "pi2")
    assert f"stable offers {two} to a part of the hosts: that loses these hosts to this deploy" in master.err
    three = master.deploy("three", "--to", "pi2")["label"]
    master.deploy("four", "--canary", "1%")
    assert f"stable offers {two}, {three} to a part of the hosts: that ends with this deploy" in master.err


def test_what_another_published_meanwhile_is_not_taken_back(master: Master) -> None:
    """Not by an abort, either; the rows of who was asked are shown."""
    master.deploy("one")
    for node in master.nodes.values():
        node.bad = True
    other = master.place / "other"
    other.mkdir()
    (other / "run.sh").write_text("three")
    master.at_pull = lambda: master.change("publish", str(other), "--label", "three")
    said = master.deploy("two", code=1)
    assert "was changed while this deploy ran" in said["ended"]
    assert master.history()[-1]["label"] == "three"
    assert len(said["hosts"]) == 3


def test_a_pin_meanwhile_and_the_same_deploy_elsewhere_are_no_hindrance(master: Master) -> None:
    master.deploy("one")
    one = master.history()[-1]["label"]
    master.at_pull = lambda: master.change("pin", "elsewhere", one)
    said = master.deploy("two", "--canary", "1%")
    assert set(master.states(said)) == {"updated"}
    assert master.history()[-1]["pins"] == {"elsewhere": one}
    master.at_pull = lambda: master.begin("three", "-q")
    said = master.deploy("three", "--canary", "1%")
    assert said["ended"] is None
    assert said["seq"] == master.history()[-1]["seq"]


def test_a_failure_after_the_first_wave_still_shows_who_was_updated(master: Master) -> None:
    master.deploy("one")
    master.at_pull = lambda: shutil.move(master.keys, master.place / "away")
    said = master.deploy("two", "--canary", "1%", code=1)
    assert sorted(master.states(said)) == ["not asked", "not asked", "updated"]
    assert said["ended"].startswith("stopped: ")
    assert "wave 2 of 2: offering" in master.err


def test_the_command_that_takes_it_back_works_as_it_stands(master: Master) -> None:
    master.deploy("one")
    one = master.history()[-1]["label"]
    master.deploy("two", "--canary", "1%")
    command = master.err.split("`")[1]
    assert shlex.split(command)[0] == "quesofiesta"
    master.run(*shlex.split(command)[1:])
    assert master.history()[-1]["label"] == one


def test_a_second_ctrl_c_does_not_make_one_who_was_asked_not_asked(master: Master) -> None:
    class Impatient(StandIn):
        def close(self) -> None:
            if any("pull" in command for _, command in self.asked):
                raise KeyboardInterrupt

    master.ways = Impatient({n: master.answer(n) for n in NAMES})
    said = master.deploy("one", code=130)
    assert master.states(said) == ["unknown"] * 3


def test_ctrl_c_while_they_go_back(master: Master) -> None:
    """It ends with 130; what is offered again stays offered."""
    master.deploy("one")
    one = master.history()[-1]
    canary = min(NAMES, key=lambda n: (bucket(_id(master, "two")[:16], n), n))
    other = next(n for n in NAMES if n != canary)
    master.nodes[other].bad = True

    class Hangs(StandIn):
        def run(self, turn: Any, command: str) -> Any:
            said = Repository(master.repo).channel("stable")
            if "pull" in command and said is not None and said.note.startswith("aborted"):
                turn.ask()
                os.kill(os.getpid(), signal.SIGINT)
            return super().run(turn, command)

    master.ways = Hangs({n: master.answer(n) for n in NAMES})
    said = master.deploy("two", "-j", "1", code=130)
    assert said["ended"] == "interrupted"
    assert "offers again what it did before" in master.err
    assert master.history()[-1]["label"] == one["label"]


def test_a_channel_that_nobody_follows_says_what_they_follow(master: Master) -> None:
    master.deploy("one")
    with pytest.raises(UsageError, match="pi1 follows camera in the channel stable"):
        master.begin("two", "--channel", "beta")


def test_it_waits_for_who_is_at_work_in_the_repository(master: Master) -> None:
    (master.place / "fleet.yaml").write_text("hosts:\n  gone: {address: 127.0.0.1, port: 1}\n")
    holder = subprocess.Popen(["flock", master.repo, "sh", "-c", "echo; read _"], stdin=PIPE, stdout=PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()
    argv = [str(Path(sys.executable).parent / "quesofiesta"), *master.words("one")]
    process = subprocess.Popen(argv, stdout=PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"waiting: another quesofiesta is at work in {master.repo}\n":
            holder.stdin.close()
            break
    out, _ = process.communicate(timeout=100)
    holder.wait()
    holder.stdout.close()
    assert process.returncode == 0
    assert out.endswith("1 host: 1 offline\n")
    assert len(master.history()) == 1


@pytest.mark.parametrize("fd", [1, 2])
def test_without_a_stream_it_does_its_work(fd: int, master: Master) -> None:
    (master.place / "fleet.yaml").write_text("hosts:\n  gone: {address: 127.0.0.1, port: 1}\n")
    argv = [str(Path(sys.executable).parent / "quesofiesta"), *master.words("one")]
    assert subprocess.run(["sh", "-c", f'exec "$@" {fd}>&-', "sh", *argv], check=False).returncode == 0
    assert len(master.history()) == 1


def _id(master: Master, text: str) -> str:
    (master.place / "src/run.sh").write_text(text)
    found: str = json.loads(master.run("build", str(master.place / "src"), "--repo", master.repo, "--json"))["id"]
    return found
