"""`whiz install` where releases are followed: what it shows, and what it says of mistakes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.world.release.publisher import REPO, ROOT
from whiz.core.units import PULL, PULLS

if TYPE_CHECKING:
    from tests.node.conftest import Node

YAML = f"app: camera\nrepo: {REPO}\nkeys: [{ROOT.public}]\nmirrors: [file:///mnt/usb]\npoll: {{}}\n"


@pytest.mark.parametrize("mode", ["systemd", "timer"])
def test_units_that_pull(node: Node, mode: str) -> None:
    node.write(YAML.format("90s"), "quesofiesta.yaml")
    shown = node.whiz("install", f"--{mode}", "--print")
    asked = json.loads(node.whiz("install", f"--{mode}", "--print", "--json"))
    written = {d["path"].rpartition("/")[2]: d["text"] for d in asked["deeds"] if "text" in d}
    command = f"{sys.executable} -m whiz.face.quesofiesta.cli pull --quiet --home {node.path}"
    assert f"\nExecStart={command}\n" in written[PULL]
    assert "\nOnUnitInactiveSec=45s\nRandomizedDelaySec=90s\n" in written[PULLS[1]]
    assert all(f"$ systemctl restart {timer}\n" in shown for timer in PULLS)
    assert not (node.path / "run").exists()


@pytest.mark.parametrize(("poll", "said"), [("5m", ""), ("7m", "poll: 7 min: cron asks every 6 min; ")])
def test_lines_that_pull(node: Node, poll: str, said: str) -> None:
    node.write(YAML.format(poll), "quesofiesta.yaml")
    shown = node.whiz("install", "--cron", "--print")
    assert f"@reboot sleep $(shuf -i 0-60 -n 1); {sys.executable} -m whiz.face.quesofiesta.cli pull" in shown
    assert said in shown
    assert ("cron asks" in shown) == bool(said)


def test_what_is_to_run_before_the_first_release(node: Node) -> None:
    """Nothing is, so nobody waits until whiz stays; a whizzifest of the node's own is waited for."""
    node.write(YAML.format("5m"), "quesofiesta.yaml")
    assert "$ systemctl restart --no-block whiz.service" in node.whiz("install", "--systemd", "--print")
    node.write("web|/bin/true\n")
    assert "$ systemctl restart whiz.service" in node.whiz("install", "--systemd", "--print")


@pytest.mark.parametrize("command", ["install --systemd", "install --timer", "install --cron", "install"])
def test_mistakes_are_said_and_nothing_is_installed(node: Node, command: str) -> None:
    node.write(YAML.format("3s").replace("app:", "ap:"), "quesofiesta.yaml")
    done = node.command(*command.split(), "--print")
    assert (done.returncode, done.stdout) == (2, "")
    at = f"whiz: {node.path}/quesofiesta.yaml"
    assert f"{at}:1:1: unknown key 'ap'" in done.stderr
    assert f"{at}:5:7: expected a duration of 10s or more" in done.stderr
    assert node.command("uninstall", "--print").returncode == 0  # which does not read it
