"""Single rules of each format, where the corpus would be a large place for a small thing."""

from __future__ import annotations

import pytest

from tests.core.importing.test_laws import from_ini, from_json, from_unit, parsed
from whiz.core.calendar import parse as calendar
from whiz.core.errors import ManifestError, UsageError
from whiz.core.importing import older, procfile, supervisor, systemd, systemd_command
from whiz.core.importing.command import from_shell
from whiz.core.importing.guess import FORMATS, guess
from whiz.core.importing.ledger import Ledger, refused
from whiz.core.importing.oncalendar import every, schedule, span
from whiz.core.importing.pm2 import variable
from whiz.core.importing.rules import bytes_of, seconds
from whiz.core.importing.systemd_text import Unit, words
from whiz.core.importing.together import together
from whiz.core.importing.values import Entry, Kind, Ported, Source
from whiz.core.importing.yamltext import flow, programs_of, render, scalar
from whiz.core.shape import Node, Report
from whiz.face import parser
from whiz.world.yamltree import parse_yaml


def said(ported: Ported) -> list[str]:
    parsed(ported)
    return [f"{r.line} {r.kind}: {r.why}" for r in ported.remarks if r.kind is not Kind.SAME]


def value(ported: Ported, name: str, key: str) -> object:
    parsed(ported)
    return programs_of(ported)[name].get(key)


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("/bin/x 'a b' c", ("/bin/x", "a b", "c")),
        ("A=1 B='2 3' x", ("x",)),
        ("x 'a|b' '$c'", ("x", "a|b", "$c")),
        ('x "$HOME"', None),
        ("x | y", None),
        ("x *.py", None),
        ("x >y", None),
        ("A=1", None),
        ("cd x", None),
        ("~/x", None),
        (r"x \$y", ("x", "$y")),
    ],
)
def test_shell_lines(line: str, want: tuple[str, ...] | None) -> None:
    assert from_shell(line).words == (want or ("/bin/sh", "-c", line))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("daily", "every day at 00:00"),
        ("*-*-* 3:5", "every day at 03:05"),
        ("*-*-* 03:05:30", "every day at 03:05:30"),
        ("Mon..Fri 8:00", "0 8 * * mon-fri"),
        ("sat,sun *-*-* 12:30:00", "30 12 * * sat,sun"),
        ("*:0/15", "0-59/15 * * * *"),
        ("*-*-1 00:00", "0 0 1 * *"),
        ("*-1..3-1/10 0:0", "0 0 1-31/10 1-3 *"),
        ("*-*-* 8..18/2:00", "0 8-18/2 * * *"),
    ],
)
def test_calendars(text: str, want: str) -> None:
    assert schedule(text) == want
    calendar(want)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01 00:00", "*-*-* 03:00 UTC", "*-*~1 0:0", "Mon *-*-1 0:0", "*:*:0/10", "*:0:30", "1/2", "nonsense",
        "Mon..Wed..Fri 0:0", "mon,day 0:0", "*-*-* a:00", "1-2-3-4 0:0", "*-*-* 0:0:0:0",
    ],
)  # fmt: skip
def test_no_calendars_of_whiz(text: str) -> None:
    with pytest.raises(ValueError, match=" "):
        schedule(text)


def test_spans() -> None:
    assert (span("1min 30s"), span("2"), span("500ms"), span("1.5h")) == (90, 2, 0.5, 5400)
    assert (every("1d"), every("90"), every("2h")) == ("every day", "every 90 seconds", "every 2 hours")
    for wrong in ("", "soon", "1 parsec"):
        with pytest.raises(ValueError, match="time span"):
            span(wrong)
    with pytest.raises(ValueError, match="whole seconds"):
        every("1500ms")
    assert (seconds(0), seconds(0.0004), seconds(7200), seconds(0.25)) == ("0s", "1ms", "2h", "250ms")
    with pytest.raises(ValueError, match="no duration"):
        seconds(1e12)
    assert (bytes_of(0), bytes_of(2**20), bytes_of(3 * 10**6), bytes_of(7)) == ("0B", "1MiB", "3MB", "7B")


