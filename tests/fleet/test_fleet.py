"""Many hosts over real ssh: what one of them does is never another's trouble."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.fleet.sshds import WHIZ, Hosts, begun, for_ever
from tests.tools import needs

if TYPE_CHECKING:
    from pathlib import Path

WEB = f"programs:\n  web: {{run: /bin/sleep 100000.{os.getpid()}}}\n"  # nobody else's
DEAD = "1.5s"  # what one that never answers may cost in these tests


def test_from_nothing_to_running_and_back(hosts: Hosts) -> None:
    for name in ("pi1", "pi2", "pi3"):
        hosts.up(name, roles="camera")
        hosts.write(name, WEB)
    code, said = hosts.answers("check")
    assert code == 3
    assert [(h["state"], h["why"]) for h in said.values()] == [("pending", "start web")] * 3
    code, said = hosts.answers("apply", "--to", "pi1,pi2")
    assert (code, list(said)) == (0, ["pi1", "pi2"])
    code, out, err = hosts.fleet("status")
    assert (code, err) == (3, "")
    assert "pi1  ok         1 running\n" in out
    assert "pi3  pending    1 waiting\n" in out
    assert out.endswith("3 hosts: 2 ok, 1 pending\n")
    before = pids(hosts)
    assert hosts.answers("restart", "--to", "pi1", "web")[0] == 0
    assert pids(hosts)["pi2"] == before["pi2"]
    assert pids(hosts)["pi1"] not in (None, before["pi1"])
    code, said = hosts.answers("hold", "--to", "pi2", "web")
    assert (code, said["pi2"]["why"]) == (0, "stop web")
    assert hosts.answers("status", "--to", "pi2")[1]["pi2"]["why"] == "1 held"
    assert hosts.answers("unhold", "--to", "pi2", "web")[1]["pi2"]["why"] == "start web"
    code, out, _ = hosts.fleet("history", "--to", "pi2", "-n", "2")
    assert code == 0
    assert out.startswith("==> pi2 <==\n")
    assert "start  web" in out
    code, said = hosts.answers("doctor", "--to", "pi1")
    assert (code, said["pi1"]["answer"]["exit"]) == (code, code)  # type: ignore[index]
    code, said = hosts.answers("hold", "--to", "pi1", "wbe")
    assert code == 1
    assert "wbe" in str(said["pi1"]["why"])


def pids(hosts: Hosts) -> dict[str, object]:
    _, said = hosts.answers("status")
    return {n: h["answer"]["programs"][0]["pid"] for n, h in said.items()}  # type: ignore[index]


def test_logs_of_all(hosts: Hosts) -> None:
    for name in ("pi1", "pi2"):
        hosts.up(name)
        hosts.write(name, f"programs:\n  once: {{run: [/bin/sh, -c, 'echo hello from {name}'], want: done}}\n")
    assert hosts.answers("apply")[0] == 0
    code, out, _ = hosts.fleet("logs", "once")
    assert code == 0
    assert "==> pi1 <==\nhello from pi1\n==> pi2 <==\nhello from pi2\n" in out


def test_those_that_are_not_there_cost_their_time_and_nothing_else(hosts: Hosts) -> None:
    """Refused, silent, silent at once, of no name: the others answer, and the exit status tells the difference."""
    hosts.up("up")
    hosts.write("up", "programs:\n  web: {run: /bin/true, want: done}\n")
    assert hosts.answers("apply")[0] == 0
    hosts.name("refused", hosts.address())
    hosts.name("nameless", "no-such-host.invalid")
    with socket.socket() as silent:
        silent.bind((address := hosts.address(), hosts.port))
        silent.listen(10)
        hosts.name("silent", address, timeout=DEAD)
        code, said = hosts.answers("check")
    assert code == 4
    assert {n: h["state"] for n, h in said.items()} == {
        "up": "ok", "refused": "offline", "nameless": "offline", "silent": "offline",
    }  # fmt: skip
    assert said["refused"]["why"] == "connection refused"
    assert str(said["nameless"]["why"]).startswith("no address for no-such-host.invalid")
    assert said["silent"]["why"] == "lets nobody in within 1.5 s"


def test_one_that_never_ends_costs_its_timeout(hosts: Hosts) -> None:
    folder = hosts.dir / "slow"
    hosts.up("slow", script=for_ever(folder), timeout="10s")
    hosts.up("up", script='#!/bin/sh\necho \'{"version": 1, "steps": []}\'\n')
    code, said = hosts.answers("check")
    assert (code, said["up"]["state"], said["slow"]["state"]) == (1, "ok", "failed")
    assert said["slow"]["why"] == "no answer within 10 s: it may still be at it"
    begun(folder)


@pytest.mark.parametrize("where", ["", " >&2"])
def test_one_that_babbles_is_hung_up_on(hosts: Hosts, where: str) -> None:
    """100 MB, as JSON without an end: 8 MiB are read of it."""
    hosts.up("babbler", script=f"#!/bin/sh\nyes '{{\"version\": 1}}' | head -c 100000000{where}\n")
    code, said = hosts.answers("check")
    assert (code, said["babbler"]["state"], said["babbler"]["why"]) == (
        1,
        "failed",
        "it said more than 8 MiB, so we hung up",
    )
    code, said = hosts.answers("exec", f"yes | head -c 100000000{where}")
    assert (code, said["babbler"]["why"]) == (1, "it said more than 8 MiB, so we hung up")
    assert len(str(said["babbler"]["stdout"])) + len(str(said["babbler"]["stderr"])) < 9_000_000


def test_whom_we_do_not_know_is_refused(hosts: Hosts) -> None:
    folder = hosts.up("stranger", known=False)
    code, said = hosts.answers("check")
    why = str(said["stranger"]["why"])
    print_of = subprocess.run(
        ["ssh-keygen", "-lf", str(folder / "host_key")], check=True, capture_output=True, text=True
    )
    assert code == 1
    assert print_of.stdout.split()[1] in why
    assert f"is not known: compare it, then ssh-keyscan -p {hosts.port} 127.0.1.1 >>{hosts.known}" in why


def test_whose_key_has_changed_is_refused(hosts: Hosts) -> None:
    hosts.knows("127.0.1.1", hosts.key)  # as good a wrong one as any
    hosts.up("changed", known=False)
    code, said = hosts.answers("check")
    assert code == 1
    assert str(said["changed"]["why"]).startswith("its host key has changed, to SHA256:")
    assert f"ssh-keygen -R '[127.0.1.1]:{hosts.port}'" in str(said["changed"]["why"])


def test_who_does_not_let_us_in_is_no_offline_host(hosts: Hosts) -> None:
    hosts.up("other", user="nobody-of-this-name")
    hosts.up("locked", config="PubkeyAuthentication no")
    code, said = hosts.answers("check")
    assert code == 1
    assert [h["state"] for h in said.values()] == ["failed", "failed"]
    assert str(said["other"]["why"]).startswith("it does not let nobody-of-this-name in")


def test_what_is_no_sshd_is_said(hosts: Hosts) -> None:
    with socket.socket() as web:
        web.bind((address := hosts.address(), hosts.port))
        web.listen(1)
        hosts.name("web", address)
        asked = hosts.begin("check", "--json")
        line, _ = web.accept()
        line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        line.close()
        out, _ = asked.communicate(timeout=100)
    (said,) = json.loads(out)["hosts"]
    assert said["state"] == "failed"
    assert said["why"].startswith("ssh with it fails: ")


def test_another_whiz_is_told_apart(hosts: Hosts) -> None:
    hosts.up("newer", script='#!/bin/sh\necho \'{"version": 2, "what": "ever"}\'\n')
    hosts.up("none", script="#!/bin/sh\necho hello; exit 5\n")
    hosts.up("noisy", script='#!/bin/sh\necho Welcome; echo \'{"version": 1, "steps": []}\'; echo bye\n')
    folder = hosts.up("absent")
    (folder / "whiz").rename(folder / "not-whiz")
    try:
        code, out, _ = hosts.fleet("check")
    finally:
        (folder / "not-whiz").rename(folder / "whiz")
    assert code == 1
    assert "newer   failed     its whiz speaks format 2, this one 1: upgrade the older\n" in out
    assert "none    failed     exited 5: its answer is not whiz's JSON\n" in out
    assert "noisy   ok         every wish holds\n" in out
    assert f"absent  failed     there is no {folder}/whiz: install whiz, or say where it is (whiz:)\n" in out


def test_a_host_of_two_names_is_asked_once(hosts: Hosts) -> None:
    folder = hosts.up("pi", script="#!/bin/sh\necho once >>$(dirname $0)/asked; echo '{\"version\": 1}'\n")
    hosts.name("twin", "127.0.1.1", whiz=str(folder / "whiz"))
    code, out, err = hosts.fleet("check", "--to", "pi,twin,all,p*")
    assert (code, err) == (0, "whiz: twin is pi by another name: it is asked once\n")
    assert (folder / "asked").read_text() == "once\n"
    assert out.endswith("1 host: 1 ok\n")


def test_by_way_of_another(hosts: Hosts) -> None:
    """Each by the same jump host, whose door is opened once; what is behind a dead one is offline."""
    folder = hosts.up("gate", script="#!/bin/sh\nexit 9\n", config="LogLevel VERBOSE")
    for name in ("in1", "in2", "in3"):
        hosts.up(name, jump="gate", config="AllowUsers *@127.0.0.1 *@127.0.1.*")
    hosts.name("dead", hosts.address())
    hosts.name("behind", hosts.address(), jump="dead")
    hosts.name("deep", hosts.address(), jump="gate")
    hosts.up("wall", config="AllowTcpForwarding no")
    hosts.name("hidden", "127.0.1.1", jump="wall")
    code, said = hosts.answers("exec", "--to", "in*,behind,deep", "--", "echo", "a  b")
    assert code == 4
    code, hidden = hosts.answers("exec", "--to", "hidden", "true")
    assert (code, hidden["hidden"]["why"]) == (1, "not reached from the jump host wall: administratively prohibited")
    assert [said[n]["stdout"] for n in ("in1", "in2", "in3")] == ["a  b\n"] * 3
    assert said["behind"]["why"] == "the jump host dead: connection refused"
    assert said["deep"]["why"] == "not reached from the jump host gate: connect failed"
    assert (folder / "log").read_text().count("Accepted publickey") == 1


def test_exec(hosts: Hosts) -> None:
    hosts.up("pi1")
    hosts.up("pi2")
    code, out, _ = hosts.fleet("exec", "echo out; echo err >&2; cat; exit 3")
    assert code == 1
    assert "==> pi1 <==\nout\nerr" in out
    assert "pi2  failed     exited 3: err\n" in out
    assert hosts.fleet("exec", "-q", "true") == (0, "", "")
    code, out, err = hosts.fleet("exec", "-q", "false")
    assert (code, out, err) == (1, "", "whiz: pi1: failed: exited 1\nwhiz: pi2: failed: exited 1\n")
    code, said = hosts.answers("exec", "--to", "pi1", "kill -9 $$")
    assert (code, said["pi1"]["state"]) == (1, "failed")
    code, out, _ = hosts.fleet("exec", "--to", "pi1", "printf '\\033[2J\\377'")
    assert (code, "\x1b" in out) == (0, False)


@needs("sudo")
def test_root_by_sudo(hosts: Hosts) -> None:
    """Only where the tests run as root can sudo do without a password for sure."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    script = """#!/bin/sh\necho "{\\"version\\": 1, \\"error\\": \\"$SUDO_COMMAND\\"}"\n"""
    hosts.up("pi", script=script, become=True)
    code, said = hosts.answers("check")
    assert code == 0
    assert said["pi"]["why"] == f"{hosts.dir}/pi/whiz check --json"
    code, said = hosts.answers("exec", "echo $SUDO_USER | cat")
    assert (code, said["pi"]["stdout"]) == (0, "root\n")


