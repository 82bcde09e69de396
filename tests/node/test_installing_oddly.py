"""`whiz install` on odd machines: other people's bytes in the crontab, read-only places, commands that are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.node.conftest import WHIZ
from tests.node.test_journal import PRIVATE

if TYPE_CHECKING:
    from tests.node.conftest import Node

UNITS = "/etc/systemd/system"
CRONTAB = """\
#!/bin/sh
[ "$1" = -l ] && exec cat "$0.held"
[ "$1" = -r ] && exec rm "$0.held"
exec cat >"$0.held"
"""
THEIRS = b"# f\xfcr alle\n0 5 * * * /bin/echo a\x0cb\r\n\n"


def crontab(node: Node) -> dict[str, str]:
    """Return the environment in which there is a cron, with a table of somebody's."""
    node.script("bin/crontab", CRONTAB)
    (node.path / "bin/crontab.held").write_bytes(THEIRS)
    return {**os.environ, "PATH": f"{node.path}/bin:{os.environ['PATH']}"}


SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>"$0.called"
"""
BOOTED = "mkdir -p /run/systemd/system"


def systemctl(node: Node) -> dict[str, str]:
    """Return the environment in which a systemd answers, which knows of no unit."""
    node.script("bin/systemctl", SYSTEMCTL)
    return crontab(node)


def privately(
    node: Node, setup: str, *words: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run whiz where /run and systemd's units are the test's own. `setup`: what a shell does there before, as root."""
    mounted = f"mount -t tmpfs tmpfs /run && mkdir -p {UNITS} && mount -t tmpfs tmpfs {UNITS} && {setup}"
    shell = ["sh", "-ec", f'{mounted}\nexec "$@"', "sh", *WHIZ, "--home", str(node.path), *words]
    return subprocess.run([*PRIVATE, *shell], check=False, capture_output=True, env=env)


root = pytest.mark.skipif(
    os.environ.get("CI") != "true"
    and (os.getuid() != 0 or subprocess.run([*PRIVATE, "true"], check=False, capture_output=True).returncode != 0),
    reason="mounting takes root and a mount namespace; CI has them",
)


@root
def test_a_crontab_of_any_bytes(node: Node) -> None:
    """It is no UTF-8, and has a form feed and a carriage return amid its lines."""
    env, held = crontab(node), node.path / "bin/crontab.held"
    shown = privately(node, "true", "install", "--cron", "--print", env=env)
    assert shown.stdout.startswith(b"# crontab -l\n" + THEIRS + b"@reboot "), shown.stderr
    assert privately(node, "true", "install", "--cron", env=env).returncode == 0
    assert held.read_bytes().startswith(THEIRS + b"@reboot ")
    shown = privately(node, "true", "uninstall", "--print", env=env)
    assert shown.stdout == b"# crontab -l\n" + THEIRS + b"\n"
    asked = privately(node, "true", "uninstall", "--print", "--json", env=env)
    (deed,) = json.loads(asked.stdout)["deeds"]
    assert deed["crontab"].encode(errors="surrogateescape") == THEIRS
    assert privately(node, "true", "uninstall", env=env).returncode == 0
    assert held.read_bytes() == THEIRS


def test_units_beside_a_crontab_of_any_bytes(node: Node) -> None:
    """It is looked at in every mode: a line of its owner may take turns as well."""
    assert f"# {UNITS}/whiz.service\n" in node.whiz("install", "--systemd", "--print", env=crontab(node))


@pytest.mark.parametrize("command", ["install --systemd", "install --timer", "install --cron", "uninstall"])
@pytest.mark.parametrize(
    ("odd", "why"), [("a\n* * * * * evil", r"the control character '\n'"), (os.fsdecode(b"f\xfcr"), "is no UTF-8")]
)
def test_a_path_that_no_line_can_hold(node: Node, command: str, odd: str, why: str) -> None:
    for option in ("--home", "-m"):
        done = node.command(*command.split(), "--print", option, f"{node.path}/{odd}", env=crontab(node))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"whiz: {option.replace('-m', '--manifest')}: '{node.path}/"), done.stderr
        assert why in done.stderr
        assert "hint: rename it" in done.stderr


def test_whiz_itself_at_such_a_path(node: Node) -> None:
    path = node.script("a\nb/whiz", f"#!{sys.executable}\nfrom whiz.face.cli import main\nraise SystemExit(main())\n")
    done = subprocess.run([path, "install", "--timer", "--print"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"whiz: whiz itself: '{node.path}/a\\nb/whiz' holds the control character")


@root
@pytest.mark.parametrize("command", ["install --systemd", "uninstall"])
def test_units_on_a_read_only_disk(node: Node, command: str) -> None:
    setup = f"{BOOTED}; echo [Unit] >{UNITS}/whiz.service; mount -o remount,ro {UNITS}"
    done = privately(node, setup, *command.split(), env=systemctl(node))
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" not in said
    assert f"whiz: {UNITS}/whiz.service: Read-only file system\nhint: remount it" in said
    assert f"findmnt -T {UNITS} names" in said


@root
@pytest.mark.parametrize("command", ["install --systemd", "uninstall"])
def test_a_directory_in_place_of_a_unit(node: Node, command: str) -> None:
    setup = f"{BOOTED}; mkdir {UNITS}/whiz.service; touch {UNITS}/whiz-programs.service"
    done = privately(node, setup, *command.split(), env=systemctl(node))
    said = done.stderr.decode()
    assert done.returncode == 1
    assert said == (
        f"whiz: {UNITS}/whiz.service: Is a directory\n"
        f"hint: mv {UNITS}/whiz.service elsewhere: a unit belongs there; then this again\n"
    )
    assert f"{UNITS}/whiz-programs.service".encode() in done.stdout  # what can be done is
    shown = privately(node, setup, *command.split(), "--print", env=systemctl(node))
    assert (shown.returncode, shown.stderr) == (0, b"")


@root
@pytest.mark.parametrize("command", ["install", "install --timer", "install --cron", "uninstall"])
@pytest.mark.parametrize("fault", ["missing", "refuses"])
def test_systemd_that_cannot_be_asked(node: Node, command: str, fault: str) -> None:
    """systemctl is missing, as in a container that sees its host's /run, or nobody answers it."""
    env = crontab(node)
    if fault == "refuses":
        node.script("bin/systemctl", "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    setup = f"{BOOTED}; [ -z $UNIT ] || touch {UNITS}/$UNIT; PATH={node.path}/bin"
    for tool in ("cat", "sh"):
        (node.path / f"bin/{tool}").symlink_to(f"/bin/{tool}")
    why = "systemctl: there is no such command on the PATH, " if fault == "missing" else "Failed to connect to bus\n"
    for unit in ("", "whiz.service"):
        env["UNIT"] = unit
        shown = privately(node, setup, *command.split(), "--print", env=env)
        assert (shown.returncode, shown.stderr) == (0, b"")
        done = privately(node, setup, *command.split(), env=env)
        said = done.stderr.decode()
        if unit or command in ("install", "install --timer"):
            assert done.returncode == 1
            assert said.startswith("whiz: systemd runs here, but cannot be asked: systemctl")
            assert why in said
            assert "\nhint: see that systemctl works" in said
        else:
            assert (done.returncode, said) == (0, "")
        ours = (node.path / "bin/crontab.held").read_bytes().removeprefix(THEIRS)
        assert bool(ours) == (command == "install --cron")
