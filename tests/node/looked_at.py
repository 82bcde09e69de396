"""What tests of looks share: a program that tells in every way that it is ready, and alive."""

from __future__ import annotations

import json
import socket
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.node.conftest import Node


PROGRAM = """
    import os, select, socket, sys, time
    way, go = sys.argv[1], sys.argv[2]  # do this once there is a file `go`; undo it when there is a file `stop`
    def wait(path):
        while not os.path.exists(path):
            time.sleep(0.01)
    def tell(words):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(words, os.environ["NOTIFY_SOCKET"])
    wait(go)
    if way == "file":
        open(sys.argv[3], "w").close()
    elif way == "log":
        print("now it listens", flush=True)
    elif way == "notify":
        tell(b"STATUS=so\\nREADY=1")
    elif way == "fd":
        os.write(int(sys.argv[3]), b"\\n")
    elif way == "beats":
        while not os.path.exists(go + ".stop"):
            tell(b"WATCHDOG=1")
            time.sleep(float(os.environ["WATCHDOG_USEC"]) / 4e6)
        if os.path.exists(go + ".trigger"):
            tell(b"WATCHDOG=trigger")
            tell(b"READY=1\\nWATCHDOG=1")
    elif way == "heartbeat":
        while not os.path.exists(go + ".stop"):
            open(sys.argv[3], "w").close()
            time.sleep(0.1)
    elif way in ("port", "unix"):
        s = socket.socket(socket.AF_INET if way == "port" else socket.AF_UNIX)
        if way == "unix" and os.path.exists(sys.argv[3]):
            os.unlink(sys.argv[3])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", int(sys.argv[3])) if way == "port" else sys.argv[3])
        s.listen()
        wait(go + ".stop")
        s.close()
    time.sleep(1000)
"""


def speaking(node: Node) -> str:
    """Write that program; return how to run it."""
    node.write(textwrap.dedent(PROGRAM), "program.py").chmod(0o644)
    return f"{sys.executable} {node.path}/program.py"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def manifest(node: Node, **programs: dict[str, Any]) -> None:
    node.yaml(json.dumps({"programs": programs}))


def applied(node: Node, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Apply again and again, with little patience, until the rows of status are so."""
    end = time.monotonic() + 60
    while True:
        done = node.command("apply", "--wait", "1")
        rows = node.rows()
        if enough(rows):
            return rows
        assert time.monotonic() < end, done.stdout + done.stderr


def says(words: str, rows: dict[str, Any]) -> bool:
    return bool(rows["w"]["why"] == words)


def says_that(words: str) -> Callable[[dict[str, Any]], bool]:
    return lambda rows: rows["w"]["why"] == f"not ready yet: {words}"