def test_ctrl_c_tells_the_truth(hosts: Hosts) -> None:
    """One has answered, one is at it, one was never asked."""
    hosts.up("done", script="#!/bin/sh\necho '{\"version\": 1}'\n")
    hosts.up("slow", script=for_ever(hosts.dir / "slow"))
    hosts.up("next", script="#!/bin/sh\ntouch $(dirname $0)/asked\n")
    asked = hosts.begin("apply", "-j", "1")
    begun(hosts.dir / "slow")
    asked.send_signal(signal.SIGINT)
    out, err = asked.communicate(timeout=100)
    assert asked.returncode == 130
    assert err == "whiz: interrupted: 1 answered, 1 was asked and may go on with it, 1 not asked\n"
    assert "slow  unknown    asked, and not waited for\n" in out
    assert "next  not asked  interrupted before it was asked\n" in out
    assert not (hosts.dir / "next" / "asked").exists()


def test_a_key_in_the_fleet_file(hosts: Hosts) -> None:
    key = hosts.key.rename(hosts.home / "own")
    hosts.up("with", key=["gone", "own"], vars={"a": [1, {"b": 2}]})
    hosts.up("without")
    code, said = hosts.answers("exec", "true")
    assert (code, said["with"]["state"], said["without"]["state"]) == (1, "ok", "failed")
    hosts.name("missing", "127.0.1.1", key="none", vars={"a": [1, {"b": 2}]})
    code, said = hosts.answers("exec", "--to", "missing", "true")
    assert (code, said["missing"]["why"]) == (1, f"no key to log in with: {hosts.home}/none cannot be read")
    key.rename(hosts.key)


