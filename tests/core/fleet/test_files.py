"""What fleet.yaml, Ansible's inventories and ssh's configuration mean, and what is said of their mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from whiz.core.errors import ManifestError
from whiz.core.fleet import ansible, ansible_ini, fleetfile, keys, sshconfig
from whiz.core.fleet.draft import Draft, fleet, parse_hop
from whiz.core.fleet.model import Fleet, Host
from whiz.core.fleet.ranges import expand
from whiz.core.manifest import Document
from whiz.core.shape import Node, Report
from whiz.core.value import replace
from whiz.world.yamltree import parse_yaml

Reader = Callable[[str], Fleet]


def tree(text: str, path: str = "/etc/whiz/fleet.yaml") -> Document:
    report = Report(path, text.splitlines())
    return Document(path, parse_yaml(text, report), report)


def ours(text: str, known: dict[str, dict[str, Any]] | None = None) -> Fleet:
    document, draft = tree(text), Draft()
    fleetfile.read(document, draft)
    return fleet(draft, [document.report], known)


def ini(text: str) -> Fleet:
    report, draft = Report("/srv/hosts", text.splitlines()), Draft()
    ansible_ini.read(report, draft)
    return fleet(draft, [report])


def inventory(text: str) -> Fleet:
    document, draft = tree(text, "/srv/hosts.yaml"), Draft()
    ansible.read(document, draft)
    return fleet(draft, [document.report])


def ssh(text: str, name: str, included: dict[str, str] | None = None) -> dict[str, Any]:
    return sshconfig.options(name, sshconfig.lines(Report("/c", text.splitlines()), _include(included or {})))


def _include(files: dict[str, str]) -> Callable[[str], list[Report]]:
    return lambda pattern: [Report(pattern, files[pattern].splitlines())] if pattern in files else []


def mistakes(read: Reader, text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read(text)
    return "\n".join(f"{p.line}:{p.column} {p.message} | {p.hint}" for p in caught.value.problems)


WHOLE = """\
version: 1
defaults: {user: pi, timeout: 10s, vars: {site: north, depth: 1}}
groups:
  cameras: {roles: camera, groups: outdoors, port: 2222, vars: {depth: 2}}
  outdoors: {roles: [weather], port: 22, key: keys/outdoors}
hosts:
  gate: {address: gate.example.org, user: root, key: ~/.ssh/gate}
  cam[01:02]: {address: "{name}.lan", groups: cameras, jump: gate, become: yes, vars: {depth: 3, list: [1, a, 1.5]}}
  attic:
