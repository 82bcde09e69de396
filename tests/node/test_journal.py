"""`log: {to: journal}`, with a journald of the test's own in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.node.conftest import WHIZ

if TYPE_CHECKING:
    from tests.node.conftest import Node

JOURNALD = "/lib/systemd/systemd-journald"
PRIVATE = ("unshare", "--mount", "--propagation", "private")

INSIDE = """
import os, subprocess, sys, time
home, *whiz = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.makedirs("/run/systemd/journal")
def until(holds):
    end = time.monotonic() + 20
    while not (got := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return got
absent = subprocess.run([*whiz, "apply", "--wait", "0"], capture_output=True, text=True)
print(absent.returncode)
print(absent.stderr.splitlines()[0])
journald = subprocess.Popen([JOURNALD], stderr=subprocess.DEVNULL)
until(lambda: os.path.exists("/run/systemd/journal/stdout"))
subprocess.run([*whiz, "restart", "talk"], check=True, stdout=subprocess.DEVNULL)
read = ["journalctl", "--no-pager", "--quiet", "-o", "json", "-t", "talk"]
print(until(lambda: subprocess.run(read, capture_output=True, text=True, check=True).stdout), end="")
print(subprocess.run([*whiz, "logs", "talk"], capture_output=True, text=True).stderr, end="")
subprocess.run([*whiz, "hold", "talk"], check=True, stdout=subprocess.DEVNULL)
journald.terminate()
journald.wait()
"""


def _can() -> str:
    """Return why this machine cannot run the test, or nothing."""
    if os.getuid() != 0:
        return "mounting takes root; CI runs as root"
    if not os.path.exists(JOURNALD):
        return "there is no journald: apt-get install -y systemd"
    if subprocess.run([*PRIVATE, "true"], check=False, capture_output=True).returncode:
        return "no mount namespace can be had here, as in a chroot whose / is no mount point"
    return ""


@pytest.mark.skipif(_can() != "", reason=_can())
def test_output_goes_to_the_journal(node: Node) -> None:
    node.yaml("programs:\n  talk: {run: \"sh -c 'echo hello journal; exec sleep 1000'\", log: {to: journal}}\n")
    code = f"JOURNALD = {JOURNALD!r}\n{INSIDE}"
    command = [*PRIVATE, sys.executable, "-c", code, str(node.path), *WHIZ, "--home", str(node.path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    failed, words, entry, logs = done.stdout.splitlines()
    assert failed == "1"
    assert "talk: error" in words
    assert "log.to is journal, but journald does not answer at /run/systemd/journal/stdout" in words
    said = json.loads(entry)
    assert (said["SYSLOG_IDENTIFIER"], said["MESSAGE"]) == ("talk", "hello journal")
    assert logs == "whiz: talk: its output goes to journald: journalctl -t talk"
    assert not (node.path / "log/talk.log").exists()
