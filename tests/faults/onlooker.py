"""One home, looked at from outside."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.faults.outside import ENV, WHIZ, Live, processes

if TYPE_CHECKING:
    from pathlib import Path


class Node:
    """One home, looked at from outside."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def wish(self, **programs: dict[str, Any]) -> None:
        for name, entry in programs.items():
            entry.setdefault("run", ["/bin/sh", "-c", 'echo $$ >>"$FAULT/$0.mark"; exec sleep 1000', name])
            entry.update(env={"FAULT": str(self.home)}, files=[])
            entry["restart"] = {"delay": "5ms", "max_delay": "10ms", **entry.get("restart", {})}
        (self.home / "whizzifest.yaml").write_text(json.dumps({"version": 1, "programs": programs}))

    def whiz(self, *words: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*under, *WHIZ, "--home", str(self.home), *words], env=ENV, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def mains(self) -> dict[str, int]:
        """Return program -> pid of its one process."""
        found: dict[str, int] = {}
        for p in self.family():
            if p.leader and not p.chaperone:
                name = p.env["WHIZ_NAME"]
                assert name not in found, f"{name} runs twice: {found[name]} and {p.pid}"
                found[name] = p.pid
        return found

    def family(self) -> list[Live]:
        return list(processes(f"FAULT={self.home}\0"))

    def starts(self, name: str) -> int:
        try:
            return len((self.home / f"{name}.mark").read_text().splitlines())
        except FileNotFoundError:
            return 0
