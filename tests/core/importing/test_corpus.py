"""Files as people have them, and what becomes of them: each folder of corpus/ has `args`, inputs and `expected`.

WHIZ_CORPUS=write pytest tests/core/importing/test_corpus.py     writes every `expected` anew: read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whiz.core.manifest import Document, Identity, build
from whiz.core.shape import Report
from whiz.face.cli import main
from whiz.world.yamltree import parse_yaml

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(p.name for p in CORPUS.iterdir())


def printed(case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return all that a call says, and the whizzifest in it."""
    place = CORPUS / case
    args = (place / "args").read_text().strip()
    monkeypatch.chdir(place)
    code = main(["import", *args.split()])
    out, err = (text.replace(str(place), "/corpus") for text in capsys.readouterr())
    said = f"$ whiz import {args}\n{out}--- on stderr, exit status {code}\n{err}"
    return said, out


@pytest.mark.parametrize("case", CASES)
def test_corpus(case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said, out = printed(case, capsys, monkeypatch)
    expected = CORPUS / case / "expected"
    if os.environ.get("WHIZ_CORPUS") == "write":
        expected.write_text(said)
    assert said == expected.read_text()
    if out:
        report = Report("printed.yaml", out.splitlines())
        assert build([Document("/printed.yaml", parse_yaml(out, report), report)], Identity()) is not None
        assert not report.problems
    else:
        assert "exit status 2" in said


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 50
