"""Keys and signatures: OpenSSH makes them, from key files or through ssh-agent."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

from whiz.core.errors import UsageError
from whiz.core.release import sshsig
from whiz.core.release.release import ReleaseError
from whiz.core.release.trust import namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIZE = 16384  # bytes of a public key file


def make(path: str, comment: str) -> str:
    """Make a key pair at `path` and `path`.pub, without a passphrase; return the public half."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already\nhint: keep it safe, or say another --keys")
    _keygen(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return public(path)


def public(path: str) -> str:
    """Return the public key of a file, or of the file beside a private one; raise UsageError."""
    for name in (path, f"{path}.pub"):
        try:
            with open(name, encoding="utf-8", errors="replace") as f:
                text = f.read(_SIZE)
        except OSError as exc:
            if name == path:
                raise UsageError(f"{path}: {exc.strerror}") from exc
            break
        if "PRIVATE KEY" not in text:
            try:
                return sshsig.public(text)
            except ValueError as exc:
                raise UsageError(f"{name}: {exc}\nhint: ssh-keygen -t ed25519 makes one that is") from exc
    raise UsageError(
        f"{path} is a private key, and {path}.pub is not there\nhint: ssh-keygen -y -f {path} > {path}.pub"
    )


def sign(payload: bytes, role: str, key: str, folders: Sequence[str]) -> bytes:
    """Return the armored signature by one key: its file is in one of the folders, or ssh-agent holds it."""
    with tempfile.TemporaryDirectory(prefix="whiz-") as scratch:
        path = _file_of(key, folders)
        if path is None:
            path = f"{scratch}/key.pub"
            with open(path, "w", encoding="ascii") as f:
                f.write(f"{key}\n")
        block = _keygen(["-Y", "sign", "-n", namespace(role), "-f", path], payload, key)
    _, held = sshsig.split(payload + block)
    if not sshsig.good(held[0], payload) or held[0].key != key:
        raise ReleaseError(f"ssh-keygen signed with another key than {sshsig.fingerprint(key)}")
    return block


def sign_by(payload: bytes, role: str, keys: Iterable[str], folders: Sequence[str], need: int = 1) -> bytes:
    """Return signatures by the first `need` keys whose private half we have; raise ReleaseError with what hinders."""
    blocks: list[bytes] = []
    hindered: list[str] = []
    for key in dict.fromkeys(keys):
        try:
            blocks.append(sign(payload, role, key, folders))
        except ReleaseError as exc:
            hindered.append(str(exc))
        if len(blocks) == need:
            return b"".join(blocks)
    words = "\n".join(hindered)
    raise ReleaseError(
        f"{len(blocks)} of the {need} signatures needed in the role {role} can be made\n{words}\n"
        f"hint: --keys DIR says where key files are; ssh-add FILE gives one to ssh-agent"
    )


def _file_of(key: str, folders: Iterable[str]) -> str | None:
    """Return the public key file whose private half lies beside it."""
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".pub") and os.path.isfile(path.removesuffix(".pub")):
                try:
                    if public(path) == key:
                        return path
                except UsageError:
                    continue  # somebody's key of another kind
    return None


def _keygen(words: list[str], given: bytes = b"", key: str = "") -> bytes:
    touch = key.startswith("sk-")  # it asks for a touch on stderr
    try:
        done = subprocess.run(  # noqa: S603  our own words
            ["ssh-keygen", *words],  # noqa: S607  the one that a shell would find
            input=given,
            stdout=subprocess.PIPE,
            stderr=None if touch else subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        raise ReleaseError("ssh-keygen is missing\nhint: apt-get install openssh-client") from None
    if done.returncode:
        said = (done.stderr or b"").decode(errors="replace").strip() or f"exit {done.returncode}"
        raise ReleaseError(f"{_named(key)}{_reason(said)}")
    return done.stdout


def _named(key: str) -> str:
    return f"{sshsig.fingerprint(key)}: " if key else "ssh-keygen: "


def _reason(said: str) -> str:
    """Say what ssh-keygen means."""
    if "UNPROTECTED PRIVATE KEY FILE" in said:
        return "its file can be read by others: chmod 600 it"
    if "incorrect passphrase" in said:
        return "its file wants a passphrase, and there is no terminal to ask for it, or it was wrong"
    if "No private key found" in said or "No such file" in said:
        return "its private half is neither in a key file here nor in ssh-agent"
    return said.splitlines()[-1]


def blocks(data: bytes) -> dict[str, bytes]:
    """Return the armored signatures of a signed file by the keys that made them."""
    payload, *rest = data.split(sshsig.BEGIN)
    return {sshsig.split(payload + sshsig.BEGIN + b)[1][0].key: sshsig.BEGIN + b for b in rest}


def read(payload: bytes, held: dict[str, bytes]) -> tuple[sshsig.Signature, ...]:
    """Return the signatures in armored ones."""
    return sshsig.split(payload + b"".join(held.values()))[1]


def gather(
    folder: str, app: str, given: dict[str, list[str]], new: Sequence[str], *, whole: bool = True
) -> dict[str, tuple[str, ...]]:
    """Return role -> public keys: those of the given files, and new ones that are made in the folder.

    `new`: names of keys to make, root… for the root role, others for the two that sign; with `whole`, only for roles
    that nothing is given for; else one of that name is what a rotation that did not get far has made, and is taken.
    Where the private half of a given file lies beside it, the folder remembers where.
    """
    held = {role: [public(path) for path in paths] for role, paths in given.items()}
    for path in dict.fromkeys(p for paths in given.values() for p in paths):
        _remember(folder, path)
    for name in new:
        roles = ["root"] if name.startswith("root") else ["release", "channel"]
        if whole and any(held[r] for r in roles):
            continue
        os.makedirs(folder, 0o700, exist_ok=True)
        path = os.path.join(folder, name)
        key = public(path) if not whole and os.path.isfile(path) else make(path, f"{name} key of {app}")
        for role in roles:
            held[role].append(key)
    if whole and (lacking := [role for role, found in held.items() if not found]):
        raise UsageError(f"no key for the role {lacking[0]}\nhint: --{lacking[0]}-key FILE, or --key FILE for both")
    return {role: tuple(dict.fromkeys(found)) for role, found in held.items()}


def _remember(folder: str, path: str) -> None:
    private = os.path.abspath(path.removesuffix(".pub"))
    if not os.path.isfile(private) or os.path.dirname(private) == folder:
        return
    os.makedirs(folder, 0o700, exist_ok=True)
    name = sshsig.fingerprint(public(path)).removeprefix("SHA256:").replace("/", "_")
    for target, link in ((private, name), (f"{private}.pub", f"{name}.pub")):
        if not os.path.lexists(os.path.join(folder, link)):
            os.symlink(target, os.path.join(folder, link))


def fingerprint(key: str) -> str:
    """Return how `ssh-keygen -l` names a key."""
    return sshsig.fingerprint(key)
