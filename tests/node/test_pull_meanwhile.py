"""Pulls at odd moments: while whiz restarts programs, and of a release that brings quesofiesta itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import whiz
from tests.node.conftest import WHIZ, following
from tests.world.release.node import COMMAND

if TYPE_CHECKING:
    from tests.node.conftest import Node, Until
    from tests.world.release.node import Node as Puller
    from tests.world.release.publisher import Repo, Tree

CAMERA = """\
#!/bin/sh
echo start {label} >>{home}/said
trap 'echo ending {label} >>{home}/said; until [ -e {home}/go ]; do sleep 0.05; done
  echo end {label} >>{home}/said; exit 0' TERM
while :; do sleep 0.05; done
"""
QUESOFIESTA = f"""\
#!{sys.executable}
import os, sys
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + "/lib")
from whiz.face.quesofiesta.cli import main
sys.exit(main())
"""


@pytest.fixture
def puller(node: Node, repo: Repo) -> Puller:
    return following(node, repo, "1m")


def camera(node: Node, label: str) -> Tree:
    manifest = b"programs:\n  camera: {run: ./camera.sh, stop: {grace: 2m}}\n"
    script = CAMERA.format(label=label, home=node.path).encode()
    return {"whizzifest.yaml": manifest, "camera.sh": (script,)}


def test_a_pull_amid_a_restart_waits_its_turn(node: Node, repo: Repo, puller: Puller, until: Until) -> None:
    """The old one ends only when it may; whoever acts first, none of it begins before that."""
    repo.publish(camera(node, "one"), "one")
    assert puller.run("pull").returncode == 0
    asked = ["--home", str(node.path)]
    with subprocess.Popen([*WHIZ, *asked, "restart", "camera"], stdout=subprocess.DEVNULL) as restart:
        until(lambda: "ending one" in node.lines("said"))
        name = repo.publish(camera(node, "two"), "two")
        with subprocess.Popen([*COMMAND, "pull", *asked], stdout=subprocess.DEVNULL) as pull:
            until(lambda: puller.store.pointed("current") == name or pull.poll() is not None, 90)
            assert pull.poll() is None
            assert node.lines("said") == ["start one", "ending one"]
            node.write("", "go")
            assert restart.wait() == 0
            assert pull.wait() == 0
    said = [line for line in node.lines("said") if not line.startswith("ending")]
    assert [line.split()[0] for line in said] == ["start", "end"] * (len(said) // 2) + ["start"]
    assert said[-1] == "start two"
    assert [line.split()[1] for line in said] == sorted(line.split()[1] for line in said)


def itself(node: Node, version: str, *, broken: bool = False) -> tuple[Tree, tuple[str, ...]]:
    """Return a release that brings quesofiesta, and the preflight that has the new one ask for its own release."""
    package = Path(whiz.__file__).parent
    tree: Tree = {f"lib/whiz/{p.relative_to(package)}": p.read_bytes() for p in sorted(package.rglob("*.py"))}
    tree["lib/whiz/__init__.py"] = tree["lib/whiz/__init__.py"].replace(whiz.__version__.encode(), version.encode())
    if broken:
        tree["lib/whiz/world/release/asking.py"] = b"raise SystemExit('no such module')\n"
    tree["bin/quesofiesta"] = (QUESOFIESTA.encode(),)
    ask = f"bin/quesofiesta pull --dry-run --home {node.path}; test $? = 3"
    return tree, ("/bin/sh", "-c", ask)


def test_a_release_that_brings_quesofiesta_itself(node: Node, repo: Repo, puller: Puller) -> None:
    """The unit names `current`; the new one has to have asked the mirrors before `current` names it."""
    node.write("")
    command = str(puller.app / "current/bin/quesofiesta")

    def pull(*words: str) -> subprocess.CompletedProcess[str]:
        call = [command, *words, *(["--home", str(node.path)] if words[0] == "pull" else [])]
        return subprocess.run(call, check=False, capture_output=True, text=True)

    tree, preflight = itself(node, "1.0")
    one = repo.publish(tree, "one", preflight=preflight)
    done = puller.run("pull")
    assert done.returncode == 0, done.stderr
    tree, preflight = itself(node, "2.0", broken=True)
    repo.publish(tree, "two", preflight=preflight)
    done = pull("pull")
    assert done.returncode == 1
    assert "two is not switched to: its preflight" in done.stderr
    assert puller.store.pointed("current") == one
    assert pull("--version").stdout == "quesofiesta 1.0\n"
    tree, preflight = itself(node, "3.0")
    three = repo.publish(tree, "three", preflight=preflight)
    done = pull("pull")
    assert done.returncode == 0, done.stderr
    assert pull("--version").stdout == "quesofiesta 3.0\n"
    assert puller.store.has(one)  # it stays as the one before
    done = pull("pull", "--json")
    assert (json.loads(done.stdout)["did"], json.loads(done.stdout)["id"]) == ("nothing", three)
