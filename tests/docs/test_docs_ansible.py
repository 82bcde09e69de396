"""What ansible/ says agrees with what whiz reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from whiz.core.release import settings
from whiz.core.shape import Record, Report
from whiz.core.units import Mode
from whiz.world.yamltree import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE, ROLE = ROOT / "ansible/example", ROOT / "ansible/roles/whiz"


def options() -> Any:
    return yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]


def test_the_example_is_one_inventory_for_both(tmp_path: Path) -> None:
    inventory, env = str(EXAMPLE / "inventory.ini"), {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    listing = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", inventory, "--list"]
    ansible = json.loads(subprocess.run(listing, check=True, capture_output=True, env=env).stdout)["_meta"]["hostvars"]
    asking = [sys.executable, "-m", "whiz", "fleet", "hosts", "--fleet", inventory, "--json"]
    asked = subprocess.run(asking, check=True, capture_output=True, env=env, cwd=ROOT)
    assert asked.stderr == b""
    hosts = {h["host"]: h for h in json.loads(asked.stdout)["hosts"]}
    assert {n: v.get("ansible_host", n) for n, v in ansible.items()} == {n: h["address"] for n, h in hosts.items()}
    assert {n: [v["whiz_roles"]] if "whiz_roles" in v else [] for n, v in ansible.items()} == {
        n: h["roles"] for n, h in hosts.items()
    }
    assert {h["user"] for h in hosts.values()} == {"pi"}


def test_the_example_is_a_quesofiesta_yaml() -> None:
    given = yaml.safe_load((EXAMPLE / "group_vars/all.yml").read_text())["whiz_quesofiesta"]
    text = yaml.safe_dump(given)
    report = Report("quesofiesta.yaml", text.splitlines())
    assert settings.read(parse_yaml(text, report), report).app == "camera"


def test_the_role_knows_every_key_of_quesofiesta_yaml() -> None:
    def same(spec: Any, record: Record) -> None:
        assert set(spec) == {k.name for k in record.keys}
        assert {n for n, o in spec.items() if o.get("required")} == set(record.required)
        for key in record.keys:
            if isinstance(key.shape, Record):
                same(spec[key.name]["options"], key.shape)

    same(options()["whiz_quesofiesta"]["options"], settings.RECORD)


def test_the_role_knows_every_mode_and_describes_what_it_has() -> None:
    assert set(options()["whiz_mode"]["choices"]) == {"", *Mode}
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert set(options()) == {*defaults, "whiz_quesofiesta"}
    page = (ROOT / "docs/ansible.md").read_text()
    assert all(f"| `{name}` |" in page for name in options())