def test_hosts_of_other_files(hosts: Hosts) -> None:
    """An Ansible inventory with its group_vars, an ssh config, and both included."""
    hosts.up("pi")
    home = hosts.home
    (home / "hosts.ini").write_text("[cameras]\ncam[1:2]\n[other]\npi.2\n")
    (home / "group_vars").mkdir()
    (home / "group_vars" / "cameras.yml").write_text("ansible_user: lens\nshade: 3\n")
    (home / "group_vars" / "all.yml").write_text("whiz_path: /opt/whiz\n")
    (home / "host_vars" / "cam2").mkdir(parents=True)
    (home / "host_vars" / "pi.2.yml").write_text("ansible_port: 24\n")
    (home / "host_vars" / "cam2" / "main.yml").write_text("ansible_host: 10.0.0.2\n")
    (home / ".ssh" / "config").write_text("Include more\nHost cam1\n  HostName 10.0.0.1\n")
    (home / ".ssh" / "more").write_text("Host far\n  User deb\n  ProxyJump pi@gate\nHost pi.*\n  User dot\n")
    for file in ("hosts.ini", "~/.ssh/config"):
        (home / "both.yaml").write_text("include: [hosts.ini, ~/.ssh/config]\nhosts: {own: }\n")
        code, out, err = hosts.fleet("hosts", "--json", "--fleet", file)
        assert (code, err) == (0, "")
    code, out, err = hosts.fleet("hosts", "--json", "--fleet", "both.yaml")
    assert (code, err) == (0, "")
    held = {h["host"]: h for h in json.loads(out)["hosts"]}
    assert list(held) == ["own", "cam1", "cam2", "pi.2", "far"]
    assert [(held[n]["address"], held[n]["user"]) for n in ("cam1", "cam2", "far")] == [
        ("10.0.0.1", "lens"), ("10.0.0.2", "lens"), ("far", "deb"),
    ]  # fmt: skip
    assert held["cam2"]["vars"] == {"shade": 3}
    assert (held["pi.2"]["port"], held["pi.2"]["user"]) == (24, "dot")
    assert held["cam2"]["whiz"] == "/opt/whiz"
    assert held["far"]["jump"] == ["pi@gate"]
    assert json.loads(out)["groups"] == {"cameras": ["cam1", "cam2"], "other": ["pi.2"]}


