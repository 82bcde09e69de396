"""A pull over ssh, by the system's own client and a server of ours; and from a bundle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.world.release.node import Node, camera, fresh
from whiz.core.release.release import ReleaseError
from whiz.world.release import ssh as transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.release.publisher import Repo

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
served = pytest.mark.skipif(
    (SSHD is None or os.getuid() != 0) and os.environ.get("CI") != "true", reason="sshd and root are needed"
)


class Server:
    """One sshd, with keys and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        for name in ("host", "other", "user"):
            self.key(name)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.write("host")
        known = (folder / "host.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {known}")
        self.process: subprocess.Popen[bytes] | None = None

    def key(self, name: str) -> None:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(words, check=True, capture_output=True)

    def write(self, host: str) -> None:
        (self.folder / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/{host}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n"
        )

    def start(self) -> None:
        os.makedirs("/run/sshd", exist_ok=True)
        words = [str(SSHD), "-D", "-e", "-f", f"{self.folder}/config"]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < end
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path / "ssh")
    client = tmp_path / "ssh/client"
    client.write_text(
        f"IdentityFile {server.folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {server.folder}/known\n"
    )
    monkeypatch.setattr(transport, "OPTIONS", ("-F", str(client), *transport.OPTIONS))
    server.start()
    yield server
    server.stop()


def reached(sshd: Server, repo: Repo, tmp_path: Path) -> Node:
    node = Node(tmp_path / "far", f"ssh://root@127.0.0.1:{sshd.port}{repo.path}")
    node.store.make()
    return node


def refused(node: Node) -> str:
    with pytest.raises(ReleaseError) as caught:
        node.pull()
    return str(caught.value)


@served
def test_over_ssh(sshd: Server, tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    node = reached(sshd, repo, tmp_path)
    assert node.pull().did == "updated"
    assert node.shown() == camera(1)
    assert node.pull().did == "nothing"
    gone = Node(tmp_path / "far", f"ssh://root@127.0.0.1:{sshd.port}/no/where")
    assert "has no directory /no/where" in refused(gone)
    assert "is no repository there" in refused(Node(tmp_path / "far", f"ssh://root@127.0.0.1:{sshd.port}{tmp_path}"))


@served
def test_what_is_missing_or_damaged_among_many_is_named(sshd: Server, tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    node = reached(sshd, repo, tmp_path)
    path = repo.object(b"deep")
    data = path.read_bytes()
    path.unlink()
    assert f"has no o/{path.parent.name}/{path.name}" in refused(node)
    path.write_bytes(zlib.compress(b"evil"))
    assert f"the object {path.name} cannot be had" in refused(node)
    path.write_bytes(data)
    assert node.pull().did == "updated"
    assert node.shown() == camera(1)


@served
def test_more_files_than_are_asked_for_at_once(sshd: Server, tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    node = reached(sshd, repo, tmp_path)
    tree = {f"file{n}": b"%d" % n * (n % 5 * 40_000 + 1) for n in range(2 * transport.BATCH + 1)}
    repo.publish(tree)
    assert node.pull().did == "updated"
    assert node.shown() == tree


@served
def test_a_host_whose_key_changed_or_that_nobody_knows_or_that_asks_for_a_password(
    sshd: Server, tmp_path: Path
) -> None:
    repo, _ = fresh(tmp_path)
    node = reached(sshd, repo, tmp_path)
    sshd.stop()
    sshd.write("other")
    sshd.start()
    said = refused(node)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in said
    assert "ssh-keygen -R" in said
    assert node.slept == [], "nobody tries that again"
    (sshd.folder / "known").write_text("")
    assert "Host key verification failed" in refused(node)
    (sshd.folder / "known").write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'other.pub').read_text()}")
    (sshd.folder / "user.pub").write_text("")
    assert "Permission denied" in refused(node)
    sshd.stop()
    assert "Connection refused" in refused(node)


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a client before the system's that runs the command here, and what else it is told to."""
    script = tmp_path / "bin/ssh"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\n. "$0.before"\nwhile [ $# -gt 1 ]; do shift; done\nexec sh -c "$1"\n')
    script.chmod(0o755)
    (tmp_path / "bin/ssh.before").write_text("")
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return tmp_path / "bin/ssh.before"


def test_what_a_login_prints_is_skipped(pretended: Path, tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    pretended.write_text("echo Welcome; echo; echo '*** has 5 ***'; echo warning >&2\n")
    node = Node(tmp_path / "far", f"ssh://master{repo.path}")
    assert node.pull().did == "updated"
    assert node.shown() == camera(1)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("yes; exit 1", "prints without end"),
        ("yes | tr -d '\\n'; exit 1", "prints a line without end"),
        ("echo no such thing >&2; exit 3", "ssh: no such thing"),
        ("exit 4", "ssh ended with 4"),
    ],
)
def test_an_ssh_that_does_not_answer(before: str, why: str, pretended: Path, tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    pretended.write_text(before + "\n")
    node = Node(tmp_path / "far", f"ssh://master{repo.path}")
    node.store.make()
    assert why in refused(node)


def test_no_ssh_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node = Node(tmp_path / "far", "ssh://master/srv/repo")
    node.store.make()
    assert "is openssh-client installed?" in refused(node)


def bundle(repo: Repo, to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as out:
        for path in sorted(repo.path.rglob("*")):
            if path.is_file():
                out.write(path, str(path.relative_to(repo.path)))


def test_from_a_bundle(tmp_path: Path) -> None:
    repo, _ = fresh(tmp_path)
    file = tmp_path / "camera.whiz"
    bundle(repo, file)
    node = Node(tmp_path / "stick", f"bundle://{file}")
    assert node.pull().did == "updated"
    assert node.shown() == camera(1)
    assert node.pull().did == "nothing"
    repo.publish(camera(2))
    bundle(repo, file)
    assert node.pull().did == "updated"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert "is no whole bundle" in refused(node)
    file.unlink()
    assert "is it mounted?" in refused(node)
    assert node.shown() == camera(2)
