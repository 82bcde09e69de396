"""What `quesofiesta` does for shells."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def completion(args: argparse.Namespace) -> int:
    """Print a shell's completions."""
    print(files("whiz.face").joinpath("completion", f"quesofiesta.{args.shell}").read_text(), end="")  # noqa: T201
    return 0
