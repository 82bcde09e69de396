"""`ready` and `alive` of a whizzifest: their keys, and the Check that they mean."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from whiz.core.model import Check
from whiz.core.shape import Key, Many, OneOf, Record, Shape, Text, Words
from whiz.core.value import replace
from whiz.core.words import duration as seconds

PATTERN = r"^([^:]+:|\[[0-9a-fA-F:]+\]:)?([0-9]|\{n\})+$"
READY = ("file", "port", "unix", "http", "run", "log", "notify", "fd")
ALIVE = ("http", "port", "unix", "run", "file", "notify")
BEATS = ("file", "notify")  # of `alive`: signs of life that come from the program
LEAST = 0.1  # s from look to look, and for one look: with less whiz would do nothing else
SILENCE = 30.0  # s that may pass between two of them


def _port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not re.fullmatch(PATTERN, text) or not 0 < int(port.replace("{n}", "1")) < 2**16:
        raise ValueError(text)
    return f"{host if colon else '127.0.0.1'}:{port}"


def _url(text: str) -> str:
    url = urlsplit(text.replace("{n}", "1"))
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or re.search(r"[\s\x00-\x1f]", text):
        raise ValueError(text)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"{text!r} is no regular expression: {exc}") from None
    return text


def _span(text: str) -> float:
    if (span := seconds(text)) < LEAST:
        raise ValueError(text)
    return span


def _true(text: str) -> str:
    if text not in ("true", "yes", "on"):
        raise ValueError(text)
    return ""


def _number(low: int, high: int) -> Any:  # noqa: ANN401  a function that accepts text
    def accept(text: str) -> int:
        if not low <= (number := int(text)) <= high:
            raise ValueError(text)
        return number

    return accept


def shapes(path: Shape, duration: Shape) -> tuple[OneOf, OneOf]:
    """Return what `ready` and `alive` look like, made of the shapes that other keys have too."""
    port = Text("a port such as 8080 or 192.168.1.5:8080", _port, PATTERN, ("int", "str"))
    url = Text("a URL such as http://127.0.0.1:8080/health", _url, "^https?://")
    codes = Many(Text("an HTTP status from 100 to 599", _number(100, 599), kinds=("int",)))
    span = Text("a duration of 0.1s or more", _span, r"^[0-9.]+ *(ms|s|m|h|d)?$", ("str", "int", "float"))
    count = Text("a whole number of 1 or more", _number(1, 1000), kinds=("int",))
    ways = (
        Key("port", port, "It takes connections on this TCP port, of this machine where no host is named."),
        Key("unix", path, "It takes connections on this Unix socket."),
        Key("http", url, "It answers this URL with a status that is well."),
        Key("run", Words(), "This command, run as the program's user in its environment, ends with 0."),
    )
    status = Key("status", codes, "Of `http`: the statuses that are well.", "200 to 399")
    ready = (
        Key("file", path, "This file was made, or written again, since the start."),
        *ways,
        Key("log", Text("a regular expression", _pattern, speaks=True), "A line of its output matches."),
        Key("notify", Text("true", _true, kinds=("bool",)), "It says READY=1, as sd_notify(3) does."),
        Key("fd", Text("a descriptor from 3 to 255", _number(3, 255), kinds=("int",)), "It writes a byte to this one."),
        status,
        Key("within", duration, "Not ready after so long, it is ended, and counts as failed.", "30s"),
        Key("timeout", span, "How long one look may take.", "5s"),
    )
    alive = (
        *ways,
        Key("file", path, "This file was written in the last `timeout`: a heartbeat."),
        Key(
            "notify",
            Text("true", _true, kinds=("bool",)),
            "It says WATCHDOG=1 at least every `timeout`. Should it say WATCHDOG=trigger, it is ended at the next "
            "look, whatever `delay` and `failures` are.",
        ),
        status,
        Key("every", span, "From look to look.", "10s"),
        Key(
            "timeout",
            span,
            "How long one look may take, how old a sign of life may be.",
            "5s; 30s for signs of life",
        ),
        Key("failures", count, "So many looks in a row must fail before it is ended.", "3; 1 for signs of life"),
        Key("delay", duration, "From being ready, or started, to the first look.", "0s; `timeout` for signs of life"),
    )
    return OneOf(Record(ready), READY), OneOf(Record(alive), ALIVE)


def check(kind: str, given: dict[str, Any]) -> Check:
    """Return the Check that the options of `ready` or `alive` mean."""
    way = next((w for w in (READY if kind == "ready" else ALIVE) if w in given), "")
    options = {k: v for k, v in given.items() if k not in (*READY, *ALIVE)}
    if kind == "alive" and way in BEATS:
        silence = options.get("timeout", SILENCE)
        options = {"timeout": silence, "failures": 1, "delay": silence, **options}
    held = given.get(way, "")
    return Check(way=way, argv=held, **options) if way == "run" else Check(way=way, what=str(held), **options)


def fits(held: Check, n: int) -> bool:
    """Whether the n-th copy can be looked at so: its number may have made too large a port."""
    accept = {"port": _port, "http": _url}.get(held.way, str)
    try:
        accept(instance(held, n).what)
    except ValueError:
        return False
    return True


def instance(held: Check, n: int) -> Check:
    """Return the check of the n-th copy."""
    put = [w.replace("{n}", str(n)) for w in (held.what, *held.argv)]
    return replace(held, what=put[0], argv=tuple(put[1:]))