"""


def test_a_fleet_file() -> None:
    made = ours(WHOLE)
    assert list(made.hosts) == ["gate", "cam01", "cam02", "attic"]
    assert made.groups == {"cameras": ("cam01", "cam02"), "outdoors": ("cam01", "cam02")}
    gate = Host(name="gate", address="gate.example.org", user="root", keys=("~/.ssh/gate",), timeout=10.0)
    gate = replace(gate, variables=(("site", "north"), ("depth", 1)))
    assert made.hosts["gate"] == gate
    assert made.hosts["cam02"] == Host(
        name="cam02",
        address="cam02.lan",
        user="pi",
        port=2222,  # the nearer group counts
        keys=("/etc/whiz/keys/outdoors",),
        jump=(gate,),
        groups=("cameras", "outdoors"),
        roles=("weather", "camera"),
        variables=(("site", "north"), ("depth", 3), ("list", [1, "a", 1.5])),
        become=True,
        timeout=10.0,
    )
    assert made.hosts["attic"].address == "attic"


def test_groups_may_meet_again_further_up() -> None:
    made = ours("groups: {a: {groups: [b, c]}, b: {groups: d}, c: {groups: d}, d: }\nhosts: {x: {groups: a}}")
    assert made.hosts["x"].groups == ("a", "b", "c", "d")


def test_what_ssh_knows_fills_what_is_left_open() -> None:
    known: dict[str, dict[str, Any]] = {"a": {"address": "10.0.0.1", "user": "deb", "port": 2}, "b": {"user": "deb"}}
    made = ours("defaults: {user: pi}\nhosts: {a: {port: 3}, b: }", known)
    assert (made.hosts["a"].address, made.hosts["a"].user, made.hosts["a"].port) == ("10.0.0.1", "pi", 3)


MISTAKES = [
    ("", "0:0 the file names no host | write hosts:"),
    ("- a", "1:1 expected top keys"),
    ("host: {a: }", "1:1 unknown key 'host' | did you mean 'hosts'?"),
    ("zebra: 1", "unknown key 'zebra' | known: version, include"),
    ("version: 2\nhosts: {a: }", "1:10 version 2 is not known"),
    ("include: {a: b}\nhosts: {a: }", "1:10 expected a path"),
    ("hosts: [a]", "1:8 hosts: expects NAME: lines"),
    ("hosts: {a: {adress: x}}", "1:13 unknown key 'adress' | did you mean 'address'?"),
    ("hosts: {a: {port: 0}}", "1:19 expected a port"),
    ("hosts: {a: {port: 70000}}", "expected a port"),
    ("hosts: {a: {timeout: 0}}", "expected a duration from 0.1s to 1d"),
    ("hosts: {a: {become: perhaps}}", "expected one of true, false"),
    ("hosts: {a: {vars: 3}}", "expected NAME: value lines"),
    ("hosts: {a: {address: -oProxyCommand=x}}", "expected a name or address"),
    ("hosts: {a: 3}", "1:12 expected a map"),
    ("hosts: {a b: }", "'a b' cannot be a name"),
    ("hosts: {'a[1:': }", "'a[1:' cannot be a name"),
    ("hosts: {'a[1;2]': }", "[1;2] is no range"),
    ("hosts: {a1: , 'a[1:2]': }", "1:15 'a1' stands twice: also in /etc/whiz/fleet.yaml:1"),
    ("hosts: {all: }", "'all' is every host | give it another name"),
    ("groups: {all: }\nhosts: {a: }", "'all' is every host | write defaults:"),
    ("groups: {a: }\nhosts: {a: }", "'a' is a group too"),
    ("groups: {cameras: }\nhosts: {a: {groups: camera}}", "2:21 no group is named 'camera' | did you mean 'cameras'?"),
    ("hosts: {a: {groups: camera}}", "no group is named 'camera' | add camera: to groups:"),
    ("groups: {a: {groups: b}, b: {groups: a}}\nhosts: {x: }", "the group 'a' is within itself"),
    ("groups: {a: {groups: b}}\nhosts: {x: {groups: a}}", "no group is named 'b'"),
    ("hosts: {a: {jump: b}, b: {jump: a}}", "'a' is reached by way of itself: a → b → a"),
    ("hosts: {a: {jump: a}}", "'a' is reached by way of itself: a → a"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[e for _, e in MISTAKES])
def test_mistakes_of_a_fleet_file(text: str, expected: str) -> None:
    assert expected in mistakes(ours, text)


def test_all_mistakes_at_once() -> None:
    said = mistakes(ours, "hosts:\n  a: {prot: 22}\n  b: {user: -x}\ngroup: {}")
    assert [line.split()[0] for line in said.splitlines()] == ["2:7", "3:13", "4:1"]


def test_nothing_below_a_key_is_nothing() -> None:
    assert ours("groups:\nhosts:\ndefaults:").hosts == {}


def test_includes_are_named_with_their_place() -> None:
    assert [n.value for n in fleetfile.includes(tree("hosts: {}\ninclude: [a, b]"))] == ["a", "b"]
    assert [n.value for n in fleetfile.includes(tree("include: a"))] == ["a"]
    assert fleetfile.includes(tree("hosts: {}")) == ()
    assert fleetfile.includes(tree("")) == ()
    assert fleetfile.includes(tree("[a]")) == ()


def test_jump_hosts_may_have_jump_hosts() -> None:
    made = ours("hosts: {a: {jump: b}, b: {jump: 'pi@c:2222'}, d: {jump: [x, b]}, e: {jump: none}}")
    assert [j.name for j in made.hosts["a"].jump] == ["pi@c:2222", "b"]
    assert [j.name for j in made.hosts["d"].jump] == ["x", "b"]
    assert made.hosts["e"].jump == ()


@pytest.mark.parametrize(
    ("text", "address", "user", "port"),
    [
        ("gate", "gate", "", 22),
        ("pi@gate:23", "gate", "pi", 23),
        ("[fe80::1]:24", "fe80::1", "", 24),
        ("fe80::1", "fe80::1", "", 22),
    ],
)
def test_hops(text: str, address: str, user: str, port: int) -> None:
    hop = parse_hop(text)
    assert (hop.address, hop.user, hop.port) == (address, user, port)
    assert parse_hop(hop.place).address == address


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("a[8:10]", ["a8", "a9", "a10"]),
        ("a[08:10]b", ["a08b", "a09b", "a10b"]),
        ("[a:c]", ["a", "b", "c"]),
        ("[1:9:4]-[X:Y]", ["1-X", "1-Y", "5-X", "5-Y", "9-X", "9-Y"]),
    ],
)
def test_ranges(pattern: str, names: list[str]) -> None:
    assert expand(pattern) == names


@pytest.mark.parametrize(
    "pattern", ["a[1]", "[a:3]", "[a:C]", "[1:3:0]", "[3:1]", "[1:1000000]", "[1:1000][1:1000]", "[1:" + "9" * 30 + "]"]
)
def test_no_ranges(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"range|before|stands for more"):
        expand(pattern)


INI = """\
# the north
alone ansible_host=10.0.0.9 ; no comment to Ansible either
web[01:02]:2222 ansible_user=deb

