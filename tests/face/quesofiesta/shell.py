"""Somebody who calls the master's commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whiz.face.quesofiesta import cli

if TYPE_CHECKING:
    import pytest

QUESOFIESTA = Path(sys.executable).parent / "quesofiesta"


class Shell:
    """Somebody in a directory with a source and, once `init` was called, a repository."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self._capsys = place, capsys

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command; return what it prints on both streams."""
        got = cli.main(list(words))
        said = self._capsys.readouterr()
        assert got == code, said.out + said.err
        return said.out + said.err

    def json(self, *words: str, code: int = 0) -> Any:
        got = cli.main([*words, "--json"])
        said = self._capsys.readouterr()
        assert got == code, said.out + said.err
        answer = json.loads(said.out)
        assert answer.pop("version") == 1
        return answer

    def put(self, name: str, text: str) -> None:
        path = self.place / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def released(self, *texts: str) -> None:
        """Begin a repository and publish one release for each text, labelled v1, v2 …"""
        self.run("init", "repo", "--app", "camera")
        for n, text in enumerate(texts, 1):
            self.put("run.py", text)
            self.run("publish", "src", "--repo", "repo", "--label", f"v{n}", "-m", f"the {n}.")
