"""quesofiesta.yaml: every mistake at once, each with its place."""

from __future__ import annotations

import pytest

from tests.core.release.signing import Signer
from whiz.core.errors import ManifestError
from whiz.core.release.settings import RECORD, Settings, mirror, read
from whiz.core.shape import Report
from whiz.world.yamltree import parse_yaml

KEY = Signer("root").public
GOOD = f"""\
app: camera
repo: feedc0de
keys:
  - {KEY} somebody
mirrors: [https://master/repo/, "file:///mnt/usb stick"]
"""


def settings(text: str) -> Settings:
    report = Report("quesofiesta.yaml", text.splitlines())
    return read(parse_yaml(text, report), report)


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        settings(text)
    return [f"{p.line}: {p.message}" + (f" ({p.hint})" if p.hint else "") for p in caught.value.problems]


def test_what_is_read() -> None:
    text = GOOD.replace('"file:///mnt/usb stick"', "'file:///mnt/usb'")
    assert settings(text) == Settings(
        app="camera", channel="stable", repo="feedc0de", keys=(KEY,), mirrors=("https://master/repo", "file:///mnt/usb")
    )
    more = settings(text + "channel: beta\npoll: 30s\nkeep: 0\nca: /etc/ca.pem\n")
    assert (more.channel, more.poll, more.keep, more.ca) == ("beta", 30.0, 0, "/etc/ca.pem")
    assert settings(text.replace("feedc0de", "12345678")).repo == "12345678", "an id of digits alone is a name too"


def test_every_mistake_at_once() -> None:
    text = """\
ap: camera
channel: a/b
repo: feedc0de
keys: [ssh-rsa AAAA, ssh-ed25519 AAAA]
mirrors: [htps://host/x, relative]
poll: 1s
keep: -1
ca: here
"""
    assert problems(text) == [
        "1: unknown key 'ap' (did you mean 'app'?)",
        "1: 'app' is missing",
        "2: expected a name of letters, digits, '.', '_' and '-', found 'a/b'",
        "4: not a public key of a kind that every node can check (ssh-ed25519, sk-ssh-ed25519@openssh.com)",
        "4: it is cut short",
        "5: 'htps://host/x' is no mirror; did you mean https:?",
        "5: 'relative' is no mirror; it starts with one of https:, http:, file:, ssh:, bundle:",
        "6: expected a duration of 10s or more, found '1s'",
        "7: expected a whole number from 0 to 50, found '-1'",
        "8: expected an absolute path, found 'here'",
    ]


def test_nothing_of_a_file() -> None:
    assert problems("") == ["1: it is empty (`quesofiesta init` printed what it should say)"]
    assert problems("# nothing\n") == problems("")
    assert problems("[1, 2]") == [
        f"1: expected a map with {', '.join(k.name for k in RECORD.keys[:5])} …, found a list"
    ]
    assert problems("a: b: c\n")[0].startswith("1: not YAML: mapping values are not allowed")
    assert problems(GOOD.replace(f"  - {KEY} somebody\n", "").replace("keys:", "keys: []")) == [
        "3: keys: at least one is needed",
        "4: 'file:///mnt/usb stick' is no mirror: it holds blanks, '?' or '#'",
    ]


GOOD_MIRRORS = [
    "https://master/repo",
    "http://[::1]:8088",
    "http://10.0.0.1:80/x",
    "file:///srv/repo",
    "ssh://user@host:22/srv/repo",
    "ssh://host/~/repo",
    "bundle:///mnt/usb/cam.whiz",
]
BAD_MIRRORS = [
    ("htp://host/x", "did you mean http"),
    ("xyz", "it starts with one of"),
    ("http:///x", "names no host"),
    ("http://host:99999/x", "is no address"),
    ("http://host:0/x", "names no host"),
    ("http://[::1/x", "is no address"),
    ("https://user:word@host/x", "which anybody would read"),
    ("https://user@host/x", "which anybody would read"),
    ("ssh://u:w@host/x", "which anybody would read"),
    ("ssh://-oProxyCommand=x/y", "names no host"),
    ("ssh://-lx@host/y", "names no user"),
    ("ssh://host", "names no directory"),
    ("ssh://host/", "names no directory"),
    ("file://other/srv/repo", "is no absolute path: write file:///"),
    ("file:srv/repo", "is no absolute path"),
    ("file:///", "names no directory"),
    ("bundle:///", "names no file"),
    ("http://host/a b", "blanks"),
    ("http://host/a?b", "blanks, '[?]' or '#'"),
    ("http://host/a#b", "blanks"),
]


@pytest.mark.parametrize("text", GOOD_MIRRORS)
def test_mirrors(text: str) -> None:
    assert mirror(text) == text
    assert mirror(text + "/") == text


@pytest.mark.parametrize(("text", "why"), BAD_MIRRORS)
def test_what_is_no_mirror(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mirror(text)
