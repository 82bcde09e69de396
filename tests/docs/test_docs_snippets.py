"""Every snippet of the README and the docs does what it shows."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whiz.core.doctor import Grade, examine
from whiz.core.errors import ManifestError
from whiz.core.lines import parse_lines
from whiz.core.manifest import Document, Identity, build
from whiz.core.shape import Node, Report
from whiz.core.units import SERVICE, Mode, Site, units
from whiz.world.machine import look
from whiz.world.yamltree import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.conftest import Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").glob("*.md"))
TITLE = re.compile(r"`(?:/etc/whiz/|~/\.config/whiz/)?([^`/~][^`]*)`[^`]*:$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `title`: the file it is, from the line before it; `wrong`: whether that line says refused."""

    place: str
    language: str
    text: str
    title: str | None
    wrong: bool

    @property
    def manifest(self) -> bool:
        """Whether it is a whizzifest in full."""
        other = self.title in ("node.yaml", "fleet.yaml")
        named = self.title is not None and not other
        return (
            self.language == "whizzifest"
            or (self.language == "yaml" and not other)
            or (self.language == "text" and named)
        )


def blocks(path: Path) -> Iterator[Block]:
    before, inside, language, held, start = "", False, "", [""], 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not inside and line.startswith("```"):
            inside, language, held, start = True, line[3:].strip(), [], number
        elif inside and line == "```":
            found = TITLE.search(before)
            title = found[1] if found else None
            yield Block(f"{path.name}:{start}", language, "\n".join(held) + "\n", title, "refused" in before)
            inside, before = False, ""
        elif inside:
            held.append(line)
        elif line.strip():
            before = line.strip()
    assert not inside, f"{path}: a block is not closed"


def commands(block: Block) -> list[tuple[str, str]]:
    """Return each command of a console block with what it is shown to print."""
    out: list[tuple[str, str]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            out.append((line[2:], ""))
        elif line.startswith("> ") and out and not out[-1][1]:
            out[-1] = (out[-1][0] + "\n" + line[2:], "")
        else:
            assert out, f"{block.place}: the block does not begin with a command"
            out[-1] = (out[-1][0], out[-1][1] + line + "\n")
    return out


def fits(shown: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what is shown; a line of … stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(fits(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and fits(shown[1:], printed[1:])


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_commands_print_what_is_shown(path: Path, sandbox: Sandbox) -> None:
    for block in blocks(path):
        if block.title is not None and block.language in ("text", "yaml", "whizzifest"):
            sandbox.put(block.title, block.text)
        if block.language != "console":
            continue
        pairs = commands(block)
        printed = sandbox.typed([command for command, _ in pairs])
        assert len(printed) == len(pairs), f"{block.place}: the shell ended early: {printed}"
        for (command, shown), said in zip(pairs, printed, strict=True):
            want, have = sandbox.loosened(shown), sandbox.loosened(said)
            assert fits(want, have), f"{block.place}: $ {command}\n--- shown\n{shown}\n--- printed\n{said}"


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_whizzifests_are_valid_unless_called_refused(path: Path) -> None:
    identity = Identity(name="pi-1", roles=("camera",))
    for block in blocks(path):
        if not block.manifest:
            continue
        report = Report(str(ROOT / "manifests" / (block.title or "whizzifest")), block.text.splitlines())
        tree: Node | None
        if block.language == "yaml" or (block.title or "").endswith((".yaml", ".yml")):
            tree = parse_yaml(block.text, report)
        else:
            tree = parse_lines(block.text, report)
        document = Document(report.file, tree, report)
        if block.wrong:
            with pytest.raises(ManifestError):
                build([document], identity)
        else:
            assert build([document], identity), f"{block.place}: names no program"


def test_fleet_files_are_valid(tmp_path: Path) -> None:
    from whiz.world.fleet.files import Files

    (tmp_path / "hosts.ini").write_text("")
    shown = [b for path in DOCS for b in blocks(path) if b.title == "fleet.yaml"]
    assert shown
    for block in shown:
        (tmp_path / "fleet.yaml").write_text(block.text)
        assert Files(parse_yaml, "/dev/null").load(f"{tmp_path}/fleet.yaml").hosts


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_every_block_is_of_a_kind_that_is_checked(path: Path) -> None:
    for block in blocks(path):
        assert block.language in ("console", "text", "yaml", "whizzifest", "sh", "json", "crontab", "ini"), block.place
        assert not block.wrong or block.manifest, f"{block.place}: what is refused must be a whizzifest"


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_lines_to_type_are_shell_and_name_files_that_exist(path: Path) -> None:
    for block in blocks(path):
        if block.language != "sh":
            continue
        subprocess.run(["sh", "-n"], input=block.text, text=True, check=True)
        for script in re.findall(r"(?<!\S)(?:\./)?(scripts/[a-z]+)(?![\w.])", block.text):
            assert (ROOT / script).stat().st_mode & 0o111, f"{block.place}: {script} cannot be run"


@pytest.mark.parametrize("mode", Mode)
def test_the_units_are_ones_that_the_doctor_likes(mode: Mode, tmp_path: Path) -> None:
    made = units(Site(("/usr/local/bin/whiz",), runtime=True), mode)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    folders = {"config": "/", "run": "/", "state": "/", "log": "/"}
    found = [f for f in examine(look(folders, "x", [str(tmp_path)], [])) if f.about == "whiz.service"]
    assert [f.grade for f in found] == [Grade.OK] * (SERVICE in made)


def test_a_wrong_answer_is_noticed() -> None:
    assert fits(["a", "…", "d"], ["a", "b", "c", "d"])
    assert fits(["…"], [])
    assert not fits(["a"], ["b"])
    assert not fits([], ["b"])
    assert not fits(["a", "…", "d"], ["a", "b"])