def test_systemds_words() -> None:
    assert words(r"""a "b c" 'd "e"' f\x41\101\tg ''""") == ["a", "b c", 'd "e"', "fAA\tg", ""]
    (one, two) = systemd_command.commands(r"-@/bin/x argv0 a ; ; +:/bin/y $A \;")
    assert (one.prefix, one.words, two.words) == ("-@", ("/bin/x", "a"), ("/bin/y", "$A", ";"))
    assert systemd_command.plain(two, {}) == ["/bin/y", "$A", ";"]
    with pytest.raises(ValueError, match="no command"):
        systemd_command.commands("- ")
    (held,) = systemd_command.commands("x $A ${B}c")
    assert systemd_command.plain(held, {"A": "1 2", "B": "b"}) == ["x", "1", "2", "bc"]
    assert systemd_command.plain(held, {"A": "1"}) is None


def test_services() -> None:
    ported = from_unit("[Service]\nType=oneshot\nRemainAfterExit=no\nExecStart=@/bin/a b\nRestart=always\n")
    assert value(ported, "web", "restart") == {"on": "failure"}
    assert "4 not carried over: whiz sets no other argv[0]" in said(ported)
    ported = from_unit("[Service]\nRemainAfterExit=yes\nExecStart=-/bin/a\nExecStart=+/bin/b\nUser=u\n")
    assert [line.partition(": ")[0] for line in said(ported)] == [
        "2 not carried over",
        "4 not carried over",
        "4 carried over, but",
    ]
    ported = from_unit(
        "[Service]\nExecStart=-/bin/a\nRestartSec=soon\nWorkingDirectory=-/srv\nKillMode=control-group\n"
    )
    assert value(ported, "web", "cwd") == "/srv"
    ported = from_unit("[Service]\nExecStart=/bin/a\nStandardOutput=null\nStandardError=null\nStartLimitBurst=0\n")
    assert value(ported, "web", "log") == {"to": "null"}
    ported = from_unit(
        "[Service]\nExecStart=/bin/a\nStandardOutput=kmsg\nEnvironment=A B=1 C=2\nUnsetEnvironment=C\nLimitNOFILE=x\n"
    )
    assert value(ported, "web", "env") == {"B": "1"}
    ported = from_unit(
        "[Service]\nExecStart=/bin/a\nEnvironmentFile=-/a\nEnvironmentFile=/b\nEnvironment=\nRestartPreventExitStatus=x\n"
    )
    assert value(ported, "web", "env_file") == "/a"
    ported = from_unit(
        "[Unit]\nDescription=\n[Service]\nExecStart=/bin/a\nSuccessExitStatus=\nExecStop=\nLimitNOFILE=64K\nRestart=always\n"
    )
    assert value(ported, "web", "limits") == {"files": 65536}
    ported = from_unit(
        "[Unit]\nAfter=web.service\n[Service]\nExecStart=/bin/a\nType=notify\nTimeoutStopSec=1min\n[Service]\nMemoryMax=infinity\n"
    )
    assert value(ported, "web", "stop") == {"grace": "1m"}


def test_a_timer_by_another_name_and_none() -> None:
    service = Unit("web.service", (Source("web.service", "[Service]\nExecStart=/bin/a\n"),))
    timer = Unit(
        "night.timer",
        (Source("night.timer", "[Timer]\nOnCalendar=daily\nUnit=web.service\n[Install]\nWantedBy=timers.target"),),
    )
    assert value(systemd.translate([service, timer]), "web", "schedule") == "every day at 00:00"
    same = Unit(
        "web.timer",
        (Source("web.timer", "[Timer]\nOnCalendar=daily\nUnit=web.service\n[Unit]\nDefaultDependencies=no"),),
    )
    assert said(systemd.translate([service, same])) == []


def test_the_users_manager() -> None:
    for folder, want in (("/home/pi/.config/systemd/user", "/home/pi"), ("/usr/lib/systemd/user", None)):
        unit = Unit("a@b-c.service", (Source("a@.service", "[Service]\nExecStart=%h/x %I %j %J %f %%\n", folder),))
        ported = systemd.translate([unit])
        assert value(ported, "a-b-c", "run") == (want and [f"{want}/x", "b/c", "a", "a", "/b/c", "%"])
    template = Unit("a@.service", (Source("a@.service", "[Service]\nExecStart=/x %i %Z\n"),))
    assert any("instance of a template" in line for line in said(systemd.translate([template])))


