"""What earlier releases wrote is read by this one, and asks for nothing to be done. One text for each release."""

from __future__ import annotations

import json

import pytest

from whiz.core.model import Program, Wishes
from whiz.core.plan import plan
from whiz.core.wire import load, load_runs

RECORDS = {
    "0.1": """{"format": 1, "runs": [{"id": "1f2e3d4c5b6a", "program": {"name": "web", "argv": ["/opt/web.py", "--fps", "10"],
        "restart": {"on": "failure", "delay": 2.0}, "stop": {"grace": 5.0}, "limits": {"memory": 64000000},
        "env": [["A", "1"]], "files": ["/opt/web.py"], "digests": [["/opt/web.py", "0123456789abcdef"]]},
        "boot": "f51f280f-e96a-4aac-abee-8c3415dc0fd3", "started": 6457.898211831, "at": 1795321990.597641, "nth": 1,
        "proc": {"boot": "f51f280f-e96a-4aac-abee-8c3415dc0fd3", "pid": 21746, "ticks": 645769}, "up": 6457.943151093,
        "keeper": {"boot": "f51f280f-e96a-4aac-abee-8c3415dc0fd3", "pid": 21758, "ticks": 645790}, "stable": true}]}""",
}


@pytest.mark.parametrize("release", RECORDS)
def test_a_record_of_an_earlier_release(release: str) -> None:
    data = json.loads(RECORDS[release])
    (run,) = load_runs(data)
    manifest = {"web": load(Program, data["runs"][0]["program"])}

    assert plan(manifest, [run], Wishes(), 7000.0, run.boot) == ()