def test_mistakes_and_where_they_are(hosts: Hosts) -> None:
    file = hosts.home / "fleet.yaml"
    file.write_text("hosts:\n  a: {prot: 3}\n  b: {groups: x}\ninclude: [none.ini, script]\n")
    (hosts.home / "script").write_text("#!/bin/sh\n")
    code, out, err = hosts.fleet("check")
    assert (code, out) == (2, "")
    assert f"whiz: {file}:2:7: unknown key 'prot'\n    a: {{prot: 3}}\n    hint: did you mean 'port'?\n" in err
    assert f"whiz: {file}:3:15: no group is named 'x'" in err
    assert f"whiz: {file}:4:11: {hosts.home}/none.ini cannot be read: No such file or directory" in err
    assert f"{hosts.home}/script:1:1: a script is not run" in err
    code, _, err = hosts.fleet("check", "--fleet", "nowhere")
    assert (code, err) == (
        2,
        f"whiz: {hosts.home}/nowhere: no such file\nhint: write hosts: into it, or name another by --fleet FILE\n",
    )


def test_an_open_quote_and_two_includes_of_each_other(hosts: Hosts) -> None:
    (hosts.home / "fleet.yaml").write_text("hosts: {a: }\ninclude: b.yaml\n")
    (hosts.home / "b.yaml").write_text("hosts: {b: }\ninclude: fleet.yaml\n")
    assert hosts.fleet("hosts", "-q") == (0, "", "")
    (hosts.home / "binary.ini").write_bytes(b"\xff\xfe")
    code, _, err = hosts.fleet("hosts", "--fleet", "binary.ini")
    assert (code, "not UTF-8: byte 1" in err) == (2, True)


