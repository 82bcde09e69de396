"""Completions: what a shell offers after the words that somebody has typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
OFFERED = """\
source <(whiz completion bash); source <(quesofiesta completion bash)
COMP_WORDS=($1 ''); COMP_CWORD=1; [ -z "$2" ] || { COMP_WORDS=($1 "$2" "$3"); COMP_CWORD=2; }
"$(complete -p "$1" | sed 's/.* -F \\([^ ]*\\) .*/\\1/')" "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words: str) -> set[str]:
    """Return what bash offers, with the completions of both commands loaded."""
    env = {"PATH": f"{BIN}:/usr/bin:/bin"}
    said = subprocess.run(["bash", "-c", OFFERED, "-", *words], env=env, check=True, capture_output=True, text=True)
    assert said.stderr == ""
    return set(said.stdout.split())


def test_commands_and_options_are_offered_each_to_its_own() -> None:
    assert {"publish", "pull", "completion"} <= offered("quesofiesta")
    assert "publish" not in offered("whiz")
    assert "apply" in offered("whiz")
    assert "--health" in offered("quesofiesta", "publish", "--h")
    assert offered("quesofiesta", "pull", "--dr") == {"--dry-run"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_they_are_printed(shell: str) -> None:
    said = subprocess.run([BIN / "quesofiesta", "completion", shell], check=True, capture_output=True, text=True).stdout
    assert "promote" in said
    assert said.startswith("#compdef quesofiesta") == (shell == "zsh")
