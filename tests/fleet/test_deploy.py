"""A release to hosts behind real ssh: who gets it when, what is taken back, and what holds when it is cut off."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.deploying import BAD, GOOD, QUESOFIESTA, Master
from tests.fleet.sshds import begun, for_ever
from tests.tools import needs
from tests.world.release.node import fingerprint
from whiz.core.release.channel import bucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.sshds import Hosts


def first_of(release: str, *names: str) -> str:
    """Return which of these hosts is the canary of a release."""
    return min(names, key=lambda n: (bucket(release[:16], n), n))


def id_of(master: Master) -> str:
    found: str = json.loads(master.run("build", str(master.source), "--repo", str(master.repo), "--json"))["id"]
    return found


def test_from_a_directory_to_all_that_are_there(hosts: Hosts, master: Master) -> None:
    for name in ("pi1", "pi2", "pi3"):
        master.node(name)
    hosts.name("gone", hosts.address())
    hosts.name("twin", "127.0.1.1", whiz=str(hosts.dir / "pi1/whiz"))
    master.write(GOOD.format(1))
    out = master.deploy("-m", "first")
    assert "quesofiesta: twin is pi1 by another name: it is asked once\n" in master.err
    assert "3 hosts run nothing yet: fetch 71 B each\n" in out
    assert "gone  offline      will catch up: connection refused\n" in out
    assert out.endswith("4 hosts: 3 updated, 1 offline\n")
    assert out.count("pi1   updated") == 1
    master.write(GOOD.format(2))
    out = master.deploy("--canary", "1%,10%,100%")
    assert "3 hosts run 2" in out
    assert ": fetch 32 B each\n" in out
    assert f"wave 1 of 2: 1 % of 3 hosts is 1 host: {first_of(id_of(master), 'pi1', 'pi2', 'pi3')}\n" in out
    assert out.endswith("4 hosts: 3 updated, 1 offline\n")
    said, states = master.answers()
    assert states == {"pi1": "already", "pi2": "already", "pi3": "already", "gone": "offline"}
    assert said["seq"] == master.history()[-1]["seq"], "nothing new is published"
    waves = [(e["label"], e["rollouts"]) for e in master.history()]
    first, second = waves[0][0], waves[-1][0]
    assert [(label, [r["label"] for r in parts]) for label, parts in waves] == [
        (first, []), (first, [second]), (second, []),
    ]  # fmt: skip
    table = master.run("history", "--repo", str(master.repo))
    assert "wave 1 of 2: to 1 of 3 hosts (1 %) [" in table
    master.run("verify", "--repo", str(master.repo))


def test_a_bad_one_ends_with_the_canary(master: Master) -> None:
    """Who turned back says why, with its last lines; the rest never hears of it; a pull later changes nothing."""
    for name in ("pi1", "pi2", "pi3"):
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    one = master.runs("pi1")
    master.write(BAD.format(2))
    canary = first_of(id_of(master), "pi1", "pi2", "pi3")
    out = master.deploy("--canary", "1%", code=1)
    assert f"{canary}   rolled back  camera did not keep running: " in out
    assert f"==> {canary} <==\nno lens 1\nno lens 2\nno lens 3\n" in out
    assert out.endswith("1 rolled back, 2 not asked; aborted: 1 of 1 host failed, more than 2 %\n")
    for name in ("pi1", "pi2", "pi3"):
        home = master.hosts.dir / name / "whiz-home"
        master.run("pull", "--home", str(home))
        assert master.runs(name) == one
    last = master.history()[-1]
    assert (last["rollouts"], last["note"]) == ([], "aborted: 1 of 1 host failed, more than 2 %")


def test_those_that_were_updated_go_back_when_another_fails(master: Master) -> None:
    """It is fine on one, and not on the other: at 50 % of two failing it is taken back on both."""
    names = ("pi1", "pi2")
    for name in names:
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    one = master.runs("pi1")
    picky = '#!/bin/sh\ncase "$0 $(pwd -P)" in */pi2/*) echo not here; exit 3;; esac\nexec sleep 100000\n'
    master.write(picky)
    out = master.deploy(code=1)
    assert "pi1   returned     runs " in out
    assert "pi2   rolled back  camera did not keep running: " in out
    assert [master.runs(n) for n in names] == [one, one]
    out = master.deploy("--abort-at", "50%", "--label", "again", code=1)
    assert "aborted" not in out
    assert [master.runs(n) == one for n in names] == [False, True]


def test_some_hosts(hosts: Hosts, master: Master) -> None:
    for name in ("cam1", "cam2", "gate"):
        master.node(name, call=f"node-{name}")
    master.write(GOOD.format(1))
    assert master.run(*master.words("--to", "cam1"), code=2) == ""
    assert "offers nothing yet, so its first release goes to all" in master.err
    master.deploy()
    one = master.runs("gate")
    master.write(GOOD.format(2))
    _, states = master.answers("--to", "cam*", "--canary", "1%")
    assert states == {"cam1": "updated", "cam2": "updated"}
    assert master.history()[-1]["rollouts"][0]["hosts"] == ["node-cam1", "node-cam2"]
    assert [master.runs(n) == one for n in ("cam1", "cam2", "gate")] == [False, False, True]
    two = master.runs("cam1")
    master.write(GOOD.format(3))
    _, states = master.answers("--to", "cam2,gate")
    assert [r["hosts"] for r in master.history()[-1]["rollouts"]] == [["node-cam2", "node-gate"], ["node-cam1"]]
    home = hosts.dir / "cam1/whiz-home"
    master.run("pull", "--home", str(home))
    assert master.runs("cam1") == two
    master.run("rollback", "--repo", str(master.repo))
    last = master.history()[-1]
    assert (last["id"], last["rollouts"]) == (one, [])
    _, states = master.answers()
    assert states == {"cam1": "updated", "cam2": "already", "gate": "already"}
    assert master.history()[-1]["rollouts"] == []


def test_pinned_elsewhere_stale_and_unreachable(hosts: Hosts, master: Master, tmp_path: Path) -> None:
    for name in ("free", "pinned"):
        master.node(name)
    master.node("behind", mirror=f"file://{tmp_path}/copy")
    other = master.node("other")
    home = other / "whiz-home/quesofiesta.yaml"
    home.write_text(home.read_text().replace("channel: stable", "channel: beta"))
    hosts.up("bare")
    hosts.up("stranger", known=False)
    master.write(GOOD.format(1))
    subprocess.run(["mkdir", str(tmp_path / "copy")], check=True)
    _, states = master.answers(code=1)
    assert states == {
        "free": "updated", "pinned": "updated", "behind": "failed", "other": "elsewhere", "bare": "failed",
        "stranger": "failed",
    }  # fmt: skip
    subprocess.run(["rm", "-rf", str(tmp_path / "copy")], check=True)
    subprocess.run(["cp", "-r", str(master.repo), str(tmp_path / "copy")], check=True)
    assert master.answers("--to", "behind")[1] == {"behind": "updated"}
    master.run("pin", "pinned", master.history()[-1]["label"], "--repo", str(master.repo))
    master.write(GOOD.format(2))
    said, states = master.answers("--to", "!bare:!stranger", code=3)
    assert states == {"free": "updated", "pinned": "pinned", "behind": "stale", "other": "elsewhere"}
    why = {h["host"]: h["why"] for h in said["hosts"]}
    assert why["behind"].startswith("will catch up: its mirrors still have number ")
    assert why["other"] == "follows camera in the channel beta"
    _, states = master.answers("--to", "bare,stranger", code=1)
    assert states == {"bare": "failed", "stranger": "failed"}


def test_a_dry_run_touches_nothing_on_either_side(hosts: Hosts, master: Master) -> None:
    for name in ("pi1", "pi2"):
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    one = master.runs("pi1")
    for text, code in ((GOOD.format(2), 3), (GOOD.format(1), 0)):
        master.write(text)
        before = _all(hosts, master)
        said, states = master.answers("--dry-run", "--canary", "1%", code=code)
        assert _all(hosts, master) == before
        assert set(states.values()) == ({"pending"} if code else {"already"})
        assert [h["fetched"] for h in said["hosts"]] == ([32, 32] if code else [0, 0])
    assert master.runs("pi1") == one


def _all(hosts: Hosts, master: Master) -> Any:
    """Return all that can be seen of the repository, the source and the nodes; what sshd writes is its own."""
    held: dict[str, Any] = {}
    for path in (master.repo, master.source, hosts.home, *hosts.dir.glob("*/whiz-home")):
        held |= fingerprint(path)
    return held


@pytest.mark.parametrize("words", [(), ("--canary", "1%")])
def test_ctrl_c_says_what_is_live(words: tuple[str, ...], hosts: Hosts, master: Master) -> None:
    for name in ("pi1", "pi2"):
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    one = master.history()[-1]
    for name in ("pi1", "pi2"):  # its next pull never ends
        folder = hosts.dir / name
        (folder / "tool").write_text((folder / "quesofiesta").read_text())
        (folder / "tool").chmod(0o755)
        forever = for_ever(folder).removeprefix("#!/bin/sh\n")
        (folder / "quesofiesta").write_text(f'#!/bin/sh\n[ "$1" = pull ] || exec {folder}/tool "$@"\n{forever}')
    master.write(GOOD.format(2))
    process = master.begin(*master.words(*words))
    canary = first_of(id_of(master), "pi1", "pi2")
    for name in (canary,) if words else ("pi1", "pi2"):
        begun(hosts.dir / name)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    now = master.history()[-1]
    if words:
        assert now["label"] == one["label"]
        held = f"stable offers {now['rollouts'][0]['label']} to 1 of 2 hosts (1 %), {one['label']} to the others"
    else:
        held = f"stable offers {now['label']} to all hosts"
    assert f"interrupted: number {now['seq']}: {held}\n" in err
    assert f"`quesofiesta rollback {one['label']} --channel stable --repo {master.repo}` takes it back" in err
    assert f"{canary}   unknown      asked, and not waited for\n" in out


def test_one_that_is_killed_goes_on(master: Master) -> None:
    """Killed while the canary pulls: the same command ends it, with the same label and no number more than it needs."""
    for name in ("pi1", "pi2"):
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    master.write(GOOD.format(2))
    process = master.begin(*master.words("--canary", "1%", "--soak", "1h"))
    assert process.stdout is not None
    while "looking at them again in 1 h" not in process.stdout.readline():
        continue
    process.kill()
    process.communicate()
    cut = master.history()
    assert [len(e["rollouts"]) for e in cut] == [0, 1]
    out = master.deploy("--canary", "1%")
    assert f"number {cut[-1]['seq']} says so already: stable offers {cut[-1]['rollouts'][0]['label']} to 1 of 2" in out
    assert out.endswith("2 hosts: 1 updated, 1 already\n")
    after = master.history()
    assert [len(e["rollouts"]) for e in after] == [0, 1, 0]
    assert after[-1]["label"] == cut[-1]["rollouts"][0]["label"]


def test_a_rollback_under_way_takes_the_canary_back(master: Master) -> None:
    for name in ("pi1", "pi2"):
        master.node(name)
    master.write(GOOD.format(1))
    master.deploy()
    one = master.history()[-1]
    master.write(GOOD.format(2))
    process = master.begin(*master.words("--canary", "1%", "--soak", "1h"))
    assert process.stdout is not None
    while "looking at them again in 1 h" not in process.stdout.readline():
        continue
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 130
    out = master.run("rollback", "--repo", str(master.repo))
    assert out.startswith(f"stable offers {one['label']} (")
    last = master.history()[-1]
    assert (last["label"], last["rollouts"]) == (one["label"], [])


def test_one_that_babbles_and_one_that_never_ends(master: Master) -> None:
    for name, then in (("babbler", "yes | head -c 100000000"), ("slow", "exec sleep 123456")):
        folder = master.node(name)
        (folder / "tool").write_text((folder / "quesofiesta").read_text())
        (folder / "tool").chmod(0o755)
        (folder / "quesofiesta").write_text(f'#!/bin/sh\n[ "$1" = pull ] || exec {folder}/tool "$@"\n{then}\n')
    master.write(GOOD.format(1))
    said, states = master.answers("--timeout", "20s", code=1)
    assert states == {"babbler": "failed", "slow": "failed"}
    why = {h["host"]: h["why"] for h in said["hosts"]}
    assert why["babbler"] == "it said more than 8 MiB, so we hung up"
    assert why["slow"] == "no answer within 20 s: it may still be at it"
    assert (
        said["ended"]
        == "2 of 2 hosts failed, more than 2 %; it is not taken back, because nothing was offered before it"
    )


def test_without_fabric_it_says_what_to_do(master: Master) -> None:
    master.node("pi")
    master.write(GOOD.format(1))
    code = "import sys; sys.modules['fabric'] = None; from whiz.face.quesofiesta.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *master.words()], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "quesofiesta: a fleet needs fabric: apt-get install python3-fabric, or pip install" in done.stderr
    assert not os.listdir(master.repo / "channel")


def test_a_canary_needs_somebody_who_is_there(hosts: Hosts, master: Master) -> None:
    master.node("pi")
    master.write(GOOD.format(1))
    master.deploy()
    master.write(GOOD.format(2))
    (hosts.home / "none.yaml").write_text(f"hosts:\n  gone: {{address: {hosts.address()}, port: {hosts.port}}}\n")
    words = [w if w != str(hosts.home / "fleet.yaml") else str(hosts.home / "none.yaml") for w in master.words()]
    master.run(*words, "--canary", "1%", code=1)
    assert "no host is there to be the first one" in master.err
    assert len(master.history()) == 1
    assert master.run(*words).endswith("1 host: 1 offline\n")
    assert len(master.history()) == 2


def test_mistakes(master: Master) -> None:
    master.node("pi")
    master.write(GOOD.format(1))
    for words, why in (
        (("--canary", "10%,1%"), "more hosts than the one before"),
        (("--abort-at", "x"), "'x' is no share"),
        (("--timeout", "0"), "--timeout must be more than nothing"),
        (("--to", "pii"), "did you mean 'pi'?"),
        (("--channel", "beta"), "none of these hosts follows camera in the channel beta"),
    ):
        master.run(*master.words(*words), code=2)
        assert why in master.err
    assert not os.listdir(master.repo / "channel")


def test_on_a_narrow_terminal_what_is_to_be_done_is_not_cut_off(hosts: Hosts, master: Master) -> None:
    hosts.up("stranger", known=False)
    hosts.name("gone", hosts.address())
    master.write(GOOD.format(1))
    said = json.loads(master.run(*master.words("--json"), code=1))
    why = {h["host"]: h["why"] for h in said["hosts"]}["stranger"]
    ours, theirs = pty.openpty()
    env = {**os.environ, "HOME": str(hosts.home), "NO_COLOR": "1", "COLUMNS": "40"}
    process = subprocess.Popen([QUESOFIESTA, *master.words()], env=env, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: it has ended
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() == 1
    assert len(why) > 60
    assert f"stranger  failed       {why}\r\n".encode() in shown
    assert b"gone      offline      will catch up: co\r\n" in shown


@needs("sudo")
def test_root_by_sudo(master: Master) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    folder = master.node("pi", become=True)
    text = (folder / "quesofiesta").read_text()
    (folder / "quesofiesta").write_text(text.replace("exec", f'echo "$SUDO_COMMAND" >>{folder}/asked\nexec'))
    master.write(GOOD.format(1))
    assert master.answers()[1] == {"pi": "updated"}
    asked = (folder / "asked").read_text().splitlines()
    assert asked == [f"{folder}/quesofiesta status --json", f"{folder}/quesofiesta pull --json --wait 300"]