@pytest.mark.parametrize(
    ("lines", "key", "want"),
    [
        ("Type=notify", "ready", {"notify": True, "within": "90s"}),
        ("Type=notify\nTimeoutStartSec=2min", "ready", {"notify": True, "within": "2m"}),
        ("Type=notify-reload\nTimeoutSec=20", "ready", {"notify": True, "within": "20s"}),
        ("Type=notify\nTimeoutStartSec=infinity", "ready", {"notify": True, "within": "365d"}),
        ("Type=notify\nTimeoutStartSec=0", "ready", {"notify": True, "within": "365d"}),
        ("Type=notify\nTimeoutStartSec=soon", "ready", {"notify": True, "within": "90s"}),
        ("TimeoutStartSec=20", "ready", None),
        ("Type=dbus", "ready", None),
        ("WatchdogSec=1min", "alive", {"notify": True, "timeout": "1m"}),
        ("WatchdogSec=2", "alive", {"notify": True, "timeout": "2s", "every": "2s"}),
        ("WatchdogSec=200ms", "alive", {"notify": True, "timeout": "0.2s", "every": "1s"}),
        ("WatchdogSec=0", "alive", None),
        ("WatchdogSec=infinity", "alive", None),
        ("WatchdogSec=soon", "alive", None),
        ("Type=oneshot\nWatchdogSec=9", "alive", None),
        ("CPUQuota=50%", "limits", {"cpu": "50%"}),
        ("LimitCPU=1min\nCPUQuota=50%", "limits", {"cpu": "50%"}),
        ("LimitCPU=1min\nCPUQuota=50", "limits", {"cpu": "1m"}),
        ("TasksMax=5\nLimitNPROC=7", "limits", {"tasks": 5}),
        ("TasksMax=infinity\nLimitNPROC=7", "limits", {"tasks": 7}),
        ("MemoryLimit=1G\nMemoryMax=2G", "limits", {"memory": "2GiB"}),
    ],
)
def test_what_services_say_of_being_well_and_of_ceilings(lines: str, key: str, want: object) -> None:
    assert value(from_unit(f"[Service]\nExecStart=/a\n{lines}\n"), "web", key) == want


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        ("Type=notify", []),
        ("Type=notify\nTimeoutStartSec=0", ["4 carried over, but: whiz has no start without an end"]),
        ("Type=notify-reload", ["3 carried over, but: whiz has no reload"]),
        ("Type=dbus", ["3 not carried over: whiz does not wait for a name on D-Bus"]),
        ("Type=sometimes", ["3 not carried over: systemd has no such Type="]),
        ("TimeoutStartSec=20", []),
        ("ExecStartPre=/b\nTimeoutStartSec=20", ["4 not carried over: whiz sets a time"]),
        ("ExecStartPre=/b\nTimeoutSec=20", ["4 carried over, but: whiz sets a time"]),
        ("WatchdogSec=9", ["3 carried over, but: whiz stops who falls silent"]),
        ("LimitCPU=9\nCPUQuota=5%", ["3 not carried over: limits.cpu is one limit, and CPUQuota= has it", "4 carried"]),
        ("CPUQuota=50", ["3 not carried over: it is no percentage"]),
    ],
)
def test_how_that_differs(lines: str, want: list[str]) -> None:
    told = [s for s in said(from_unit(f"[Service]\nExecStart=/a\n{lines}\n")) if "shell runs" not in s]
    assert len(told) == len(want)
    assert all(s.startswith(w) for s, w in zip(told, want, strict=True)), told


def test_a_task_of_the_clock_is_never_ready() -> None:
    ported = from_unit("[Service]\nExecStart=/a\nType=notify\nTimeoutStartSec=5\n", "[Timer]\nOnCalendar=daily\n")
    assert value(ported, "web", "ready") is None
    assert [s[:20] for s in said(ported)] == ["3 not carried over: ", "4 not carried over: "]


