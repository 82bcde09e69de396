"""Trace one pull with ptrace(2); copy the node, or kill the pull, at its system calls.

What kill -9 leaves behind is what the file system shows at that moment. So one traced run gives every crash point:
at each stop the directory is looked at, and copied when it is another than before.

`python tracing.py HOME OUT KILL`: KILL is the stop to kill it at, 0 for none. Prints JSON: the exit status, the number of
stops, the copies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.faults.killer import TRACEME, Server, _ptrace
from whiz.face.quesofiesta.cli import main

NEVER = 1 << 40


def seen(path: str) -> list[tuple[object, ...]]:
    """Return what a pull could have changed, without reading it."""
    out: list[tuple[object, ...]] = []
    for folder, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            full = os.path.join(folder, name)
            try:
                st = os.lstat(full)
                link = os.readlink(full) if os.path.islink(full) else ""
            except FileNotFoundError:
                continue
            out.append((full, st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_nlink, link))
    return sorted(out, key=str)


class Tracer(Server):
    def __init__(self, home: str, out: str) -> None:
        super().__init__()
        self.home, self.out = home, out
        self.copies, self.last = 0, seen(home)

    def begin(self) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 1)
            _ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            code = main(["pull", "--home", self.home])
        except BaseException:  # noqa: BLE001  a fork must not return into its parent's program
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def look(self, _: int) -> None:
        now = seen(self.home)
        if now != self.last:
            self.last = now
            self.copies += 1
            subprocess.run(["cp", "-a", self.home, f"{self.out}/{self.copies}"], check=True)


if __name__ == "__main__":
    tracer = Tracer(sys.argv[1], sys.argv[2])
    kill = int(sys.argv[3])
    import whiz.world.release.checkup
    import whiz.world.release.health
    import whiz.world.release.pull
    import whiz.world.yamltree  # noqa: F401  so that the child begins where its work begins

    os.sync()  # what others have written is not what its own flush is to wait for
    turn = tracer.trace(tracer.begin(), 0, kill or NEVER, False, (lambda _: None) if kill else tracer.look)
    print(json.dumps({"code": turn.code, "stops": turn.stops, "copies": tracer.copies}))  # noqa: T201