def test_a_quiet_turn_loads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "whizzifest").write_text("")
    code = (
        "import sys; from whiz.face.cli import main; code = main(sys.argv[1:]);"
        "print(sorted(m for m in sys.modules if 'fleet' in m or m in ('fabric', 'paramiko', 'invoke')))"
    )
    words = ["--home", str(tmp_path), "-q", "apply", "--allow-empty"]
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_without_fabric_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("hosts: {a: }\n")
    code = "import sys; sys.modules['fabric'] = None; from whiz.face.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["--home", str(tmp_path), "fleet", "check"]
    done = subprocess.run([sys.executable, "-c", code, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "a fleet needs fabric: apt-get install python3-fabric, or pip install 'whiz[master]'" in done.stderr
    assert WHIZ.exists()


def test_a_terminal_shows_who_is_waited_for(hosts: Hosts) -> None:
    """While one has answered and the other has not, and nothing of it once all have."""
    hosts.up("quick", script="#!/bin/sh\necho '{\"version\": 1}'\n")
    folder = hosts.dir / "slow"
    hosts.up("slow", script=f"#!/bin/sh\nwhile ! [ -e {folder}/go ]; do sleep 0.1; done; echo '{{\"version\": 1}}'\n")
    ours, theirs = pty.openpty()
    asked = hosts.begin("check", stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"1 of 2 answered, quick last; waiting for slow" not in shown:
        shown += os.read(ours, 1000)
    (folder / "go").touch()
    out, _ = asked.communicate(timeout=100)
    with suppress(OSError):  # so a terminal ends whose other side is closed
        while piece := os.read(ours, 1000):
            shown += piece
    os.close(ours)
    assert shown.endswith(b"\r\x1b[2K")
    assert out.endswith("2 hosts: 2 ok\n")
