"""Make dist/whiz_VERSION_all.deb out of the wheel, with dpkg-deb alone. The same source gives the same bytes.

    python deb.py WHEEL DIST

What depends on what is read from the wheel, so that pip and apt are told the same. SOURCE_DATE_EPOCH is the time of
everything in it (https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import email
import email.utils
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path

from man import page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MAINTAINER = "the whiz authors <whiz@whiz.invalid>"
MODULES = "usr/lib/python3/dist-packages"
PACKAGES = {  # Debian's names of what the wheel requires
    "psutil": "python3-psutil",
    "pyyaml": "python3-yaml",
    "schedule": "python3-schedule",
    "watchdog": "python3-watchdog",
}
# -I: neither PYTHONPATH nor a module lying in a home directory decides what root's whiz is made of
COMMAND = """#!/usr/bin/python3 -I
import sys

from whiz.face.{face} import main

sys.exit(main())
"""


def main() -> None:
    wheel, dist = Path(sys.argv[1]), Path(sys.argv[2])
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(wheel) as packed:
        top = Path(place) / "whiz"
        packed.extractall(top / MODULES)
        info = next((top / MODULES).glob("whiz-*.dist-info"))
        about = email.message_from_string((info / "METADATA").read_text())
        version = debian_version(about["Version"])
        shutil.rmtree(info / "licenses")  # Debian has a place of its own for it
        (info / "RECORD").unlink()  # dpkg keeps the list of files
        (info / "INSTALLER").write_text("dpkg\n")
        fill(top, version, epoch)
        control(top, version, depends(about))
        settle(top, epoch)
        words = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", top, dist / f"whiz_{version}_all.deb"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def debian_version(version: str) -> str:
    """Return a version that sorts as Python's does: 1.0rc1 comes before 1.0."""
    return re.sub(r"\.?(dev|a|b|rc)(?=\d)", r"~\1", version)


def depends(about: email.message.Message) -> str:
    """Say in Debian's words what the wheel requires."""
    asked = [("python3", about["Requires-Python"])]
    for line in about.get_all("Requires-Dist", []):
        if "extra ==" in line:
            continue  # what only a master needs is suggested: see debian/control
        found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(>=[\d.]+)", line)
        if found is None or found[1].lower() not in PACKAGES:
            sys.exit(f"deb.py: {line}: name its Debian package in PACKAGES, with a lower bound alone")
        asked.append((PACKAGES[found[1].lower()], found[2]))
    return ", ".join(f"{name} (>= {bound.removeprefix('>=')})" for name, bound in asked)


def fill(top: Path, version: str, epoch: int) -> None:
    """Add what a wheel has no place for: the commands, manual pages, completions, and what Debian asks for."""
    for name, face in (("whiz", "cli"), ("quesofiesta", "quesofiesta.cli")):
        put(top / "usr/bin" / name, COMMAND.format(face=face))
        put(top / f"usr/share/man/man1/{name}.1.gz", packed(page(name, version, epoch)))
        for folder, link, shell in (
            ("bash-completion/completions", name, "bash"),
            ("zsh/vendor-completions", f"_{name}", "zsh"),
        ):
            at = top / "usr/share" / folder / link
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(f"../../../{MODULES.removeprefix('usr/')}/whiz/face/completion/{name}.{shell}")
    doc = top / "usr/share/doc/whiz"
    put(doc / "changelog.gz", packed(changelog(version, epoch)))
    put(doc / "copyright", (HERE / "debian/copyright").read_text() + "".join(licence()))
    shutil.copy(ROOT / "docs/manifest.md", doc)
    shutil.copytree(ROOT / "manifests", doc / "examples")


def licence() -> list[str]:
    """Return LICENSE as a field of a copyright file."""
    text = (ROOT / "LICENSE").read_text().split("\n\n", 2)[2]
    return [f" {line or '.'}\n" for line in text.strip().splitlines()]


def changelog(version: str, epoch: int) -> str:
    """Return the newest part of CHANGELOG.md as Debian writes it."""
    newest = re.split(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    items = [" ".join(item.split()) for item in re.findall(r"^- ((?:.+\n)(?:  .+\n)*)", newest, re.MULTILINE)]
    lines = "\n".join(textwrap.fill(i, 78, initial_indent="  * ", subsequent_indent="    ") for i in items)
    when = email.utils.formatdate(epoch)
    return f"whiz ({version}) stable; urgency=medium\n\n{lines}\n\n -- {MAINTAINER}  {when}\n"


def control(top: Path, version: str, needs: str) -> None:
    """Write what dpkg reads."""
    files = sorted(p for p in top.rglob("*") if p.is_file() and not p.is_symlink())
    held = {"version": version, "maintainer": MAINTAINER, "depends": needs}
    held["size"] = str(sum(-(-p.stat().st_size // 1024) for p in files))
    sums = "".join(f"{hashlib.md5(p.read_bytes()).hexdigest()}  {p.relative_to(top)}\n" for p in files)  # noqa: S324
    put(top / "DEBIAN/control", (HERE / "debian/control").read_text().format(**held))
    put(top / "DEBIAN/md5sums", sums)
    for name in ("postinst", "prerm", "postrm"):
        put(top / "DEBIAN" / name, (HERE / "debian" / name).read_text())


def settle(top: Path, epoch: int) -> None:
    """Give everything the same time, and the modes that Debian asks for, whatever umask and checkout made of them."""
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.read_bytes()[:2] == b"#!"
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def put(path: Path, held: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(held.encode() if isinstance(held, str) else held)


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=0)


if __name__ == "__main__":
    main()
