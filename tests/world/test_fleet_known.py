"""known_hosts is read as ssh reads it: ssh-keygen is asked the same."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from whiz.world.fleet.known import Known

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    """Return three public keys, as known_hosts has them."""
    made = []
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = tmp_path / kind
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
        made.append(" ".join((tmp_path / f"{kind}.pub").read_text().split()[:2]))
    return made


def names(known: Known, where: str) -> list[str]:
    return [f"{k.get_name()} {k.get_base64()}" for k in known.keys(where)]


def test_plain_ports_patterns_and_hashes(tmp_path: Path, keys: list[str]) -> None:
    first, second, third = keys
    file = tmp_path / "known_hosts"
    file.write_text(
        f"# mine\n\npi,10.0.0.1 {first} a comment\n[pi]:2222 {second}\n*.lan,!bad.lan {third}\nhashed {first}\n"
    )
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "|1|" in file.read_text()
    known = Known([str(tmp_path / "none"), str(file)])
    assert names(known, "pi") == [first]
    assert names(known, "10.0.0.1") == [first]
    assert names(known, "[pi]:2222") == [second]
    assert names(known, "good.LAN") == [third]
    assert names(known, "hashed") == [first]
    for where in ("bad.lan", "other", "[pi]:22", "p"):
        assert names(known, where) == []
        assert subprocess.run(["ssh-keygen", "-F", where, "-f", str(file)], check=False, capture_output=True).returncode


def test_revoked_keys_authorities_and_rubbish(tmp_path: Path, keys: list[str]) -> None:
    first, second, third = keys
    file = tmp_path / "known_hosts"
    lines = [f"@revoked * {first}", f"@cert-authority *.lan {second}", f"a.lan {first}", f"a.lan {third}"]
    lines += [
        "a.lan ssh-ed25519 AAAA!!",
        "a.lan ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",
        "a.lan ssh-foo AAAA",
        "a.lan",
        "|1|x ssh-rsa",
    ]
    file.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe \x80 x\n" + f"|1|bad|bad {second}\n".encode())
    assert names(Known([str(file)]), "a.lan") == [third]
    assert names(Known([str(tmp_path)]), "a.lan") == []
