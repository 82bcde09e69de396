"""What a node costs its card while nothing happens: measured on a card of its own, by what reaches the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.outside import ENV, WHIZ, clear, processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECTOR = 512  # bytes, whatever the device (Documentation/admin-guide/iostats.rst)
# written at mkfs rather than later by the kernel, which would be taken for ours
EAGER = "lazy_itable_init=0,lazy_journal_init=0"

BEATS = """
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
while True:
    s.send(b"WATCHDOG=1")
    time.sleep(0.2)
"""


@dataclass
class Written:
    """Bytes that reached the card, and that the kernel counts for whiz (write_bytes of /proc/PID/io)."""

    seconds: float
    card: int
    whiz: int


@contextmanager
def card(folder: Path) -> Iterator[Path]:
    """Mount an ext4 card; yield where."""
    image, mount = folder / "card.img", folder / "card"
    mount.mkdir()
    script = 'truncate -s 64M "$0" && mkfs.ext4 -q -E "$2" "$0" && mount -o loop "$0" "$1"'
    subprocess.run(["sh", "-c", script, image, mount, EAGER], check=True, capture_output=True)
    mount.chmod(0o755)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


class Idle:
    """A home that lies on a card with all it has, as an ordinary user's does, and programs that do nothing.

    One of them gives signs of life, five times a second.
    """

    def __init__(self, home: Path, programs: int) -> None:
        self.home, self.programs = home, programs
        device = os.stat(home).st_dev
        self._stat = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat"
        # that a program has become stable is noted once, which is no idling
        entry = {"env": {"FAULT": str(home)}, "files": [], "restart": {"stable": "1s"}}
        sleeps = {f"p{i}": {"run": ["/bin/sleep", f"1000000.{i}"], **entry} for i in range(programs)}
        alive = {"notify": True, "timeout": "20s", "every": "1s", "delay": "1s"}
        sleeps["p0"] = {"run": [sys.executable, "-I", "-S", "-c", BEATS], "alive": alive, **entry}
        (home / "whizzifest.yaml").write_text(json.dumps({"version": 1, "programs": sleeps}))

    def resident(self, seconds: float) -> Written:
        """Measure a whiz that stays."""
        whiz = subprocess.Popen([*WHIZ, "--home", str(self.home), "run"], env=ENV, stdout=subprocess.DEVNULL)
        try:
            until(lambda: len(list(processes(f"FAULT={self.home}\0"))) == self.programs, "all are up", 120)
            self._rest()
            before, own = self._card(), _own(whiz.pid)
            time.sleep(seconds)  # in which nothing is to happen
            os.sync()
            return Written(seconds, self._card() - before, _own(whiz.pid) - own)
        finally:
            whiz.kill()
            whiz.wait()
            clear(f"FAULT={self.home}\0")

    def cron(self, times: int) -> Written:
        """Measure so many quiet calls, as cron makes them."""
        try:
            self._apply()
            until(lambda: self._apply() == 0, "every wish holds", 120)
            self._rest()
            self._apply()  # notes that they have become stable meanwhile
            self._apply()  # reads that for the first time, of which the kernel takes note (relatime)
            self._rest()
            before, begin = self._card(), time.monotonic()
            for _ in range(times):
                assert self._apply() == 0
            os.sync()
            return Written(time.monotonic() - begin, self._card() - before, 0)
        finally:
            clear(f"FAULT={self.home}\0")

    def _apply(self) -> int:
        return subprocess.run([*WHIZ, "--home", str(self.home), "--quiet", "apply"], env=ENV, check=False).returncode

    def _card(self) -> int:
        with open(self._stat, encoding="ascii") as f:
            return int(f.read().split()[6]) * SECTOR

    def _rest(self) -> None:
        """Wait until what was written before has reached the card."""

        def still() -> bool:
            os.sync()
            before = self._card()
            time.sleep(6)  # longer than ext4 keeps a transaction open
            os.sync()
            return self._card() == before

        until(still, "the card is at rest", 120)


def _own(pid: int) -> int:
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("write_bytes"))
