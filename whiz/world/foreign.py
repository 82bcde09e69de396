"""Other supervisors' files: their text, the files they include, and what systemd lays beside a unit."""

from __future__ import annotations

import glob
import os

from whiz.core.errors import ManifestError, Problem
from whiz.world import disk

_MOST = 4_000_000  # bytes of a file that a person wrote
_SYSTEM = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def text_of(path: str, shown: str) -> str:
    """Return a file's text; raise ManifestError with the place where it is none."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(21, "is a directory: name the files in it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise _error(shown, 0, "is not a regular file", f"pipe what it holds: cat {shown} | whiz import -")
        data = disk.read(path, _MOST)
    except OSError as exc:
        raise _error(shown, 0, exc.strerror or str(exc)) from None
    if data is None:
        raise _error(shown, 0, "there is no such file")
    return decoded(data, shown)


def decoded(data: bytes, shown: str) -> str:
    """Return bytes as text: UTF-8, or UTF-16 with its mark; line ends as ours."""
    if len(data) > _MOST:
        raise _error(shown, 0, f"larger than {_MOST} bytes")
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        said = f"byte {data[exc.start]:#x} is no {encoding.removesuffix('-sig').upper()} text"
        hint = "iconv -f ISO-8859-1 -t UTF-8 FILE, if it is older than Unicode"
        raise _error(shown, line, said, hint) from None
    if "\0" in text:
        raise _error(shown, text.count("\n", 0, text.index("\0")) + 1, "a NUL character: it is binary, or damaged")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _error(shown: str, line: int, message: str, hint: str = "") -> ManifestError:
    return ManifestError((Problem(shown, line, 1 if line else 0, message, "", hint),))


def matches(pattern: str) -> list[str]:
    """Return the files that a pattern names, sorted."""
    return sorted(p for p in glob.glob(pattern) if os.path.isfile(p))


def beside(path: str, name: str) -> str | None:
    """Return the file of this name in the same folder, None where there is none."""
    found = os.path.join(os.path.dirname(path), name)
    return found if os.path.isfile(found) else None


def unit_path(path: str) -> str:
    """Return where a unit's own file is: of a drop-in, its unit's; of an instance that has none, its template's."""
    folder = os.path.dirname(path)
    if folder.endswith((".service.d", ".timer.d")):
        path = folder.removesuffix(".d")
    if os.path.exists(path) or "@" not in os.path.basename(path):
        return path
    stem, _, rest = os.path.basename(path).partition("@")
    return os.path.join(os.path.dirname(path), f"{stem}@.{rest.rpartition('.')[2]}")


def drop_ins(path: str, name: str) -> list[str]:
    """Return the drop-ins of a unit in the order in which they hold."""
    kind = name.rpartition(".")[2]
    stem = name.removesuffix(f".{kind}")
    folders = [f"{name}.d", f"{kind}.d"]
    if "@" in stem:
        folders.append(f"{stem.partition('@')[0]}@.{kind}.d")
    parts = stem.split("-")
    folders += ["-".join(parts[:i]) + f"-.{kind}.d" for i in range(1, len(parts))]
    home = os.path.dirname(os.path.abspath(path))
    homes = [home] if home not in _SYSTEM else list(_SYSTEM)
    found: dict[str, str] = {}
    for place in homes:
        for folder in folders:
            for file in matches(os.path.join(glob.escape(os.path.join(place, folder)), "*.conf")):
                found.setdefault(os.path.basename(file), file)
    return [found[key] for key in sorted(found)]
