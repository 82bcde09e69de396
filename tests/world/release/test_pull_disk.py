"""Disks that are full, read-only, rotten or edited: what runs goes on, both numbers are said, and it is mended."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.world.release.node import COMMAND, camera, fingerprint, fresh
from whiz.core.release.release import ReleaseError
from whiz.world.release import staging
from whiz.world.release.checkup import checkup
from whiz.world.release.running import running
from whiz.world.release.staging import Staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.release.publisher import Tree

root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system takes root")


@contextmanager
def small(folder: Path, size: str, *more: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *more]), "faults", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def large(count: int) -> Tree:
    return camera(2) | {f"large/{i}": os.urandom(100_000) for i in range(count)}


@root
def test_a_disk_too_small_is_said_with_both_numbers_before_anything_is_written(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    with small(node.app, "3m"):
        node.pull()
        before = fingerprint(node.app)
        repo.publish(large(60))
        with pytest.raises(ReleaseError, match=r"no room .* need 6\.2 MB and 62\.9 kB in reserve, have 3\.\d MB"):
            node.pull()
        assert fingerprint(node.app) == before
        repo.publish(camera(3))
        assert node.pull().did == "updated"


@root
def test_too_few_inodes(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    with small(node.app, "30m", "nr_inodes=150"):
        node.pull()
        repo.publish(camera(2) | {f"{i}": b"" for i in range(100)})
        with pytest.raises(ReleaseError, match=r"need \d+ inodes and 100 in reserve, have \d+"):
            node.pull()
        assert node.shown() == camera(1)


@root
def test_old_releases_make_room(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    with small(node.app, "5m"):
        for _ in range(4):
            tree = large(14)
            repo.publish(tree)
            assert node.pull().did == "updated"
            assert node.shown() == tree


@root
def test_a_disk_that_fills_amid_a_pull_is_left_as_full_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, node = fresh(tmp_path)
    with small(node.app, "3m"):
        node.pull()
        repo.publish(large(60))
        from whiz.world.release import obtaining

        monkeypatch.setattr(obtaining, "lacks", lambda *_: None)  # somebody else takes the room meanwhile
        with pytest.raises(ReleaseError, match="No space left on device; what runs goes on running") as caught:
            node.pull()
        assert re.search(r"need 6\.2 MB, have 3\.\d MB with what was fetched removed again", str(caught.value))
        assert not (node.app / "staging").exists()
        assert node.sound() is not None
        assert node.shown() == camera(1)
        repo.publish(camera(3))
        assert node.pull().did == "updated"


@root
@pytest.mark.parametrize("apart", ["objects", "releases", "staging"])
def test_a_part_of_it_on_a_file_system_of_its_own(apart: str, tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    with small(node.app / apart, "30m"):
        for number in (2, 3):
            assert node.pull().did == "updated"
            node.sound()
            assert checkup(node.here(), repair=False).problems == ()
            repo.publish(camera(number))
        assert node.shown() == camera(2)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS, errno.EIO])
def test_what_the_disk_refuses_is_said_in_its_words(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))

    def refuse(_: Staged, __: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Staged, "write", refuse)
    with pytest.raises(ReleaseError, match=f"{os.strerror(number)}; what runs goes on running"):
        node.pull()
    assert node.shown() == camera(1)
    monkeypatch.undo()
    assert node.pull().did == "updated"


@root
def test_a_card_that_turned_read_only(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.write()
    with small(node.path / "state", "5m"):
        assert node.run("pull").returncode == 0
        repo.publish(camera(2))
        subprocess.run(["mount", "-o", "remount,ro", node.path / "state"], check=True)
        done = node.run("pull")
        assert done.returncode == 1
        assert "Read-only file system; what runs goes on running" in done.stderr
        said = json.loads(node.run("status", "--json").stdout)
        assert "Read-only file system" in said["failed"]["why"]
        subprocess.run(["mount", "-o", "remount,rw", node.path / "state"], check=True)
        assert node.run("pull").returncode == 0
        assert node.shown() == camera(2)
        assert json.loads(node.run("status", "--json").stdout)["failed"] is None


def test_an_object_that_the_disk_cannot_read_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    data = camera(1)["lib/same.py"]
    repo.publish(camera(1) | {"tool": (data,)})  # made here, of what is here
    pieces = staging.pieces
    failed: list[str] = []

    def rotten(path: str) -> Iterator[bytes]:
        if not failed:
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        yield from pieces(path)

    monkeypatch.setattr(staging, "pieces", rotten)
    assert node.pull().did == "updated"
    assert failed
    assert node.shown() == camera(1) | {"tool": (data,)}


# -- verify


def rot(path: Path) -> None:
    """Change a file's content, not its size, as only root or a failing card can."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    path.chmod(mode)


