"""The little programs that supervisors are tried with. Each appends a line to its marker file when it starts.

`exec 8` takes a lock that the whole tree of a copy holds: who finds it taken runs beside its predecessor, and says so.
"""

from __future__ import annotations

import os
import sys

ISOLATED = "-IS"  # how Python is called

START = """#!/bin/sh
echo "start $*" >>{marks}
exec 8>>{marks}.lock
flock -n 8 || echo overlap >>{marks}
"""

PLAIN = START + "exec /bin/sleep {seconds}\n"

FAILS = START + "exit 1\n"

SLOW = (  # ends when it may
    START
    + """\
trap 'trap "" TERM INT; echo term >>{marks}; until [ -e {marks}.go ]; do sleep 0.05; done; exit 0' TERM INT
while :; do sleep 0.05; done
"""
)

TREE = (  # with a grandchild in a session of its own, whose parent lives
    START
    + """\
sh -c 'setsid /bin/sleep {guest} & wait' &
exec /bin/sleep {seconds}
"""
)

ORPHAN = (  # with one whose parent has ended
    START
    + """\
( setsid /bin/sleep {guest} & )
exec /bin/sleep {seconds}
"""
)

SPEAKER = (
    START
    + """\
echo "before $$"
until [ -e {marks}.speak ]; do sleep 0.05; done
echo "after $$"
echo spoke >>{marks}
exec /bin/sleep {seconds}
"""
)

SERVER = """#!{python} {isolated}
import os, signal, socket, sys, time
def mark(word):
    with open("{marks}", "a") as f:
        f.write(word + "\\n")
mark("start " + " ".join(sys.argv[1:]))
listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listening.bind(("127.0.0.1", {port}))
    listening.listen()
except OSError:
    mark("taken")
    time.sleep(0.2)
    sys.exit(1)
def late(*_):
    time.sleep(2)
    os._exit(0)
def told(*_):
    os.kill(worker, signal.SIGTERM)
    os._exit(0)
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, late)
worker = os.fork()
if worker:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, told)
    mark("bound")
while True:
    time.sleep(60)
"""  # it tells its worker and ends; the worker, which holds the port, ends two seconds later

STRANGER = """#!/bin/sh
for name in HUP INT QUIT USR1 USR2 TERM; do trap "echo $name >>{marks}" $name; done
echo "start $*" >>{marks}
while :; do sleep 0.1; done
"""


def written(base: str, name: str, text: str, **words: object) -> str:
    """Write a program below a trial's directory and return its path."""
    for place in ("programs", "marks"):
        os.makedirs(f"{base}/{place}", exist_ok=True)
    path = f"{base}/programs/{name}"
    for word, value in {
        "marks": f"{base}/marks/{name}",
        "python": sys.executable,
        "isolated": ISOLATED,
        **words,
    }.items():
        text = text.replace(f"{{{word}}}", str(value))
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, 0o755)  # noqa: S103  others may run it
    return path