[cameras] # eyes
cam1 ansible_host=10.0.0.1 ansible_become=true note="two words" ansible_ssh_common_args='-J gate -o "ProxyJump=pi@b:22,c" -C'
web01

[outdoors:children]
cameras

[outdoors:vars]
ansible_ssh_private_key_file = keys/o  # ours
ansible_password = secret
ansible_connection=ssh
colour = 'dark green'
depth = 3
wet = True

[all:vars]
whiz_path=/opt/whiz/bin/whiz
ansible_become_method=su
ansible_become_user=oracle
[all:children]
cameras
[odd]
alone ansible_connection=local
"""


def test_an_inventory_in_ini() -> None:
    made = ini(INI.replace(" ; no comment to Ansible either", ""))
    assert list(made.hosts) == ["alone", "web01", "web02", "cam1"]
    assert made.groups["cameras"] == made.groups["outdoors"] == ("web01", "cam1")
    cam = made.hosts["cam1"]
    assert (cam.address, cam.become, cam.keys, cam.whiz) == ("10.0.0.1", True, ("/srv/keys/o",), "/opt/whiz/bin/whiz")
    assert [j.place for j in cam.jump] == ["pi@b", "c"]
    assert dict(cam.variables) == {
        "ansible_connection": "ssh",
        "colour": "dark green",
        "depth": 3,
        "wet": True,
        "note": "two words",
    }
    assert (made.hosts["web01"].port, made.hosts["web01"].user) == (2222, "deb")
    notes = [f"{n.line} {n.message}" for n in made.notes]
    assert notes == [
        "6 ansible_ssh_common_args: -C is left out",
        "14 ansible_password has no meaning here",
        "22 ansible_become_method has no meaning here",
        "23 ansible_become_user has no meaning here",
        "27 ansible_connection has no meaning here",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b", "1:1 cannot split into words: no closing quotation"),
        ("a b", "expected key=value, found 'b'"),
        ("[a:vars]\nb", "2:1 expected key=value"),
        ("[a:var]\nb", "1:1 unknown section :var | did you mean :vars?"),
        ("[a:zebra]", "unknown section :zebra | "),
        ("[a b]\nx", "'a b' cannot be a name"),
        ("a ansible_port=x", "expected a port"),
        ("a ansible_host={{b}}", "ansible_host: templates are not evaluated"),
        ("a[1;3]", "[1;3] is no range"),
        ("[1:2", "'[1' cannot be a name"),
        ('a ansible_ssh_extra_args="-J \'"', "ansible_ssh_extra_args: cannot split into words"),
        ("a ansible_ssh_extra_args=-J", "expected [USER@]HOST[:PORT], found ''"),
    ],
)
def test_mistakes_of_an_inventory_in_ini(text: str, expected: str) -> None:
    assert expected in mistakes(ini, text)


def test_jump_hosts_together_with_their_option() -> None:
    assert ini("a ansible_ssh_extra_args=-Jgate").hosts["a"].jump[0].name == "gate"


YAML = """\
all:
  vars: {ansible_user: pi}
  hosts: {lone: {ansible_host: 10.0.0.3}}
  children:
    cameras:
      hosts:
        cam[1:2]: {ansible_port: 23}
        "east:24":
      vars: {ansible_timeout: 5}
      children: {small: {hosts: {cam1: }}}
    empty:
    ungrouped: {hosts: {odd: }, children: }