def test_supervisors() -> None:
    text = "[supervisord]\nminfds=many\nenvironment=A\nuser=u\numask=022\n[program:a]\ncommand=run.sh\nenvironment=PATH='/x'\n"
    ported = from_ini(text)
    assert any("PATH" in line for line in said(ported))
    ported = from_ini(
        "[program:a]\ncommand=a %(process_num)d {n}\nnumprocs=2\nprocess_name=%(ENV_X)s\ndirectory=%(ENV_X)s\nstdout_syslog=maybe\n"
    )
    assert sorted(programs_of(ported)) == ["a", "a-2"]
    ported = from_ini("[program:a]\ncommand=a %(process_num)d\nnumprocs=2\n")
    assert sorted(programs_of(ported)) == ["a-0", "a-1"]
    ported = from_ini(
        "[program:a]\ncommand=a\nnumprocs=0\nexitcodes=x\nstdout_logfile=AUTO\nstderr_logfile=auto\nnumprocs_start=x\npriority=high\n"
    )
    assert value(ported, "a", "run") == ["a"]
    ported = from_ini(
        "[program:a]\ncommand=a\nexitcodes=0,2\nuser=%(ENV_U)s\nautostart=on\nstdout_syslog=true\nstopasgroup=TRUE\n"
    )
    assert value(ported, "a", "restart") == {"success_codes": [0, 2], "on": "failure"}
    ported = from_ini(
        "[fcgi-program:a]\ncommand=a\n[fcgi-program:b]\ncommand=b\nsocket=nonsense\nsocket_mode=%(x)s\n[program:c]\ncommand=\n"
    )
    assert dict(ported.withheld).keys() == {"a", "c"}
    ported = from_ini(
        "[rpcinterface:x]\nretries=1\n[include]\nfiles=%(ENV_D)s/*.conf a\n[program:a]\ncommand=a\n[supervisord]\nminfds=100\nenvironment=B='%(ENV_X)s'\n"
    )
    assert sum("environment" in line for line in said(ported)) == 2
    source = Source("s.conf", "[include]\nfiles=%(here)s/%(x)s\n[program:a]\ncommand=a\n", "/etc")
    assert supervisor.further(source) == ()
    assert any("%(x)s" in line for line in said(supervisor.translate([source])))
    ported = from_ini(
        "[program:a]\ncommand=a\nnumprocs=3\nnumprocs_start=2\nprocess_name=%(program_name)s%(process_num)d\nstdout_capture_maxbytes=1\nsocket=x\n"
    )
    assert value(ported, "a", "instances") == 3


def test_pm2s() -> None:
    ported = from_json(
        '{"apps": {"script": "~/a.js", "cwd": "~/b", "interpreter": "/x/node", "instances": "1"}, "more": 1, "deploy": {}}'
    )
    assert any("expands no '~'" in line for line in said(ported))
    ported = from_json(
        '[{"name": "a", "script": "a.js", "name": "b", "instances": 2, "args": "{n}", "autorestart": "maybe", "instance_var": "I", "env": "x"}]'
    )
    assert sorted(programs_of(ported)) == ["b-0", "b-1"]
    ported = from_json(
        '[{"name": "a", "script": "a", "instances": 2, "increment_var": "P", "disable_logs": "maybe", "env": {"PATH": "/x"}}]'
    )
    assert any("no number P" in line for line in said(ported))
    ported = from_json(
        '[{"script": "npm", "env": {"PATH": "/x"}, "name": "a"}, {"name": "b", "args": "x"}, {"script": "x.js", "autorestart": false, "cron": "no"}]'
    )
    assert any("own PATH" in line for line in said(ported))
    ported = from_json('[{"script": "x.js", "cron": "0", "stop_exit_codes": ["y"], "args": ["", 1, null, true]}]')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1",
        '{"a" 1}',
        '{"a": \'b}',
        '"\\q"',
        '"\\ud800"',
        "[1] 2",
        "{a: b}",
        "[" * 60,
        "[1 2]",
        "{1: 2}",
        "{\n\n!",
    ],
)
def test_no_json(text: str) -> None:
    with pytest.raises(ManifestError, match=r"e\.json:\d+:1: not JSON"):
        from_json(text)


