"""The contract of the ways to hosts: what a pool may expect, of ssh and of the stand-in that takes its place."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.fleet.standin import StandIn
from whiz.core.fleet.answers import Fate
from whiz.core.value import replace
from whiz.face import hosts as faces
from whiz.world.fleet.pool import each

if TYPE_CHECKING:
    from tests.fleet.sshds import Hosts
    from whiz.core.fleet.model import Host
    from whiz.face.hosts import Ways


@pytest.fixture(params=["ssh", "stand-in"])
def place(
    request: pytest.FixtureRequest, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> tuple[Ways, dict[str, Host]]:
    """Three hosts: one that is up, one that is never done, and one that is not there."""
    from argparse import Namespace

    monkeypatch.setenv("HOME", str(hosts.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    hosts.up("up", script="#!/bin/sh\n")
    hosts.up("silent", script="#!/bin/sh\n")
    hosts.name("gone", hosts.address())
    fleet = faces.load(Namespace(fleet=str(hosts.home / "fleet.yaml")))

    def shell(words: list[str]) -> tuple[int, str]:
        return (int(words[1]), "") if words[0] == "exit" else (0, " ".join(words[1:]) + "\n")

    real = request.param == "ssh"
    ways = faces.lines() if real else StandIn({"up": shell, "silent": shell, "gone": None}, frozenset({"silent"}))
    late = replace(fleet.hosts["silent"], timeout=10.0 if real else 1.0)
    return ways, {**fleet.hosts, "silent": late}


def test_what_a_pool_may_expect(place: tuple[Ways, dict[str, Host]]) -> None:
    ways, hosts = place
    told: list[str] = []
    asked = [hosts["up"], hosts["gone"]]
    replies = each(asked, lambda turn: ways.run(turn, "echo one; echo two"), lambda r, _: told.append(r.host))
    assert [(r.host, r.exit, r.out, r.fate) for r in replies] == [
        ("up", 0, "one\ntwo\n", None),
        ("gone", None, "", Fate.OFFLINE),
    ]
    assert replies[1].why == "connection refused"
    (reply,) = each([hosts["up"]], lambda turn: ways.run(turn, "exit 3"), lambda r, _: told.append(r.host))
    assert (reply.exit, reply.out, reply.fate) == (3, "", None)
    command = f"exec sleep 1017.{os.getpid()}"  # nobody else's: whoever runs the same would adopt it
    (reply,) = each([hosts["silent"]], lambda turn: ways.run(turn, command), lambda r, _: told.append(r.host))
    for left in psutil.process_iter():  # hung up on, it goes on
        with suppress(psutil.Error):
            if left.cmdline() == command.split()[1:]:
                left.kill()
    assert reply.fate is Fate.FAILED
    assert re.fullmatch(r"no answer within \d+ s: it may still be at it", reply.why)
    assert sorted(told) == ["gone", "silent", "up", "up"]
    ways.close()
