"""Carry out any command of `quesofiesta`: words in, exit status out."""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from whiz.core.errors import WhizError
from whiz.face import voice
from whiz.face.cli import fail, guarded
from whiz.face.quesofiesta.helptext import room
from whiz.face.quesofiesta.parser import build_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def call(words: list[str]) -> int:
    """Run one command and return its exit status."""
    voice.NAME = "quesofiesta"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    try:
        return guarded(words, build_parser, _command, "interrupted")
    except OSError as exc:
        return fail(words, WhizError(f"{exc.filename or 'a file'}: {exc.strerror}"))


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what carries out a command: the function of its name, in the module that has it; imported only now."""
    carry: Callable[[argparse.Namespace], int] = getattr(import_module(f"whiz.face.quesofiesta.{room(name)}"), name)
    return carry