def test_json_as_javascript_has_it() -> None:
    ported = from_json('/* a */ [{script: \'it\\\'s "x".js\', // b\n "min_uptime": 1e3, kill_timeout: -1, $x: null,}]')
    assert [r.line for r in ported.remarks if "min_uptime" in r.what] == [2]


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("x", "[Unit]\n[Service]\n", "systemd"),
        ("x", "[program:a]\n", "supervisor"),
        ("x", "// no\n", ""),
        ("x", "{}", "pm2"),
        ("x", "/a|b\n# c\n", "older"),
        ("x", "web: a\n", "procfile"),
        ("a.conf", "[fcgi-program:a]\n", "supervisor"),
        ("a.timer", "", "systemd"),
        ("my-hitlist", "", "hitlist"),
        ("a.json", "", "pm2"),
    ],
)
def test_formats(name: str, text: str, want: str) -> None:
    if want:
        assert guess(name, text) == want
    else:
        with pytest.raises(UsageError, match="--format"):
            guess(name, text)


def test_the_parsers_formats_are_these() -> None:
    assert parser._FORMATS == FORMATS  # noqa: SLF001  so that a quiet apply need not import them


def test_yaml_traps() -> None:
    for text in (
        "on",
        "Off",
        "y",
        "NO",
        "null",
        "~",
        "",
        "022",
        "1:30",
        "1e3",
        "0x1",
        "a: b",
        "a #b",
        "- a",
        "@a",
        "%a",
        "é\x85\u2028\U0001f600",
        "\t",
        "a\nb",
        "5s",
        ".inf",
        "=",
        "<<",
        "-",
        "--",
    ):
        node = parse_yaml(f"k: {scalar(text)}\n{scalar(text)}: 1\n", Report("x"))
        assert node is not None
        (_, held), (key, _) = node.value
        assert (held.kind, held.value, key.value) == ("str", text, text)
    assert flow({"a": [True, False, 1, "x"], "b": {}}) == "{a: [true, false, 1, x], b: {}}"


def test_several_files_in_one() -> None:
    one = procfile.translate(Source("Procfile", "web: /a\nrelease: /b\n", "/srv"))
    two = procfile.translate(Source("Other", "web: /a\nrelease: /b\nweb-2: /c\n", "/srv"))
    whole = together([one, two, older.hitlist(Source("hits", "a\n/z\n"))])
    parsed(whole)
    assert sorted(programs_of(whole)) == ["release", "release-2", "web", "web-2", "web-3"]
    assert programs_of(whole)["web-3"]["after"] == ["release-2"]
    assert whole.hitlist == ("/z",)
    alone = from_unit("[Unit]\nDescription=D\n[Service]\nType=forking\nExecStart=/a\n")
    text = render(together([alone, alone]), "x")
    assert text.count("WITHHELD") == 2
    assert "#  web-2:" in text


def test_procfile_refuses_what_whiz_cannot_hold() -> None:
    ported = procfile.translate(Source("Procfile", 'web: ""\nnul: /bin/a \0\n', "/srv"))
    assert next(r.kind for r in ported.remarks if r.line == 1) is Kind.LOST


def test_a_circle_is_cut_and_said() -> None:
    ledger, entries = Ledger(), [Entry("f", n, "s", "k", "") for n in range(3)]
    names = [ledger.program(n, e) for n, e in zip("abc", entries, strict=True)]
    for i, name in enumerate(names):
        ledger.carry(entries[i], name, "run", ["/x"])
        ledger.after(name, [names[i - 1], name], entries[i])
    parsed(ledger.ported())
    assert any("circle" in r.why for r in ledger.ported().remarks)


def test_a_secret_is_masked_in_remarks() -> None:
    assert Entry("f", 1, "s", "password", "x").what == "password=***"
    assert Entry("f", 1, "s", "environment", 'A="1",API_TOKEN="a,b",C=3').what == 'environment=A="1",API_TOKEN=***,C=3'
    assert "pw" not in Entry("f", 1, "s", "command", "x postgres://u:pw@host/db").what


def test_the_tree_of_a_node_is_flat_where_it_is_shown() -> None:
    from whiz.core.importing.pm2 import flat

    assert flat(Node("list", [Node("map", [(Node("str", "a", 1, 1), Node("int", "1", 1, 1))], 1, 1)], 1, 1)) == "a: 1"


