"""No option of the input is dropped: each changes the whizzifest, or somebody says what became of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whiz.core.errors import ManifestError
from whiz.core.importing import jsontree, older, pm2, procfile, supervisor, systemd
from whiz.core.importing.pm2_rules import ALIASES, APP
from whiz.core.importing.supervisor_rules import SECTIONS
from whiz.core.importing.systemd_rules import SECTIONS as UNIT_SECTIONS
from whiz.core.importing.systemd_text import Unit
from whiz.core.importing.values import Kind, Ported, Source
from whiz.core.importing.yamltext import render
from whiz.core.manifest import Document, Identity, build
from whiz.core.shape import Report
from whiz.world.yamltree import parse_yaml

DOCUMENTED = tomllib.loads((Path(__file__).parent / "documented.toml").read_text())
# values that mean something to some option, and values that mean nothing to any
VALUES = st.one_of(
    st.sampled_from([
        "true", "false", "yes", "no", "on", "off", "0", "1", "3", "-5", "022", "0700", "5s", "500ms", "2min 3s", "infinity",
        "10M", "1G", "50%", "max", "auto", "AUTO", "NONE", "syslog", "/dev/null", "/var/log/x.log", "TERM", "SIGQUIT",
        "KILL", "CONT", "always", "on-failure", "unexpected", "oneshot", "forking", "notify", "daily", "*:0/10",
        "Mon..Fri 03:00", "A=1", 'A="x y",B=2', "/usr/bin/prog --flag", "-/bin/false $X ${Y}", "%(ENV_X)s", "%(program_name)s",
        "%(process_num)02d", "%i", "%n-%h", "%", "%(", "it's", "a b c", "{n}", "1024:4096", "network.target", "web.service",
        "kill -HUP $MAINPID", "cluster", "unix:///run/x.sock", "tcp://localhost:9000", "www-data:www-data", "x" * 300,
        "9" * 40, "\u00e9\u2603", "é: [on, yes", "#", "a # b", "a ; b", "* * * * *", "0 3 * * *", "~", "~/app", "1,2,x",
    ]),
    st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"], blacklist_characters="\x85"), max_size=12),
)  # fmt: skip


def parsed(ported: Ported) -> str:
    """Return the text, which whiz's own parser accepts, also where what is a comment is none."""
    text = render(ported, "here")
    lines = text.splitlines()
    bare = "\n".join(line[1:] if line.startswith("#  ") and not line.startswith("#   hint") else line for line in lines)
    for each in (text, bare.replace("programs: {}", "programs:")) if not _headless(ported) else (text,):
        report = Report("printed.yaml", each.splitlines())
        build([Document("/printed.yaml", parse_yaml(each, report), report)], Identity())
    return text


def _headless(ported: Ported) -> bool:
    """Whether a comment holds a program without a command, or one that is to come after a comment."""
    running = {t.program for t in ported.translations if t.key == "run"}
    return any(t.program not in running for t in ported.translations)


def unsaid(ported: Ported, file: str, line: int) -> bool:
    return all((r.file, r.line) != (file, line) for r in ported.remarks)


def from_ini(text: str) -> Ported:
    return supervisor.translate([Source("s.conf", text, "/etc/supervisor")])


def from_unit(text: str, timer: str = "") -> Ported:
    units = [Unit("web.service", (Source("web.service", text, "/etc/systemd/system"),))]
    if timer:
        units.append(Unit("web.timer", (Source("web.timer", timer, "/etc/systemd/system"),)))
    return systemd.translate(units)


def from_json(text: str) -> Ported:
    source = Source("e.json", text, "/srv")
    return pm2.translate(source, jsontree.parse(source))


def held(ported: Ported, without: Ported, file: str, line: int) -> None:
    """Assert that an option is accounted for."""
    texts = parsed(ported), render(without, "here")
    translated = any((t.file, t.line) == (file, line) for t in ported.translations)
    assert translated or not unsaid(ported, file, line) or texts[0] != texts[1]


@pytest.mark.parametrize("section", DOCUMENTED["supervisor"])
@settings(max_examples=30)
@given(data=st.data(), value=VALUES)
def test_supervisor(section: str, data: st.DataObject, value: str) -> None:
    key = data.draw(st.sampled_from(DOCUMENTED["supervisor"][section]))
    title = (
        section
        if section in ("supervisord", "include", "supervisorctl") or section.endswith("server")
        else f"{section}:web"
    )
    base = {"command": "/bin/web"} if section in ("program", "fcgi-program", "eventlistener") else {}
    others = data.draw(st.dictionaries(st.sampled_from(DOCUMENTED["supervisor"][section]), VALUES, max_size=3)) | base
    others.pop(key, None)
    rest = "".join(f"{k}={v}\n" for k, v in others.items())
    tail = "[program:last]\ncommand=/bin/last\npriority=1000\n"
    text = f"[{title}]\n{key}={value}\n{rest}{tail}"
    try:
        ported, without = from_ini(text), from_ini(f"[{title}]\n\n{rest}{tail}")
    except ManifestError:
        return  # refused, with its place: nothing is dropped either
    held(ported, without, "s.conf", 2)