"""


def test_an_inventory_in_yaml() -> None:
    made = inventory(YAML)
    assert made.groups == {
        "cameras": ("cam1", "cam2", "east"), "small": ("cam1",), "empty": (), "ungrouped": ("lone", "odd"),
    }  # fmt: skip
    assert made.hosts["cam1"].groups == ("cameras", "small")
    assert (made.hosts["cam2"].port, made.hosts["cam2"].timeout, made.hosts["cam2"].user) == (23, 5.0, "pi")
    assert made.hosts["east"].port == 24
    assert made.hosts["odd"].groups == ("ungrouped",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected all: or the name of a group"),
        ("[a]", "expected all: or the name of a group"),
        ("a: 3", "expected hosts:, children: or vars: in the group 'a'"),
        ("a: {host: {}}", "unknown key 'host' in the group 'a'"),
        ("a: {hosts: [b]}", "hosts: expects NAME: lines"),
        ("a: {hosts: {'b[1;2]': }}", "[1;2] is no range"),
    ],
)
def test_mistakes_of_an_inventory_in_yaml(text: str, expected: str) -> None:
    assert expected in mistakes(inventory, text)


def test_whose_yaml_it_is() -> None:
    assert ansible.is_inventory(tree(YAML).root)
    assert ansible.is_inventory(tree("web: \ndb: {hosts: {a: }}").root)
    assert not ansible.is_inventory(tree("hosts: {hosts: }\n").root)
    assert not ansible.is_inventory(tree("all: {zebra: }\n").root)
    assert not ansible.is_inventory(tree("[a]").root)
    assert not ansible.is_inventory(tree("a: 3").root)
    assert not ansible.is_inventory(None)


SSH = """\
User everybody
Host cam* !cam9
    HostName %h.lan
    Port=2222
    IdentityFile ~/.ssh/one
    ProxyJump pi@gate:23,inner
    Compression yes
    User
Include more
Host cam9 plain "quoted"
    Port 9
Match host x
    Port 10
Match all
    IdentityFile ~/.ssh/two
# the end
"""


def test_an_ssh_config() -> None:
    held = ssh(SSH, "cam1", {"more": "Host cam1\nPort 1\nUser more"})
    assert held == {
        "user": "everybody",
        "address": "cam1.lan",
        "port": 2222,
        "key": ("~/.ssh/one", "~/.ssh/two"),
        "jump": ("pi@gate:23", "inner"),
    }
    assert ssh(SSH, "cam9") == {"user": "everybody", "port": 9, "key": ("~/.ssh/two",)}
    assert ssh("Host *\nUser pi\nHost x\nUser y", "z") == {"user": "pi"}
    assert ssh("Match user y\nUser x", "z") == {}


def test_names_of_an_ssh_config() -> None:
    found = sshconfig.names(sshconfig.lines(Report("/c", SSH.splitlines()), _include({})))
    assert [line.words for line in found] == [(), ("cam9", "plain", "quoted")]


def test_mistakes_of_an_ssh_config() -> None:
    report = Report("/c", ["Host 'a", "Host b", "Port x", "ProxyJump -x"])
    assert sshconfig.options("b", sshconfig.lines(report, _include({}))) == {}
    assert [p.line for p in report.problems] == [1, 3, 4]


def test_an_ssh_config_that_includes_itself_ends() -> None:
    report = Report("/c", ["Include c", "Host a", "User pi"])
    held = sshconfig.lines(report, lambda _: [report])
    assert sshconfig.options("a", held) == {"user": "pi"}
    assert {p.message for p in report.problems} == {"includes go deeper than 16 files"}


def test_data_stays_data() -> None:
    document = tree("a: {b: [true, no, ~, 1_0, 1.5, .inf, x]}")
    assert document.root is not None
    assert keys.plain(document.root) == {"a": {"b": [True, False, None, "1_0", 1.5, ".inf", "x"]}}
    assert keys.Truth().schema() == {"type": "boolean"}
    assert keys.Anything().schema() == {"type": "object"}
    assert keys.Truth().read(Node("str", "YES", 1, 1), Report("x")) is True


def test_where_a_host_is() -> None:
    assert Host(name="a", address="fe80::1", user="pi", port=23).place == "pi@[fe80::1]:23"
    assert Host(name="a", address="a").place == "a"
