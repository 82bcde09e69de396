"""What people write, and what it comes to: entries, options, and every problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from whiz.core.complete import complete
from whiz.core.errors import ManifestError
from whiz.core.lines import parse_lines
from whiz.core.manifest import Document, Identity, build, hooks, includes, mentions
from whiz.core.model import Check, Ending, Limits, Log, Manifest, On, Restart, Want
from whiz.core.shape import Node, Report
from whiz.core.value import replace


def lines(text: str, path: str = "/etc/whiz/whizzifest") -> Document:
    report = Report(path, text.removeprefix("\ufeff").splitlines())
    return Document(path, parse_lines(text, report), report)


def node(value: Any, at: tuple[int, int] = (1, 1)) -> Node:
    """Return the tree of a Python value, every node at one place: core tests read no YAML."""
    line, column = at
    if isinstance(value, dict):
        return Node("map", [(node(k, at), node(v, at)) for k, v in value.items()], line, column)
    if isinstance(value, list):
        return Node("list", [node(v, at) for v in value], line, column)
    kinds = {bool: "bool", int: "int", float: "float", type(None): "null", str: "str"}
    text = (
        {True: "true", False: "false", None: ""}.get(value, str(value))
        if not isinstance(value, int | float) or isinstance(value, bool)
        else str(value)
    )
    return Node(kinds[type(value)], text, line, column)


def doc(value: Any, path: str = "/etc/whiz/main.yaml") -> Document:
    return Document(path, node(value), Report(path, ["the line"]))


def made(value: Any, identity: Identity | None = None) -> Manifest:
    return build([doc(value)], identity or Identity())


def problems(*documents: Document, identity: Identity | None = None) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        build(documents, identity or Identity())
    assert str(caught.value) == "\n".join(str(p) for p in caught.value.problems)
    return [str(p) for p in caught.value.problems]


def test_line_form() -> None:
    text = "\ufeff# a comment\r\n\r\ncamera | /opt/app/camera.py --name 'my cam' | x\r\nweb|./web.py\nclock|date\n"
    manifest = build([lines(text)], Identity())

    assert manifest["camera"].argv == ("/opt/app/camera.py", "--name", "my cam", "|", "x")
    assert manifest["web"].argv == ("/etc/whiz/web.py",)
    assert manifest["clock"].argv == ("date",)
    assert manifest["web"].files == ("/etc/whiz/web.py",)
    assert manifest["clock"].files == ()
    assert manifest["camera"].want is Want.UP


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("camera", "/w:1:1: no '|' between name and destination\n    camera\n    hint: write processName|destination"),
        (
            "camera|",
            "/w:1:8: the destination after '|' is empty\n    camera|\n    hint: write a path with optional arguments",
        ),
        (" |/bin/x", "/w:1:2: the name before '|' is empty\n    |/bin/x\n    hint: write processName|destination"),
        (
            "a|/x\na b|/x",
            "/w:2:1: 'a b' cannot be a name\n    a b|/x\n    hint: use letters, digits, '.', '_' and '-', at most 200",
        ),
        (
            "a:1|/x",
            "/w:1:1: 'a:1' cannot be a name\n    a:1|/x\n    hint: use letters, digits, '.', '_' and '-', at most 200",
        ),
        ("/opt/x.py|x", "/w:1:1: the path stands before the name\n    /opt/x.py|x\n    hint: write x|/opt/x.py"),
        (
            "a|/x 'open",
            "/w:1:3: cannot split into words: no closing quotation\n    a|/x 'open\n    hint: close the quote or escape it",
        ),
        ("a|''", "/w:1:3: no destination: a path with optional arguments is needed\n    a|''"),
        ("a|/x\0y", "/w:1:3: a NUL character cannot stand in a command\n    a|/x\0y"),
        ("a|~/x", "/w:1:3: 'a': '~' is not expanded\n    a|~/x\n    hint: write the whole path"),
        ("a|/x\na|/y", "/w:2:1: 'a' stands twice: also in line 1\n    a|/y"),
        (
            "a|/x\nA|/y",
            "/w:2:1: 'A' differs from 'a' only by case: also in /w:1\n    A|/y\n    hint: give it another name",
        ),
    ],
)
def test_line_form_problems(text: str, said: str) -> None:
    assert problems(lines(text, "/w")) == [said]


def test_every_problem_at_once() -> None:
    said = problems(
        lines("bad\na|\nok|/x\n", "/w"), doc({"programs": {"ok": {"run": "/y"}, "z": {"runn": 1}}, "hitlst": []}, "/v")
    )

    assert [s.splitlines()[0] for s in said] == [
        "/v:1:1: 'ok' stands twice: also in /w:3",
        "/v:1:1: 'run' is missing",
        "/v:1:1: unknown key 'hitlst'",
        "/v:1:1: unknown key 'runn'",
        "/w:1:1: no '|' between name and destination",
        "/w:2:3: the destination after '|' is empty",
    ]
    assert "hint: did you mean 'hitlist'?" in said[2]
    assert "hint: did you mean 'run'?" in said[3]


def test_every_option() -> None:
    manifest = made(
        {
            "version": 1,
            "defaults": {"env": {"A": "1", "B": "2"}, "restart": {"delay": "2s", "max_delay": "1h"}, "umask": "027"},
            "programs": {
                "web": {
                    "run": ["/opt/web", "--port", 80],
                    "after": "db",
                    "cwd": "/srv",
                    "env": {"B": "3", "YES": True},
                    "env_file": "/etc/web.env",
                    "user": "www-data",
                    "group": 33,
                    "nice": 5,
                    "limits": {"memory": "64MB", "cpu": "1m", "files": 100, "tasks": 10, "core": 0},
                    "stop": {"signal": "sigint", "grace": 2.5, "tree": "session"},
                    "restart": {"on": "failure", "attempts": 3, "stable": "5m", "success_codes": [130, 143]},
                    "log": {"to": "null", "max": "1MB"},
                    "files": ["/opt/web", "/opt/web.conf"],
                },
                "db": {"run": "/opt/db", "want": "up"},
                "job": {"run": "/opt/job", "want": "done"},
            },
            "hitlist": ["bad.py", "/opt/worse"],
        }
    )
    web = manifest["web"]

    assert web.argv == ("/opt/web", "--port", "80")
    assert web.after == ("db",)
    assert (web.cwd, web.user, web.group, web.umask, web.nice) == ("/srv", "www-data", "33", 0o027, 5)
    assert dict(web.env_defaults) == {"A": "1", "B": "2"}
    assert dict(web.env) == {"B": "3", "YES": "true"}
    assert web.env_file == "/etc/web.env"
    assert web.limits == Limits(memory=64_000_000, cpu=60.0, files=100, tasks=10, core=0)
    assert web.stop == Ending(signal="INT", grace=2.5, tree="session")
    assert web.restart == Restart(
        on=On.FAILURE, delay=2.0, max_delay=3600.0, attempts=3, stable=300.0, success_codes=(0, 130, 143)
    )
    assert web.log == Log(to="null", max=1_000_000)
    assert web.files == ("/opt/web", "/opt/web.conf")
    assert web.kept
    assert manifest["db"].restart.on is On.ALWAYS
    assert not manifest["db"].kept
    assert manifest["job"].restart.on is On.FAILURE
    assert manifest["job"].kept
    assert manifest["hitlist/bad.py"].want is Want.DOWN
    assert manifest["hitlist//opt/worse"].argv == ("/opt/worse",)


def test_the_defaults_of_the_main_file_reach_what_it_includes() -> None:
    main = doc({"defaults": {"umask": "077", "env": {"A": "1"}}, "programs": {"a": {"run": "/a"}}})
    other = doc({"defaults": {"env": {"B": "2"}}, "programs": {"b": {"run": "/b"}}}, "/etc/whiz/d/b.yaml")
    manifest = build([main, other], Identity())

    assert manifest["b"].umask == 0o077
    assert dict(manifest["b"].env_defaults) == {"A": "1", "B": "2"}
    assert dict(manifest["a"].env_defaults) == {"A": "1"}


def test_instances() -> None:
    manifest = made(
        {
            "defaults": {"env": {"SHARD": "s{n}"}},
            "programs": {
                "w": {"run": "/w --n {n}", "instances": 2, "env": {"N": "{n}"}, "files": "/w{n}"},
                "v": {"run": "/v {n}", "after": ["w"]},
            },
        }
    )

    assert list(manifest) == ["w:1", "w:2", "v"]
    assert manifest["w:2"].argv == ("/w", "--n", "2")
    assert manifest["w:2"].env == (("N", "2"),)
    assert manifest["w:2"].env_defaults == (("SHARD", "s2"),)
    assert manifest["w:2"].files == ("/w2",)
    assert manifest["v"].argv == ("/v", "{n}")
    assert manifest["v"].after == ("w:1", "w:2")


def test_ready_and_alive() -> None:
    value = {
        "programs": {
            "w": {
                "run": "/w",
                "instances": 2,
                "ready": {"port": "808{n}", "within": "1m"},
                "alive": {"run": "./look {n}", "failures": 2},
            },
            "h": {"run": "/h", "ready": {"http": "http://[::1]:80/", "status": [200, 204]}, "alive": {"notify": True}},
            "t": {"run": "/t", "want": "done", "alive": {"file": "/run/t", "timeout": "1m"}},
            "f": {"run": "/f", "ready": {"fd": 3}, "alive": {"port": "10.0.0.1:80", "delay": "1m"}},
        }
    }
    manifest = made(value)

    assert manifest["w:2"].ready == Check(way="port", what="127.0.0.1:8082", within=60.0)
    assert manifest["w:2"].alive == Check(way="run", argv=("/etc/whiz/look", "2"), failures=2)
    assert manifest["h"].ready == Check(way="http", what="http://[::1]:80/", status=(200, 204))
    assert manifest["h"].alive == Check(way="notify", timeout=30.0, failures=1, delay=30.0)
    assert manifest["t"].alive == Check(way="file", what="/run/t", timeout=60.0, failures=1, delay=60.0)
    assert manifest["f"].ready == Check(way="fd", what="3")
    assert manifest["f"].alive == Check(way="port", what="10.0.0.1:80", delay=60.0)


def test_roles_and_hosts() -> None:
    value = {
        "programs": {
            "cam": {"run": "/cam", "roles": ["camera"]},
            "gps": {"run": "/gps", "roles": ["gps", "outdoor"], "after": "cam"},
            "one": {"run": "/one", "hosts": "pi-7"},
            "two": {"run": "/two", "hosts": ["pi-8"]},
        }
    }

    assert list(made(value, Identity("pi-7", ("outdoor",)))) == ["gps", "one"]
    assert made(value, Identity("pi-7", ("outdoor",)))["gps"].after == ()
    said = problems(doc(value))
    assert said[0].startswith("/etc/whiz/main.yaml:1:1: 'cam' is for certain roles, but this node has no roles")
    assert "hint: write name: ... into node.yaml" in said[2]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"programs": {"a": {"run": "/a", "want": "dwon"}}}, "expected one of up, done, down, found 'dwon'"),
        ({"programs": {"a": {"run": "/a", "restart": {"on": "alwys"}}}}, "expected one of always, failure, never, found 'alwys'"),
        ({"programs": {"a": {"run": "/a", "restart": "always"}}}, "expected a map with on, delay, max_delay, attempts, stable …, found 'always'"),
        ({"programs": {"a": {"run": "/a", "stop": {"grace": "soon"}}}}, "expected a duration such as 1.5s, 2m or 1h, found 'soon'"),
        ({"programs": {"a": {"run": "/a", "stop": {"signal": "SIGNAL"}}}}, "expected a signal: HUP, INT, QUIT, ABRT, KILL, USR1, USR2, TERM, WINCH, found 'SIGNAL'"),
        ({"programs": {"a": {"run": "/a", "limits": {"memory": "lots"}}}}, "expected a size such as 64MB or 1.5GiB, found 'lots'"),
        ({"programs": {"a": {"run": "/a", "limits": {"cpu": "half"}}}}, "expected a duration such as 1m, or a share of one core such as 50%, found 'half'"),
        ({"programs": {"a": {"run": "/a", "limits": {"cpu": "0.5%"}}}}, "expected a duration such as 1m, or a share of one core such as 50%, found '0.5%'"),
        ({"programs": {"a": {"run": "/a", "nice": 99}}}, "expected a number from -20 to 19, found '99'"),
        ({"programs": {"a": {"run": "/a", "umask": "999"}}}, "expected an octal mask such as 022, found '999'"),
        ({"programs": {"a": {"run": "/a", "umask": "1000"}}}, "expected an octal mask such as 022, found '1000'"),
        ({"programs": {"a": {"run": "/a", "cwd": "~/tmp"}}}, "expected a path, found '~/tmp'"),
        ({"programs": {"a": {"run": "/a", "alive": {"file": "tmp"}}}}, "expected an absolute path, found 'tmp'"),
        ({"programs": {"a": {"run": "/a", "instances": 0}}}, "expected a whole number from 1 to 1000, found '0'"),
        ({"programs": {"a": {"run": "/a", "env": ["A=1"]}}}, "expected NAME: value lines, found a list"),
        ({"programs": {"a": {"run": "/a", "env": {"A": {}}}}}, "expected a string, found a map"),
        ({"programs": {"a": {"run": "/a", "env": {"A": "x\0"}}}}, "a NUL character cannot stand in an environment"),
        ({"programs": {"a": {"run": "/a", "log": {"max": "9" * 30}}}}, f"expected a size such as 64MB or 1.5GiB, found '{'9' * 30}'"),
        ({"programs": {"a": {"run": "/a", "env": {"A=B": "1"}}}}, "'A=B' cannot name an environment variable"),
        ({"programs": {"a": {"run": "/a", "after": ["b c"]}}}, "expected a name of letters, digits, '.', '_' and '-', found 'b c'"),
        ({"programs": {"a": {"run": "/a", "after": ["camra"]}, "camera": {"run": "/c"}}}, "'a' comes after unknown 'camra'"),
        ({"programs": {"a": {"run": "/a", "after": ["zzz"]}}}, "'a' comes after unknown 'zzz'"),
        ({"programs": {"a": {"run": "/a", "ready": {"port": "x"}}}}, "expected a port such as 8080 or 192.168.1.5:8080, found 'x'"),
        ({"programs": {"a": {"run": "/a", "ready": {"port": 70000}}}}, "expected a port such as 8080 or 192.168.1.5:8080, found '70000'"),
        ({"programs": {"a": {"run": "/a", "ready": {"http": "ftp://x"}}}}, "expected a URL such as http://127.0.0.1:8080/health, found 'ftp://x'"),
        ({"programs": {"a": {"run": "/a", "ready": {"log": "("}}}}, "'(' is no regular expression: missing ), unterminated subpattern at position 0"),
        ({"programs": {"a": {"run": "/a", "ready": {"notify": False}}}}, "expected true, found 'false'"),
        ({"programs": {"a": {"run": "/a", "ready": {"fd": 1}}}}, "expected a descriptor from 3 to 255, found '1'"),
        ({"programs": {"a": {"run": "/a", "ready": {"port": 1, "fd": 3}}}}, "expected exactly one of file, port, unix, http, run, log, notify, fd, found port and fd"),
        ({"programs": {"a": {"run": "/a", "alive": {"every": "5s"}}}}, "expected exactly one of http, port, unix, run, file, notify, found none"),
        ({"programs": {"a": {"run": "/a", "alive": 5}}}, "expected a map with port, unix, http, run, file …, found '5'"),
        ({"programs": {"a": {"run": "/a", "alive": {"port": 1, "every": 0}}}}, "expected a duration of 0.1s or more, found '0'"),
        ({"programs": {"a": {"run": "/a", "alive": {"notify": True, "timeout": "1ms"}}}}, "expected a duration of 0.1s or more, found '1ms'"),
        ({"programs": {"a": {"run": "/a", "ready": {"port": 1, "timeout": "0s"}}}}, "expected a duration of 0.1s or more, found '0s'"),
        ({"programs": {"a": {"run": "/a", "instances": 6, "ready": {"port": "6553{n}"}}}}, "'a': the last of its instances has no such port to look at"),
        ({"programs": {"a": {"run": "/a", "ready": "soon"}}}, "expected a map with file, port, unix, http, run …, found 'soon'"),
        ({"programs": {"a": {"run": "/a", "want": "down", "alive": {"port": 1}}}}, "'a' wants down, so it is never alive"),
        ({"programs": {"a": {"run": "/a", "want": "done", "ready": {"port": 1}}}}, "'a' wants done, so it is never ready"),
        ({"programs": {"a": {"run": "/a", "log": {"to": "null"}, "ready": {"log": "up"}}}}, "'a': its output is not in a file"),
        ({"programs": {"a": {"run": "/a", "want": "done", "schedule": "evry day"}}}, "'evry day' is no calendar such as 'every day at 03:00' or '0 3 * * *': did you mean 'every'?"),
        ({"programs": {"a": {"run": "/a", "schedule": "every day"}}}, "'a' has a schedule, so it must be a task"),
        ({"on": {"strat": "/a"}, "programs": {}}, "unknown key 'strat'"),
        ({"programs": {"a": {"run": None}}}, "expected a string, found nothing"),
        ({"programs": {"a": {"run": []}}}, "no destination: a path with optional arguments is needed"),
        ({"programs": {"a": "/a"}}, "expected a map with run, want, after, roles, hosts …, found '/a'"),
        ({"programs": {"a": {"run": "/a", "want": "done", "restart": {"on": "always"}}}}, "'a' wants done, so it cannot restart always"),
        ({"programs": {"a": {"run": "/a", "restart": {"delay": "10m"}}}}, "'a': restart.max_delay is shorter than restart.delay"),
        ({"programs": ["a"]}, "programs: expects NAME: lines below it"),
        ({"version": 2}, "version 2 is not known to this whiz"),
        ({"hitlist": [{}]}, "expected a string, found a map"),
        ({"zzz": 1}, "unknown key 'zzz'"),
        (["a"], "expected top keys such as programs: and hitlist:, found something else"),
    ],
)  # fmt: skip
def test_yaml_form_problems(value: Any, said: str) -> None:
    found = problems(doc(value))

    assert len(found) == 1
    assert found[0].splitlines()[0] == f"/etc/whiz/main.yaml:1:1: {said}"


def test_a_key_that_is_no_word() -> None:
    odd = Node("map", [(node([1]), node("x"))], 1, 1)

    assert problems(Document("/v", odd, Report("/v")))[0] == "/v:1:1: a key must be a word, found a list"


def test_cycles_are_printed() -> None:
    chain = {f"p{i}": {"run": "/x", "after": f"p{(i + 1) % 20}"} for i in range(20)}
    two = problems(doc({"programs": {"a": {"run": "/a", "after": "b"}, "b": {"run": "/b", "after": "a"}}}))

    assert two == ["/etc/whiz/main.yaml:1:1: a cycle in after: a → b → a\n    the line\n    hint: remove one of these"]
    assert " → ".join([*chain, "p0"]) in problems(doc({"programs": chain}))[0]
    assert "a → a" in problems(doc({"programs": {"a": {"run": "/a", "after": "a"}}}))[0]


def test_includes_and_mentions() -> None:
    assert [text for text, _ in includes(doc({"include": ["a.yaml", "d/*.yaml"]}))] == ["a.yaml", "d/*.yaml"]
    assert includes(doc({"include": [{}]})) == ()
    assert includes(doc({"programs": None})) == ()
    assert includes(doc("text")) == ()
    assert mentions(lines("a|/x"))
    assert not mentions(lines("# nothing\n"))
    assert mentions(doc({"hitlist": ["x"]}))
    assert not mentions(doc({"programs": {}}))
    assert not mentions(doc({"include": "x"}))
    assert build([Document("/v", None, Report("/v")), doc(None), doc({"programs": None})], Identity()) == {}


def test_what_a_program_is_made_of() -> None:
    manifest = build([lines("a|/a\nb|date")], Identity())
    whole = complete(manifest | {"c": replace(manifest["b"], env_file="/e")}, {"/a": "d1"}, {"/e": (("K", "x"),)})

    assert whole["a"].digests == (("/a", "d1"),)
    assert whole["b"] is manifest["b"]
    assert whole["c"].secrets == (("K", "x"),)


def test_commands_that_are_told() -> None:
    """Those of every file, each relative to its own."""
    first = doc({"on": {"start": "bin/a x", "exit": ["/bin/b"]}, "programs": {"p": {"run": "/p"}}})
    second = doc({"on": {"start": "logger"}})
    assert hooks([first, second]) == {"start": (("/etc/whiz/bin/a", "x"), ("logger",)), "exit": (("/bin/b",),)}


def test_limits_cpu_is_one_of_two_things() -> None:
    """Time in total or a share of one core: the program's word takes the place of the defaults', whichever it is."""
    programs = {
        "time": {"run": "/a", "limits": {"cpu": "1h"}},
        "share": {"run": "/a", "limits": {"cpu": "250%", "files": 9}},
        "usual": {"run": "/a"},
    }
    manifest = made({"defaults": {"limits": {"cpu": "50 %"}}, "programs": programs})
    assert {n: p.limits for n, p in manifest.items()} == {
        "time": Limits(cpu=3600.0),
        "share": Limits(share=2.5, files=9),
        "usual": Limits(share=0.5),
    }


def test_relative_paths_count_from_the_file_they_stand_in() -> None:
    own = doc(
        {"defaults": {"cwd": "data"}, "programs": {"a": {"run": "./a", "files": ["a", "../lib"], "env_file": "e"}}}
    )
    more = doc({"programs": {"b": {"run": "./b", "cwd": "."}, "c": {"run": "/c"}}}, "/etc/whiz/more/b.yaml")
    a, b, c = build([own, more], Identity()).values()
    assert (a.cwd, a.files, a.env_file) == ("/etc/whiz/data", ("/etc/whiz/a", "/etc/lib"), "/etc/whiz/e")
    assert (b.cwd, b.files, c.cwd) == ("/etc/whiz/more", ("/etc/whiz/more/b",), "/etc/whiz/data")


def test_layers() -> None:
    """What was released lies beneath the node's own: entries give way by name, and each has its own defaults."""
    own = doc({"defaults": {"nice": 5}, "programs": {"a": {"run": "/own"}, "web": {"run": "/w", "roles": ["web"]}}})
    first = doc({"programs": {"a": {"run": "/first", "wrong": 1}, "b": {"run": "/b", "after": "a"}}}, "/one/main.yaml")
    more = doc({"programs": {"web": {"run": "/web"}}}, "/one/more.yaml")
    second = doc({"defaults": {"nice": 7}, "programs": {"c": {"run": "/c"}}}, "/two/main.yaml")
    first.layer = more.layer = 1
    second.layer = 2
    manifest = build([own, first, more, second], Identity(roles=("cam",)))
    assert {n: (p.argv[0], p.nice) for n, p in manifest.items()} == {
        "a": ("/own", 5),
        "b": ("/b", None),
        "c": ("/c", 7),
    }
    assert manifest["b"].after == ("a",)
    clash = doc({"programs": {"b": {"run": "/x"}}}, "/two/main.yaml")
    clash.layer = 2
    assert (
        "'b' stands twice: also in /one/main.yaml:1" in problems(own, first, clash, identity=Identity(roles=("x",)))[0]
    )
