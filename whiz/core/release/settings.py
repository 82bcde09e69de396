"""quesofiesta.yaml: which app a node follows, in which channel, whom it believes, and where it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from whiz.core.errors import ManifestError
from whiz.core.keys import DURATION, PATH
from whiz.core.release.gate import Rule
from whiz.core.release.sshsig import public
from whiz.core.shape import BAD, NAME, Key, Many, Node, Record, Report, Text, good_name
from whiz.core.value import record
from whiz.core.words import near

if TYPE_CHECKING:
    from typing import Any

SCHEMES = ("https", "http", "file", "ssh", "bundle")
_REMOTE = ("https", "http", "ssh")
_LEAST = 10.0  # s between two polls
_MOST = 50  # releases that are kept beside those that must be


@record
class Settings:
    """What quesofiesta.yaml says. Times in seconds."""

    app: str
    channel: str
    repo: str
    keys: tuple[str, ...]  # root keys that are believed at first
    mirrors: tuple[str, ...]
    poll: float = 300.0
    keep: int = 2  # good releases that stay, beside the one that runs and the one before
    gate: Rule = Rule()
    ca: str | None = None  # who else may vouch for an https mirror: a file of certificates


def mirror(text: str) -> str:
    """Return the address of a mirror; raise ValueError, which says what is wrong with it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{text!r} is no address: {str(exc).lower()}") from exc
    if parts.scheme not in SCHEMES:
        close = near(parts.scheme, SCHEMES)
        hint = (
            f"; did you mean {close}:?" if close else f"; it starts with one of {', '.join(s + ':' for s in SCHEMES)}"
        )
        raise ValueError(f"{text!r} is no mirror{hint}")
    if any(c.isspace() or not c.isprintable() for c in text) or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is no mirror: it holds blanks, '?' or '#'")
    if parts.scheme in _REMOTE:
        if not parts.hostname or parts.hostname.startswith("-") or port == 0:
            raise ValueError(f"{text!r} names no host")
        if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
            raise ValueError(f"{text!r} holds a user or password, which anybody would read in logs")
        if (parts.username or "").startswith("-"):
            raise ValueError(f"{text!r} names no user")
    elif parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(f"{text!r} is no absolute path: write {parts.scheme}:///mnt/usb/…")
    if parts.scheme in ("ssh", "file", "bundle") and parts.path in ("", "/"):
        raise ValueError(f"{text!r} names no directory" if parts.scheme != "bundle" else f"{text!r} names no file")
    return text.rstrip("/")


def _name(text: str) -> str:
    if not good_name(text):
        raise ValueError(text)
    return text


def _key(text: str) -> str:
    return public(text)


def _poll(text: str) -> float:
    found: float = DURATION.accept(text)
    if found < _LEAST:
        raise ValueError(text)
    return found


def _count(most: int) -> Text:
    def accept(text: str) -> int:
        number = int(text)
        if not 0 <= number <= most:
            raise ValueError(text)
        return number

    return Text(f"a whole number from 0 to {most}", accept, kinds=("int",))


_WORD = Text("a name of letters, digits, '.', '_' and '-'", _name, NAME.pattern, ("str", "int", "float"))
RECORD = Record(
    (
        Key("app", _WORD, "What this node follows."),
        Key("channel", _WORD, "In which channel.", "stable"),
        Key("repo", _WORD, "The id of the repository, as `quesofiesta init` printed it."),
        Key("keys", Many(Text("a public key", _key, speaks=True)), "Root keys that are believed at first."),
        Key("mirrors", Many(Text("an address", mirror, speaks=True)), "Where it is had from, tried in this order."),
        Key(
            "poll",
            Text("a duration of 10s or more", _poll, kinds=DURATION.kinds),
            "How often the timer of `whiz install` asks.",
            "5m",
        ),
        Key(
            "keep",
            _count(_MOST),
            "How many good releases stay, beside the one that runs and the one before.",
            "2",
        ),
        Key(
            "gate",
            Record(
                (
                    Key("healthy", DURATION, "For so long all that a release changes must run well.", "20s"),
                    Key("within", DURATION, "By then it must, counted from the switch.", "2m"),
                    Key("restarts", _count(1000), "How often each may be restarted meanwhile.", "0"),
                )
            ),
            "When a new release may stay.",
        ),
        Key("ca", PATH, "Certificates (PEM) that may vouch for https mirrors, beside the system's."),
    ),
    required=("app", "repo", "keys", "mirrors"),
)


def read(root: Node | None, report: Report) -> Settings:
    """Return what a file says; raise ManifestError with all that is wrong with it."""
    given: Any = BAD
    if root is None or root.kind == "null":
        if not report.problems:
            report.at(Node("null", None, 1, 1), "it is empty", "`quesofiesta init` printed what it should say")
    else:
        given = RECORD.read(root, report)
        for name in ("keys", "mirrors"):
            if given is not BAD and given.get(name) == ():
                place = next(v for k, v in root.value if k.value == name)
                report.at(place, f"{name}: at least one is needed")
    if report.problems:
        raise ManifestError(tuple(sorted(report.problems, key=lambda p: (p.line, p.column))))
    return Settings(**{"channel": "stable"} | given | ({"gate": Rule(**given["gate"])} if "gate" in given else {}))