def test_what_only_an_odd_file_has() -> None:
    assert from_ini("[x]\n") == Ported()
    ported = from_ini(
        "[program:a]\ncommand=a 100% b\nenvironment=A='open\nstdout_logfile_maxbytes=1x\nautorestart=perhaps\n"
    )
    assert len(said(ported)) == 6
    ported = from_ini(
        "[program:a]\ncommand=a\nenvironment=A=1 B=2\nstderr_logfile=x\nredirect_stderr=true\nunheard=1\n[group:g]\nunheard=1\n[inet_http_server]\nunheard=1"
    )
    assert sum("no reference" in line for line in said(ported)) == 3
    assert "2 not carried over: a '%' that is no %(name)s and no '%%' in 'a 100% b'" in said(
        from_ini("[program:a]\ncommand=a 100% b\n")
    )
    assert refused("run", ["~/x"])
    assert value(
        from_unit("[Service]\nExecStart=:/bin/a $B\nRestartSec=10min\nRestartMaxDelaySec=1\n"), "web", "run"
    ) == ["/bin/a", "$B"]


def test_enormous_values_are_said() -> None:
    long = "x" * 200_000
    for ported in (
        from_ini(f"[program:a]\ncommand={long}\nenvironment=A={long}\n"),
        from_unit(f"[Service]\nExecStart={long}\n"),
    ):
        assert any("longer than 131071" in line for line in said(ported))
        assert len(render(ported, "x")) < 2000


def test_what_only_an_odd_app_has() -> None:
    ported = from_json(
        '[{"name": "", "script": "a.js", "disable_logs": "maybe", "treekill": "x", "args": "", "max_memory_restart": "lots"}]'
    )
    assert len(said(ported)) == 3
    ported = from_json(
        '[{"script": "a.js", "env": "A=1", "instances": 2, "increment_var": "P", "stop_exit_codes": [300], "restart_delay": 900000}]'
    )
    assert value(ported, "a-0", "restart") == {"delay": "15m", "max_delay": "15m"}
    ported = from_json('[{"script": "a.js", "cron": "never", "autorestart": false, "stop_exit_codes": [3]}]')
    assert dict(ported.withheld).keys() == {"a"}
    assert value(from_json('[{"script": "a.js", "script": "b.js"}]'), "b", "run") == ["node", "/srv/b.js"]


@pytest.mark.parametrize("script", ["x", "npm"])
def test_options_of_no_interpreter_are_said_to_be_lost(script: str) -> None:
    ported = from_json(f'[{{"script": "{script}",\n"node_args": "--harmony"}}]')
    assert [(r.line, r.kind) for r in ported.remarks if r.what.startswith("node_args")] == [(2, Kind.LOST)]
    assert not [r for r in from_json('[{"script": "x.js",\n"node_args": "-a"}]').remarks if r.line == 2]


def test_what_pm2_makes_of_variables_that_are_no_words() -> None:
    """As node spells each: JSON.stringify of what is an object (pm2's Common.mergeEnvironmentVariables), else String.

    Only J and L, of which JavaScript has nothing left or not all digits, stay as they are written.
    """
    written = r"""{"A": {"x": 1}, "B": [1, "é\"\n", null, [], {}], "C": null, "D": {"b": true, "10": 1, "2": "y", "b": false},
        "E": 1.0, "F": 1e3, "G": 0.10, "H": -0.5, "I": 1e-7, "J": 1e400, "K": true, "L": 12345678901234567890, "M": "1.0"}"""
    (app,) = programs_of(from_json(f'[{{"script": "/bin/x", "env": {written}}}]')).values()
    assert app["env"] == {
        "A": '{"x":1}', "B": r'[1,"é\"\n",null,[],{}]', "C": "null", "D": '{"2":"y","10":1,"b":false}',
        "E": "1", "F": "1000", "G": "0.1", "H": "-0.5", "I": "1e-7", "J": "1e400", "K": "true",
        "L": "12345678901234567890", "M": "1.0",
    }  # fmt: skip
    assert variable(Node("int", "0o17", 1, 1)) == "0o17"
