"""What is generated is current, links lead somewhere, and the project stands alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACE = re.compile(r"`(whiz/[a-z_/]+\.py)(?:: (\w+))?`")


def test_what_is_generated_is_current(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs", "--check"], cwd=root, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_page_is_noticed(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in ("scripts", "docs", "whiz/face/completion"):
        (copy / name).mkdir(parents=True)
    (copy / "scripts" / "docs").write_text((root / "scripts" / "docs").read_text())
    (copy / ".venv").symlink_to(Path(sys.prefix))
    check = [sys.executable, "scripts/docs", "--check"]
    before = subprocess.run(check, cwd=copy, check=False, capture_output=True, text=True)
    assert before.returncode == 1
    assert "docs/manifest.md: not current" in before.stdout
    assert not (copy / "docs" / "manifest.md").exists()
    assert subprocess.run(check[:-1], cwd=copy, check=False, capture_output=True).returncode == 0
    assert (copy / "docs" / "manifest.md").read_text() == (root / "docs" / "manifest.md").read_text()
    assert subprocess.run(check, cwd=copy, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_named_places_in_the_source_exist(page: Path) -> None:
    for path, name in PLACE.findall(page.read_text()):
        text = (ROOT / path).read_text()
        there = not name or re.search(rf"^\s*(def|class) {name}\b|^{name}\b.*=", text, re.MULTILINE)
        assert there, f"{page.name}: {path} has no {name}"


def test_every_key_of_the_program_is_explained(root: Path) -> None:
    from whiz.core.keys import PROGRAM

    text = (root / "docs" / "manifest.md").read_text()
    assert all(f"| `{key.name}` |" in text for key in PROGRAM.keys)


@pytest.mark.parametrize("uid", [0, 1000])
def test_ci_skips_nothing_unseen(root: Path, tmp_path: Path, uid: int) -> None:
    """Its tests are told that it is CI, whoever calls it, and who is not root hears what that means."""
    for name, text in {
        ".ci/run": (root / ".ci/run").read_text(),
        "bin/id": f"#!/bin/sh\necho {uid}\n",
        **{f"scripts/{s}": f"#!/bin/sh\necho {s} $CI\n" for s in ("check", "build", "test")},
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run([tmp_path / ".ci/run"], env=env, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["check true", "build true", "test true"]
    assert ("not root" in done.stderr) == (uid != 0)