@pytest.mark.parametrize("section", DOCUMENTED["systemd"])
@settings(max_examples=60)
@given(data=st.data(), value=VALUES)
def test_systemd(section: str, data: st.DataObject, value: str) -> None:
    key = data.draw(st.sampled_from(DOCUMENTED["systemd"][section]))
    others = data.draw(st.dictionaries(st.sampled_from(DOCUMENTED["systemd"]["Service"]), VALUES, max_size=3))
    others.pop(key, None)
    rest = "[Service]\nExecStart=/bin/web\n" + "".join(f"{k}={v}\n" for k, v in others.items() if k != "ExecStart")
    if section == "Timer":
        timer = "OnCalendar=hourly\n" if key != "OnCalendar" else ""
        ported = from_unit(rest, f"[Timer]\n{key}={value}\n{timer}")
        held(ported, from_unit(rest, f"[Timer]\n\n{timer}"), "web.timer", 2)
    else:
        held(from_unit(f"[{section}]\n{key}={value}\n{rest}"), from_unit(f"[{section}]\n\n{rest}"), "web.service", 2)


@settings(max_examples=120)
@given(data=st.data(), value=VALUES)
def test_pm2(data: st.DataObject, value: str) -> None:
    import json

    key = data.draw(st.sampled_from(DOCUMENTED["pm2"]["app"]))
    one = data.draw(st.sampled_from([value, True, False, 0, 1, 3, 250, None, [value], [1, 2], {"A": value}, {"A": 7}]))
    others = data.draw(st.dictionaries(st.sampled_from(DOCUMENTED["pm2"]["app"]), VALUES, max_size=3))
    others = {"script": "web.js"} | {k: v for k, v in others.items() if ALIASES.get(k, k) != ALIASES.get(key, key)}
    if ALIASES.get(key, key) == "script":
        others.pop("script")
    rest = "".join(f",\n{json.dumps(k)}: {json.dumps(v)}" for k, v in others.items())
    ported = from_json(f"[{{\n{json.dumps(key)}: {json.dumps(one)}{rest}}}]")
    held(ported, from_json(f"[{{\n{rest.lstrip(',')}}}]"), "e.json", 2)


@given(st.lists(st.one_of(st.text(max_size=20), st.from_regex(r"[a-z]+: [a-z $|&'\"]+", fullmatch=True)), max_size=6))
def test_procfile(lines: list[str]) -> None:
    lines = [" ".join(line.split()).replace("\0", "") for line in lines]
    ported = procfile.translate(Source("Procfile", "\n".join(lines), "/srv"))
    text = parsed(ported)
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.strip().startswith("#") and unsaid(ported, "Procfile", number):
            name = line.partition(":")[0]
            assert f"  {name}:" in text or f'  "{name}":' in text


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=30), max_size=6))
def test_older(lines: list[str]) -> None:
    source = Source("older", "\n".join(lines), "/srv")
    ported = older.translate(source)
    parsed(ported)
    told = {r.line for r in ported.remarks}
    written = [
        n for n, line in enumerate(source.text.splitlines(), 1) if line.strip() and not line.strip().startswith("#")
    ]
    assert len({t.program for t in ported.translations}) + len(told - {0}) >= len(written)
    hits = older.hitlist(source)
    assert len(hits.hitlist) == len({line.strip() for line in source.text.splitlines()} - {""} - {
        line.strip() for line in source.text.splitlines() if line.strip().startswith("#")}) or "/" in source.text  # fmt: skip
    parsed(hits)


def test_every_documented_option_has_a_row() -> None:
    """So that what is said of it is more than that nobody knows it."""
    for section, names in DOCUMENTED["supervisor"].items():
        assert set(names) <= set(SECTIONS[section]), section
    for section, names in DOCUMENTED["systemd"].items():
        assert set(names) <= set(UNIT_SECTIONS[f"[{section}]"]), section
    names = {ALIASES.get(n, n) for n in DOCUMENTED["pm2"]["app"]} - {"env_production"}
    assert names <= set(APP)


@given(name=st.sampled_from(["comand", "Restrat", "numproc", "x"]), value=VALUES)
def test_what_no_reference_names_is_said(name: str, value: str) -> None:
    ported = from_unit(f"[Service]\nExecStart=/bin/web\n{name}={value}")
    assert [r.kind for r in ported.remarks if r.line == 3] == [Kind.LOST]
    ported = from_ini(f"[program:a]\ncommand=/bin/web\n{name}={value}\n")
    assert Kind.LOST in [r.kind for r in ported.remarks if r.line == 3]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (from_ini, from_unit, from_json):
        try:
            parsed(read(text))
        except ManifestError as exc:
            assert all(p.line and p.message for p in exc.problems)  # noqa: PT017