def test_rot_is_found_and_mended(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    repo.publish(camera(2))
    node.pull()
    rot(node.app / "current/lib/same.py")
    found = checkup(node.here(), repair=False)
    assert len(found.problems) == 3, "in both releases, and the object"
    assert found.left == 3
    mended = checkup(node.here(), repair=True)
    assert (mended.mended, mended.left) == (3, 0)
    assert node.shown() == camera(2)
    assert checkup(node.here(), repair=False).problems == ()
    one, two = (node.app / "releases" / i / "lib/same.py" for i in node.store.ids())
    assert one.stat().st_ino == two.stat().st_ino, "linked again"


def test_a_release_whose_text_has_rotted_is_mended_and_holds_nothing_up(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    rot(node.app / "current/.whiz/release")
    assert len(checkup(node.here(), repair=False).problems) == 1
    mended = checkup(node.here(), repair=True)
    assert (mended.mended, mended.left) == (1, 0)
    assert node.sound() == old
    rot(node.app / "current/.whiz/release")
    assert node.pull(force=True).did == "nothing"
    assert node.sound() == old
    rot(node.app / "current/.whiz/release")
    repo.publish(camera(2))
    done = node.pull()
    assert done.did == "updated"
    assert any("quesofiesta fsck --repair" in w for w in done.warnings)
    assert node.shown() == camera(2)
    assert old is not None
    repo.offer(old, "r1")
    assert node.pull().did == "updated", "back to it, mended first"
    assert node.shown() == camera(1)
    node.sound()
    assert checkup(node.here(), repair=False).problems == ()


def test_a_damaged_text_that_nobody_has_any_more_stays_said(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    rot(node.app / "current/.whiz/release")
    (repo.path / f"m/{old}").unlink()
    assert checkup(node.here(), repair=True).left == 1


def test_a_directory_that_only_has_a_releases_name_becomes_it(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    (node.app / "releases" / repo.publish(camera(2))).mkdir()
    assert node.pull().did == "updated"
    node.sound()
    assert node.shown() == camera(2)


def test_what_somebody_did_to_a_release(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.pull()
    top = node.app / "current"
    for folder in ("", "lib", "bin", "data"):
        (top / folder).chmod(0o755)
    (top / "lib/only-1.py").unlink()
    (top / "lib/extra.log").write_text("x")
    (top / "link").unlink()
    (top / "link").symlink_to("/etc")
    (top / "bin/camera").chmod(0o444)
    (top / "lib/empty.py").chmod(0o644)
    (top / "lib/empty.py").write_text("y")
    (top / "data").rmdir()
    text = "\n".join(checkup(node.here(), repair=False).problems)
    for said in (
        "lib/only-1.py is missing",
        "lib/extra.log is not part of the release (what programs write belongs in shared/)",
        "link is not the symlink that it was",
        "bin/camera has the mode 444",
        "lib/empty.py has other content",
        "data is missing",
    ):
        assert said in text
    mended = checkup(node.here(), repair=True)
    assert mended.left == 1, "a file of somebody's is not removed"
    (top / "lib").chmod(0o755)
    (top / "lib/extra.log").unlink()
    (top / "lib").chmod(0o555)
    assert node.shown() == camera(1)


def test_a_release_is_read_only_for_those_who_run_it(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.pull()
    for folder, _, files in os.walk(node.app / "current/"):
        assert not os.stat(folder).st_mode & 0o222
        assert not any(os.lstat(f"{folder}/{f}").st_mode & 0o222 for f in files if not os.path.islink(f"{folder}/{f}"))


def test_a_rollback_to_what_has_rotted_meanwhile_mends_it_first(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    old = node.sound()
    assert old is not None
    repo.publish(camera(2))
    node.pull()
    rot(node.app / "releases" / old / "lib/only-1.py")
    repo.offer(old, "r1")
    done = node.pull()
    assert (done.did, node.sound()) == ("updated", old)
    assert "1 files" in done.warnings[0]
    assert node.shown() == camera(1)


def test_staged_under_another_boot_is_looked_at_again(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.pull()
    tree = camera(2) | {"a": b"whole" * 100, "b": b"zeroed" * 100}
    repo.publish(tree)
    stage = node.app / "staging/another-boot"
    stage.mkdir(parents=True)
    (stage / repo.object(tree["a"]).name).write_bytes(tree["a"])
    (stage / repo.object(tree["b"]).name).write_bytes(bytes(600))
    (stage / "rubbish").write_bytes(b"x")
    for path in (stage / repo.object(tree["a"]).name, stage / repo.object(tree["b"]).name):
        path.chmod(0o444)
    repo.object(tree["a"]).unlink()  # it cannot be had but from there
    assert node.pull().did == "updated"
    assert node.shown() == tree
    node.sound()


# -- the commands


def test_the_commands_and_their_exit_statuses(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    missing = node.run("pull")
    assert missing.returncode == 2
    assert "quesofiesta.yaml: there is no such file" in missing.stderr
    node.write()
    assert node.run("status").returncode == 1
    assert node.run("pull", "--dry-run").returncode == 3
    done = node.run("pull")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "r1 runs now")
    said = json.loads(node.run("pull", "--json").stdout)
    assert (said["did"], said["exit"], said["fetched"]) == ("nothing", 0, 0)
    shown = node.run("status")
    assert shown.returncode == 0
    assert str(node.sound())[:12] in shown.stdout
    assert "r1 updated" in shown.stdout
    assert node.run("fsck").stdout == "1 release, 5 objects: all as signed\n"
    rot(node.app / "current/lib/same.py")
    assert node.run("fsck").returncode == 1
    assert node.run("fsck", "--repair").returncode == 0
    node.store.make()
    lock = node.store.lock()
    assert node.run("pull").returncode == 75
    os.close(lock)
    (repo.path / "channel/stable").write_bytes(b"x")
    failed = node.run("pull")
    assert failed.returncode == 1
    assert "not a signed file" in failed.stderr
    assert "not a signed file" in node.run("status").stdout
    (node.path / "quesofiesta.yaml").write_text("ap: camera\n")
    assert node.run("pull").returncode == 2


def test_a_health_command_that_fails_turns_back_and_status_says_why(tmp_path: Path) -> None:
    repo, node = fresh(tmp_path)
    node.write()
    node.run("pull")
    old = node.sound()
    repo.publish({"h": (b"#!/bin/sh\necho lens is dirty\nexit 4\n",)}, health=("./h",))
    done = node.run("pull")
    assert done.returncode == 1
    assert "its health command exited 4\nlens is dirty" in done.stderr
    assert node.sound() == old
    said = json.loads(node.run("status", "--json").stdout)
    assert said["last"]["did"] == "turned back"
    assert "lens is dirty" in said["bad"][0]["why"]


def test_the_lock_of_who_was_killed_is_free_at_once(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.write()
    node.store.make()
    code = "import sys, time; from whiz.world.release.store import Store; "
    code += "fd = Store(sys.argv[1]).lock(); print('held', flush=True); time.sleep(1000)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(node.app)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert node.run("pull").returncode == 75
    waiting = subprocess.Popen([*COMMAND, "pull", "--home", str(node.path), "--wait", "60"], stdout=subprocess.PIPE)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert waiting.wait(60) == 0
    assert waiting.stdout is not None
    waiting.stdout.close()
    assert node.shown() == camera(1)


def test_a_release_that_something_runs_of_stays(tmp_path: Path) -> None:
    _, node = fresh(tmp_path)
    node.pull()
    name = node.sound()
    assert name is not None
    assert name not in running()
    with subprocess.Popen(["/bin/sleep", "100"], env={"WHIZ_RELEASE": name}) as process:
        assert name in running()
        process.kill()
