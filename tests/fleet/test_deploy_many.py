"""A deploy to five hundred hosts, a tenth of them off and a hundredth failing; ssh has a stand-in, the rest is real."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.fleet.standin import StandIn
from whiz.core.release import channel as channels
from whiz.core.release import release as releases
from whiz.face.quesofiesta import cli
from whiz.face.quesofiesta.deploy import deploy
from whiz.face.quesofiesta.parser import build_parser
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from whiz.core.release.channel import Channel

MANY = 500
OFF, BAD, LATE = range(0, MANY, 10), range(1, MANY, 100), (2,)


class Mirror:
    """What the repository says now, its signatures checked once for all nodes."""

    def __init__(self, path: Path) -> None:
        self._repository, self._lock = Repository(str(path)), threading.Lock()
        self._data, self._said = b"", cast("Channel | None", None)
        self.repo = self._repository.root().repo

    def channel(self) -> Channel:
        with self._lock:
            if (data := self._repository.signed("channel/stable").data) != self._data:
                self._data, self._said = data, self._repository.channel("stable")
            assert self._said is not None
            return self._said


class Node:
    """What a node does with a channel: it runs what that wants of it, or turns back."""

    def __init__(self, name: str, mirror: Mirror, *, bad: bool) -> None:
        self._name, self._mirror, self.bad = name, mirror, bad
        self.current: str | None = None
        self.failed: list[dict[str, str]] = []
        self.pulls = 0

    def answer(self, words: list[str]) -> tuple[int, str]:
        if words[:2] == ["whiz", "status"]:
            return 0, _line(programs=[])
        if words[1] == "status":
            follows = {
                "app": "camera",
                "repo": self._mirror.repo,
                "channel": "stable",
                "host": self._name,
                "groups": [],
            }
            return 0, _line(
                **follows,
                current=self.current,
                releases=[self.current] if self.current else [],
                trial=None,
                bad=self.failed,
            )
        self.pulls += 1
        said = self._mirror.channel()
        label = channels.wanted(said, self._name, ())
        new = said.offer(label).id
        common = {"id": new, "label": label, "words": "", "seq": said.seq, "fetched": 100}
        if self.bad and self.current is not None:
            self.failed.append({"id": new, "label": label, "why": "exited 3"})
            return 1, _line(did="back", why="exited 3\nno lens", **common)
        did, self.current = "nothing" if self.current == new else "updated", new
        return 0, _line(did=did, why="", **common)


def _line(**held: Any) -> str:
    return json.dumps({"version": 1, **held}) + "\n"


class Fleet:
    """Many nodes, a repository, and a fleet file."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self._capsys = place, capsys
        cli.main(["init", str(place / "repo"), "--app", "camera", "--keys", str(place / "keys")])
        (place / "src").mkdir()
        names = [f"pi{n}" for n in range(MANY)]
        (place / "fleet.yaml").write_text("hosts:\n" + "".join(f"  {n}: \n" for n in names))
        mirror = Mirror(place / "repo")
        self.nodes = {n: Node(n, mirror, bad=i in BAD) for i, n in enumerate(names)}
        self.off = {f"pi{i}" for i in OFF}

    def deploy(self, text: str, *words: str, late: frozenset[str] = frozenset()) -> tuple[int, Any]:
        (self.place / "src/run.sh").write_text(text)
        common = ["--repo", str(self.place / "repo"), "--keys", str(self.place / "keys"), "--json"]
        line = [
            "deploy",
            str(self.place / "src"),
            "--fleet",
            str(self.place / "fleet.yaml"),
            "--soak",
            "0",
            *common,
            *words,
        ]
        answers = {n: None if n in self.off else node.answer for n, node in self.nodes.items()}
        first = iter([StandIn(answers)])  # who says how it is may still never answer to a pull
        ways = StandIn(answers, late)
        self._capsys.readouterr()
        code = deploy(build_parser(line).parse_args(line), lambda: next(first, ways))
        return code, json.loads(self._capsys.readouterr().out)


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(tmp_path, capsys)


def states(said: Any) -> Counter[str]:
    return Counter(h["state"] for h in said["hosts"])


def test_five_hundred_a_tenth_is_off_and_a_hundredth_fails(fleet: Fleet) -> None:
    """One never answers: it costs its timeout, once, and no other host waits for it."""
    code, said = fleet.deploy("one")
    assert (code, states(said)) == (0, {"updated": 450, "offline": 50})
    code, said = fleet.deploy("two", "--timeout", "3s", late=frozenset({"pi2"}))
    assert (code, states(said)) == (1, {"updated": 444, "offline": 50, "rolled back": 5, "failed": 1})
    assert said["ended"] is None, "6 of 450 are less than 2 %"
    by = {h["host"]: h for h in said["hosts"]}
    assert (by["pi101"]["why"], by["pi101"]["log"]) == ("exited 3", ["no lens"])
    assert by["pi2"]["why"] == "no answer within 3 s: it may still be at it"
    assert by["pi10"]["why"] == "will catch up: connection refused"
    assert [h["host"] for h in said["hosts"]] == [f"pi{n}" for n in range(MANY)]
    assert threading.active_count() < 50


def test_at_one_percent_it_is_taken_back(fleet: Fleet) -> None:
    fleet.deploy("one")
    one = {n: node.current for n, node in fleet.nodes.items()}
    code, said = fleet.deploy("two", "--canary", "1%,10%", "--abort-at", "1%")
    found = states(said)
    assert code == 1
    assert found["offline"] == 50
    assert found["updated"] == 0
    assert "hosts failed, more than 1 %" in said["ended"]
    assert {n: node.current for n, node in fleet.nodes.items()} == one
    assert sum(node.pulls for node in fleet.nodes.values()) < 450 + 2 * 450


def test_waves_of_five_hundred(fleet: Fleet) -> None:
    fleet.deploy("one")
    fleet.off |= {f"pi{n}" for n in BAD}
    code, said = fleet.deploy("two", "--canary", "1%,10%")
    assert (code, states(said)) == (0, {"updated": 445, "offline": 55})
    sizes = [len(w["hosts"]) for w in said["waves"]]
    assert sizes[0] >= 5
    assert sizes[1] >= 45
    assert sizes[2] == 445
    assert releases.is_digest(said["id"])
