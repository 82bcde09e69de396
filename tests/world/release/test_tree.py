"""A directory becomes a release, or all that hinders it is said."""

from __future__ import annotations

import os
import py_compile
import socket
import tracemalloc
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from whiz.core.release.release import Entry, ReleaseError
from whiz.world.release.tree import Taste, read

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path, taste: Taste | None = None) -> str:
    with pytest.raises(ReleaseError) as said:
        read(str(path), taste)
    return str(said.value)


def test_files_programs_symlinks_and_empty_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run").write_text("hello")
    (tmp_path / "a" / "run").chmod(0o700)
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero").touch()
    (tmp_path / "link").symlink_to("a/run")
    (tmp_path / "folder").symlink_to("a")
    assert read(str(tmp_path)).entries == (
        Entry("a/run", "exec", 5, sha256(b"hello").hexdigest()),
        Entry("empty", "dir"),
        Entry("folder", "link", target="a"),
        Entry("link", "link", target="a/run"),
        Entry("zero", "file", 0, sha256(b"").hexdigest()),
    )


def test_names_are_kept_to_the_byte(tmp_path: Path) -> None:
    names = {"\N{SNOWMAN}" * 85, "with space", "-rf", "'\"$(x)`", "\\", "a|b"}
    for name in names:
        (tmp_path / name).touch()
    assert {e.path for e in read(str(tmp_path)).entries} == names


def test_what_is_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    said = refused(tmp_path)
    assert "'pipe' is a FIFO" in said
    assert "'socket' is a socket" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_is_named(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", 0o020666, os.makedev(1, 3))
    assert "'null' is a device" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new\nline", "holds a control character"),
        ("e\N{COMBINING ACUTE ACCENT}", "is not in Unicode's form NFC"),
        (os.fsdecode(b"\xff"), "is not UTF-8"),
    ],
)
def test_a_path_that_no_release_may_have_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    assert said in refused(tmp_path)


def test_twins_of_case_are_refused_also_in_directories(tmp_path: Path) -> None:
    for name in ("A.py", "a.py", "Lib/x", "lib/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    said = refused(tmp_path)
    assert "'A.py' and 'a.py' are one name where case does not count" in said
    assert "'Lib' and 'lib' are one name" in said


def test_symlinks_out_of_the_release_are_refused_and_dangling_ones_told(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "out").symlink_to("../../etc")
    (tmp_path / "abs").symlink_to("/etc/passwd")
    said = refused(tmp_path)
    assert "'d/out' is a symlink out of the release" in said
    assert "'abs' is a symlink out of the release" in said
    (tmp_path / "d" / "out").unlink()
    (tmp_path / "abs").unlink()
    (tmp_path / "data").symlink_to("d/later")
    assert read(str(tmp_path)).warnings == ("'data' is a symlink to nothing here: 'd/later'",)


def test_secrets_are_refused_until_they_are_allowed_or_left_out(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=1")
    (tmp_path / "tls.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    said = refused(tmp_path)
    assert "'.env' looks like an environment file: every node would get it; --exclude or --allow it" in said
    assert "'tls.pem' holds a private key" in said
    found = read(str(tmp_path), Taste(allow=(".env",), exclude=("*.pem",)))
    assert [e.path for e in found.entries] == [".env"]
    assert found.left_out == ("tls.pem",)


def test_a_large_file_is_told_and_read_in_constant_memory(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with open(big, "wb") as f:
        f.truncate(200_000_000)  # sparse
    tracemalloc.start()
    found = read(str(tmp_path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.entries[0].size == 200_000_000
    assert found.warnings == ("'big' is large: 200 MB",)
    assert most < 5_000_000


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("one")
    other = tmp_path / "other"
    other.write_text("stays")
    real, calls = os.fstat, []

    def fstat(fd: int) -> os.stat_result:
        found = real(fd)
        if found.st_ino == path.stat().st_ino:
            calls.append(fd)
            with path.open("a") as f:
                f.write("more")
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    assert "'log' changes while it is read: build again when nothing writes to it" in refused(tmp_path)
    assert len(calls) == 6, "three tries, each looked at before and after"


def test_a_file_that_changes_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("one")
    real, calls = os.fstat, []

    def fstat(fd: int) -> os.stat_result:
        found = real(fd)
        calls.append(fd)
        if len(calls) == 1:
            path.write_text("two, longer")
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    assert read(str(tmp_path)).entries[0].digest == sha256(b"two, longer").hexdigest()


@pytest.mark.parametrize("what", ["edit", "add", "remove"])
def test_a_tree_that_changes_behind_the_reader_is_refused(tmp_path: Path, what: str) -> None:
    for name in ("a/1", "b/1"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
        os.utime((tmp_path / name).parent, (1, 1))
    seen: list[int] = []

    def meanwhile(files: int, _bytes: int) -> None:
        seen.append(files)
        if files == 2:  # b is read last; a or b has been read, whichever came first
            first = tmp_path / ("b/1" if what != "add" else "b/2")
            if what == "remove":
                first.unlink()
            else:
                first.write_text("new")

    with pytest.raises(ReleaseError, match="changes while the tree is read"):
        read(str(tmp_path), progress=meanwhile)
    assert seen == [1, 2]


def test_bytecode_by_times_and_version_control_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / ".whiz").mkdir()
    (tmp_path / ".whiz" / "release.yaml").touch()
    timed = py_compile.compile(str(tmp_path / "a.py"), cfile=str(tmp_path / "timed" / "a.pyc"))
    hashed = py_compile.compile(
        str(tmp_path / "a.py"),
        cfile=str(tmp_path / "hashed" / "a.pyc"),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    assert timed
    assert hashed
    found = read(str(tmp_path))
    assert [e.path for e in found.entries] == ["a.py", "hashed/a.pyc"]
    assert found.left_out == (".git", ".whiz", "timed/a.pyc")


def test_a_repository_inside_is_refused(tmp_path: Path) -> None:
    for name in ("root", "channel", "history"):
        (tmp_path / "repo" / name).mkdir(parents=True)
    assert "'repo' is a repository of releases: keep it outside of what is released" in refused(tmp_path)


def test_all_that_is_wrong_is_said_at_once_and_no_more_than_a_screenful(tmp_path: Path) -> None:
    for i in range(30):
        os.mkfifo(tmp_path / f"p{i}")
    lines = refused(tmp_path).splitlines()
    assert lines[0] == f"{tmp_path} cannot be released:"
    assert len(lines) == 22
    assert lines[-1] == "and 10 more"


@pytest.mark.skipif(os.getuid() != 0, reason="sets another user's id")
def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(mode=0o600)
    (tmp_path / "closed").mkdir(mode=0o700)
    tmp_path.chmod(0o755)  # made where everybody may make one
    pid = os.fork()
    if not pid:
        os.setuid(65534)
        try:
            read(str(tmp_path))
        except ReleaseError as exc:
            text = str(exc)
            os._exit(0 if "'mine': Permission denied" in text and "'closed': Permission denied" in text else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_no_directory_is_no_tree(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing") == f"{tmp_path}/nothing is not a directory"
