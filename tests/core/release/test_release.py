"""A release: canonical, refused as a whole for one wrong path, and never more than its text says."""

from __future__ import annotations

import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whiz.core.errors import NewerFormat
from whiz.core.release import release as releases
from whiz.core.release.paths import leads_out, problems, twins, wrong
from whiz.core.release.release import Entry, Release, ReleaseError, changed, dump, load, name_of

D = "0" * 64
BAD = [
    ("/etc/x", "is absolute"),
    ("../x", "a part that is empty, . or .."),
    ("a/../../x", "a part that is empty, . or .."),
    ("a//b", "a part that is empty, . or .."),
    ("", "a part that is empty, . or .."),
    (".", "a part that is empty, . or .."),
    ("a/", "a part that is empty, . or .."),
    ("a\0b", "a control character"),
    ("a\nb", "a control character"),
    ("a\x7fb", "a control character"),
    ("caf\u0065\u0301", "form NFC"),
    ("\udcff", "is not UTF-8"),
    ("a" * 256, "longer than"),
    ("/".join(["a" * 200] * 21), "longer than"),
    ("a/" * 200 + "a", "more than 200 parts"),
    (".whiz/x", "is reserved"),
]
GOOD = [
    "a",
    "a/b/c",
    "lib/a-b_c+1.0~x@y=z,w.py",
    "a" * 255,
    "/".join(["a" * 200] * 20),
    "a" * 201 + "/b",
    "-x",
    " a b ",
    "$(x)'\"",
    "\U0001f600" * 63,
    "a/" * 199 + "a",
    "..x",
    "x..",
    ".env",
    "A/a",
]


@pytest.mark.parametrize(("path", "why"), BAD)
def test_paths_that_no_release_has(path: str, why: str) -> None:
    assert why in str(wrong(path))
    assert list(problems([Entry(path, "file", 0, D)])) == [f"{path!r} {wrong(path)}"]


@pytest.mark.parametrize("path", GOOD)
def test_paths_that_one_may_have(path: str) -> None:
    assert wrong(path) is None
    assert load(dump(Release("app", (Entry(path, "exec", 3, D),)))).entries == (Entry(path, "exec", 3, D),)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([Entry("a", "file", 0, D), Entry("a", "dir")], "'a' stands twice"),
        ([Entry("a", "file", 0, D), Entry("a/b", "file", 0, D)], "'a/b' goes through 'a', which is a file"),
        ([Entry("d", "link", target="e"), Entry("d/x/y", "dir")], "'d/x/y' goes through 'd', which is a symlink"),
        ([Entry("l", "link", target="/etc")], "out of the release"),
        ([Entry("a/l", "link", target="../../x")], "out of the release"),
        ([Entry("a/l", "link", target="b/../../../a")], "out of the release"),
        ([Entry("l", "link")], "a symlink to nothing"),
        ([Entry("a/top", "link", target=".."), Entry("l", "link", target="a/top/..")], "goes up behind a name"),
        ([Entry("l", "link", target="a/./..")], "goes up behind a name"),
        ([Entry("a/b/l", "link", target=".././../c/./d/")], None),
        ([Entry("a/l", "link", target="../x"), Entry("d", "dir"), Entry("d/e", "dir")], None),
    ],
)
def test_entries_that_do_not_go_together(entries: list[Entry], why: str | None) -> None:
    found = list(problems(entries))
    assert (found == []) if why is None else any(why in f for f in found)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), max_size=8), st.integers(0, 3))
def test_a_link_leads_out_when_its_steps_do(steps: list[str], depth: int) -> None:
    path = "/".join([*["d"] * depth, "l"])
    at, out = depth, False
    for step in steps:
        at += {"..": -1, "a": 1, "b": 1}.get(step, 0)
        out = out or at < 0
    target = "/".join(steps)
    assert leads_out(path, target) == (out or target.startswith("/"))
    if not leads_out(path, target):
        assert not posixpath.normpath(posixpath.join("d/" * depth, target)).startswith("..")


def test_names_that_one_file_system_takes_for_one() -> None:
    assert list(twins(["A.py", "a.py", "b"])) == [("A.py", "a.py")]
    assert list(twins(["D/x", "d/y", "d/z"])) == [("D", "d")]
    assert list(twins(["\u00e9", "e\u0301"])) == [("e\u0301", "\u00e9")]
    assert list(twins(["a/b", "a/c"])) == []


entries = st.lists(
    st.one_of(
        st.builds(
            Entry, st.sampled_from("abcdefgh"), st.sampled_from(["file", "exec"]), st.integers(0, 99), st.just(D)
        ),
        st.builds(lambda p: Entry(p, "link", target="x"), st.sampled_from("abcdefgh")),
        st.builds(lambda p: Entry(p, "dir"), st.sampled_from("abcdefgh")),
    ),
    unique_by=lambda e: e.path,
)


@given(entries, st.randoms(use_true_random=False))
def test_the_same_files_are_the_same_release(found: list[Entry], random: Any) -> None:
    one = Release("app", tuple(found), preflight=("./try", "it"))
    random.shuffle(found)
    other = Release("app", tuple(found), preflight=("./try", "it"))
    assert dump(one) == dump(other)
    again = load(dump(one))
    assert dump(again) == dump(one)
    assert set(again.entries) == set(one.entries)
    assert (again.app, again.preflight, again.health) == ("app", ("./try", "it"), ())
    assert name_of(dump(one)) == name_of(dump(other))
    assert one.size == sum(e.size for e in found)
    assert len(one.objects) == any(e.kind in ("file", "exec") for e in found)


def _text(**changes: Any) -> bytes:
    return json.dumps({"format": 1, "app": "a", "files": [], **changes}).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "not that of a release"),
        (_text(format="1"), "not that of a release"),
        (_text(app=3), "lacks an app"),
        (_text(files={}), "lacks an app or files"),
        (_text(files=[["a", "f", -1, D]]), "not an entry"),
        (_text(files=[["a", "f", 1, "0"]]), "not an entry"),
        (_text(files=[["a", "f", 1, D.replace("0", "G")]]), "not an entry"),
        (_text(files=[["a", "p"]]), "not an entry"),
        (_text(files=[["a", "f", 1 << 40, D], ["b", "f", 1 << 40, D]]), "larger than"),
        (_text(files=[["../x", "d"], ["/y", "d"]]), "'../x' has a part.*\n'/y' is absolute"),
        (_text(files=[[f"../{i}", "d"] for i in range(30)]), "and 10 more"),
        (_text(preflight="x"), "preflight is not a command"),
        (_text(health=[1]), "health is not a command"),
    ],
)
def test_texts_that_are_no_release(text: bytes, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        load(text)


def test_a_text_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "MOST", 10)
    with pytest.raises(ReleaseError, match="longer than 10 bytes"):
        load(_text())


def test_a_newer_one_is_refused_and_not_called_corrupt() -> None:
    with pytest.raises(NewerFormat, match="update whiz first"):
        load(_text(format=2))


def test_what_has_changed() -> None:
    a, b, c = Entry("a", "file", 1, D), Entry("a", "exec", 1, D), Entry("c", "dir")
    assert changed([a, c], [b]) == {"a": (a, b), "c": (c, None)}
    assert changed([a], [a]) == {}
    assert changed([], [c]) == {"c": (None, c)}
