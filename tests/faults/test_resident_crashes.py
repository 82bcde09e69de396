"""A whiz that stays, and everything that can happen to it, in any order: hypothesis picks, real processes suffer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.outside import ENV, WHIZ, Live, clear, processes, until

# who finds the lock taken runs beside its predecessor: the kernel lets go of it when the last of the tree is gone
SCRIPT = 'exec 9>>"$FAULT/$0.lock"; flock -n 9 || echo overlap >>"$FAULT/overlaps"; exec sleep "$1"'
NAMES = ("a", "b", "c", "d")
EXAMPLES = int(os.environ.get("WHIZ_EXAMPLES", "20"))
names = st.sampled_from(NAMES)


class Resident(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp(prefix="whiz-resident-")
        os.chmod(self.home, 0o755)
        self.versions: dict[str, int] = {}
        self.held: set[str] = set()
        self.instances = 1
        self.whiz: subprocess.Popen[bytes] | None = None

    # -- what can be done

    @initialize(n=st.integers(1, 3))
    def begin(self, n: int) -> None:
        self.instances = n
        self.versions = {"a": 1, "b": 1}
        self.write()
        self.stay()

    @rule()
    def whiz_is_killed(self) -> None:
        assert self.whiz is not None
        self.whiz.kill()
        self.whiz.wait()
        self.stay()

    @rule()
    def whiz_is_renewed(self) -> None:
        self.tell(signal.SIGUSR2)

    @rule()
    def a_turn_is_asked_for(self) -> None:
        self.tell(signal.SIGHUP)

    @rule(name=names)
    def a_program_is_killed(self, name: str) -> None:
        for p in self.leaders():
            if p.env["WHIZ_NAME"].partition(":")[0] == name:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(p.pid, signal.SIGKILL)

    @rule(name=names)
    def an_entry_is_edited(self, name: str) -> None:
        self.versions[name] = self.versions.get(name, 0) + 1
        self.write()

    @rule(name=names)
    def an_entry_is_removed(self, name: str) -> None:
        self.versions.pop(name, None)
        self.write()

    @rule(name=names)
    def it_is_held(self, name: str) -> None:
        if name in self.versions and self.command("hold", name, "--wait", "0") in (0, 1, 3):
            self.held.add(name)

    @rule(name=names)
    def it_is_unheld(self, name: str) -> None:
        if name in self.held and name in self.versions and self.command("unhold", name, "--wait", "0") in (0, 1, 3):
            self.held.discard(name)

    @rule(name=names)
    def a_restart_is_asked_for(self, name: str) -> None:
        if name in self.versions:
            self.command("restart", name, "--wait", "0")

    # -- what must hold

    @invariant()
    def never_too_many(self) -> None:
        for name, count in Counter(p.env["WHIZ_NAME"] for p in self.leaders()).items():
            assert count == 1, f"{name} runs {count} times"
        assert not os.path.exists(f"{self.home}/overlaps")

    def teardown(self) -> None:
        try:
            if self.whiz is not None:
                self.tell(signal.SIGHUP)
                until(lambda: self.shown() == self.wished(), f"the machine is {self.wished()}", 30)
                assert self.command("apply") == 0
                before = {p.pid for p in self.leaders()}
                assert self.command("apply") == 0
                assert {p.pid for p in self.leaders()} == before
                self.never_too_many()
        finally:
            if self.whiz is not None:
                self.whiz.kill()
                self.whiz.wait()
            clear(f"FAULT={self.home}\0")
            shutil.rmtree(self.home)

    # -- how

    def write(self) -> None:
        programs = {
            name: {
                "run": ["/bin/sh", "-c", SCRIPT, f"{name}:{{n}}", f"1000.{version}"],
                "env": {"FAULT": self.home},
                "files": [],
                "instances": self.instances,
                "restart": {"delay": "1ms", "max_delay": "5ms", "stable": "50ms"},
            }
            for name, version in self.versions.items()
        }
        new = f"{self.home}/new"
        with open(new, "w", encoding="utf-8") as f:
            json.dump({"version": 1, "programs": programs}, f)
        os.rename(new, f"{self.home}/whizzifest.yaml")

    def stay(self) -> None:
        out = open(f"{self.home}/said", "ab")  # noqa: SIM115  closed below
        command = [*WHIZ, "--home", self.home, "run", "--allow-empty", "--every", "2s"]
        self.whiz = subprocess.Popen(command, env=ENV, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        out.close()
        until(self.there, "whiz stays")

    def there(self) -> bool:
        assert self.whiz is not None
        assert self.whiz.poll() is None, "whiz ended by itself"
        try:
            with open(f"{self.home}/run/resident.json", encoding="utf-8") as f:
                return bool(json.load(f)["proc"]["pid"] == self.whiz.pid)
        except (FileNotFoundError, ValueError):
            return False

    def tell(self, number: signal.Signals) -> None:
        assert self.whiz is not None
        assert self.whiz.poll() is None, "whiz ended by itself"
        self.whiz.send_signal(number)

    def command(self, *words: str) -> int:
        empty = ["--allow-empty"] if words[0] == "apply" else []
        done = subprocess.run([*WHIZ, "--home", self.home, *words, *empty], env=ENV, capture_output=True, check=False)
        return done.returncode

    def leaders(self) -> list[Live]:
        return [p for p in processes(f"FAULT={self.home}\0") if p.leader and p.env.get("FAULT") == self.home]

    def shown(self) -> dict[str, str]:
        return {p.env["WHIZ_NAME"]: p.argv[-1] for p in self.leaders()}

    def wished(self) -> dict[str, str]:
        up = {n: v for n, v in self.versions.items() if n not in self.held}
        many = range(1, self.instances + 1)
        return {f"{n}:{i}": f"1000.{v}" for n, v in up.items() for i in many}


@pytest.mark.timeout(1200)
def test_whatever_happens_there_is_one_of_each() -> None:
    """WHIZ_EXAMPLES says how many lives are tried."""
    run_state_machine_as_test(
        Resident,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
