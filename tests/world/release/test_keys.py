"""Signatures by real keys: OpenSSH believes ours and we believe OpenSSH's, and errors say what to do."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from whiz.core.errors import UsageError
from whiz.core.release import sshsig, trust
from whiz.core.release.release import ReleaseError
from whiz.world.release import keys

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world.release.conftest import Master


def openssh_believes(path: Path, payload: bytes, block: bytes, key: str, role: str) -> bool:
    (path / "allowed").write_text(f"master {key}\n")
    (path / "sig").write_bytes(block)
    who = ("-f", f"{path}/allowed", "-I", "master", "-n", f"whiz-{role}", "-s", f"{path}/sig")
    words = ["ssh-keygen", "-Y", "verify", *who]
    return subprocess.run(words, input=payload, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["root/1", "channel/stable", "history/stable/1000000"])
def test_openssh_accepts_the_files_of_a_repository(master: Master, tmp_path: Path, name: str) -> None:
    master.put("a", "a")
    master.publish()
    held = master.repository.signed(name)
    role = "root" if name.startswith("root") else "channel"
    block = held.data.removeprefix(held.payload)
    key = master.root.of(role)[0]
    assert openssh_believes(tmp_path, held.payload, block, key, role)
    assert not openssh_believes(tmp_path, held.payload + b" ", block, key, role)
    assert not openssh_believes(tmp_path, held.payload, block, key, "release")


def test_openssh_accepts_a_release(master: Master, tmp_path: Path) -> None:
    master.put("a", "a")
    held = master.repository.manifest(master.publish().id)
    block = held.data.removeprefix(held.payload)
    assert openssh_believes(tmp_path, held.payload, block, master.root.of("release")[0], "release")


def test_what_openssh_signs_we_accept(master: Master, tmp_path: Path) -> None:
    payload = b"anything\n"
    for algorithm in ("sha256", "sha512"):
        words = [
            "ssh-keygen",
            "-Y",
            "sign",
            "-n",
            "whiz-channel",
            "-O",
            f"hashalg={algorithm}",
            "-f",
            f"{master.keys}/publish",
        ]
        block = subprocess.run(words, input=payload, capture_output=True, check=True).stdout
        _, held = sshsig.split(payload + block)
        assert trust.signers(held, payload, "channel", master.root.of("channel")) == {*master.root.of("channel")}
        assert not trust.signers(held, payload + b"\n", "channel", master.root.of("channel"))
        assert openssh_believes(tmp_path, payload, block, master.root.of("channel")[0], "channel")


def test_a_key_in_ssh_agent_signs(master: Master, agent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    master.put("a", "a")
    monkeypatch.setenv("SSH_AUTH_SOCK", agent["SSH_AUTH_SOCK"])
    subprocess.run(["ssh-add", "-q", f"{master.keys}/publish"], check=True, capture_output=True)
    for name in ("publish", "publish.pub"):
        os.unlink(f"{master.keys}/{name}")
    assert master.publish().channel == master.repository.channel("stable")


def test_a_public_key_file_whose_other_half_is_in_ssh_agent_signs(
    master: Master, agent: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    master.put("a", "a")
    monkeypatch.setenv("SSH_AUTH_SOCK", agent["SSH_AUTH_SOCK"])
    subprocess.run(["ssh-add", "-q", f"{master.keys}/publish"], check=True, capture_output=True)
    os.unlink(f"{master.keys}/publish")
    master.publish()


def test_a_key_that_is_nowhere_says_where_it_was_looked_for(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = master.root.of("channel")[0]
    os.unlink(f"{master.keys}/publish")
    master.put("a", "a")
    with pytest.raises(ReleaseError) as said:
        master.publish()
    assert f"{sshsig.fingerprint(key)}: its private half is neither in a key file here nor in ssh-agent" in str(
        said.value
    )
    assert "hint: --keys DIR says where key files are; ssh-add FILE gives one to ssh-agent" in str(said.value)
    assert master.repository.channels() == []


def test_an_agent_that_has_gone_says_the_same(master: Master, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    os.unlink(f"{master.keys}/publish")
    with pytest.raises(ReleaseError, match="neither in a key file here nor in ssh-agent"):
        keys.sign_by(b"x\n", "channel", master.root.of("channel"), [master.keys])


def test_a_key_with_a_passphrase_and_no_terminal(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    words = ["ssh-keygen", "-q", "-p", "-N", "a secret of ours", "-f", f"{master.keys}/publish"]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(ReleaseError, match="its file wants a passphrase, and there is no terminal"):
        keys.sign_by(b"x\n", "channel", master.root.of("channel"), [master.keys])


def test_a_key_that_others_may_read(master: Master) -> None:
    os.chmod(f"{master.keys}/publish", 0o644)
    with pytest.raises(ReleaseError, match="its file can be read by others: chmod 600 it"):
        keys.sign_by(b"x\n", "channel", master.root.of("channel"), [master.keys])


def test_without_openssh(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ReleaseError, match=r"ssh-keygen is missing\nhint: apt-get install openssh-client"):
        keys.sign(b"x\n", "channel", master.root.of("channel")[0], [master.keys])


def test_a_file_that_claims_to_be_another_key_is_found_out(master: Master) -> None:
    with open(f"{master.keys}/root.pub") as f:
        text = f.read()
    with open(f"{master.keys}/publish.pub", "w") as f:
        f.write(text)
    os.unlink(f"{master.keys}/root")
    os.unlink(f"{master.keys}/root.pub")
    with pytest.raises(ReleaseError):
        keys.sign(b"x\n", "root", master.root.of("root")[0], [master.keys])


def test_public_keys_are_read_from_either_half(master: Master, tmp_path: Path) -> None:
    assert keys.public(f"{master.keys}/root") == keys.public(f"{master.keys}/root.pub") == master.root.of("root")[0]
    os.unlink(f"{master.keys}/root.pub")
    with pytest.raises(UsageError, match=r"root is a private key, and .*\.pub is not there\nhint: ssh-keygen -y"):
        keys.public(f"{master.keys}/root")
    with pytest.raises(UsageError, match="No such file"):
        keys.public(str(tmp_path / "none.pub"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "other"], check=True)
    with pytest.raises(
        UsageError, match=r"not a public key of a kind that every node can check .*\nhint: ssh-keygen -t"
    ):
        keys.public(str(tmp_path / "other.pub"))


def test_a_key_is_never_overwritten(master: Master) -> None:
    with pytest.raises(UsageError, match=r"root exists already\nhint: keep it safe"):
        keys.make(f"{master.keys}/root", "x")


def test_keys_of_other_kinds_in_a_folder_do_not_hinder(master: Master) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", f"{master.keys}/another"], check=True)
    for name in ("broken", "broken.pub"):
        with open(f"{master.keys}/{name}", "w") as f:
            f.write("garbage")
    keys.sign(b"x\n", "root", master.root.of("root")[0], ["/nonexistent", master.keys])


def test_a_given_key_is_remembered(tmp_path: Path) -> None:
    mine = str(tmp_path / "mine")
    key = keys.make(mine, "mine")
    folder = str(tmp_path / "keys")
    given = {"root": [f"{mine}.pub"], "release": [mine], "channel": [mine]}
    held = keys.gather(folder, "app", given, new=("root", "publish"))
    assert held == {"root": (key,), "release": (key,), "channel": (key,)}
    assert len(os.listdir(folder)) == 2
    keys.sign(b"x\n", "root", key, [folder])
    with pytest.raises(
        UsageError, match=r"no key for the role channel\nhint: --channel-key FILE, or --key FILE for both"
    ):
        keys.gather(folder, "app", {"root": [mine], "release": [mine], "channel": []}, new=("root", "publish"))
